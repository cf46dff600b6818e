"""Ridge and logistic regression with standardised columns."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmops_langchain.errors import ConfigurationError

__all__ = ["Linear", "fit_logistic", "fit_ridge"]

Floats = NDArray[np.float64]

_STEPS = 100
_HALVINGS = 30
_SMALL = 1e-9
_TABLE = 2  # dimensions


@dataclass(frozen=True, slots=True)
class Linear:
    """A weighted sum of columns: `rows @ weights + bias`, in the units of the rows given.

    What was standardised for the fit is folded back, so nothing need be kept beside it.

    Example:
        >>> import numpy as np
        >>> model = fit_ridge(np.array([[0.0], [1.0], [2.0]]), [1.0, 3.0, 5.0], l2=0.0)
        >>> model.values(np.array([[10.0]])).round(6).tolist()
        [21.0]
    """

    weights: Floats
    """One a column, shape `(columns,)`."""
    bias: float

    def values(self, rows: ArrayLike) -> Floats:
        """The weighted sums, shape `(rows,)`: of a logistic fit the log-odds.

        Args:
            rows: Shape `(rows, columns)`.
        """
        sums: Floats = np.asarray(rows, np.float64) @ self.weights + self.bias
        return sums

    def probabilities(self, rows: ArrayLike) -> Floats:
        """What a logistic fit gives, 0 to 1, shape `(rows,)`."""
        return _logistic(self.values(rows))

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for a JSON file."""
        return {"weights": self.weights.tolist(), "bias": self.bias}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """What `as_dict` wrote."""
        return cls(np.array(data["weights"], np.float64), float(data["bias"]))


def fit_ridge(
    rows: ArrayLike, targets: ArrayLike, *, l2: float, sample_weights: ArrayLike | None = None
) -> Linear:
    """Least squares with a penalty on the standardised weights (Hoerl and Kennard, 1970).

    Args:
        rows: Shape `(rows, columns)`.
        targets: Shape `(rows,)`.
        l2: Penalty on the squared weights; the bias is not penalised.
        sample_weights: How much each row counts, shape `(rows,)`; 1 by default.

    Raises:
        ConfigurationError: If shapes do not fit, a value is not finite or `l2` is negative.
    """
    scaled = _scaled(rows, targets, l2, sample_weights)
    weighted: Floats = scaled.columns * scaled.counts[:, np.newaxis]
    normal = weighted.T @ scaled.columns + scaled.penalty
    return scaled.unscaled(_solved(normal, weighted.T @ scaled.targets))


def fit_logistic(
    rows: ArrayLike, labels: ArrayLike, *, l2: float, sample_weights: ArrayLike | None = None
) -> Linear:
    """Logistic regression with a penalty on the standardised weights, by Newton's method.

    Steps that do not lower the loss are halved, so it also ends on classes that a line separates
    (for those `l2` must be positive, or there is no best fit).

    Args:
        rows: Shape `(rows, columns)`.
        labels: 0 or 1, or a probability, shape `(rows,)`.
        l2: Penalty on the squared weights; the bias is not penalised.
        sample_weights: How much each row counts, shape `(rows,)`; 1 by default.

    Raises:
        ConfigurationError: If shapes do not fit, a value is not finite, a label lies outside 0 to
            1, or `l2` is negative.
    """
    scaled = _scaled(rows, labels, l2, sample_weights)
    if ((scaled.targets < 0) | (scaled.targets > 1)).any():
        msg = "labels must lie between 0 and 1"
        raise ConfigurationError(msg)
    beta = np.zeros(scaled.columns.shape[1])
    loss = scaled.loss(beta)
    for _ in range(_STEPS):
        step = scaled.newton_step(beta)
        found = _downhill(scaled, beta, step, loss)
        if found is None:
            break
        gain, (beta, loss) = loss - found[1], found
        if gain < _SMALL * (1 + abs(loss)):
            break
    return scaled.unscaled(beta)


@dataclass(frozen=True, slots=True)
class _Scaled:
    """A problem with columns of mean 0 and deviation 1, and a last column of ones."""

    columns: Floats
    targets: Floats
    counts: Floats
    penalty: Floats
    mean: Floats
    deviation: Floats

    def unscaled(self, beta: Floats) -> Linear:
        weights = beta[:-1] / self.deviation
        return Linear(weights, float(beta[-1] - self.mean @ weights))

    def loss(self, beta: Floats) -> float:
        sums = self.columns @ beta
        entropy = np.logaddexp(0.0, sums) - self.targets * sums
        return float(self.counts @ entropy + 0.5 * beta @ self.penalty @ beta)

    def newton_step(self, beta: Floats) -> Floats:
        chances = _logistic(self.columns @ beta)
        slope = self.columns.T @ (self.counts * (chances - self.targets)) + self.penalty @ beta
        curve = self.counts * chances * (1.0 - chances)
        return _solved(self.columns.T @ (self.columns * curve[:, np.newaxis]) + self.penalty, slope)


def _downhill(
    scaled: _Scaled, beta: Floats, step: Floats, loss: float
) -> tuple[Floats, float] | None:
    for halvings in range(_HALVINGS):
        candidate = beta - step * 0.5**halvings
        lower = scaled.loss(candidate)
        if lower < loss:
            return candidate, lower
    return None


def _scaled(
    rows: ArrayLike, targets: ArrayLike, l2: float, sample_weights: ArrayLike | None
) -> _Scaled:
    values, wanted = np.asarray(rows, np.float64), np.asarray(targets, np.float64)
    counts = (
        np.ones(len(values)) if sample_weights is None else np.asarray(sample_weights, np.float64)
    )
    if values.ndim != _TABLE or not len(values):
        msg = f"rows must be of shape `(rows, columns)` with at least one row, got {values.shape}"
        raise ConfigurationError(msg)
    if wanted.shape != values.shape[:1] or counts.shape != values.shape[:1]:
        msg = f"{len(values)} rows need as many targets, got {wanted.shape} and {counts.shape}"
        raise ConfigurationError(msg)
    if l2 < 0 or not all(np.isfinite(each).all() for each in (values, wanted, counts)):
        msg = f"`l2` must not be negative (got {l2!r}) and all values must be finite"
        raise ConfigurationError(msg)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    deviation = np.where(deviation > _SMALL, deviation, 1.0)  # a constant column gets no weight
    columns = np.column_stack([(values - mean) / deviation, np.ones(len(values))])
    penalty = np.diag([*[float(l2)] * len(mean), 0.0])
    return _Scaled(columns, wanted, counts, penalty, mean, deviation)


def _solved(matrix: Floats, right: Floats) -> Floats:
    """The solution; of several the shortest, as for columns that are copies of each other."""
    return np.asarray(np.linalg.lstsq(matrix, right, rcond=None)[0], np.float64)


def _logistic(sums: Floats) -> Floats:
    chances: Floats = 0.5 * (1.0 + np.tanh(0.5 * sums))  # never overflows
    return chances

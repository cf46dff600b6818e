"""What a run will take, by what similar and recent ones took."""

from dataclasses import dataclass
from math import exp, log, nan, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.errors import ConfigurationError

__all__ = ["EffortEstimate", "effort_of", "effort_weights"]

Floats = NDArray[np.float64]

_SHARPNESS = 0.8
"""How fast weights grow with similarity: they are its odds to this power."""

_BOUNDS = 0.01, 0.99
"""Similarities beyond are taken for these: no row is worth all others, and each is something."""

_RECENT = 30.0
"""Newer rows after which one counts half. These three were tried on the story points of
`benchmarks/learning_similar.py`: sharpness 0.7 to 0.9, 0.95 to 0.999 and 15 to 100 rows change
the mean error by 1 %."""

_SPREAD, _SPREAD_ROWS = 1.0, 2.0
"""Standard deviation of a logarithm that is assumed before rows show another, and how many rows
that is worth: runs of one kind take about e times more or less."""

_FEW = 10.0
"""Rows at which what they show of the spread, and what is believed without them, count alike."""

_TINY, _HUGE = float(np.finfo(np.float64).tiny), 700.0  # so that logarithms are finite, and back


@dataclass(frozen=True, slots=True, kw_only=True)
class EffortEstimate:
    """What is expected, and what it may be."""

    value: float
    """The weighted median; NaN if nothing is known."""
    low: float
    """With `high` the bounds of the interval; NaN if nothing is known."""
    high: float
    n_effective: float
    """How many rows of equal weight the evidence is worth."""
    known: bool = True
    """`False`: there is no evidence."""


def effort_weights(similarity: Floats, ages: Floats) -> Floats:
    """How much each row counts: `float64`, shape `(n,)`, all positive.

    Args:
        similarity: How like what is asked it is, 0 to 1, as `fused` says it without ages.
        ages: How many rows are newer.

    Example:
        >>> weights = effort_weights(np.array([0.9, 0.5, 0.5]), np.array([0.0, 0.0, 30.0]))
        >>> weights.round(2).tolist()
        [5.8, 1.0, 0.5]
    """
    bounded = np.clip(np.asarray(similarity, np.float64), *_BOUNDS)
    weights: Floats = (bounded / (1.0 - bounded)) ** _SHARPNESS
    return weights / (1.0 + np.maximum(ages, 0.0) / _RECENT)


def effort_of(values: Floats, weights: Floats, *, level: float = 0.9) -> EffortEstimate:
    """The weighted median of what rows took, with an interval that is wide where rows are few.

    Args:
        values: What rows took, in any unit; not negative.
        weights: How much each counts, not negative; only their ratios matter.
        level: The share of cases that the interval is to hold, 0 to 1 exclusive.

    Returns:
        An estimate that is not `known` if no row has a weight.

    Raises:
        ConfigurationError: If `level` is not between 0 and 1.

    Example:
        >>> found = effort_of(np.array([20.0, 30.0, 45.0]), np.ones(3))
        >>> found.value, round(found.low), round(found.high)
        (30.0, 7, 132)
    """
    if not 0.0 < level < 1.0:
        msg = f"`level` must lie between 0 and 1, got {level!r}"
        raise ConfigurationError(msg)
    used = np.isfinite(values) & (np.asarray(weights) > 0)
    if not used.any():
        return EffortEstimate(value=nan, low=nan, high=nan, n_effective=0.0, known=False)
    order = np.argsort(values[used], kind="stable")
    ranked = np.maximum(np.asarray(values[used], np.float64)[order], 0.0)
    shares = np.asarray(weights[used], np.float64)[order]
    shares = shares / shares.max()  # so that no sum overflows, and no square vanishes
    shares /= shares.sum()
    rows = float(1.0 / (shares**2).sum())
    value = _quantile(ranked, shares, 0.5)
    # A few rows that are much like it tell the middle; how far off it may be, all tell better.
    trust = _trust(rows)
    wide = trust * shares + (1.0 - trust) / len(shares)
    low, high = _bounds(ranked, wide, float(1.0 / (wide**2).sum()), level)
    return EffortEstimate(value=value, low=min(low, value), high=max(high, value), n_effective=rows)


def _quantile(ranked: Floats, shares: Floats, level: float) -> float:
    """The first value up to which there is so large a share."""
    at = int(np.searchsorted(np.cumsum(shares), level - 1e-12))
    return float(ranked[min(at, len(ranked) - 1)])


def _between(ranked: Floats, shares: Floats, tail: float) -> tuple[float, float]:
    """Quantiles with so large a share below and above.

    Equal values stand at the middle of their share (Ma, Genton and Parzen, 2011, on quantiles of
    the mid-distribution function). Of story points there are but a few: where the least one is too
    common to be left out, more is left out above.
    """
    (starts,) = np.nonzero(np.diff(ranked, prepend=-1.0))
    values, masses = ranked[starts], np.add.reduceat(shares, starts)
    middles = np.cumsum(masses) - masses / 2
    # At the middle of the least value nothing is left over, so that bounds never jump.
    left_over = max(0.0, min(tail, float(middles[0]) - tail))
    low, high = np.interp([tail, 1.0 - tail - left_over], middles, values).tolist()
    return low, high


def _bounds(ranked: Floats, shares: Floats, rows: float, level: float) -> tuple[float, float]:
    """Between what the rows show and what a law says of them: few show no tails."""
    # The row to come may stand in one place more than there are rows.
    tail = max((1.0 - level) / 2 * (rows + 1) - 0.25, 0.0) / rows
    seen = _between(ranked, shares, tail)
    if not ranked.any():
        return seen
    # Nothing at all has to have some logarithm, too.
    least = max(float(ranked[ranked > 0][0]) / 2, _TINY)
    law = _law(np.log(np.maximum(ranked, least)), shares, rows, level)
    trust = _trust(rows)
    low, high = (
        exp(min(trust * log(max(one, least)) + (1.0 - trust) * other, _HUGE))
        for one, other in zip(seen, law, strict=True)
    )
    return (0.0 if seen[0] == 0 else low), high


def _trust(rows: float) -> float:
    return rows**2 / (rows**2 + _FEW**2)


def _law(logs: Floats, shares: Floats, rows: float, level: float) -> tuple[float, float]:
    """Bounds of the next logarithm, by Student's t."""
    centre = float(shares @ logs)
    spread = rows * float(shares @ (logs - centre) ** 2)
    freedom = _SPREAD_ROWS + rows
    deviation = sqrt((_SPREAD_ROWS * _SPREAD**2 + spread) / freedom * (1 + 1 / rows))
    reach = _student(0.5 + level / 2, freedom) * deviation
    return centre - reach, centre + reach


def _student(level: float, freedom: float) -> float:
    """A quantile of Student's t, from the normal one (Abramowitz and Stegun, 1964, 26.7.5)."""
    z = NormalDist().inv_cdf(level)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2

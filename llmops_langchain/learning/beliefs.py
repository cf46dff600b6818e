"""What is believed of log-odds: a table over a grid, widened by doubt and narrowed by outcomes."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Belief", "Floats", "logistic", "shifts"]

Floats = NDArray[np.float64]

_STEP = 0.1
_REACH, _SHIFT = 100, 50
"""Steps from 0 to the ends of the grid, and to the strongest and the weakest who may run."""

_GRID: Floats = (np.arange(-_REACH, _REACH + 1) * _STEP).astype(np.float64)
_ENDS = _REACH + _SHIFT
_WIDE: Floats = (np.arange(-_ENDS, _ENDS + 1) * _STEP).astype(np.float64)
_TAIL = 4.0
"""Deviations after which a bell curve is cut."""


def logistic(log_odds: Floats) -> Floats:
    """The chances that belong to log-odds."""
    chances: Floats = 1.0 / (1.0 + np.exp(-log_odds))
    return chances


def shifts(strengths: Floats, weights: Floats) -> Floats:
    """Weights summed by strength, from the weakest step to the strongest.

    Args:
        strengths: Log-odds that a runner adds, shape `(n,)`; far ones count as the farthest.
        weights: Shape `(n,)`.
    """
    places = np.clip(strengths / _STEP, -_SHIFT, _SHIFT) + _SHIFT
    lower = np.minimum(places.astype(np.int64), 2 * _SHIFT - 1)
    # Shared between the two nearest steps: rounding would make a jump of a tiny difference.
    upper: Floats = weights * (places - lower)
    sums = np.bincount(lower, weights - upper, 2 * _SHIFT + 1)
    return (sums + np.bincount(lower + 1, upper, 2 * _SHIFT + 1)).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Belief:
    """How likely each log-odds is, of a run by somebody of strength 0."""

    density: Floats
    """Sums to 1, one a step of the grid."""

    @classmethod
    def around(cls, rate: float, mix: Floats, variance: float) -> Self:
        """Sure of the log-odds for which the chance, averaged over all doubt, is a rate.

        Args:
            rate: The chance that runs by all the usual runners have.
            mix: The weight of runners by strength, as `shifts` has them; sums to 1.
            variance: The doubt that is still to come.
        """
        chances = np.correlate(_blurred(variance), mix, "valid")
        middle = float(np.interp(rate, chances, _GRID))
        hat = np.maximum(0.0, 1.0 - np.abs(_GRID - middle) / _STEP)
        return cls(hat / hat.sum())

    def widened(self, variance: float) -> Self:
        """The belief of something that differs from this by some variance."""
        if variance <= 0.0:
            return self
        density = np.convolve(self.density, _bell(variance), "full")
        middle = (len(density) - 1) // 2
        return type(self)(_scaled(density[middle - _REACH : middle + _REACH + 1]))

    def given(self, successes: Floats, failures: Floats, rest: float) -> Self:
        """The belief after outcomes.

        Args:
            successes: The weight of successes by the runner's strength, as `shifts` has them.
            failures: Likewise.
            rest: The variance by which their log-odds differ from what is believed here.
        """
        if not successes.any() and not failures.any():
            return self
        chances = np.clip(_blurred(rest), 1e-12, 1.0 - 1e-12)
        likely = np.correlate(np.log(chances), successes, "valid")
        likely += np.correlate(np.log1p(-chances), failures, "valid")
        return type(self)(_scaled(self.density * np.exp(likely - likely[self.density > 0].max())))

    def read(self, mix: Floats, level: float) -> tuple[float, float, float]:
        """The chance of a success, and the bounds of the interval it lies in.

        Args:
            mix: The weight of those who may run it by strength, as `shifts` has them; sums to 1.
            level: How much of the belief lies between the bounds.
        """
        chances = np.correlate(logistic(_WIDE), mix, "valid")
        mean = float(self.density @ chances)
        # Each step stands for the stretch around it, so half of it lies below the step.
        below = np.cumsum(self.density) - self.density / 2
        tails = ((1.0 - level) / 2, (1.0 + level) / 2)
        low, high = np.interp(np.interp(tails, below, _GRID), _GRID, chances).tolist()
        return mean, min(low, mean), max(high, mean)


def _scaled(density: Floats) -> Floats:
    scaled: Floats = density / density.sum()
    return scaled


def _bell(variance: float) -> Floats:
    """A bell curve over whole steps, of that variance as nearly as steps allow."""
    deviation = variance**0.5 / _STEP
    reach = min(2 * _REACH, int(_TAIL * deviation) + 1)
    curve = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    return _scaled(curve)


def _blurred(variance: float) -> Floats:
    """The chance at each step of the wide grid, averaged over a variance around it."""
    if variance <= 0.0:
        return logistic(_WIDE)
    bell = _bell(variance)
    reach = len(bell) // 2
    ends = _ENDS + reach
    sharp = logistic((np.arange(-ends, ends + 1) * _STEP).astype(np.float64))
    blurred: Floats = np.convolve(sharp, bell, "valid")
    return blurred

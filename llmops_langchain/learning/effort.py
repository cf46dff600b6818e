"""What a run will take, by what similar ones took."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["EffortEstimate", "effort_of", "effort_weights"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EffortEstimate:
    """What is expected, and what it may be."""

    value: float
    """The weighted median; NaN if nothing is known."""
    low: float
    """With `high` the bounds of the interval."""
    high: float
    n_effective: float
    """How many rows the evidence is worth."""
    known: bool = True
    """`False`: there is no evidence."""


def effort_weights(similarity: Floats, ages: Floats) -> Floats:
    """How much each row counts, shape `(n,)`.

    Args:
        similarity: How like what is asked it is, 0 to 1.
        ages: How many rows are newer.
    """
    return np.asarray((0.1 + similarity) / (1.0 + ages / 30.0), np.float64)


def effort_of(values: Floats, weights: Floats, *, level: float = 0.9) -> EffortEstimate:
    """The weighted median, with an interval.

    Args:
        values: What rows took; not negative.
        weights: How much each counts.
        level: The share of cases that the interval should hold.
    """
    if not len(values) or not weights.sum() > 0:
        return EffortEstimate(
            value=np.nan, low=np.nan, high=np.nan, n_effective=0.0, known=False
        )
    order = np.argsort(values, kind="stable")
    ranked, share = values[order], weights[order] / weights.sum()
    number = float(1.0 / (share**2).sum())
    middles = np.cumsum(share) - share / 2
    tail = (1.0 - level) / 2
    value, low, high = np.interp([0.5, tail, 1 - tail], middles, ranked).tolist()
    return EffortEstimate(value=value, low=low, high=high, n_effective=number)

"""Points out of the ordinary: one by one as they come, or in a finished series of sums."""

from dataclasses import dataclass
from math import isfinite, isnan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmops_langchain.errors import ConfigurationError

__all__ = ["ALARM", "Anomaly", "AnomalyDetector", "anomalies"]

ALARM = 0.889
"""Score from which on a point is told: 8 deviations, as half of NAB's files say."""

_MEMORY = 1_500
"""Points after which what was usual is half forgotten, about."""

_WARM = 100
"""Points before anything is told."""

_HOLD = 200
"""Points in which a smaller surprise is taken for the same incident."""

_SURPRISING = 2.0
"""Deviations from which on an incident begins."""

_MOST = 10.0
"""Deviations that a point counts at most, so that a freak does not make all others usual."""

_LEAST = 14
"""Points of a finished series below which nothing is told."""

_FAR = 6.0
"""Robust deviations from which on a point of a finished series is told."""

_NORMAL = 1.4826
"""Standard deviations of a normal sample in a median absolute deviation."""

_OFFSET = 0.1
"""Share of the middle that is added to amounts before logarithms are taken."""

_SEASONS = 3
"""How often a season must have been seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """A point of a series that is out of the ordinary."""

    index: int
    """Where it is, from 0."""
    value: float
    """What it is."""
    expected: float
    """What was to be expected."""
    low: float
    """With `high` the bounds beyond which a point is told."""
    high: float
    score: float
    """0 to 1: how far out it is."""


class AnomalyDetector:
    """Tells how far each point of a stream is from what is usual, in constant memory.

    How many deviations a point is from a slowly forgetting mean is compared with how many it
    usually is, so that wild series are not wild every day. One setting for all series.

    Example:
        >>> detector = AnomalyDetector()
        >>> usual = [detector.update(10 + at % 7) for at in range(500)]
        >>> max(usual) < ALARM < detector.update(500)
        True
    """

    __slots__ = ("_left", "_mean", "_n", "_peak", "_squares", "_sum", "_variance")

    def __init__(self) -> None:
        self._n = self._left = 0
        self._mean = self._variance = self._sum = self._squares = self._peak = 0.0

    def update(self, value: float) -> float:
        """Take in the next point; its score, 0 to 1, is told from `ALARM` on.

        A missing point (NaN) scores 0 and changes nothing.

        Raises:
            ConfigurationError: If it is infinite.
        """
        if isnan(value):
            return 0.0
        if not isfinite(value):
            msg = f"a point is a finite number, or NaN where missing, got {value!r}"
            raise ConfigurationError(msg)
        surprise = self._surprise(value)
        score = self._held(self._unusual(surprise))
        self._sum += surprise
        self._squares += surprise * surprise
        return score / (1.0 + score)

    def _surprise(self, value: float) -> float:
        """Deviations from the mean before, which then moves on."""
        self._n += 1
        apart = value - self._mean
        wide = sqrt(self._variance)
        share = max(1.0 / self._n, 2.0 / (_MEMORY + 1))
        self._mean += share * apart
        self._variance = (1 - share) * (self._variance + share * apart * apart)
        return min(abs(apart) / wide, _MOST) if wide > 0 else 0.0

    def _unusual(self, surprise: float) -> float:
        """Deviations from the usual surprise; 0 while little is known."""
        before = self._n - 1
        if self._n <= _WARM:
            return 0.0
        mean = self._sum / before
        wide = sqrt(max(self._squares / before - mean * mean, 1e-6))
        return max(0.0, (surprise - mean) / wide)

    def _held(self, unusual: float) -> float:
        """Nothing, as long as an incident that was told goes on and gets no worse."""
        if self._left > 0 and unusual <= self._peak:
            self._left -= 1
            return 0.0
        self._peak, self._left = (unusual, _HOLD) if unusual > _SURPRISING else (0.0, 0)
        return unusual


def anomalies(values: ArrayLike, *, season: int | None = None) -> list[Anomaly]:
    """The points of a finished series that are out of the ordinary.

    Each is compared with the middle of the same phase of the season, by the median absolute
    deviation; amounts, which are never below zero, by their logarithms.

    Args:
        values: Oldest first, NaN where missing, shape `(n,)`.
        season: In steps: 7 for days, 24 for hours; used once it was seen three times.

    Raises:
        ConfigurationError: If a value is infinite, or `season` is below 2.
    """
    given = np.asarray(values, np.float64)
    if given.ndim != 1 or np.isinf(given).any():
        msg = f"a series has one dimension and no infinite values, got {given.ndim} dimensions"
        raise ConfigurationError(msg)
    if season is not None and season <= 1:
        msg = f"`season` is in steps and at least 2, got {season!r}"
        raise ConfigurationError(msg)
    seen = ~np.isnan(given)
    if seen.sum() < _LEAST:
        return []
    is_amount = bool(given[seen].min() >= 0)
    offset = _OFFSET * float(np.median(given[seen])) if is_amount else 0.0
    by_logs = is_amount and offset > 0
    points = np.log(given + offset) if by_logs else given
    expected = _expected(points, season)
    apart = points - expected
    wide = _NORMAL * float(np.median(np.abs(apart[seen])))
    # A series that hardly moves is not told for a hair's breadth.
    wide = max(wide, 0.05 if by_logs else 0.02 * float(np.abs(given[seen]).mean()), 1e-12)
    bounds = [expected + _FAR * wide * sign for sign in (0, -1, 1)]
    if by_logs:
        bounds = [np.maximum(np.exp(each) - offset, 0.0) for each in bounds]
    score = np.abs(apart) / wide
    return [
        Anomaly(
            index=at,
            value=float(given[at]),
            expected=float(bounds[0][at]),
            low=float(bounds[1][at]),
            high=float(bounds[2][at]),
            score=float(score[at] / (1 + score[at])),
        )
        for at in np.flatnonzero(seen & (score > _FAR)).tolist()
    ]


def _expected(points: NDArray[np.float64], season: int | None) -> NDArray[np.float64]:
    """The middle of all, and of the phase where there are enough of it."""
    number = len(points)
    middle = np.full(number, float(np.nanmedian(points)))
    if season is None or number < _SEASONS * season:
        return middle
    found = middle.copy()
    for phase in range(season):
        mine = points[phase::season]
        if np.isfinite(mine).sum() >= _SEASONS:
            found[phase::season] = np.nanmedian(mine)
    return found

"""A series made ready for forecasting: gaps filled, freaks bounded, seasons found."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["History", "history_of", "recent"]

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]
Ints = NDArray[np.intp]

_DAY, _WEEK = 86_400.0, 604_800.0
_HALF_DAY = _DAY / 2
_THURSDAY = 3
"""The weekday of the Unix epoch, counted from Monday."""
_SATURDAY = 5

_KEPT = 2_000
"""Values that are looked at, more for long seasons; older ones say little, and cost time."""

_PERIODS = 2
"""How often a season must have been seen."""

_EXPLAINED = 0.1
"""Share of the variance, adjusted for the number of phases, that a season must explain."""

_SURE = 2.5
"""By how many of its standard deviations the ratio of variances must pass 1."""

_REPEATS, _CHANCE = 0.3, 3.0
"""Autocorrelation at which a lag that nobody named is taken for a season, and how many standard
deviations of chance it must be: the best of many lags is asked for."""

_FREAKS, _BEYOND, _ENOUGH = 0.02, 4.0, 8
"""At most this share of the points (one at least, and of `_ENOUGH` at least) is taken for freaks:
those that lie so many times as far out as the others do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is known of a series, in units of its largest value."""

    values: Floats
    """Without gaps and freaks, from the first known one to the last, shape `(n,)`."""
    raw: Floats
    """As given, NaN where missing, shape `(n,)`."""
    unit: float
    """What to multiply by to be back in the units given; 0 if all values are 0."""
    seasons: tuple[int, ...]
    """Lengths in steps, ascending."""
    kinds: Ints | None
    """Of days: for each index modulo 7 whether it is in the weekend, shape `(7,)`."""
    gap: int
    """How many steps are missing after the last known one."""

    @property
    def seen(self) -> Truths:
        """Which values were not missing, shape `(n,)`."""
        return ~np.isnan(self.raw)

    @property
    def is_amount(self) -> bool:
        """Nothing was ever negative."""
        return bool(np.nanmin(self.raw) >= 0)


def recent(values: Floats, season: int | None) -> Floats:
    """The latest values: as many as are looked at."""
    return values[-max(_KEPT, (_PERIODS + 1) * (season or 0)) :]


def history_of(
    values: Floats, *, season: int | None, start: float | None, step: float | None
) -> History:
    """Make a series ready.

    Args:
        values: Finite or NaN, at least one of the recent ones finite, shape `(n,)`.
        season: In steps; `None` looks for seasons.
        start: Of the first step, UTC epoch seconds.
        step: Seconds.
    """
    kept = recent(values, season)
    (at,) = np.nonzero(~np.isnan(kept))
    begin, end = int(at[0]), int(at[-1]) + 1
    raw = kept[begin:end]
    begin += len(values) - len(kept)
    unit = float(np.nanmax(np.abs(raw)))
    raw = raw / unit if unit else raw
    level = _filled(raw, 1)
    seasons = _seasons(_bounded(level, 1), season, step)
    longest = max(seasons, default=1)
    kinds = None
    if step == _DAY and start is not None:
        # The middle of the day tells its name wherever its midnight is.
        first = int((start + begin * step + _HALF_DAY) // _DAY) + _THURSDAY
        kinds = ((first + np.arange(7)) % 7 >= _SATURDAY).astype(np.intp)
    return History(
        values=_bounded(_filled(raw, longest), longest),
        raw=raw,
        unit=unit,
        seasons=seasons,
        kinds=kinds,
        gap=len(kept) - end,
    )


def _filled(values: Floats, season: int) -> Floats:
    """Gaps bridged by straight lines, over what is usual in each phase."""
    seen = ~np.isnan(values)
    if seen.all():
        return values
    phase = np.arange(len(values)) % season
    usual = _profile(values[seen], phase[seen], season)[phase]
    times = np.arange(len(values))
    line = np.interp(times, times[seen], (values - usual)[seen])
    return np.where(seen, values, np.clip(line + usual, values[seen].min(), values[seen].max()))


def _bounded(values: Floats, season: int) -> Floats:
    """Freaks brought back to the edge of what is usual in their phase."""
    number = len(values)
    if number < _ENOUGH:
        return values
    centre = np.full(number, np.median(values))
    if number >= (_PERIODS + 1) * season:
        for phase in range(season if season > 1 else 0):
            centre[phase::season] = np.median(values[phase::season])
    distance = np.abs(values - centre)
    freaks = max(1, int(_FREAKS * number))
    usual = float(np.partition(distance, number - freaks - 1)[number - freaks - 1])
    if usual == 0:
        return values
    return np.clip(values, centre - _BEYOND * usual, centre + _BEYOND * usual)


def _seasons(values: Floats, season: int | None, step: float | None) -> tuple[int, ...]:
    """The season that was named, or those of the calendar, or else whatever repeats."""
    if season is not None:
        return (season,) if len(values) >= _PERIODS * season else ()
    spans = () if step is None else (_DAY / step, _WEEK / step)
    lengths = [int(each) for each in spans if each.is_integer()]
    return _confirmed(values, lengths) or _confirmed(values, _repeating(values))


def _confirmed(values: Floats, lengths: Iterable[int]) -> tuple[int, ...]:
    """Those of ascending lengths that explain more than the shorter ones do."""
    rest, found = values, list[int]()
    for length in lengths:
        if length > 1 and len(values) >= _PERIODS * length:
            flat = rest - _smooth(rest, length)
            phase = np.arange(len(flat)) % length
            usual = _profile(flat, phase, length)[phase]
            if _explains(flat, usual, length):
                found.append(length)
                rest = rest - usual
    return tuple(found)


def _explains(flat: Floats, usual: Floats, length: int) -> bool:
    number = len(flat)
    whole, left = float(((flat - flat.mean()) ** 2).sum()), float(((flat - usual) ** 2).sum())
    if whole <= 1e-12 * number or number <= length:  # in units of the largest value
        return False
    share = 1.0 - (left / (number - length)) / (whole / (number - 1))
    between, within = (whole - left) / (length - 1), left / (number - length)
    noise = np.sqrt(2.0 / (length - 1) * (number - 1) / (number - length))
    return bool(share > _EXPLAINED and between > within * (1.0 + _SURE * noise))


def _repeating(values: Floats) -> list[int]:
    """The lag at which a series is most like itself, and a week of it if it is a day of hours."""
    number = len(values)
    flat = values - _smooth(values, max(3, number // 3))
    spectrum = np.abs(np.fft.rfft(flat, 2 * number)) ** 2
    alike = np.fft.irfft(spectrum)[: number // _PERIODS + 1]
    if len(alike) < 4 or alike[0] <= 0:  # noqa: PLR2004 - a peak has neighbours
        return []
    alike = alike / alike[0] * number / (number - np.arange(len(alike)))
    inner = alike[2:-1]
    peaks = 2 + np.flatnonzero((inner >= alike[1:-2]) & (inner >= alike[3:]))
    peaks = peaks[alike[peaks] >= np.maximum(_REPEATS, _CHANCE / np.sqrt(number - peaks))]
    if not len(peaks):
        return []
    # Of equally good ones the shortest: multiples of a season repeat as well.
    length = int(peaks[alike[peaks] >= 0.9 * alike[peaks].max()][0])
    return [24, 168] if length in {24, 168} else [length]


def _profile(values: Floats, phase: Ints, season: int) -> Floats:
    """Means by phase; of a phase never seen that of all, shape `(season,)`."""
    counts = np.bincount(phase, minlength=season)
    sums = np.bincount(phase, values, season)
    return np.where(counts > 0, sums / np.maximum(counts, 1), values.mean())


def _smooth(values: Floats, length: int) -> Floats:
    """Means of as many neighbours, fewer at the ends."""
    number, reach = len(values), length // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(number) - reach, 0)
    high = np.minimum(np.arange(number) - reach + length, number)
    means: Floats = (sums[high] - sums[low]) / (high - low)
    return means

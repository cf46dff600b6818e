"""What sums of equal spans of time will be, and when they pass a limit."""

from dataclasses import dataclass
from math import isfinite, nan

import numpy as np
from numpy.typing import ArrayLike

from llmops_langchain.analytics.forecasting.history import Floats, History, history_of, recent
from llmops_langchain.analytics.forecasting.intervals import reaches, shares_of
from llmops_langchain.analytics.forecasting.models import Origins, forecasts_by, origins_of
from llmops_langchain.errors import ConfigurationError

__all__ = ["Forecast", "RunOut", "forecast", "run_out"]

_KNOWN = 3
"""Values without which there is no interval."""

_NAMED = 3
"""How many models are named."""

_UNSEEN = 1.5
"""Power of the number of values by which a spread that was never seen is believed less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What is expected in each step to come, and what it may be."""

    mean: Floats
    """In the units given, `float64`, shape `(horizon,)`; NaN if there was no value at all."""
    low: Floats
    """With `high` the bounds of each step's interval, shape `(horizon,)`; NaN if not `known`."""
    high: Floats
    level: float
    """The share of intervals that are to hold what happens, 0 to 1."""
    method: str
    """What was used, in words."""
    n: int
    """How many values of the history were used; missing ones do not count."""
    known: bool = True
    """`False`: too few values to say how far off the mean may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOut:
    """When a limit is reached: UTC epoch seconds, `None` if not within the forecast."""

    date: float | None
    """If what is expected happens."""
    earliest: float | None
    """If every step takes as much as its interval holds."""
    latest: float | None
    """If every step takes as little as its interval holds."""
    known: bool = True
    """`False`: there is no interval, so `earliest` and `latest` say nothing."""


def forecast(
    values: ArrayLike,
    horizon: int,
    *,
    season: int | None = None,
    level: float = 0.95,
    start: float | None = None,
    step: float | None = None,
) -> Forecast:
    """The steps that follow a series of equally spaced sums.

    Seasonal, smoothed and autoregressive forecasts, weighed by how far off they were from earlier
    points of the same series, or the naive one alone if the others were no better; the interval is
    as wide as those errors were (conformal prediction). Deterministic. If no value was negative, no
    bound is.

    Args:
        values: One for each finished step, oldest first, NaN where missing, shape `(n,)`; of long
            histories the last 2,000 are used.
        horizon: How many steps are asked for.
        season: How many steps a season takes; `None` looks for days and weeks if `step` is given,
            then for whatever repeats.
        level: The share of truths that each step's interval is to hold, 0 to 1 exclusive.
        start: When the first step began, UTC epoch seconds: tells weekends of daily sums.
        step: How long a step takes, seconds.

    Raises:
        ConfigurationError: If a value is infinite or an argument cannot be honoured.

    Example:
        >>> import numpy as np
        >>> days = np.tile([9.0, 9.0, 8.0, 9.0, 8.0, 1.0, 1.0], 8)
        >>> forecast(days, 7, step=86_400).mean.round(1).tolist()
        [9.0, 9.0, 8.0, 9.0, 8.0, 1.0, 1.0]
    """
    given = np.asarray(values, np.float64)
    _check(given, horizon, season=season, level=level, start=start, step=step)
    kept = recent(given, season)
    number = int(np.isfinite(kept).sum())
    if number < _KNOWN:
        return _unknown(kept, number, horizon, level)
    history = history_of(given, season=season, start=start, step=step)
    mean, reach, method = _mixed(history, horizon + history.gap, level)
    floor = 0.0 if history.is_amount else -np.inf
    mean, low, high = (
        _scaled(np.maximum(each, floor)[history.gap :], history.unit)
        for each in (mean, mean - reach, mean + reach)
    )
    return Forecast(mean=mean, low=low, high=high, level=level, method=method, n=number)


def run_out(spent: float, limit: float, forecast: Forecast, start: float, step: float) -> RunOut:
    """When spending reaches a limit.

    Within a step it is taken to be spent evenly. The bounds are those of every step at once, so
    they are further apart than an interval of the date would be.

    Args:
        spent: What is spent by now, in the unit of the forecast.
        limit: What may be spent, in the same unit.
        forecast: Of the spending in the steps to come.
        start: When the first step of the forecast begins, UTC epoch seconds.
        step: How long a step takes, seconds.

    Raises:
        ConfigurationError: If a number is not finite, or `step` is not positive.

    Example:
        >>> days = forecast([10.0] * 30, 7, step=86_400)
        >>> run_out(75.0, 100.0, days, start=0.0, step=86_400).date / 86_400
        2.5
    """
    if not all(map(isfinite, (spent, limit, start, step))) or step <= 0:
        msg = (
            "`spent`, `limit`, `start` and `step` must be finite and `step` positive, "
            f"got {spent!r}, {limit!r}, {start!r}, {step!r}"
        )
        raise ConfigurationError(msg)
    left = limit - spent
    date, earliest, latest = (
        _reached(each, left, start, step) for each in (forecast.mean, forecast.high, forecast.low)
    )
    return RunOut(date=date, earliest=earliest, latest=latest, known=forecast.known)


def _check(
    values: Floats,
    horizon: int,
    *,
    season: int | None,
    level: float,
    start: float | None,
    step: float | None,
) -> None:
    infinite = int(np.isinf(values).sum())
    wrong = {
        f"`values` must be of one dimension, got shape {values.shape}": values.ndim != 1,
        f"`values` must be finite, or NaN where missing, got {infinite} infinite": infinite > 0,
        f"`horizon` is in steps and at least 1, got {horizon!r}": horizon < 1,
        f"`season` is in steps and at least 2, got {season!r}": season is not None and season <= 1,
        f"`level` must lie between 0 and 1, got {level!r}": not 0.0 < level < 1.0,
        f"`start` must be finite, got {start!r}": start is not None and not isfinite(start),
        f"`step` is in seconds and must be positive, got {step!r}": step is not None
        and not (step > 0 and isfinite(step)),
    }
    for message, found in wrong.items():
        if found:
            raise ConfigurationError(message)


def _unknown(values: Floats, number: int, horizon: int, level: float) -> Forecast:
    """The mean of what there is, without an interval."""
    mean = float(np.nanmean(values / max(number, 1)) * number) if number else nan
    return Forecast(
        mean=np.full(horizon, mean),
        low=np.full(horizon, nan),
        high=np.full(horizon, nan),
        level=level,
        method=f"the mean of {number}: too few to say more" if number else "no values",
        n=number,
        known=False,
    )


def _mixed(history: History, horizon: int, level: float) -> tuple[Floats, Floats, str]:
    """What is expected, how far the truth may be from it, and how that was found."""
    origins = origins_of(history)
    said = forecasts_by(history, origins, horizon)
    models = np.array(list(said.values()))
    if history.is_amount:
        models = np.maximum(models, 0.0)
    shares = shares_of(_targets(history.values, origins, horizon) - models[:, :-1])
    mixed = np.tensordot(shares, models, 1)
    first = int(origins.at[0])
    reach = reaches(
        _targets(np.where(history.seen, history.values, nan), origins, horizon) - mixed[:-1],
        origins.steps(horizon) % min(history.seasons, default=1),
        level=level,
        steps=int(history.seen[first:].sum()),
        least=float(np.abs(history.values).mean()) / int(history.seen.sum()) ** _UNSEEN,
    )
    named = sorted(zip(shares.tolist(), said, strict=True), key=lambda each: -each[0])
    return mixed[-1], reach, _words(named, history.seasons)


def _targets(values: Floats, origins: Origins, horizon: int) -> Floats:
    """What came after each past origin, NaN where it is yet to come: `(origins - 1, horizon)`."""
    steps = origins.steps(horizon)[:-1]
    number = len(values)
    return np.where(steps < number, values[np.minimum(steps, number - 1)], np.nan)


def _scaled(values: Floats, unit: float) -> Floats:
    """In the units given; what is too large for a number is the largest one."""
    most = float(np.finfo(np.float64).max)
    with np.errstate(over="ignore"):
        return np.clip(values * unit, -most, most)


def _words(named: list[tuple[float, str]], seasons: tuple[int, ...]) -> str:
    """The models that count most, and the seasons."""
    used = [f"{name} ({share:.0%})" for share, name in named[:_NAMED] if share > 0]
    cycles = f"seasons of {' and '.join(map(str, seasons))} steps" if seasons else "no season"
    return f"{', '.join(used)}; {cycles}"


def _reached(taken: Floats, left: float, start: float, step: float) -> float | None:
    """When so much is taken, spread evenly within each step."""
    if left <= 0:
        return start
    sums = np.cumsum(taken)
    (over,) = np.nonzero(sums >= left)
    if not len(over):
        return None
    at = int(over[0])
    before = float(sums[at - 1]) if at else 0.0
    return start + step * (at + (left - before) / float(taken[at]))

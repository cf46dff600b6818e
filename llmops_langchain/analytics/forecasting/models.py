"""The forecasts that are weighed against each other, each from many origins at once."""

from dataclasses import dataclass

import numpy as np

from llmops_langchain.analytics.forecasting.history import Floats, History, Ints
from llmops_langchain.analytics.forecasting.lags import autoregressive, rows_needed

__all__ = ["Origins", "forecasts_by", "origins_of"]

_SHARE = 0.45
"""Share of the history that is never predicted, as the first forecasts are made from it."""

_REFITS = 3
"""How often the autoregressions are fitted anew along the rest."""

_MOST = 80
"""Origins to predict from, about."""

_LEAST = 2
"""Points before the first origin."""

_PERIODS, _DECAY = 3, 0.6
"""How many periods a profile is the mean of, and how an earlier one counts to the next."""

_DAMPING = 0.7
"""What is left of a trend a season on."""

_SMOOTHINGS = (
    (0.05, 0.0, 0.0),
    (0.2, 0.0, 0.0),
    (0.5, 0.0, 0.0),
    (0.9, 0.0, 0.0),
    (0.2, 0.05, 0.95),
    (0.5, 0.1, 0.9),
    (0.8, 0.2, 0.9),
)
"""Smoothing of the level, smoothing of the trend, damping."""

_KIND, _PHASE = 1.0, 2.0
"""How many days say as much as what is believed of a weekday without having seen it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """From where to predict."""

    at: Ints
    """Index of the first step predicted, ascending, the last one is the end: shape `(origins,)`."""
    fitted: Ints
    """How much of the history what is fitted may see, shape `(origins,)`."""

    def steps(self, horizon: int) -> Ints:
        """Indices of the steps predicted, shape `(origins, horizon)`."""
        return self.at[:, None] + np.arange(horizon)


def origins_of(history: History) -> Origins:
    """Past origins to learn errors from, then the end."""
    number = len(history.values)
    first = max(_LEAST, int(_SHARE * number), *history.seasons)
    needed = rows_needed(history.seasons, number)
    first = min(max(first, needed or 0), number)
    stride = max(1, (number - first) // _MOST)
    stride += stride > 1 and stride % 2 == 0  # odd, so that it meets every hour of the day
    past = np.arange(first, number, stride)
    cuts = np.linspace(first, number, _REFITS, endpoint=False).astype(np.intp)
    fitted = cuts[np.searchsorted(cuts, past, side="right") - 1]
    return Origins(at=np.append(past, number), fitted=np.append(fitted, number))


def forecasts_by(history: History, origins: Origins, horizon: int) -> dict[str, Floats]:
    """What each model says, by its name, the naive one first: shape `(origins, horizon)`.

    Args:
        history: What is known.
        origins: From where to predict; nothing later is looked at.
        horizon: Steps.
    """
    values, found = history.values, dict[str, Floats]()
    for season in history.seasons:  # the shortest first, and of its models the naive one
        found |= _seasonal(values, origins.at, horizon, season)
    found |= _smoothed(values, origins.at, horizon)
    if history.kinds is not None or 7 in history.seasons:  # noqa: PLR2004 - days of a week
        found["weekdays"] = _weekdays(history, origins.at, horizon)
    found |= autoregressive(history, origins.at, origins.fitted, horizon)
    return found


def _seasonal(values: Floats, at: Ints, horizon: int, season: int) -> dict[str, Floats]:
    """The last period; the mean of some; their shape around the level; and a damped trend."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    steps = np.arange(season)
    total, shape, weight = (np.zeros((len(at), 1)) for _ in range(3))
    levels = list[Floats]()
    for period in range(_PERIODS):
        begin = (at - (period + 1) * season)[:, None]
        there, begin = begin >= 0, np.maximum(begin, 0)
        values_then = values[begin + steps]
        levels.append((sums[begin + season] - sums[begin]) / season)
        share = there * _DECAY**period
        total = total + share * values_then
        shape = shape + share * (values_then - levels[-1])
        weight = weight + share
        if period == 0:
            naive = values_then
    slope = np.where(at[:, None] >= 2 * season, (levels[0] - levels[1]) / season, 0.0)
    repeated = np.arange(horizon) % season
    ahead = np.arange(1, horizon + 1)
    # The level is that of half a season ago.
    damped = season / 2 + (1.0 - _DAMPING ** (ahead / season)) / (1.0 - _DAMPING ** (1 / season))
    levelled = (shape / weight + levels[0])[:, repeated]
    return {
        f"as {season} steps ago": naive[:, repeated],
        f"mean of periods of {season}": (total / weight)[:, repeated],
        f"shape of periods of {season}": levelled,
        f"damped trend over periods of {season}": levelled + slope * damped,
    }


def _weekdays(history: History, at: Ints, horizon: int) -> Floats:
    """The level, and what is usual on a weekday: near others of its kind where few were seen."""
    values, number = history.values, len(history.values)
    phase = np.arange(number) % 7
    kinds = np.zeros(7, np.intp) if history.kinds is None else history.kinds
    days = np.eye(7)[phase]
    counts, sums = (
        np.vstack([np.zeros(7), np.cumsum(each, axis=0)])[at]
        for each in (days, days * values[:, None])
    )
    middle = sums.sum(axis=1, keepdims=True) / counts.sum(axis=1, keepdims=True)
    groups = np.eye(2)[kinds]
    of_kind = (sums @ groups + _KIND * middle) / (counts @ groups + _KIND)
    usual = (sums + _PHASE * of_kind @ groups.T) / (counts + _PHASE)
    week = np.minimum(at, 7)
    window = (at - week)[:, None] + np.arange(7)
    inside = window < at[:, None]
    apart = values[np.minimum(window, number - 1)] - np.take_along_axis(usual, window % 7, axis=1)
    level = (apart * inside).sum(axis=1, keepdims=True) / week[:, None]
    expected = np.take_along_axis(usual, (at[:, None] + np.arange(horizon)) % 7, axis=1)
    return np.asarray(expected + level, np.float64)


def _smoothed(values: Floats, at: Ints, horizon: int) -> dict[str, Floats]:
    """Exponential smoothing with damped trends, theta, the mean (Gardner, 2006; Hyndman, 2003)."""
    alpha, beta, phi = np.array(_SMOOTHINGS).T
    level, trend = np.full(len(alpha), values[0]), np.zeros(len(alpha))
    levels, trends = np.empty((2, len(values) + 1, len(alpha)))
    levels[0], trends[0] = level, trend
    for step, value in enumerate(values.tolist(), start=1):
        expected = level + phi * trend
        missed = value - expected
        # The first points are averaged, however little a single one counts later.
        level = expected + np.maximum(alpha, 1.0 / step) * missed
        trend = phi * trend + alpha * beta * missed
        levels[step], trends[step] = level, trend
    ahead = np.arange(1, horizon + 1)
    found = {"as the last step": np.repeat(values[at - 1][:, None], horizon, axis=1)}
    found |= {
        _name(each): levels[at, place, None] + trends[at, place, None] * _reach(each[2], ahead)
        for place, each in enumerate(_SMOOTHINGS)
    }
    times, sums = np.arange(1.0, len(values) + 1), np.cumsum(values)
    mean = np.append(0.0, sums / times)[at]
    # The slope of all points so far, from running sums.
    upto = at.astype(np.float64)
    products = np.append(0.0, np.cumsum(times * values))[at]
    slope = 12.0 * (products - mean * upto * (upto + 1) / 2) / np.maximum(upto**3 - upto, 1.0)
    found["theta"] = levels[at, 2, None] + slope[:, None] / 2 * ahead
    found["mean"] = np.repeat(mean[:, None], horizon, axis=1)
    return found


def _reach(damping: float, ahead: Ints) -> Floats:
    """How much of a trend has come after so many steps."""
    return np.asarray(damping * (1.0 - damping**ahead) / (1.0 - damping), np.float64)


def _name(smoothing: tuple[float, float, float]) -> str:
    kind = "damped trend" if smoothing[1] else "level"
    return f"{kind} smoothed by {smoothing[0]:g}"

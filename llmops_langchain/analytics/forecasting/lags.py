"""Ridge regressions on earlier values and the waves of seasons, stepped ahead."""

from dataclasses import dataclass

import numpy as np

from llmops_langchain.analytics.forecasting.history import Floats, History, Ints, Truths

__all__ = ["autoregressive", "rows_needed"]

_RIDGE = 3.0
"""Penalty on weights of columns that vary by 1."""

_WAVES = 6
"""Harmonics of a season."""

_OFFSET = 0.1
"""Share of the mean that is added before logarithms are taken."""

_ROWS = 60
"""Rows that a first fit needs at least."""

_BLOCK = 64
"""Rows multiplied at once: of more, BLAS starts threads that take longer than the work."""

_LATEST = 0.7
"""Share of the history before the first origin, at most."""

_DENSE, _TIMES = 24, 7
"""The most lags in a row, and up to how many times the season lags are taken."""

_NEAREST = 8
"""Lags where there is no season."""

_FLAT = 1e-9
"""Columns that deviate less, of values up to 1, are constant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """The columns of a regression."""

    lags: Ints
    seasons: tuple[int, ...]

    def waves(self, steps: Ints) -> Floats:
        """Sines and cosines of each season, shape `(steps, columns)`."""
        columns = [np.empty((len(steps), 0))]
        for season in self.seasons:
            turns = np.arange(1, min(_WAVES, season // 2) + 1)
            # By a table, as a sine takes long.
            angles = 2.0 * np.pi * np.outer(np.arange(season), turns) / season
            columns.append(np.hstack([np.sin(angles), np.cos(angles)])[steps % season])
        return np.hstack(columns)


def rows_needed(seasons: tuple[int, ...], number: int) -> int | None:
    """Points before a first fit; `None` if there are not enough of them.

    Args:
        seasons: In steps.
        number: Points that there are.
    """
    lags = _lags(seasons, number)
    return max(int(each[-1]) for each in lags.values()) + _ROWS if lags else None


def autoregressive(history: History, at: Ints, fitted: Ints, horizon: int) -> dict[str, Floats]:
    """What regressions say, each from its own past forecasts: shape `(origins, horizon)`.

    Args:
        history: What is known.
        at: Index of the first step predicted, shape `(origins,)`.
        fitted: How much of the history each fit may see, shape `(origins,)`.
        horizon: Steps.

    Returns:
        By name; nothing if there are too few points.
    """
    found, values, origins = dict[str, Floats](), history.values, (at, fitted)
    offset = _OFFSET * float(values.mean())
    for name, lags in _lags(history.seasons, len(values)).items():
        if history.seen[lags[-1] : fitted[0]].sum() < _ROWS / 2:
            continue
        form = _Form(lags=lags, seasons=history.seasons)
        found[f"autoregression on {name}"] = _stepped(values, history.seen, origins, horizon, form)
        if history.is_amount and offset > 0:
            logs = _stepped(np.log(values + offset), history.seen, origins, horizon, form)
            found[f"autoregression of logarithms on {name}"] = np.exp(logs) - offset
    return found


def _lags(seasons: tuple[int, ...], number: int) -> dict[str, Ints]:
    """Steps back, ascending, as far as so many points allow; nothing if they are too few."""
    short, long = min(seasons, default=_NEAREST), max(seasons, default=0)
    deepest = int(_LATEST * number) - _ROWS
    if deepest <= short:
        return {}
    if not seasons:
        return {"few lags": np.arange(1, 4), "many lags": np.arange(1, _NEAREST + 1)}
    around = {each + beside for each in seasons for beside in (-1, 0, 1)}
    few = {1, 2, 3, 2 * short, long - short} | around
    near = range(1, min(short, _DENSE) + 2)
    many = {*near, *(short * times for times in range(2, _TIMES + 1)), *around}
    return {
        name: np.array(sorted(lag for lag in each if 0 < lag <= deepest), np.intp)
        for name, each in (("few lags", few), ("many lags", many))
    }


def _stepped(
    values: Floats, seen: Truths, origins: tuple[Ints, Ints], horizon: int, form: _Form
) -> Floats:
    """A regression for each share of the history, and what each says step by step."""
    at, fitted = origins
    lags, deepest = form.lags, int(form.lags[-1])
    rows = np.arange(deepest, len(values))
    table = np.hstack([values[rows[:, None] - lags], form.waves(rows)])
    cuts, which = np.unique(fitted, return_inverse=True)
    fits = [
        _ridge(table[known], values[rows[known]])
        for known in (seen[rows] & (rows < cut) for cut in cuts.tolist())
    ]
    weights, bias = np.array([each for each, _ in fits])[which], np.array([b for _, b in fits])
    # Later values may be in the reach of earlier origins' bounds: these only stop explosions.
    low, high = float(values.min()), float(values.max())
    low, high = low - (high - low), high + (high - low)
    ahead = at[:, None] + np.arange(horizon)
    waves = form.waves(ahead.ravel()).reshape(len(at), horizon, -1)
    expected = np.einsum("ohw,ow->oh", waves, weights[:, len(lags) :]) + bias[which][:, None]
    path = np.empty((len(at), deepest + horizon))
    path[:, :deepest] = values[(at - deepest)[:, None] + np.arange(deepest)]
    own = np.ascontiguousarray(weights[:, : len(lags)])
    for step in range(horizon):
        said = np.einsum("ol,ol->o", path[:, deepest + step - lags], own) + expected[:, step]
        path[:, deepest + step] = np.minimum(np.maximum(said, low), high)
    return path[:, deepest:]


def _ridge(rows: Floats, targets: Floats) -> tuple[Floats, float]:
    """Weights and bias, as `fit_ridge` finds them, from normal equations as time is short."""
    mean, middle = rows.mean(axis=0), float(targets.mean())
    deviation = rows.std(axis=0)
    deviation = np.where(deviation > _FLAT, deviation, 1.0)
    scaled = (rows - mean) / deviation
    blocks = np.zeros((-(-len(rows) // _BLOCK), _BLOCK, len(mean)))
    blocks.reshape(-1, len(mean))[: len(rows)] = scaled
    squares = (blocks.transpose(0, 2, 1) @ blocks).sum(axis=0)
    normal = squares + _RIDGE * np.eye(len(mean))
    weights = np.linalg.solve(normal, scaled.T @ (targets - middle)) / deviation
    return weights, middle - float(mean @ weights)

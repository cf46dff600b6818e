"""How far off forecasts were, and how far off the next ones may be therefore."""

from math import sqrt
from statistics import NormalDist

import numpy as np

from llmops_langchain.analytics.forecasting.history import Floats, Ints

__all__ = ["reaches", "shares_of"]

_HALF = 0.5
"""Part of the origins after which an error counts half."""

_SHARPNESS = 5.0
"""Power of a model's root mean squared error by which its share falls."""

_WORST = 2.0
"""Times the least error beyond which a model has no share."""

_PHASES = 4.0
"""How many periods say as much of a phase's spread as that it is like the others."""

_HOURS = 12
"""Phases of seasons so long are smoothed with their neighbours."""

_TRUSTED = 20.0
"""Steps seen at which the errors found, and the normal law, count alike."""

_FREEDOM, _FEWEST = 1.5, 2.0
"""Degrees of freedom for each time that the steps ahead fit into those seen, and the fewest."""

_NORMAL = sqrt(np.pi / 2)
"""The standard deviation of a normal law by its mean absolute deviation."""

_COUNTED = 5
"""Errors that tell the spread so many steps ahead; it is extended to where there are fewer."""

_TINY = 1e-12
"""Least error, in units of the largest value."""


def shares_of(errors: Floats) -> Floats:
    """How much each model counts, by its errors: shape `(models,)`, their sum is 1.

    Args:
        errors: Past ones, those of the naive model first, latest origin last, NaN where nothing
            is known yet, shape `(models, origins, horizon)`.

    Returns:
        The naive model alone where the others, weighed, were farther off than it was.
    """
    counts = ~np.isnan(errors[0]) * _recency(errors.shape[1])[:, None]
    if not counts.any():
        return np.full(len(errors), 1.0 / len(errors))
    # Squares, as it is sums that are asked for: absolute errors like medians, which lie below.
    missed = np.sqrt((np.nan_to_num(errors) ** 2 * counts).sum(axis=(1, 2)) / counts.sum())
    ratio = (missed + _TINY) / (missed.min() + _TINY)
    shares = np.where(ratio <= _WORST, ratio**-_SHARPNESS, 0.0)
    shares = shares / shares.sum()
    mixed = np.tensordot(shares, errors, 1)
    naive, ours = ((np.nan_to_num(np.abs(each)) * counts).sum() for each in (errors[0], mixed))
    return np.asarray(shares if ours <= naive else np.arange(len(errors)) == 0, np.float64)


def reaches(errors: Floats, phases: Ints, *, level: float, steps: int, least: float) -> Floats:
    """How far to either side the truth may lie, never less far ahead: shape `(horizon,)`.

    Conformal prediction (Vovk, Gammerman and Shafer, 2005) on errors that are made comparable: by
    how many steps ahead they were and by the phase of the season. Errors of overlapping forecasts
    are alike, so what they tell is widened as Student's t is against the normal law.

    Args:
        errors: Of past forecasts, latest last, NaN where unknown, shape `(origins, horizon)`.
        phases: Of the steps forecast, with those of the forecast to come as a last row, shape
            `(origins + 1, horizon)`.
        level: Share of truths to be held.
        steps: How many steps the errors are about, 0 if there is none.
        least: Spread (mean absolute error) that is believed beside what the errors show.
    """
    seen = ~np.isnan(errors)
    weights = seen * _recency(len(errors))[:, None]
    distance = np.nan_to_num(np.abs(errors))
    growth = np.hypot(_by_steps(distance, weights), least)
    scale = np.maximum(growth, _TINY)
    rhythm = _by_phase(distance / scale, weights, phases, steps)
    past = (distance / scale / rhythm[:-1])[seen]
    found = _quantile(past, weights[seen], level) if seen.any() else 0.0
    normal = NormalDist().inv_cdf(0.5 + level / 2)
    trust = steps / (steps + _TRUSTED)
    ahead = np.arange(1, errors.shape[1] + 1)
    freedom = np.maximum(_FREEDOM * steps / ahead, _FEWEST)
    wide = _student(normal, freedom)
    reach: Floats = (trust * found + (1.0 - trust) * normal * _NORMAL) * growth * rhythm[-1] * wide
    return reach


def _recency(origins: int) -> Floats:
    """How much errors of each origin count, the latest last."""
    ages = np.arange(origins)[::-1] / max(origins, 1)
    weights: Floats = 0.5 ** (ages / _HALF)
    return weights


def _by_steps(distance: Floats, weights: Floats) -> Floats:
    """Mean distance by steps ahead: rising, and by the root of the steps where few are known."""
    counted = (weights > 0).sum(axis=0)
    known = max(int((counted >= min(_COUNTED, counted.max())).sum()), 1)
    counts = weights.sum(axis=0)
    means = (distance * weights).sum(axis=0)[:known] / np.maximum(counts[:known], _TINY)
    rising = _rising(means, counts[:known])
    ahead = np.arange(1, distance.shape[1] + 1)
    return np.asarray(np.append(rising, rising[-1] * np.sqrt(ahead[known:] / known)), np.float64)


def _rising(values: Floats, weights: Floats) -> Floats:
    """The nearest sequence that never falls (pool adjacent violators)."""
    blocks = list[tuple[float, float, int]]()
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        last = (value, max(weight, _TINY), 1)
        while blocks and blocks[-1][0] > last[0]:
            before = blocks.pop()
            both = before[1] + last[1]
            mean = (before[0] * before[1] + last[0] * last[1]) / both
            last = (mean, both, before[2] + last[2])
        blocks.append(last)
    return np.repeat([each[0] for each in blocks], [each[2] for each in blocks])


def _by_phase(distance: Floats, weights: Floats, phases: Ints, steps: int) -> Floats:
    """How much farther off a phase is than others, as far as it was seen: shape of `phases`."""
    number = int(phases.max()) + 1
    if number == 1:
        return np.ones(phases.shape)
    past = phases[:-1].ravel()
    sums = np.bincount(past, (distance * weights).ravel(), number)
    counts = np.bincount(past, weights.ravel(), number)
    mean = sums.sum() / max(counts.sum(), _TINY)
    if mean <= 0:
        return np.ones(phases.shape)
    # Overlapping forecasts see a step many times: it counts once a period.
    periods = steps / number
    means = np.where(counts > 0, sums / np.maximum(counts, _TINY), mean) / mean
    spread = (periods * means + _PHASES) / (periods + _PHASES)
    if number >= _HOURS:
        spread = (np.roll(spread, 1) + 2.0 * spread + np.roll(spread, -1)) / 4.0
    return np.asarray(spread[phases], np.float64)


def _quantile(values: Floats, weights: Floats, level: float) -> float:
    """The value up to which there is so large a share of the weights."""
    order = np.argsort(values, kind="stable")
    ranked = weights[order]
    middles = np.cumsum(ranked) - ranked / 2
    return float(np.interp(level * ranked.sum(), middles, values[order]))


def _student(normal: float, freedom: Floats) -> Floats:
    """Quantiles of Student's t by the normal one (Abramowitz and Stegun, 1964, 26.7.5)."""
    square = normal**2
    first, second = (square + 1) / 4, (5 * square**2 + 16 * square + 3) / 96
    third = (3 * square**3 + 19 * square**2 + 17 * square - 15) / 384
    found: Floats = 1.0 + first / freedom + second / freedom**2 + third / freedom**3
    return found

"""How much a dollar weighs against quality: found on what is known, for a target; pure functions.

Who is asked is who has the highest `quality - weight * dollars`. What a weight would have led to is
estimated doubly robustly (Dudik, Langford and Li, 2011): by what was expected, corrected by what
was seen where the same model had been asked, over how likely that was.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FRUGAL", "Known", "affordable", "calibrated", "doubly_robust", "picks"]

Floats = NDArray[np.float64]

FRUGAL = 1e12
"""A weight under which the cheapest is asked, whatever it is worth."""

_STEPS, _LOWEST, _HIGHEST = 60, 1e-3, 1e4
"""Weights that are tried, each against what the dearest model costs on average."""

_ROWS, _FEWEST = 3_000, 100
"""Prompts by which a weight is found: the newest, and how many it takes."""

_DRAWS = 200
"""Samples of the bootstrap."""

_LEAST_PROPENSITY = 0.05
"""Below, one outcome would outweigh all others."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of some prompts; each has the shape `(prompts, models)`."""

    expected: Floats
    """Quality by a model that did not learn from these very outcomes."""
    scores: Floats
    """0 to 1, NaN where a model was not asked."""
    propensities: Floats
    """How likely it was that a model was asked, where it was."""
    costs: Floats
    """Dollars."""


def calibrated(known: Known, share: float, *, confidence: float, seed: int = 0) -> float | None:
    """The largest weight that keeps a share of the best single model's quality.

    Args:
        known: Of the prompts; the newest last.
        share: Of the best model's mean quality, 0 to 1.
        confidence: How sure to be of it, 0.5 to 1: of so many bootstrap samples it must hold.
        seed: Of the bootstrap.

    Returns:
        Quality for a dollar; `None` if too little is known, or no weight keeps it.
    """
    known = _newest(known)
    if len(known.scores) < _FEWEST:
        return None
    values, weights = doubly_robust(known), _grid(known)
    picked = np.stack([picks(known.expected, known.costs, each) for each in weights], axis=1)
    routed = np.take_along_axis(values, picked, axis=1)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), _DRAWS)
    best = values[:, int(values.mean(axis=0).argmax())]
    kept = (draws @ routed) / np.maximum(draws @ best, 1e-9)[:, np.newaxis]
    enough = np.flatnonzero(np.quantile(kept, 1 - confidence, axis=0) >= share)
    return float(weights[enough.max()]) if len(enough) else None


def affordable(expected: Floats, costs: Floats, dollars: float) -> float:
    """The smallest weight under which a call costs no more than this on average.

    Args:
        expected: Quality, shape `(calls, models)`, at least one call.
        costs: Dollars, of the same shape.
        dollars: For one call.

    Returns:
        Quality for a dollar; `FRUGAL` if even the cheapest models cost more.
    """
    known = Known(expected, expected, np.ones_like(expected), costs)
    for weight in _grid(known):
        picked = picks(expected, costs, float(weight))
        if np.take_along_axis(costs, picked[:, np.newaxis], axis=1).mean() <= dollars:
            return float(weight)
    return FRUGAL


def picks(expected: Floats, costs: Floats, weight: float) -> NDArray[np.intp]:
    """Which model each prompt goes to, shape `(prompts,)`."""
    return np.asarray(np.argmax(expected - weight * costs, axis=1), np.intp)


def doubly_robust(known: Known) -> Floats:
    """What each model's answer to each prompt was worth, shape `(prompts, models)`."""
    likely = np.maximum(known.propensities, _LEAST_PROPENSITY)
    seen = ~np.isnan(known.scores)
    corrected = (np.where(seen, known.scores, known.expected) - known.expected) / likely
    return np.asarray(known.expected + corrected, np.float64)


def _newest(known: Known) -> Known:
    some = slice(-_ROWS, None)
    return Known(
        known.expected[some], known.scores[some], known.propensities[some], known.costs[some]
    )


def _grid(known: Known) -> Floats:
    dearest = max(float(known.costs.mean(axis=0).max()), 1e-12)
    grid = np.geomspace(_LOWEST, _HIGHEST, _STEPS) / dearest
    return np.concatenate([[0.0], grid])

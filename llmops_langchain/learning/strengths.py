"""How strong those who ran tasks are, whatever tasks they met, and how much tasks differ."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.learning.beliefs import Floats

__all__ = ["Strengths", "strengths_of"]

_TASKS, _RUNNERS = 2.5, 0.5
"""Variances of log-odds among tasks and among runners, before anything was learnt of them."""

_TASKS_WEIGHT, _RUNNERS_WEIGHT = 10.0, 5.0
"""How many tasks and how many runners those are worth."""

_PASSES = 3
_SMALL = 1e-9
_LOGISTIC = np.pi**2 / 3
"""Variance of the noise that turns log-odds into an outcome."""


@dataclass(frozen=True, slots=True)
class Strengths:
    """What runs say of tasks and runners in general."""

    rate: float
    """The share of runs that succeeds, shrunk a little to one half."""
    runners: Floats
    """Log-odds that each runner adds, by code."""
    doubt: Floats
    """The variance of each."""
    shares: Floats
    """The weight of the runs of each; sums to 1."""
    apart: float
    """The variance of log-odds among tasks."""
    spread: float
    """The variance of log-odds among runners."""
    alone: Floats
    """What a run counts for other tasks, shape `(n,)`: runs of one task say the same again."""


def strengths_of(
    outcomes: Floats,
    weights: Floats,
    tasks: NDArray[np.int64],
    runners: NDArray[np.int64],
    *,
    codes: int,
) -> Strengths:
    """Difficulty and strength side by side, each shrunk to its mean (Rasch, 1960).

    Args:
        outcomes: 1 or 0 or a share, shape `(n,)`.
        weights: Shape `(n,)`.
        tasks: Codes, shape `(n,)`.
        runners: Codes, shape `(n,)`.
        codes: Above every code of a runner.
    """
    total = float(weights.sum())
    rate = (float(weights @ outcomes) + 1.0) / (total + 2.0)
    per_task = np.bincount(tasks, weights)
    ran = np.bincount(runners, weights, codes)
    ease, strong, doubt = np.zeros(len(per_task)), np.zeros(codes), np.full(codes, _RUNNERS)
    apart, spread = _TASKS, _RUNNERS
    repeated, seen = per_task > 1.0 + _SMALL, ran > 0.0
    for _ in range(_PASSES if total else 0):
        middle = np.log(rate / (1.0 - rate)) * np.sqrt(1.0 + (apart + spread) / _LOGISTIC)
        if repeated.any():
            gaps = _gaps(outcomes, weights, (middle + ease)[tasks] + strong[runners])
            ease, doubts = _step(gaps, tasks, ease, apart)
            apart = _variance(_TASKS, _TASKS_WEIGHT, ease[repeated], doubts[repeated])
        gaps = _gaps(outcomes, weights, (middle + ease)[tasks] + strong[runners])
        strong, doubt = _step(gaps, runners, strong, spread)
        spread = _variance(_RUNNERS, _RUNNERS_WEIGHT, strong[seen], doubt[seen])
    shared = apart / (apart + _LOGISTIC)
    alone = 1.0 / (1.0 + np.maximum(per_task - 1.0, 0.0) * shared)
    shares = ran / total if total else np.full(codes, 1.0 / max(codes, 1))
    return Strengths(rate, strong, doubt, shares, apart, spread, alone[tasks])


def _step(
    gaps: tuple[Floats, Floats], codes: NDArray[np.int64], found: Floats, variance: float
) -> tuple[Floats, Floats]:
    """Newton's step for what each code adds to the log-odds, and the doubt left of each."""
    slope = np.bincount(codes, gaps[0], len(found)) - found / variance
    curved = np.bincount(codes, gaps[1], len(found)) + 1.0 / variance
    doubts: Floats = (1.0 / curved).astype(np.float64)
    return found + slope / curved, doubts


def _gaps(outcomes: Floats, weights: Floats, log_odds: Floats) -> tuple[Floats, Floats]:
    """By how much outcomes are above what is expected, and how much that tells."""
    # In place, since at 100,000 runs fresh memory takes longer than the arithmetic.
    chances = np.exp(np.negative(log_odds, out=log_odds), out=log_odds)
    np.reciprocal(np.add(chances, 1.0, out=chances), out=chances)
    gaps, curves = outcomes - chances, 1.0 - chances
    gaps *= weights
    curves *= chances
    curves *= weights
    return gaps, curves


def _variance(prior: float, worth: float, means: Floats, doubts: Floats) -> float:
    return (prior * worth + float((means**2 + doubts).sum())) / (worth + len(means))

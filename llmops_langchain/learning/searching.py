"""The runs of a mirror that are like what is asked, the best first."""

from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.learning.columns import highest
from llmops_langchain.learning.filters import Filter
from llmops_langchain.learning.mirror import Asked, Evidence, Mirror
from llmops_langchain.learning.ranking import fused

__all__ = ["Hit", "Wish", "best", "similarity"]

Floats = NDArray[np.float64]

_PRIOR = 2.0
"""Runs that a success rate is shrunk by, half of them successes, where outcomes count."""


class Wish(NamedTuple):
    """How somebody wants experiences ranked."""

    k: int = 5
    filter: Filter = Filter()
    outcome_weight: float = 0.0
    """0: outcomes do not count; 1: what always failed comes last."""
    half_life: float | None = None
    """Seconds after which a run counts half; `None`: age counts as little as was learnt."""
    min_score: float = 0.0


class Hit(NamedTuple):
    """A run that is shown, for itself and for its like."""

    run_id: UUID
    score: float
    similarity: float
    runs: int
    """How many of one project, task, stack, model and agent there were."""
    successes: int


def best(mirror: Mirror, asked: Asked, wish: Wish, now: float) -> list[Hit]:
    """The `k` best, each for all runs of its project, task, stack, model and agent.

    Args:
        mirror: Where to search.
        asked: What they should be like.
        wish: Which, and how many.
        now: UTC seconds since the Unix epoch.
    """
    fits = mirror.fitting(wish.filter)
    if not fits.any() or wish.k < 1:
        return []
    evidence = mirror.evidence(asked)
    groups, success = mirror.column("group"), mirror.column("success")
    counts = np.bincount(groups, weights=fits).astype(np.float64)
    successes = np.bincount(groups, weights=fits * success).astype(np.float64)
    likeness = similarity(evidence)
    scores = fused(evidence.dense, evidence.words, evidence.ages, evidence.stack)
    scores = scores * _wished(wish, counts, successes)[groups]
    if wish.half_life is not None:
        scores = scores * 0.5 ** (np.maximum(0.0, now - mirror.column("ts")) / wish.half_life)
    return [
        Hit(
            mirror.ids[place],
            float(scores[place]),
            float(likeness[place]),
            int(counts[groups[place]]),
            int(successes[groups[place]]),
        )
        for place in _firsts(np.where(fits, scores, -1.0), groups, evidence.ages, wish.k)
        if scores[place] >= wish.min_score
    ]


def similarity(evidence: Evidence) -> Floats:
    """How much the tasks are alike, 0 to 1, whatever their age and stack; 1 for the same task."""
    alike = fused(evidence.dense, evidence.words, np.zeros(len(evidence.words)), None)
    return np.where(evidence.same_task, 1.0, alike)


def _wished(wish: Wish, counts: Floats, successes: Floats) -> Floats:
    rates = (successes + _PRIOR / 2) / (counts + _PRIOR)
    shares: Floats = 1.0 - wish.outcome_weight * (1.0 - rates)
    return shares


def _firsts(scores: Floats, groups: NDArray[np.int64], ages: Floats, k: int) -> list[int]:
    """The newest run of each of the `k` best groups."""
    best_of = np.full(int(groups.max()) + 1, -1.0)
    np.maximum.at(best_of, groups, scores)
    chosen = highest(best_of, k)
    chosen = chosen[best_of[chosen] >= 0.0]
    found = []
    for group in chosen:
        (places,) = np.nonzero((groups == group) & (scores >= 0.0))
        found.append(int(places[np.argmin(ages[places])]))
    return found

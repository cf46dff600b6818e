"""How well each experience fits what is asked: vectors, words, age and tech stack in one score."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["WEIGHTS", "FusionWeights", "fused"]

Floats = NDArray[np.float64]
Evidence = NDArray[np.float32] | NDArray[np.float64]


class FusionWeights(NamedTuple):
    """What each kind of evidence counts, against the shared words, which count 1."""

    dense: float = 0.4
    """The cosine of the vectors; a negative one counts as 0."""
    age: float = 0.03
    """Taken away for each time the number of newer experiences grows e-fold."""
    stack: float = 0.15
    """An equal tech stack, against one that shares nothing."""
    middle: float = 0.3
    """Where the score is one half."""
    slope: float = 10.0
    """How fast it changes there."""


WEIGHTS = FusionWeights()


def fused(
    dense: Evidence | None,
    words: Evidence,
    ages: Evidence,
    stack: Evidence | None,
    weights: FusionWeights = WEIGHTS,
) -> Floats:
    """The score of each candidate, 0 to 1, shape `(n,)`; it does not depend on the others.

    Args:
        dense: The cosine of its vector with what is asked; `None` if there are no vectors: then
            words count in their place.
        words: How much of the wording it has, 0 to 1: `WordIndex.scores`.
        ages: How many are newer.
        stack: How much of the tech stack both share, 0 to 1; `None` if none is asked for.
        weights: What each counts.

    Example:
        >>> cosines, words = np.array([0.9, 0.1]), np.array([0.4, 0.02])
        >>> fused(cosines, words, np.array([3, 7]), None).round(2).tolist()
        [0.99, 0.07]
    """
    shared = np.clip(words, 0.0, 1.0).astype(np.float64)
    total = shared + weights.dense * (shared if dense is None else np.clip(dense, 0.0, 1.0))
    if stack is not None:
        total -= weights.stack * (1.0 - np.clip(stack, 0.0, 1.0))
    total -= weights.age * np.log1p(np.maximum(ages, 0.0))
    scores: Floats = 1.0 / (1.0 + np.exp(-weights.slope * (total - weights.middle)))
    return scores

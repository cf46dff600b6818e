"""How well each experience fits what is asked: vectors, words, age and tech stack in one score."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["WEIGHTS", "FusionWeights", "fused"]

Floats = NDArray[np.float64]


_OLDEST = 1_000
"""Newer experiences from which on age makes no difference, so that what is alike never scores as
what is not."""


class FusionWeights(NamedTuple):
    """What each kind of evidence counts, against the shared words, which count 1.

    By `benchmarks/make_learning_weights.py`, on 577 links between issues of nine projects
    (Choetkiertikul et al., 2018): with each project left out in turn the others choose 0.3 and 0.02
    for the mean of three embedders, MiniLM alone 0.4 and 0.03. These lie between; from 0.2 to 0.5
    and from 0.02 to 0.03 little changes.
    Not learnt, since issues have no tech stack and a link says nothing of 0 to 1: `stack`, and
    `middle` and `slope`, which lie between unrelated tasks and paraphrases.
    """

    dense: float = 0.35
    """The cosine of the vectors; a negative one counts as 0."""
    age: float = 0.025
    """Taken away for each time the number of newer experiences grows e-fold, up to `_OLDEST`."""
    stack: float = 0.15
    """An equal tech stack, against one that shares nothing."""
    middle: float = 0.3
    """Where the score is one half."""
    slope: float = 10.0
    """How fast it changes there."""


WEIGHTS = FusionWeights()


def fused(
    dense: ArrayLike | None,
    words: ArrayLike,
    ages: ArrayLike,
    stack: ArrayLike | None,
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
        [0.98, 0.05]
    """
    shared = _share(words)
    total = shared + weights.dense * (shared if dense is None else _share(dense))
    if stack is not None:
        total -= weights.stack * (1.0 - _share(stack))
    total -= weights.age * np.log1p(np.clip(np.asarray(ages, np.float64), 0.0, _OLDEST))
    scores: Floats = 1.0 / (1.0 + np.exp(-weights.slope * (total - weights.middle)))
    return scores


def _share(values: ArrayLike) -> Floats:
    return np.clip(np.asarray(values, np.float64), 0.0, 1.0)

"""Whether a sentence is much nearer to examples of one kind than to those of the others."""

import logging
from collections.abc import Mapping, Sequence
from threading import Lock

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import ArrayLike, NDArray

from llmops_langchain.learning.definitions import Lexicon

__all__ = ["Prototypes", "directions"]

_MARGIN = 0.3
"""Cosine by which a sentence must be nearer than to any other pattern, or to none. Below 0.2 more
wrong patterns are found than missed ones, with word vectors and with MiniLM."""

logger = logging.getLogger(__name__)

Vectors = NDArray[np.float32]


class Prototypes:
    """Example sentences as vectors, made at the first question, once for all threads.

    Args:
        lexicon: Whose `prototypes` and `none` are the examples.
        embeddings: What makes the vectors.
    """

    def __init__(self, lexicon: Lexicon, embeddings: Embeddings) -> None:
        self._lexicon, self._embeddings, self._lock = lexicon, embeddings, Lock()
        self._made: dict[str, Vectors] | None = None

    def near(self, sentences: Sequence[str], names: Sequence[str]) -> list[bool]:
        """Whether each sentence is much nearer to the pattern beside it than to others.

        Args:
            sentences: Any texts.
            names: A pattern for each.

        Returns:
            In their order; `False` for a pattern without prototypes, and for all of them if
            nothing can be embedded.
        """
        try:
            vectors, made = self._embedded(sentences), self._vectors()
        except Exception as error:  # noqa: BLE001 - whatever an embedder raises, words are left
            logger.warning("patterns are found by words alone: %s", type(error).__name__)
            return [False] * len(sentences)
        return [_is_near(vector, name, made) for vector, name in zip(vectors, names, strict=True)]

    def _vectors(self) -> dict[str, Vectors]:
        with self._lock:
            if self._made is None:
                known = {name: each.prototypes for name, each in self._lexicon.patterns.items()}
                self._made = {
                    name: self._embedded(texts)
                    for name, texts in {**known, "": self._lexicon.none}.items()
                }
            return self._made

    def _embedded(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, 0), np.float32)
        return directions(self._embeddings.embed_documents(list(texts)))


def directions(vectors: ArrayLike) -> Vectors:
    """Vectors scaled to length 1; one of zeros, of a text without any word, stays as it is.

    Args:
        vectors: `n` rows of `d` numbers.

    Returns:
        `float32`, shape `(n, d)`.
    """
    rows = np.nan_to_num(np.asarray(vectors, np.float32))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), np.float32)


def _is_near(vector: Vectors, name: str, made: Mapping[str, Vectors]) -> bool:
    others = max(_nearest(vector, each) for other, each in made.items() if other != name)
    return len(made[name]) > 0 and _nearest(vector, made[name]) > others + _MARGIN


def _nearest(vector: Vectors, others: Vectors) -> float:
    return float((others @ vector).max()) if len(others) else 0.0

"""Vectors of words and pieces of words, for machines where nothing is installed."""

import math
import unicodedata
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from llmops_langchain.embeddings.base import LocalEmbeddings
from llmops_langchain.errors import ConfigurationError

__all__ = ["HashedEmbeddings"]

_EDGES = ".,;:!?…\"'`()[]{}<>“”\u2018\u2019«»„¿¡。、*_~"
"""No part of a word at its beginning or end; other signs are: C++ is not C#, $5 is not 5."""
_PIECES = (3, 4, 5)
_PAIR_WEIGHT = 0.3  # of a pair of words; a word and a piece weigh 1


class HashedEmbeddings(LocalEmbeddings):
    """Unit vectors of words, pairs of words and pieces of 3 to 5 letters, by a stable hash.

    They know spelling and no meaning: two texts are near if they share words. Each feature adds
    ±(1 + ln count) to one number of the vector; the sign and the place come from its hash, so that
    collisions cancel on average (Weinberger et al., 2009). A text has the same vector in every
    process and on every machine. Thread-safe; needs nothing beside numpy.

    Args:
        dimensions: Length of the vectors; fewer mean more collisions.

    Raises:
        ConfigurationError: If `dimensions` is not positive.

    Example:
        >>> from llmops_langchain.embeddings import unit
        >>> embeddings = HashedEmbeddings()
        >>> a, b, c = unit(embeddings.embed_documents(["resetting it", "reset it", "good day"]))
        >>> bool(a @ b > a @ c)
        True
    """

    model_name = "hashed-words-1"
    """Ends in another number when the features change: old vectors are no longer comparable."""

    def __init__(self, dimensions: int = 512) -> None:
        if dimensions < 1:
            msg = f"`dimensions` must be positive, got {dimensions!r}"
            raise ConfigurationError(msg)
        self.dimensions = dimensions

    @override
    def _vectors(self, texts: list[str]) -> NDArray[np.float64]:
        return np.stack([self._sum(text) for text in texts])

    def _sum(self, text: str) -> NDArray[np.float64]:
        plain = unicodedata.normalize("NFKC", text).lower()
        words = [word for part in plain.split() if (word := part.strip(_EDGES))]
        weights = {
            feature: (1.0 + math.log(count)) * weight
            for features, weight in ((_single(words), 1.0), (_pairs(words), _PAIR_WEIGHT))
            for feature, count in Counter(features).items()
        }
        total = self._placed(weights)
        # No words, or all that there is cancels: then the text counts as one feature.
        return total if total.any() else self._placed({f"text {' '.join(plain.split())}": 1.0})

    def _placed(self, weights: dict[str, float]) -> NDArray[np.float64]:
        hashes = np.fromiter(map(_hash, weights), np.uint64, len(weights))
        signed = np.fromiter(weights.values(), np.float64, len(weights))
        signed[hashes & np.uint64(1) == 0] *= -1
        places = (hashes >> np.uint64(1)) % np.uint64(self.dimensions)
        total = np.zeros(self.dimensions)
        np.add.at(total, places.astype(np.intp), signed)
        return total


def _single(words: list[str]) -> Iterator[str]:
    """Each word, and its pieces with the word's edges marked."""
    for word in words:
        yield f"word {word}"
        edged = f"<{word}>"
        for size in _PIECES:
            yield from (f"piece {edged[i : i + size]}" for i in range(len(edged) - size + 1))


def _pairs(words: list[str]) -> Iterator[str]:
    """Neighbouring words; the first and the last have an edge for a neighbour."""
    edged = ["<", *words, ">"] if words else []
    return (f"pair {a} {b}" for a, b in pairwise(edged))


def _hash(feature: str) -> int:
    return int.from_bytes(blake2b(feature.encode("utf-8"), digest_size=8).digest(), "little")

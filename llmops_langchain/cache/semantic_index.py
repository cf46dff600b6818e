"""Where questions are found by meaning; everything above it is the same for all of them."""

from collections.abc import Collection
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Neighbour", "Outdated", "SemanticIndex"]


class Neighbour(NamedTuple):
    """A known question near to the one that is asked."""

    key: bytes
    """Of its answer in the cache's store."""
    question: str
    cosine: float
    """Of the two questions' vectors, -1 to 1."""


class Outdated(NamedTuple):
    """A question that is known by another embedder's vector alone."""

    scope: bytes
    key: bytes
    question: str
    expires_at: float | None


class SemanticIndex(Protocol):
    """Questions and their vectors, which threads and processes share, for one embedder.

    A *scope* is a digest of all that must be equal, the question apart: questions of different
    scopes never meet. Vectors are `float32`, shape `(dim,)`, of the same `dim` for one embedder.
    A method that has to ask the database raises `StorageError` when it cannot do it.
    """

    def add(
        self,
        scope: bytes,
        key: bytes,
        question: str,
        vector: NDArray[np.float32],
        *,
        now: float,
        expires_at: float | None,
    ) -> None:
        """Know a question from now on, in place of what was known under its key.

        Args:
            scope: 32 bytes.
            key: 32 bytes that name its answer in the cache's store.
            question: The question itself.
            vector: Its vector.
            now: Epoch seconds.
            expires_at: When its answer goes stale; `None` never.
        """

    def nearest(
        self, scope: bytes, vector: NDArray[np.float32], *, k: int, now: float
    ) -> list[Neighbour]:
        """The `k` nearest known questions, best first, exactly; none whose answer is stale."""

    def drop(self, scope: bytes, keys: Collection[bytes]) -> None:
        """Forget questions whose answers are gone, whoever embedded them."""

    def touch(self, used: Collection[tuple[bytes, bytes]], *, now: float) -> None:
        """Note that these (scope, key) were of use, so that others are let go first."""

    def clear(self) -> None:
        """Forget every question, whoever embedded it."""

    def forget(self) -> None:
        """Drop what is in memory beside the database; it is read again when it is needed."""

    def look_around(self) -> None:
        """Notice what other processes added, dropped or cleared; called twice a second."""

    def outdated(self, limit: int) -> list[Outdated]:
        """Questions that only other embedders know, to be added with a vector of this one.

        An object offers a question once, so that one that cannot be embedded holds up no other.
        """

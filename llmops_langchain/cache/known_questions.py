"""The questions of one scope in memory."""

import heapq
import threading
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.cache.semantic_index import Neighbour
from llmops_langchain.embeddings import VectorTable

__all__ = ["KnownQuestions"]

_QUESTION = 500
"""Bytes a question takes in CPython 3.11 beside its numbers and its text."""


class KnownQuestions:
    """Questions with their vectors, those used last; threads may share them.

    Args:
        max_items: How many are kept.
        dimensions: Numbers in a vector; those of any other length belong to another embedder.
    """

    def __init__(self, max_items: int, dimensions: int) -> None:
        self._vectors = VectorTable[bytes](max_items)
        self._dimensions = dimensions
        self._known: dict[bytes, tuple[str, float | None]] = {}
        self._ends: list[tuple[float, bytes]] = []  # a heap; some ends are out of date
        self._characters = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def size(self) -> int:
        """About how many bytes they take."""
        return len(self._known) * (_QUESTION + 4 * self._dimensions) + self._characters

    def put(
        self, key: bytes, question: str, vector: NDArray[np.float32], expires_at: float | None
    ) -> bool:
        """Know a question, in place of what was known under its key; whether its vector fits."""
        if vector.shape != (self._dimensions,):
            return False
        with self._lock:
            evicted = self._vectors.put(key, vector)
            self._drop([key] if evicted is None else [key, evicted])
            self._known[key] = (question, expires_at)
            self._characters += len(question)
            if expires_at is not None:
                heapq.heappush(self._ends, (expires_at, key))
        return True

    def drop(self, keys: Iterable[bytes]) -> None:
        """Forget these."""
        with self._lock:
            for key in self._drop(keys):
                self._vectors.drop(key)

    def use(self, key: bytes) -> None:
        """Note that one was of use, so that others are let go first."""
        self._vectors.use(key)

    def nearest(self, vector: NDArray[np.float32], *, k: int, now: float) -> list[Neighbour]:
        """The nearest `k`, best first; none that is stale."""
        if vector.shape != (self._dimensions,):
            return []
        with self._lock:
            self._let_stale_go(now)
            found = self._vectors.search(vector, k)
            return [Neighbour(key, self._known[key][0], cosine) for key, cosine in found]

    def _let_stale_go(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            end, key = heapq.heappop(self._ends)
            if key in self._known and self._known[key][1] == end:
                self._drop([key])
                self._vectors.drop(key)

    def _drop(self, keys: Iterable[bytes]) -> list[bytes]:
        """Those that were known."""
        dropped = [key for key in keys if key in self._known]
        for key in dropped:
            self._characters -= len(self._known.pop(key)[0])
        return dropped

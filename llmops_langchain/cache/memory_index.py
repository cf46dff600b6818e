"""A semantic index in the memory of one process: the plainest, and the one others are held to."""

import threading
from collections import OrderedDict
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.cache.known_questions import KnownQuestions
from llmops_langchain.cache.semantic_index import Neighbour, Outdated
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.storage.fork import on_fork

__all__ = ["MemoryIndex"]


class MemoryIndex:
    """Questions that end with their process; all threads of it may share one object.

    A forked child starts with an empty one. The docstrings of `SemanticIndex` say what each method
    does.

    Args:
        max_items: Questions kept for each scope, least recently used out.
        max_scopes: Scopes kept, least recently used out.

    Raises:
        ConfigurationError: If a bound is not positive.

    Example:
        >>> from llmops_langchain.embeddings import unit
        >>> index, (vector,) = MemoryIndex(), unit([[3, 4]])
        >>> index.add(b"scope", b"key", "Why?", vector, now=0.0, expires_at=None)
        >>> index.nearest(b"scope", vector, k=1, now=0.0)[0].question
        'Why?'
    """

    def __init__(self, *, max_items: int = 10_000, max_scopes: int = 1_000) -> None:
        for name, bound in (("max_items", max_items), ("max_scopes", max_scopes)):
            if bound <= 0:
                msg = f"`{name}` must be positive, got {bound!r}"
                raise ConfigurationError(msg)
        self._max_items, self._max_scopes = max_items, max_scopes
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Start empty: another thread of the parent may have been in the middle of a change."""
        self._lock = threading.Lock()
        self._scopes: OrderedDict[bytes, KnownQuestions] = OrderedDict()  # as `_vectors` above

    def add(
        self,
        scope: bytes,
        key: bytes,
        question: str,
        vector: NDArray[np.float32],
        *,
        now: float,  # noqa: ARG002 - of `SemanticIndex`; the order is enough
        expires_at: float | None,
    ) -> None:
        """Know a question from now on, in place of what was known under its key."""
        with self._lock:
            if scope not in self._scopes:
                self._scopes[scope] = KnownQuestions(self._max_items, len(vector))
            self._scopes.move_to_end(scope)
            if len(self._scopes) > self._max_scopes:
                self._scopes.popitem(last=False)
            known = self._scopes[scope]
        known.put(key, question, vector, expires_at)

    def nearest(
        self, scope: bytes, vector: NDArray[np.float32], *, k: int, now: float
    ) -> list[Neighbour]:
        """The `k` nearest known questions, best first, exactly; none whose answer is stale."""
        with self._lock:
            if scope not in self._scopes:
                return []
            self._scopes.move_to_end(scope)
            known = self._scopes[scope]
        return known.nearest(vector, k=k, now=now)

    def drop(self, scope: bytes, keys: Collection[bytes]) -> None:
        """Forget questions whose answers are gone."""
        if known := self._scopes.get(scope):
            known.drop(keys)

    def touch(self, used: Collection[tuple[bytes, bytes]], *, now: float) -> None:  # noqa: ARG002 - as above
        """Note that these (scope, key) were of use, so that others are let go first."""
        for scope, key in used:
            if known := self._scopes.get(scope):
                known.use(key)

    def clear(self) -> None:
        """Forget every question."""
        with self._lock:
            self._scopes = OrderedDict()

    def forget(self) -> None:
        """Nothing: there is nothing beside the memory that it could be read from again."""

    def look_around(self) -> None:
        """Nothing: there are no others."""

    def outdated(self, limit: int) -> list[Outdated]:  # noqa: ARG002 - of `SemanticIndex`
        """None: an object serves one embedder."""
        return []

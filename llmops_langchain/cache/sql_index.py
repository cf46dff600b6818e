"""A semantic index in the database, shared by every process that uses it."""

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.cache.index_rows import IndexRows, Known
from llmops_langchain.cache.mirrors import Mirrors
from llmops_langchain.cache.semantic_index import Neighbour, Outdated
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.storage import Database
from llmops_langchain.storage.packing import Packer

__all__ = ["SqlIndex"]

_LOOKS_BETWEEN_TOUCHES = 120
"""The rows are told once a minute which of them were of use."""


class SqlIndex:
    """Questions in the database, searched exactly: in memory, or by pgvector where it is.

    Where PostgreSQL has the extension `vector` (`CREATE EXTENSION vector`, which is left to you)
    and nothing is encrypted, the database searches. Else each scope is read into memory when it is
    asked first. Rows are the same either way, so processes may differ. The docstrings of
    `SemanticIndex` say what each method does. A write waits a quarter of a second for other writers
    of an SQLite file, then gives up: a user waits for the answer.

    Args:
        database: Where the questions are kept.
        packer: How question and vector are written there.
        space: Whose they are; spaces never meet.
        embedder: Identity of the embedder; embedders see only vectors of their own.
        max_items: Questions kept for each scope, least recently used out. Each process looks after
            it whenever it has added one percent, so N processes may pass it by N percent.
        max_scopes: Scopes in memory, least recently used out.
        pgvector: Let the database search where it can.
        on_unreadable: Called for each row that is damaged, or of another encryption key; it is
            passed by.

    Raises:
        ConfigurationError: If `space` is no identifier, or a bound is not positive.

    Example:
        >>> from llmops_langchain.embeddings import unit
        >>> index = SqlIndex(Database("sqlite://"), Packer(), space="answers", embedder="mine")
        >>> (vector,) = unit([[3, 4]])
        >>> index.add(b"scope", b"key", "Why?", vector, now=0.0, expires_at=None)
        >>> index.nearest(b"scope", vector, k=1, now=0.0)[0].question
        'Why?'
    """

    def __init__(
        self,
        database: Database,
        packer: Packer,
        *,
        space: str,
        embedder: str,
        max_items: int = 10_000,
        max_scopes: int = 1_000,
        pgvector: bool = True,
        on_unreadable: Callable[[], None] = lambda: None,
    ) -> None:
        if not space.isidentifier():
            msg = f"`space` must be an identifier, got {space!r}"
            raise ConfigurationError(msg)
        for name, bound in (("max_items", max_items), ("max_scopes", max_scopes)):
            if bound <= 0:
                msg = f"`{name}` must be positive, got {bound!r}"
                raise ConfigurationError(msg)
        self._rows = IndexRows(
            database,
            packer,
            space=space,
            embedder=embedder,
            max_items=max_items,
            on_unreadable=on_unreadable,
        )
        self._mirrors = Mirrors(self._rows, max_scopes=max_scopes)
        self._schema: str | None = None  # that pgvector is in
        self._looks_for_pgvector = pgvector
        self._now = 0.0  # the latest moment it was told of
        self._looks = 0

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
        """Know a question from now on, in place of what was known under its key."""
        self._now = max(self._now, now)
        known = Known(key, question, vector, expires_at)
        self._rows.add(scope, known, now=now)
        self._mirrors.added(scope, known)

    def nearest(
        self, scope: bytes, vector: NDArray[np.float32], *, k: int, now: float
    ) -> list[Neighbour]:
        """The `k` nearest known questions, best first, exactly; none whose answer is stale."""
        self._now = max(self._now, now)
        if self._looks_for_pgvector:
            self._schema = self._rows.pgvector()
            self._looks_for_pgvector = False
        if self._schema is None:
            return self._mirrors.nearest(scope, vector, k=k, now=now)
        found = self._rows.nearest(self._schema, scope, vector, k=k, now=now)
        near = [Neighbour(each.key, each.question, _cosine(each.vector, vector)) for each in found]
        return sorted(near, key=lambda each: -each.cosine)  # pgvector rounds in another way

    def drop(self, scope: bytes, keys: Collection[bytes]) -> None:
        """Forget questions whose answers are gone, whoever embedded them."""
        if keys:
            self._mirrors.dropped(scope, keys)
            self._rows.drop(scope, keys, now=self._now)

    def touch(self, used: Collection[tuple[bytes, bytes]], *, now: float) -> None:
        """Note that these (scope, key) were of use; the rows are told within a minute."""
        self._now = max(self._now, now)
        self._rows.used.update(used)
        for scope, key in used:
            self._mirrors.used(scope, key)

    def clear(self) -> None:
        """Forget every question, whoever embedded it."""
        self._rows.clear()
        self.forget()

    def forget(self) -> None:
        """Drop what is in memory beside the database; it is read again when it is needed."""
        self._mirrors.forget()

    def look_around(self) -> None:
        """Notice what other processes added, dropped or cleared; called twice a second."""
        self._mirrors.look_around()
        self._looks += 1
        if self._looks % _LOOKS_BETWEEN_TOUCHES == 0:
            self._rows.touch(now=self._now)

    def outdated(self, limit: int) -> list[Outdated]:
        """Questions that only other embedders know, to be added with a vector of this one."""
        return self._rows.outdated(limit, now=self._now)


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return max(-1.0, min(1.0, float(one @ other)))  # rounding may go beyond

"""The scopes asked last, in memory, as the rows of all processes say."""

import threading
from collections import OrderedDict
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.cache.index_rows import Change, IndexRows, Known, Moment
from llmops_langchain.cache.known_questions import KnownQuestions
from llmops_langchain.cache.semantic_index import Neighbour
from llmops_langchain.storage.fork import on_fork

__all__ = ["Mirrors"]

_MAX_BYTES = 256 * 2**20
"""What all scopes in memory may take, the one that was asked last apart."""


class _Scope:
    """One scope: nothing until somebody asks, then every row there is."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.questions: KnownQuestions | None = None


class Mirrors:
    """Exact search in memory; a scope is read at its first question, the rows that follow by looks.

    Nobody waits for the database but the one who asks a scope that is not there yet.

    Args:
        rows: What is mirrored.
        max_scopes: Scopes kept, least recently used out.
    """

    def __init__(self, rows: IndexRows, *, max_scopes: int) -> None:
        self._rows, self._max_scopes = rows, max_scopes
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Start empty: another thread of the parent may have been in the middle of a change."""
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Drop all scopes; they are read again when they are asked."""
        with self._lock:
            self._scopes: OrderedDict[bytes, _Scope] = OrderedDict()  # least recently used first
            self._seen: frozenset[tuple[bytes, bytes, int]] = frozenset()
            self._moment: Moment | None = None

    def nearest(
        self, scope: bytes, vector: NDArray[np.float32], *, k: int, now: float
    ) -> list[Neighbour]:
        """The `k` nearest questions, best first, exactly; none that is stale."""
        mirror = self._mirror(scope)
        if mirror.questions is None:
            # Whoever comes second waits, and whoever adds a row meanwhile too.
            with mirror.lock:
                if mirror.questions is None:
                    mirror.questions = self._read(scope, vector, now)
            self._shrink()
        return mirror.questions.nearest(vector, k=k, now=now)

    def added(self, scope: bytes, known: Known) -> None:
        """Take in a row of this process, once it is stored."""
        self._apply(self._scopes, scope, known.key, known)

    def dropped(self, scope: bytes, keys: Collection[bytes]) -> None:
        """Forget the rows of these keys."""
        for key in keys:
            self._apply(self._scopes, scope, key, None)

    def used(self, scope: bytes, key: bytes) -> None:
        """Note that a row was of use."""
        mirror = self._scopes.get(scope)
        if mirror is not None and mirror.questions is not None:
            mirror.questions.use(key)

    def look_around(self) -> None:
        """Take in what was written since the last look, by one query if anything is in memory."""
        with self._looking:
            with self._lock:
                scopes, before, looked = self._scopes, self._moment, set(self._scopes)
            if before is None or not looked:
                return
            now, changes = self._rows.changed(before, looked)
            if now.cleared != before.cleared:
                self.forget()
                return
            for change in self._new(changes):
                self._apply(scopes, change.scope, change.key, self._rows.read(change))
            with self._lock:
                # A scope that came meanwhile may lack rows that this look did not ask for.
                if scopes is self._scopes and looked >= set(scopes):
                    self._moment = now

    def _mirror(self, scope: bytes) -> _Scope:
        """The scope's place in memory; whatever is written from now on finds its way there."""
        moment = self._moment or self._rows.moment()
        with self._lock:
            self._moment = self._moment or moment
            mirror = self._scopes.setdefault(scope, _Scope())
            self._scopes.move_to_end(scope)
            if len(self._scopes) > self._max_scopes:
                self._scopes.popitem(last=False)
            return mirror

    def _read(self, scope: bytes, vector: NDArray[np.float32], now: float) -> KnownQuestions:
        questions = KnownQuestions(self._rows.max_items, len(vector))
        for known in self._rows.known(scope, now=now):
            questions.put(*known)
        return questions

    def _apply(
        self, scopes: OrderedDict[bytes, _Scope], scope: bytes, key: bytes, known: Known | None
    ) -> None:
        """Put or drop a row, unless its scope is not read yet: then it will be read with it."""
        if (mirror := scopes.get(scope)) is None:
            return
        with mirror.lock:
            if mirror.questions is not None and known is not None:
                mirror.questions.put(*known)
            elif mirror.questions is not None:
                mirror.questions.drop([key])

    def _new(self, changes: list[Change]) -> list[Change]:
        """What the last look did not show: rows may come again."""
        seen, self._seen = self._seen, frozenset(change[:3] for change in changes)
        return [change for change in changes if change[:3] not in seen]

    def _shrink(self) -> None:
        """Let the scopes not asked for longest go, until the others fit."""
        with self._lock:
            sizes = {
                scope: mirror.questions.size
                for scope, mirror in self._scopes.items()
                if mirror.questions is not None
            }
            for scope in list(sizes)[:-1]:
                if sum(sizes.values()) <= _MAX_BYTES:
                    return
                del self._scopes[scope], sizes[scope]

"""The rows of a semantic index: what processes share, whichever way each of them searches."""

import hashlib
import struct
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Delete
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.cache import index_statements as sql
from llmops_langchain.cache.changes import Changes
from llmops_langchain.cache.semantic_index import Outdated
from llmops_langchain.errors import DatabaseLockedError
from llmops_langchain.storage import Database
from llmops_langchain.storage.counters import advance
from llmops_langchain.storage.packing import Packer
from llmops_langchain.storage.sweeping import BATCH, sweep

__all__ = ["Change", "IndexRows", "Known", "Moment"]

_PATIENCE = 0.25
"""Seconds a write waits for SQLite's write lock; the user waits for the answer meanwhile."""

_SHARE = 100
"""A scope's bound is looked after whenever this process has added one such part of it."""

_SCOPES_COUNTED = 10_000
"""Scopes whose additions are counted; then all counts begin anew, and each is looked after."""


class Known(NamedTuple):
    """A question as it is kept."""

    key: bytes
    question: str
    vector: NDArray[np.float32]
    expires_at: float | None


class Moment(NamedTuple):
    """What tells whether something is new."""

    cleared: int
    """How often the space had been cleared."""
    since: int
    """What was written afterwards bears this number or a later one."""


class Change(NamedTuple):
    """A row that was written."""

    scope: bytes
    key: bytes
    number: int
    body: bytes
    """As it is stored; empty once the row was dropped."""
    expires_at: float | None


class IndexRows:
    """Questions of one space in the database, as one embedder sees them.

    Args:
        database: Where the rows are.
        packer: How question and vector are written there.
        space: Whose they are; spaces never meet.
        embedder: Identity of the embedder.
        max_items: Questions kept for each scope, least recently used out. Each process looks after
            it whenever it has added one percent, so N processes may pass it by N percent.
        on_unreadable: Called for each row that is damaged, or of another encryption key.
    """

    def __init__(
        self,
        database: Database,
        packer: Packer,
        *,
        space: str,
        embedder: str,
        max_items: int,
        on_unreadable: Callable[[], None],
    ) -> None:
        self.database, self._packer = database, packer
        self.max_items, self._on_unreadable = max_items, on_unreadable
        self.is_encrypted = packer.encrypts
        self._is_sqlite = database.is_sqlite
        self._space, self._embedder = space, embedder
        # Not by the columns' names: in an UPDATE they would be taken for what it sets.
        self._named = {"of_space": space, "of_embedder": embedder}
        self._changes = Changes(database, f"semantic:{space}")
        self._cleared = f"semantic:{space}:cleared"
        self._offered = 0
        # Nobody knows what others added before: a scope's first question is a reason to look.
        self._added: dict[bytes, int] = {}
        self.used: set[tuple[bytes, bytes]] = set()
        """The (scope, key) that were of use since the rows were told last."""

    def add(self, scope: bytes, known: Known, *, now: float) -> None:
        """Keep a question in place of what was known under its key."""
        key, question, vector, expires_at = known
        row = {
            **self._of(scope),
            "key": key,
            "expires_at": expires_at,
            "body": self._packer.pack(self._name(scope, key), _body(question, vector)),
            "embedding": self._in_the_clear(vector),
            "now": now,
        }
        keep = (sql.keep(is_sqlite=self._is_sqlite), row | dict(self._changes.values))
        self.database.write(*self._changes.before, keep, lock_timeout=_PATIENCE)
        self._look_after(scope, key, now)

    def drop(self, scope: bytes, keys: Collection[bytes], *, now: float) -> None:
        """Empty the rows of these keys, whoever embedded them."""
        drop, given = sql.drop(is_sqlite=self._is_sqlite), self._of(scope) | {"now": now}
        given |= self._changes.values
        with self.database.begin(lock_timeout=_PATIENCE) as connection:
            for statement, values in self._changes.before:
                connection.execute(statement, values)
            for gone in _batches(keys):
                connection.execute(drop, given | {"gone": gone})

    def touch(self, *, now: float) -> None:
        """Tell the rows in `used` that they were."""
        used, self.used = frozenset(self.used), set()
        by_scope: dict[bytes, list[bytes]] = defaultdict(list)
        for scope, key in used:
            by_scope[scope].append(key)
        some = [(scope, each) for scope, keys in by_scope.items() for each in _batches(keys)]
        if not some:
            return
        with self.database.begin(lock_timeout=_PATIENCE) as connection:
            for scope, keys in some:
                connection.execute(sql.TOUCH, self._of(scope) | {"used": keys, "now": now})

    def clear(self) -> None:
        """Delete the rows of the space, whoever embedded them."""
        into = sqlite.insert if self._is_sqlite else postgresql.insert
        with self.database.begin() as connection:
            # First: whoever clears the space as well waits here, and holds no rows.
            connection.execute(advance(into), {"name": self._cleared})
            connection.execute(sql.CLEAR, self._named)

    def known(self, scope: bytes, *, now: float) -> list[Known]:
        """The fresh questions of a scope, the most recently used last."""
        found = self.database.read(sql.KNOWN, **self._of(scope), now=now, limit=self.max_items)
        read = (self._read(scope, key, body, expires_at) for key, body, expires_at in found)
        return [each for each in read if each is not None][::-1]

    def moment(self) -> Moment:
        """This one."""
        statement = sql.moment(is_sqlite=self._is_sqlite)
        found = self.database.read(statement, cleared=self._cleared, **self._changes.values)
        return Moment(*found[0])

    def changed(self, since: Moment, scopes: Collection[bytes]) -> tuple[Moment, list[Change]]:
        """This moment, and the rows of some scopes that were written since an earlier one.

        A row may come again; none is missed, however late its transaction was committed.
        """
        values = {
            **self._named,
            **self._changes.values,
            "cleared": self._cleared,
            "since": since.since,
            "scopes": list(scopes),
        }
        with self.database.begin(read_only=True) as connection:
            rows = connection.execute(sql.changed(is_sqlite=self._is_sqlite), values).all()
        changes = (Change(*row[2:]) for row in rows)
        # One row at least tells the moment; the rows of other scopes come without a body.
        return Moment(*rows[0][:2]), [each for each in changes if each.body is not None]

    def read(self, change: Change) -> Known | None:
        """The question; `None` if it was dropped, or cannot be read."""
        scope, key, _, body, expires_at = change
        return self._read(scope, key, body, expires_at) if body else None

    def outdated(self, limit: int, *, now: float) -> list[Outdated]:
        """Questions that only other embedders know, each offered once."""
        # What was written later waits: transactions before it may not have been committed yet.
        until = self.moment().since
        offered: dict[tuple[bytes, bytes], Outdated] = {}
        while self._offered < until and len(offered) < limit:
            found = self._page(until, limit - len(offered), now)
            for scope, key, embedder, _, body, expires_at in found:
                known = self._read(scope, key, body, expires_at, embedder=embedder)
                if known is not None:
                    offered[scope, key] = Outdated(scope, key, known.question, expires_at)
            # Each question was written by a transaction of its own: none shares its number.
            self._offered = found[-1][3] + 1 if found else until
        return list(offered.values())

    def pgvector(self) -> str | None:
        """The schema pgvector is in, where it can search: nothing is encrypted, and it is there."""
        if self._is_sqlite or self.is_encrypted:
            return None
        with self.database.begin(read_only=True) as connection:
            found: str | None = connection.execute(sql.PGVECTOR).scalar()
        return found

    def nearest(
        self, schema: str, scope: bytes, vector: NDArray[np.float32], *, k: int, now: float
    ) -> list[Known]:
        """The nearest questions, best first, found by pgvector in that schema."""
        found = self.database.read(
            sql.nearest(schema),
            **self._of(scope),
            vector=vector.tolist(),
            dimensions=len(vector),
            now=now,
            limit=k,
        )
        read = (self._read(scope, key, body, None) for key, body in found)
        return [known for known in read if known is not None]

    def _page(self, until: int, limit: int, now: float) -> Sequence[tuple[Any, ...]]:
        span = {"since": self._offered, "until": until, "limit": limit}
        return self.database.read(sql.OUTDATED, **self._named, **span, now=now)

    def _of(self, scope: bytes) -> dict[str, Any]:
        return {**self._named, "of_scope": scope}

    def _in_the_clear(self, vector: NDArray[np.float32]) -> list[float] | None:
        """For pgvector; whoever encrypts questions does not want their meaning to be read."""
        return None if self._is_sqlite or self.is_encrypted else vector.tolist()

    def _name(self, scope: bytes, key: bytes, embedder: str | None = None) -> bytes:
        """What binds a row to its place: 32 bytes."""
        named = self._space, embedder or self._embedder
        digest = hashlib.blake2b(scope + key, digest_size=32)
        digest.update("\0".join(named).encode())
        return digest.digest()

    def _read(
        self,
        scope: bytes,
        key: bytes,
        body: bytes,
        expires_at: float | None,
        *,
        embedder: str | None = None,
    ) -> Known | None:
        try:
            packed = self._packer.unpack(self._name(scope, key, embedder), body)
            return Known(key, *_question(packed), expires_at)
        except ValueError:
            self._on_unreadable()
            return None

    def _look_after(self, scope: bytes, key: bytes, now: float) -> None:
        """Now and then make room; whoever holds the write lock just then may go first."""
        slack = self.max_items // _SHARE
        added = self._added.get(scope, slack) + 1
        if len(self._added) > _SCOPES_COUNTED:
            self._added = {}
        self._added[scope] = added  # threads may lose one of these now and then: no harm is done
        try:
            # Keys are hashes: this is one question in 256, and no counter to share.
            if key[-1] == 0:
                self._sweep(sql.STALE, {"now": now})
                self._sweep(sql.ABANDONED, self._of(scope) | {"now": now})
            if added > slack:
                self._added[scope] = 0
                self._shrink(scope, self.max_items - slack, now)
        except DatabaseLockedError:
            self._added[scope] = slack

    def _sweep(self, statement: Delete, values: Mapping[str, Any]) -> None:
        sweep(self.database, statement, lock_timeout=_PATIENCE, **values)

    def _shrink(self, scope: bytes, size: int, now: float) -> None:
        """Let the least recently used go until no more than that are left, unless others do."""
        ours = self._of(scope)
        if self._count(scope) <= size:
            return
        self.touch(now=now)
        self._sweep(sql.STALE, {"now": now})
        if (excess := self._count(scope) - size) <= 0:
            return
        old = self.database.read(sql.LEAST_USED, **ours, excess=excess)
        until = max((used_at for _, used_at in old), default=0.0)
        for some in _batches(row for row, _ in old):
            with self.database.begin(lock_timeout=_PATIENCE) as connection:
                connection.execute(sql.LET_GO, {"old": some, "until": until})

    def _count(self, scope: bytes) -> int:
        count: int = self.database.read(sql.COUNT, **self._of(scope))[0][0]
        return count


def _batches(things: Iterable[Any]) -> Iterator[list[Any]]:
    """At most `BATCH` at a time: a statement takes only so many parameters."""
    every = list(things)
    return (every[at : at + BATCH] for at in range(0, len(every), BATCH))


def _body(question: str, vector: NDArray[np.float32]) -> bytes:
    """How many numbers, the numbers, the text."""
    numbers = vector.astype("<f4", copy=False).tobytes()
    return struct.pack("<I", len(vector)) + numbers + question.encode("utf-8", "surrogatepass")


def _question(body: bytes) -> tuple[str, NDArray[np.float32]]:
    """What `_body` was made of.

    Raises:
        ValueError: If it was not.
    """
    end = 4 + 4 * int.from_bytes(body[:4], "little")
    vector = np.frombuffer(body[4:end], "<f4").astype(np.float32, copy=False)
    return body[end:].decode("utf-8", "surrogatepass"), vector

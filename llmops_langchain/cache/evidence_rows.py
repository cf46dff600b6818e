"""Answers found by meaning, and what was said of them: what the error bound rests on."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Collection
from itertools import takewhile
from operator import attrgetter
from typing import Any, Literal, NamedTuple, Protocol

from sqlalchemy import Delete
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.cache import evidence_statements as sql
from llmops_langchain.cache.evidence import Source
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.storage import Database
from llmops_langchain.storage.counters import advance
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.storage.kept import Subject
from llmops_langchain.storage.leases import Into
from llmops_langchain.storage.sweeping import BATCH, sweep
from llmops_langchain.storage.types import new_id

__all__ = ["Evidence", "EvidenceRows", "Found", "Judged", "Kind", "MemoryEvidence"]

Kind = Literal["served", "shadow"]
"""Whether the answer was served, or only compared with a fresh one."""

_PATIENCE = 0.25
"""Seconds a note waits for SQLite's write lock; the user waits for the answer meanwhile."""

_WAITS_FOR = 7 * 86_400.0
"""Seconds within which an answer is judged, or never."""

_LABELS = 20_000
"""Labels of one pool that are kept."""

_UNJUDGED = 20_000
"""Answers in memory that wait to be judged."""


class Found(NamedTuple):
    """An answer found by meaning, before anybody judged it."""

    run_id: str
    """By which it is judged."""
    pool: str
    """Whose scores they are."""
    call_key: bytes
    """32 bytes that name the call."""
    matched: bytes
    """32 bytes that name the call whose kept answer was found."""
    score: float
    """The verifier's, 0 to 1."""
    cosine: float
    """Of the two questions, -1 to 1."""
    kind: Kind
    workspace: str | None
    """Where the call was made."""
    ts: float
    """When it was found (epoch seconds)."""


class Judged(NamedTuple):
    """An answer found by meaning, and what was said of it last."""

    cursor: int
    """Its place in the order of judgments; each judgment has one of its own."""
    run_id: str
    call_key: bytes
    """Of the call."""
    matched: bytes
    """Key of the call whose kept answer was found for it."""
    score: float
    """The verifier's, 0 to 1."""
    cosine: float
    kind: Kind
    correct: bool
    source: Source
    by: str | None
    ts: float
    """When it was said (epoch seconds)."""


class Evidence(Protocol):
    """Where evidence is kept, which threads and processes share; each method is one transaction.

    A *pool* is whose scores they are (embedder and verifier): only those of one pool are compared.
    Every method raises `StorageError` when the database cannot do what was asked.
    """

    def note(self, found: Found) -> None:
        """Note that an answer was found, so that it can be judged; a known run stays as it is."""

    def judge(
        self, run_id: str, *, correct: bool, source: Source, by: str | None, now: float
    ) -> Judged | None:
        """Keep what is said of an answer, in place of what was said before.

        Args:
            run_id: Of the call it was found for.
            correct: Whether it serves there.
            source: Where that comes from.
            by: Who says so; `None` for the app itself.
            now: Epoch seconds.

        Returns:
            What is kept of it now; `None` if the run is not known.
        """

    def labels(self, pool: str, after: int) -> tuple[list[Judged], int]:
        """The judgments since a cursor, in the order they were made in, and the next cursor.

        All who read get the same ones in the same order. An answer that is judged again comes
        again, and its earlier judgment is no longer there.

        Args:
            pool: Whose.
            after: 0 for all there are, else the cursor that came with the last ones.
        """

    def refuted(self, limit: int) -> list[tuple[bytes, bytes]]:
        """The (`call_key`, `matched`) judged to be wrong, the newest calls first; of any pool."""

    def prune(self, *, now: float) -> int:
        """Let go what nobody judged in a week, and all but the newest 20,000 labels of a pool.

        Returns:
            How many that were.
        """

    def forget(self, whom: Subject, keys: Collection[bytes]) -> int:
        """Delete what a user said, and what is about the calls of these keys or their answers.

        Readers keep what they have counted in already.

        Returns:
            How many that were.
        """


class EvidenceRows:
    """Evidence in the database: every process that uses it finds the same.

    The docstrings of `Evidence` say what each method does.

    Args:
        database: Where it is kept.
        space: Of the answers it is about.

    Raises:
        ConfigurationError: If `space` is no identifier.

    Example:
        >>> rows = EvidenceRows(Database("sqlite://"))
        >>> rows.note(Found("run", "pool", b"call", b"other", 0.9, 0.8, "shadow", None, ts=0.0))
        >>> rows.judge("run", correct=False, source="shadow", by=None, now=1.0).matched
        b'other'
        >>> rows.refuted(10)
        [(b'call', b'other')]
    """

    def __init__(self, database: Database, space: str = "answers") -> None:
        if not space.isidentifier():
            msg = f"`space` must be an identifier, got {space!r}"
            raise ConfigurationError(msg)
        self._database, self._space = database, space
        self._counter = f"feedback:{space}"
        self._into: Into = sqlite.insert if database.is_sqlite else postgresql.insert

    def note(self, found: Found) -> None:
        """Note that an answer was found, so that it can be judged; a known run stays as it is."""
        row = {"id": self._new_id(), "space": self._space, **found._asdict()}
        self._database.write((sql.note(self._into), row), lock_timeout=_PATIENCE)

    def judge(
        self, run_id: str, *, correct: bool, source: Source, by: str | None, now: float
    ) -> Judged | None:
        """Keep what is said of an answer, in place of what was said before."""
        run = {"of_space": self._space, "of_run": run_id}
        said = {"is_correct": correct, "said_in": source, "said_by": by, "now": now}
        with self._database.begin() as connection:
            if connection.execute(sql.JUDGED, run).first() is None:
                return None
            connection.execute(advance(self._into), {"name": self._counter})
            connection.execute(sql.JUDGE, run | said | {"counter": self._counter})
            row = connection.execute(sql.JUDGED, run).first()
        return None if row is None else _judged(tuple(row))

    def labels(self, pool: str, after: int) -> tuple[list[Judged], int]:
        """The judgments since a cursor, in the order they were made in, and the next cursor."""
        given = {"of_space": self._space, "of_pool": pool, "after": after}
        found = [_judged(row) for row in self._database.read(sql.LABELS, **given)]
        return found, found[-1].cursor if found else after

    def refuted(self, limit: int) -> list[tuple[bytes, bytes]]:
        """The (`call_key`, `matched`) judged to be wrong, the newest calls first; of any pool."""
        found = self._database.read(sql.REFUTED, of_space=self._space, limit=limit)
        return [(call_key, matched) for call_key, matched in found]

    def prune(self, *, now: float) -> int:
        """Let go what nobody judged in a week, and all but the newest 20,000 labels of a pool."""
        ours = {"of_space": self._space}
        gone = self._sweep(sql.UNJUDGED, **ours, until=now - _WAITS_FOR)
        for (pool,) in self._database.read(sql.CROWDED, **ours, most=_LABELS):
            last = self._database.read_one(sql.OLDEST, **ours, of_pool=pool, most=_LABELS)
            if last is not None:
                gone += self._sweep(sql.OLD_LABELS, **ours, of_pool=pool, until=last[0])
        return gone

    def forget(self, whom: Subject, keys: Collection[bytes]) -> int:
        """Delete what a user said, and what is about the calls of these keys or their answers."""
        ours, gone = {"of_space": self._space}, 0
        if whom.user is not None:
            named = sql.said_by(within_workspace=whom.workspace is not None)
            given = {"said_by": whom.user, "of_workspace": whom.workspace}
            gone += self._sweep(named, **ours, **given)
        every = list(keys)
        for at in range(0, len(every), BATCH):
            about = {**ours, "keys": every[at : at + BATCH]}
            with self._database.begin() as connection:
                gone += connection.execute(sql.ABOUT, about).rowcount
        return gone

    def _sweep(self, statement: Delete, **values: Any) -> int:
        return sweep(self._database, statement, lock_timeout=_PATIENCE, **values)

    def _new_id(self) -> Any:
        """As the driver takes it."""
        made = new_id()
        return made.bytes if self._database.is_sqlite else made


class MemoryEvidence:
    """Evidence that ends with its process; all threads of it may share one object.

    A forked child starts without any. The docstrings of `Evidence` say what each method does.

    Example:
        >>> MemoryEvidence().labels("pool", 0)
        ([], 0)
    """

    def __init__(self) -> None:
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Start empty: another thread of the parent may have been in the middle of a change."""
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, Found] = OrderedDict()  # the oldest first
        self._judged: OrderedDict[str, tuple[Found, Judged]] = OrderedDict()  # as they were judged
        self._judgments = 0

    def note(self, found: Found) -> None:
        """Note that an answer was found, so that it can be judged; a known run stays as it is."""
        with self._lock:
            if found.run_id not in self._waiting and found.run_id not in self._judged:
                self._waiting[found.run_id] = found
            if len(self._waiting) > _UNJUDGED:
                self._waiting.popitem(last=False)

    def judge(
        self, run_id: str, *, correct: bool, source: Source, by: str | None, now: float
    ) -> Judged | None:
        """Keep what is said of an answer, in place of what was said before."""
        with self._lock:
            if run_id in self._judged:
                found, _ = self._judged.pop(run_id)
            elif run_id in self._waiting:
                found = self._waiting.pop(run_id)
            else:
                return None
            self._judgments += 1
            judged = Judged(
                cursor=self._judgments,
                run_id=run_id,
                call_key=found.call_key,
                matched=found.matched,
                score=found.score,
                cosine=found.cosine,
                kind=found.kind,
                correct=correct,
                source=source,
                by=by,
                ts=now,
            )
            self._judged[run_id] = (found, judged)
            return judged

    def labels(self, pool: str, after: int) -> tuple[list[Judged], int]:
        """The judgments since a cursor, in the order they were made in, and the next cursor."""
        with self._lock:
            latest = reversed(self._judged.values())
            new = list(takewhile(lambda pair: pair[1].cursor > after, latest))
        found = [judged for noted, judged in reversed(new) if noted.pool == pool]
        return found, found[-1].cursor if found else after

    def refuted(self, limit: int) -> list[tuple[bytes, bytes]]:
        """The (`call_key`, `matched`) judged to be wrong, the newest calls first; of any pool."""
        with self._lock:
            wrong = [noted for noted, judged in self._judged.values() if not judged.correct]
        wrong.sort(key=attrgetter("ts"), reverse=True)
        return [(noted.call_key, noted.matched) for noted in wrong[:limit]]

    def prune(self, *, now: float) -> int:
        """Let go what nobody judged in a week, and all but the newest 20,000 labels of a pool."""
        with self._lock:
            before = len(self._waiting) + len(self._judged)
            until, waiting = now - _WAITS_FOR, self._waiting.items()
            self._waiting = OrderedDict((run, each) for run, each in waiting if each.ts > until)
            seen = Counter[str]()
            for run, (noted, _) in reversed(list(self._judged.items())):
                seen[noted.pool] += 1
                if seen[noted.pool] > _LABELS:
                    del self._judged[run]
            return before - len(self._waiting) - len(self._judged)

    def forget(self, whom: Subject, keys: Collection[bytes]) -> int:
        """Delete what a user said, and what is about the calls of these keys or their answers."""
        with self._lock:
            said = [run for run, each in self._judged.items() if _is_said_by(whom, *each)]
            noted = {run: found for run, (found, _) in self._judged.items()} | self._waiting
            about = [run for run, each in noted.items() if {each.call_key, each.matched} & {*keys}]
            gone = {*said, *about}
            for run in gone:
                self._waiting.pop(run, None)
                self._judged.pop(run, None)
            return len(gone)


def _is_said_by(whom: Subject, found: Found, judged: Judged) -> bool:
    if whom.user is None or judged.by != whom.user:
        return False
    return whom.workspace in (None, found.workspace)


def _judged(row: tuple[Any, ...]) -> Judged:
    return Judged(*row)._replace(correct=bool(row[Judged._fields.index("correct")]))

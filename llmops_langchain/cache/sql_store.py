"""Answers in the database, shared by every process that uses it."""

from collections.abc import Collection, Sequence
from itertools import accumulate, takewhile
from typing import Any
from zlib import crc32

from sqlalchemy import Connection, Delete, Select
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.cache import sql_statements as sql
from llmops_langchain.cache.store import Entry
from llmops_langchain.errors import ConfigurationError, DatabaseLockedError
from llmops_langchain.storage import Database, leases
from llmops_langchain.storage.counters import advance
from llmops_langchain.storage.driver import Step
from llmops_langchain.storage.sweeping import BATCH, sweep

__all__ = ["SqlStore"]

_PATIENCE = 0.25
"""Seconds a write waits for SQLite's write lock; the user waits for the answer meanwhile."""

_ROW = 300
"""Bytes an entry takes beside value and fingerprint; an SQLite file of values of 200, 500 and
1,000 bytes had 171, 211 and 348 (longer ones leave more of a page empty: 582 at 1,500)."""

_SHARE = 100
"""A bound is looked after whenever this process has added one such part of it."""

_NEVER = 2**62
"""A generation that no invalidation comes after."""


class SqlStore:
    """Entries in the database: every process that uses it finds them.

    The docstrings of `Store` say what each method does. A write of one entry waits a quarter of a
    second for other writers of an SQLite file, then gives up: a user waits for the answer.

    Args:
        database: Where entries are kept.
        space: Whose they are; spaces are cleared, counted and bounded apart.
        max_bytes: What the entries of the space may take, their rows included: what was not used
            for longest is let go, and an entry larger than all of it is not kept. Each process
            looks after it whenever it has added one percent, so N processes may pass it by N
            percent for a moment. `None` keeps everything until it goes stale.

    Raises:
        ConfigurationError: If `space` is no identifier or `max_bytes` is not positive.

    Example:
        >>> store = SqlStore(Database("sqlite://"), max_bytes=1_000_000)
        >>> store.put(b"key", Entry(value=b"answer", created_at=0.0))
        True
        >>> store.get(b"key").value
        b'answer'
    """

    def __init__(
        self, database: Database, *, space: str = "answers", max_bytes: int | None = None
    ) -> None:
        if not space.isidentifier():
            msg = f"`space` must be an identifier, got {space!r}"
            raise ConfigurationError(msg)
        if max_bytes is not None and max_bytes <= 0:
            msg = f"`max_bytes` must be positive, got {max_bytes!r}"
            raise ConfigurationError(msg)
        self._database, self._space, self._max_bytes = database, space, max_bytes
        self._kind = f"cache:{space}"
        self._into: leases.Into = sqlite.insert if database.is_sqlite else postgresql.insert
        # Nobody knows what others added before: the first entry is a reason to look.
        self._added = max_bytes or 0

    def get(self, key: bytes) -> Entry | None:
        """The entry under `key`, fresh or stale, without its tags."""
        row = self._database.read_one(sql.FOUND, key=key, space=self._space)
        if row is None:
            return None
        value, created_at, expires_at, fingerprint = row
        return Entry(
            value=value,
            created_at=created_at,
            expires_at=expires_at,
            fingerprint=fingerprint or b"",
        )

    def put(
        self, key: bytes, entry: Entry, *, seen: int | None = None, owner: str | None = None
    ) -> bool:
        """Keep `entry` under `key`, and end `owner`'s claim on it; whether it was kept."""
        size = _ROW + len(entry.value) + len(entry.fingerprint)
        end = [] if owner is None else [(leases.RELEASE, self._claim_of(key, owner))]
        if self._max_bytes is not None and size > self._max_bytes:
            self._write(*end)
            return False
        turn = self._turn(sql.TOGETHER)
        kept = self._write(*turn, *self._keeping(key, entry, size, seen), *end)[len(turn)] == 1
        if kept:
            self._look_after(key, size, entry.created_at)
        return kept

    def tag(self, key: bytes, tags: Collection[str]) -> None:
        """Add tags to the entry under `key`, if there is one."""
        found = {"key": key, "space": self._space} | self._since(None, ())
        self._write(*((sql.add_tag(self._into, 0), found | {"tag": tag}) for tag in sorted(tags)))

    def clear(self) -> int:
        """Drop every entry; the generation after it."""
        with self._database.begin() as connection:
            generation = self._advanced(connection)
            mark = {"name": f"{self._kind}:cleared", "value": generation, "changed_at": 0.0}
            connection.execute(sql.mark(self._into), mark)
            connection.execute(sql.CLEAR, {"space": self._space})
        return generation

    def invalidate(self, tags: Collection[str], *, now: float) -> int:
        """Drop the entries that have one of `tags`; the generation after it."""
        with self._database.begin() as connection:
            generation = self._advanced(connection)
            for tag in sorted(tags):
                mark = {"name": self._mark_of(tag), "value": generation, "changed_at": now}
                connection.execute(sql.mark(self._into), mark)
                connection.execute(sql.DROP_TAGGED, {"space": self._space, "tag": tag})
        return generation

    def tagged(self, tags: Collection[str]) -> Collection[bytes]:
        """The keys of the entries, fresh or stale, that have one of `tags`."""
        read = self._database.read
        return {key for tag in tags for (key,) in read(sql.TAGGED, tag=tag, space=self._space)}

    def purge(self, *, now: float) -> int:
        """Delete what has gone stale; how many entries that were."""
        for statement in (leases.STALE, sql.OLD_MARKS):
            sweep(self._database, statement, now=now)
        return sweep(self._database, sql.STALE_ENTRIES_OF, now=now, space=self._space)

    def generation(self) -> int:
        """How often entries were invalidated or cleared, by anybody."""
        row = self._database.read_one(sql.GENERATION, name=self._kind)
        return 0 if row is None else row[0]

    def claim(self, key: bytes, owner: str, *, now: float, until: float) -> bool:
        """Whether `owner` alone may ask for the answer now: the claim is free, stale or its own."""
        claim = {"claim": self._name_of(key), "holder": owner, "now": now, "until": until}
        return self._write((leases.claim(self._into), claim)) == [1]

    def renew(self, owner: str, *, until: float) -> None:
        """Let all claims of `owner` last until then."""
        self._write((leases.RENEW_ALL, {"holder": owner, "kind": f"{self._kind}:", "until": until}))

    def release(self, key: bytes, owner: str) -> None:
        """End the claim of `owner` on `key`, if it still has it."""
        self._write((leases.RELEASE, self._claim_of(key, owner)))

    def touch(self, keys: Collection[bytes], *, now: float) -> None:
        """Note that these entries were used, so that others are let go first."""
        used = list(keys)
        with self._database.begin(lock_timeout=_PATIENCE) as connection:
            for at in range(0, len(used), BATCH):
                some = {"used": used[at : at + BATCH], "now": now}
                connection.execute(sql.TOUCH, some)

    def newest(self, limit: int) -> Sequence[Entry]:
        """The entries used or kept last, newest first, without their values and tags."""
        return [
            Entry(
                value=b"",
                created_at=created_at,
                expires_at=expires_at,
                fingerprint=fingerprint or b"",
            )
            for created_at, expires_at, fingerprint in self._database.read(
                sql.NEWEST, space=self._space, limit=limit
            )
        ]

    def _write(self, *steps: Step) -> list[int]:
        return self._database.write(*steps, lock_timeout=_PATIENCE) if steps else []

    def _turn(self, kind: Select[Any]) -> list[Step]:
        if self._database.is_sqlite:
            return []
        name = f"{self._database.schema}:{self._space}".encode()
        # 32 bits of our own, "llmc" in ASCII, then 32 of the name.
        return [(kind, {"turn": 0x6C6C6D63 << 32 | crc32(name)})]

    def _keeping(self, key: bytes, entry: Entry, size: int, seen: int | None) -> list[Step]:
        """The entry, unless it came too late, and its tags instead of those it had."""
        tags = sorted(entry.tags)  # the order in which everybody locks them
        since = self._since(seen, tags)
        named = {"key": key, "space": self._space} | since
        row = named | {
            "value": entry.value,
            "created_at": entry.created_at,
            "expires_at": entry.expires_at,
            "size": size,
            "used_at": entry.created_at,
            "fingerprint": entry.fingerprint,
        }
        add = sql.add_tag(self._into, len(tags))
        return [
            (sql.keep(self._into, len(tags)), row),
            (sql.forget_tags(len(tags)), named),
            *((add, named | {"tag": tag}) for tag in tags),
        ]

    def _since(self, seen: int | None, tags: Sequence[str]) -> dict[str, Any]:
        """Whether it came too late: for the statements built for that number of tags."""
        marks = {f"mark_{at}": self._mark_of(tag) for at, tag in enumerate(tags)}
        seen = _NEVER if seen is None else seen
        return {"seen": seen, "cleared": f"{self._kind}:cleared"} | marks

    def _advanced(self, connection: Connection) -> int:
        """The next generation, in a transaction that waited for the puts under way."""
        for statement, values in self._turn(sql.ALONE):
            connection.execute(statement, values)
        connection.execute(advance(self._into), {"name": self._kind})
        generation: int = connection.execute(sql.GENERATION, {"name": self._kind}).scalar_one()
        return generation

    def _mark_of(self, tag: str) -> str:
        return f"{self._kind}:tag:{tag}"

    def _name_of(self, key: bytes) -> str:
        return f"{self._kind}:{key.hex()}"

    def _claim_of(self, key: bytes, owner: str) -> dict[str, Any]:
        return {"claim": self._name_of(key), "holder": owner}

    def _look_after(self, key: bytes, size: int, now: float) -> None:
        """Now and then make room; whoever holds the write lock just then may go first."""
        self._added += size  # threads may lose one of these now and then: no harm is done
        try:
            # Keys are hashes: this is one entry in 256, and no counter to share.
            if key[-1] == 0:
                self._sweep(now, sql.STALE_ENTRIES, leases.STALE, sql.OLD_MARKS)
            if self._max_bytes is not None and self._added * _SHARE >= self._max_bytes:
                self._added = 0
                self._sweep(now, sql.STALE_ENTRIES)
                self._shrink_to(self._max_bytes - self._max_bytes // _SHARE)
        except DatabaseLockedError:
            self._added = self._max_bytes or 0

    def _sweep(self, now: float, *statements: Delete) -> None:
        for statement in statements:
            sweep(self._database, statement, lock_timeout=_PATIENCE, now=now)

    def _shrink_to(self, size: int) -> None:
        """Let the least recently used go until the others take no more than that."""
        (taken,) = self._database.read(sql.SIZE, space=self._space)[0]
        excess = taken - size
        while excess > 0:
            oldest = _enough(self._database.read(sql.OLDEST, space=self._space), excess)
            excess -= sum(size for _, size, _ in oldest)
            if not self._let_go(oldest):
                break  # others are at it

    def _let_go(self, rows: Sequence[tuple[Any, ...]]) -> int:
        until = max((used_at for *_, used_at in rows), default=0.0)
        old = {"old": [key for key, *_ in rows], "until": until}
        with self._database.begin(lock_timeout=_PATIENCE) as connection:
            return connection.execute(sql.LET_GO, old).rowcount


def _enough(rows: Sequence[tuple[Any, ...]], excess: int) -> Sequence[tuple[Any, ...]]:
    """As many of the first rows as it takes for their sizes to reach `excess`."""
    sums = accumulate(size for _, size, _ in rows)
    return rows[: 1 + len(list(takewhile(lambda total: total < excess, sums)))]

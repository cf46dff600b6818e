"""Rollups kept: hours that are past their time go, names are taken out, and all is made anew."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, isclose
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, cast, delete, func, select

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.ledger.marks import DELETED_UNTIL, WAITING, clear_mark, mark
from llmops_langchain.ledger.rollup_rows import add_rows
from llmops_langchain.ledger.rollups import (
    DAY,
    TIERS,
    USER_DAY,
    USERS_DAY,
    key_text,
    merged,
    rolled,
)
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Done, Subject
from llmops_langchain.storage.schema import ROLLUP_KEY, events, rollups
from llmops_langchain.storage.sweeping import BATCH

__all__ = ["Difference", "Rebuilt", "RollupTable"]

_AT_ONCE = 20_000
"""Events that are added up at a time."""

_TOLD = 20
"""Differences that are told one by one."""

_KEY = len(ROLLUP_KEY)
_TIER, _DAY, _USER = (ROLLUP_KEY.index(name) for name in ("tier", "day", "user"))
_KEPT = {tier.number: tier.kept for tier in TIERS if tier.kept < inf}

_Row = tuple[Any, ...]

_NEXT_NAME = select(func.min(events.c.name)).where(events.c.name > bindparam("after"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row that is not what the events add up to."""

    key: tuple[Any, ...]
    """The columns of the key of `llmops_rollups`."""
    stored: tuple[Any, ...] | None
    """What stands there; `None` if nothing does."""
    expected: tuple[Any, ...] | None
    """What should; `None` if nothing should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What `rebuild` did, or would have done."""

    days: int
    """Days whose events were read."""
    rows: int
    """Rows that they add up to."""
    differences: tuple[Difference, ...]
    """The first of the rows that were wrong."""
    wrong: int
    """How many were wrong."""

    @property
    def right(self) -> bool:
        """Whether everything was as the events say."""
        return not self.wrong


class RollupTable:
    """The rows of all tiers.

    Args:
        database: Where they are.
        retention: Seconds that events are kept; `None` keeps them.
        clock: Returns seconds since the Unix epoch.

    Example:
        >>> with Database("sqlite://") as database:
        ...     RollupTable(database).rebuild().wrong
        0
    """

    def __init__(
        self, database: Database, *, retention: float | None = None, clock: Clock = system_clock
    ) -> None:
        self._database, self._retention, self._clock = database, retention, clock

    def maintain(self, now: float) -> Done:
        """Delete hours that are past their time, and add up what an earlier release stored."""
        gone = sum(self._let_go(tier, int((now - kept) // DAY)) for tier, kept in _KEPT.items())
        with self._database.begin(read_only=True) as connection:
            waits = mark(connection, WAITING) is not None
        if waits:
            self.rebuild()
        return {"deleted": gone}

    def forget(self, whom: Subject) -> int:
        """Take a user's name out of the sums, which stay as they are; conversations are not in."""
        if whom.user is None:
            return 0
        named = [rollups.c.user == key_text(whom.user)]
        if whom.workspace is not None:
            named.append(rollups.c.workspace == key_text(whom.workspace))
        with self._database.begin() as connection:
            _lock(connection)
            # Hours of users have no rows without one.
            by_day = rollups.c.tier.in_([USERS_DAY.number, USER_DAY.number])
            asked = select(rollups).where(by_day, *named)
            rows = [_nameless(tuple(row)) for row in connection.execute(asked)]
            touched = connection.execute(delete(rollups).where(*named)).rowcount
            add_rows(connection, _flat(merged(rows)))
        return touched

    def rebuild(self, *, verify: bool = False) -> Rebuilt:
        """Make the rows anew from the events, day by day, as far back as all events are there.

        Other processes may go on meanwhile.

        Args:
            verify: Change nothing, and tell what is wrong.

        Raises:
            StorageError: If the database cannot do it; days that were done stay so.
        """
        days, names = self._days(), self._names()
        rows, told, wrong = 0, list[Difference](), 0
        for day in days:
            with self._database.begin(read_only=verify) as connection:
                _one_moment(connection) if verify else _lock(connection)
                expected = self._expected(connection, names, day)
                differences = list(_compared(self._stored(connection, day), expected))
                if differences and not verify:
                    connection.execute(delete(rollups).where(rollups.c.day == day))
                    add_rows(connection, _flat(expected))
            rows, wrong = rows + len(expected), wrong + len(differences)
            told += differences[: _TOLD - len(told)]
        if not verify:
            with self._database.begin() as connection:
                clear_mark(connection, WAITING)
        return Rebuilt(days=len(days), rows=rows, differences=tuple(told), wrong=wrong)

    def _days(self) -> list[int]:
        """Days of which no event was deleted."""
        at = events.c.ts / DAY
        day = cast(at if self._database.is_sqlite else func.floor(at), BigInteger)
        with self._database.begin(read_only=True) as connection:
            there = set(connection.execute(select(day).distinct()).scalars())
            there |= set(connection.execute(select(rollups.c.day).distinct()).scalars())
            until = mark(connection, DELETED_UNTIL)
        if self._retention is not None:
            until = max(until or 0.0, self._clock() - self._retention)
        return sorted(each for each in there if until is None or each > until // DAY)

    def _names(self) -> list[str]:
        found, after = list[str](), ""
        with self._database.begin(read_only=True) as connection:
            while True:
                name = connection.execute(_NEXT_NAME, {"after": after}).scalar()
                if name is None:
                    return found
                found.append(name)
                after = name

    def _expected(self, connection: Connection, names: list[str], day: int) -> dict[_Row, _Row]:
        """What the events of a day add up to."""
        # By name, since the index on the time has the name in front.
        asked = select(events).where(
            events.c.name.in_(names), events.c.ts >= day * DAY, events.c.ts < (day + 1) * DAY
        )
        found = connection.execute(asked, execution_options={"yield_per": _AT_ONCE})
        rows: dict[_Row, _Row] = {}
        for batch in found.partitions(_AT_ONCE):
            rows = merged([*_flat(rows), *rolled(batch, now=self._clock())])
        return rows

    def _stored(self, connection: Connection, day: int) -> dict[_Row, _Row]:
        """What stands there, but for hours that are to go anyway."""
        now = self._clock()
        oldest = {tier: (now - kept) // DAY for tier, kept in _KEPT.items()}
        rows = connection.execute(select(rollups).where(rollups.c.day == day))
        return merged(tuple(row) for row in rows if row.day >= oldest.get(row.tier, -inf))

    def _let_go(self, tier: int, before: int) -> int:
        """Delete what a tier has of earlier days, some rows at a time."""
        key = [rollups.c[name] for name in ROLLUP_KEY]
        old = select(*key).where(rollups.c.tier == tier, rollups.c.day < before).limit(BATCH)
        this = [rollups.c[name] == bindparam(f"of_{name}") for name in ROLLUP_KEY]
        gone = last = 0
        while True:
            with self._database.begin() as connection:
                found = connection.execute(old).all()
                last = len(found)
                if last:
                    given = [
                        {f"of_{name}": value for name, value in zip(ROLLUP_KEY, row, strict=True)}
                        for row in found
                    ]
                    connection.execute(delete(rollups).where(*this), given)
            gone += last
            if last < BATCH:
                return gone


def _lock(connection: Connection) -> None:
    """Let nobody else add meanwhile: what others have not committed comes on top afterwards."""
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql(f"LOCK TABLE {rollups.name} IN SHARE ROW EXCLUSIVE MODE")


def _one_moment(connection: Connection) -> None:
    """See the events and the rows as they were at one moment."""
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _nameless(row: _Row) -> _Row:
    return (*row[:_USER], "", *row[_USER + 1 :])


def _flat(rows: Mapping[_Row, _Row]) -> list[_Row]:
    return [(*key, *sums) for key, sums in rows.items()]


def _compared(stored: Mapping[_Row, _Row], expected: Mapping[_Row, _Row]) -> Iterator[Difference]:
    for key in stored.keys() | expected.keys():
        had, made = stored.get(key), expected.get(key)
        if had is None or made is None or not _alike(had, made):
            yield Difference(key=key, stored=had, expected=made)


def _alike(a: _Row, b: _Row) -> bool:
    """Whole numbers and sketches are equal, sums of fractions up to their order."""
    return all(
        isclose(x, y, rel_tol=1e-9, abs_tol=1e-12)
        if isinstance(x, float) and isinstance(y, float)
        else x == y
        for x, y in zip(a, b, strict=True)
    )

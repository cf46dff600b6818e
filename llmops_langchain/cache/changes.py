"""What is new since a look: rows bear the number of the write that made them what they are.

SQLite has one writer at a time, so a count of writes is in the order in which they can be seen.
PostgreSQL commits in any order: a row bears its transaction's number there, and a reader goes on
from the oldest transaction that was under way when it looked. It may see a row twice and misses
none, however late it was committed.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Text,
    and_,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy.dialects import sqlite

from llmops_langchain.storage import Database
from llmops_langchain.storage.counters import advance
from llmops_langchain.storage.driver import Step
from llmops_langchain.storage.schema import generations

__all__ = ["Changes", "newer", "number", "upcoming"]


class Changes:
    """Numbers the writes to some rows.

    Args:
        database: Where the rows are.
        name: Of the rows whose writes are counted together.
    """

    def __init__(self, database: Database, name: str) -> None:
        counted = database.is_sqlite
        self.before: Sequence[Step] = [(advance(sqlite.insert), {"name": name})] if counted else []
        """What goes first in a transaction that writes rows."""
        self.values: Mapping[str, str] = {"counter": name} if counted else {}
        """Bound parameters of a statement that has `number` or `upcoming` in it."""


def number(*, is_sqlite: bool) -> ColumnElement[int]:
    """What a row that is being written bears."""
    return _count() if is_sqlite else _of_postgres(func.pg_current_xact_id())


def upcoming(*, is_sqlite: bool) -> ColumnElement[int]:
    """Where to go on from after a read: what it does not show bears this number or a later one."""
    if is_sqlite:
        return func.coalesce(_count(), 0) + 1
    return _of_postgres(func.pg_snapshot_xmin(func.pg_current_snapshot()))


def newer(column: Column[int], *, is_sqlite: bool) -> ColumnElement[bool]:
    """Whether a row was written since `since` (a bound parameter)."""
    since: ColumnElement[int] = bindparam("since", type_=BigInteger())
    if is_sqlite:
        return column >= since
    # Restored from another server, rows bear numbers that are still to come here: without an end
    # they would be new for ever.
    end = _of_postgres(func.pg_snapshot_xmax(func.pg_current_snapshot()))
    return and_(column >= since, column < end)


def _count() -> ColumnElement[int]:
    named = generations.c.name == bindparam("counter")
    return select(generations.c.value).where(named).scalar_subquery()


def _of_postgres(transaction: ColumnElement[object]) -> ColumnElement[int]:
    return cast(cast(transaction, Text), BigInteger)  # there is no shorter way from `xid8`

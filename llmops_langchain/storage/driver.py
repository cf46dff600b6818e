"""SQLite's own driver, for the statements that SQLAlchemy takes longer to hand over than to run."""

import sqlite3
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Select, UpdateBase
from sqlalchemy.dialects import sqlite

__all__ = ["DriverConnection", "Plain", "Spares", "Step", "plain"]

Step = tuple[UpdateBase | Select[Any], Mapping[str, Any]]
"""A statement, built once, and its bound parameters by name."""

_DIALECT = sqlite.dialect(paramstyle="qmark")

_KEPT = 5
"""Spare connections kept open; each holds two file descriptors and up to 2 MB of pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A statement as the driver takes it."""

    sql: str
    names: tuple[str, ...]
    """The bound parameter of each `?`."""
    constants: Mapping[str, Any]
    """The values that stand in the statement itself."""

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """What to bind, in order."""
        known = {**self.constants, **given} if self.constants else given
        return [known[name] for name in self.names]


@lru_cache(maxsize=512)  # bounded, should somebody build statements call by call
def plain(statement: UpdateBase | Select[Any]) -> Plain:
    """The statement compiled for the driver; remembered by the object, not by its text."""
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    constants = {
        name: compiled.params[name]
        for name in compiled.positiontup or ()
        if name not in compiled.binds or not compiled.binds[name].required
    }
    return Plain(sql=str(compiled), names=tuple(compiled.positiontup or ()), constants=constants)


class DriverConnection:
    """A connection of the driver in autocommit, which only one thread uses at a time.

    Args:
        connection: It starts no transactions of its own.
        lock_timeout: Milliseconds that it has been told to wait for the write lock.
    """

    __slots__ = ("_connection", "_lock_timeout")

    def __init__(self, connection: sqlite3.Connection, *, lock_timeout: int) -> None:
        self._connection, self._lock_timeout = connection, lock_timeout

    def one(self, read: Plain, given: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row."""
        cursor = self._connection.execute(read.sql, read.values(given))
        row: tuple[Any, ...] | None = cursor.fetchone()
        cursor.close()  # or the rows that were left would keep their snapshot open
        return row

    def all(self, read: Plain, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Every row."""
        return self._connection.execute(read.sql, read.values(given)).fetchall()

    def change(self, steps: Sequence[Step], *, lock_timeout: int) -> list[int]:
        """Run the steps, all or none of them; the number of rows each one changed."""
        self._wait_for(lock_timeout)
        if len(steps) == 1:
            return [self._run(*steps[0])]
        with self._transaction():
            return [self._run(*step) for step in steps]

    def change_each(self, steps: Sequence[Step], *, lock_timeout: int) -> bool:
        """Run the steps if each changes one row, or none of them."""
        self._wait_for(lock_timeout)
        with self._transaction():
            if all(self._run(*step) == 1 for step in steps):
                return True
            self._connection.execute("ROLLBACK")
            return False

    def _wait_for(self, lock_timeout: int) -> None:
        if lock_timeout != self._lock_timeout:
            self._connection.execute(f"PRAGMA busy_timeout = {lock_timeout}")
            self._lock_timeout = lock_timeout

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close it; a second time does nothing."""
        self._connection.close()

    def _run(self, statement: UpdateBase | Select[Any], given: Mapping[str, Any]) -> int:
        wanted = plain(statement)
        return self._connection.execute(wanted.sql, wanted.values(given)).rowcount


class Spares:
    """A few open connections at hand, without the bookkeeping of a pool."""

    def __init__(self) -> None:
        self._kept: deque[DriverConnection] = deque()
        self._closed = False

    def take(self) -> DriverConnection | None:
        """A connection for the calling thread alone; `None` if there is none left."""
        try:
            return self._kept.pop()
        except IndexError:
            return None

    def give(self, connection: DriverConnection) -> None:
        """Put it back, or close it where there are enough."""
        if len(self._kept) >= _KEPT:
            connection.close()
            return
        self._kept.append(connection)
        if self._closed:  # while it was in use
            self.drain()

    def drain(self) -> None:
        """Close the connections that nobody uses."""
        while connection := self.take():
            connection.close()

    def close(self) -> None:
        """Close all of them, those in use when they come back."""
        self._closed = True
        self.drain()

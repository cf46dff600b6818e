"""Many events into the table in one statement, the way that is fastest on each database."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Double, Integer, select
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.ledger.event import Event, as_row
from llmops_langchain.storage.schema import events

__all__ = ["insert_events", "insert_new"]

_IDS_AT_ONCE = 500

_ON_POSTGRES = postgresql.insert(events).on_conflict_do_nothing(index_elements=["id"])
_TELLING = _ON_POSTGRES.returning(events.c.id)
_ON_SQLITE = (
    sqlite.insert(events)
    .on_conflict_do_nothing(index_elements=["id"])
    .compile(dialect=sqlite.dialect(paramstyle="qmark"))
)
_SQL, _ORDER = str(_ON_SQLITE), tuple(_ON_SQLITE.positiontup or ())
_values = attrgetter(*_ORDER)
_IDS = tuple(_ORDER.index(name) for name in ("id", "run_id", "parent_run_id", "reservation_id"))
_TAGS = _ORDER.index("tags")
# The driver would store a number of another type, such as numpy's, as the bytes it consists of.
_NUMBERS = tuple(
    (at, float if isinstance(events.c[name].type, Double) else int)
    for at, name in enumerate(_ORDER)
    if isinstance(events.c[name].type, Double | Integer)
)


def insert_new(connection: Connection, batch: Sequence[Event]) -> list[Event]:
    """Insert the events that are not there yet, and return those, each once."""
    once = {event.id: event for event in reversed(batch)}
    if not once:
        return []
    if connection.dialect.name == "sqlite":
        # The write lock is held: nobody else inserts meanwhile.
        there = _ids_of(connection, list(once))
        new = [event for id_, event in reversed(once.items()) if id_ not in there]
        insert_events(connection, new)
        return new
    inserted = set(connection.execute(_TELLING, _rows(once.values())).scalars())
    return [event for id_, event in reversed(once.items()) if id_ in inserted]


def insert_events(connection: Connection, batch: Sequence[Event]) -> None:
    """Insert the events that are not there yet.

    SQLite gets tuples as its driver takes them: SQLAlchemy's conversion of each value costs as
    much again as storing it.
    """
    if not batch:
        return
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_SQL, [_plain(event) for event in batch])
    else:
        connection.execute(_ON_POSTGRES, _rows(batch))


def _rows(batch: Iterable[Event]) -> list[dict[str, Any]]:
    """In the order of their ids: whoever stores the same ones waits, and none for each other."""
    return [as_row(event) for event in sorted(batch, key=attrgetter("id"))]


def _ids_of(connection: Connection, wanted: Sequence[UUID]) -> set[UUID]:
    found: set[UUID] = set()
    for at in range(0, len(wanted), _IDS_AT_ONCE):
        asked = select(events.c.id).where(events.c.id.in_(wanted[at : at + _IDS_AT_ONCE]))
        found.update(connection.execute(asked).scalars())
    return found


def _plain(event: Event) -> tuple[Any, ...]:
    row = list(_values(event))
    for at in _IDS:
        if row[at] is not None:
            row[at] = row[at].bytes
    for at, number in _NUMBERS:
        if row[at] is not None:
            row[at] = number(row[at])
    if row[_TAGS] is not None:
        row[_TAGS] = orjson.dumps(dict(row[_TAGS])).decode()
    return tuple(row)

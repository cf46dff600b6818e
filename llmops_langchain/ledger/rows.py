"""Many events into the table in one statement, the way that is fastest on each database."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from operator import attrgetter
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Double, Integer, select
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.ledger.event import Event, as_row
from llmops_langchain.storage.copying import WORTH_COPYING, copied
from llmops_langchain.storage.schema import events
from llmops_langchain.storage.secrets import secret_of

__all__ = ["insert_new"]

_IDS_AT_ONCE = 500

_ON_POSTGRES = (
    postgresql.insert(events).on_conflict_do_nothing(index_elements=["id"]).returning(events.c.id)
)
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
    """Insert the events that are not there yet, and return those, each once.

    Drivers get tuples as they take them: SQLAlchemy's conversion of each value costs as much again
    as storing it.
    """
    once = {event.id: event for event in reversed(batch)}
    if not once:
        return []
    in_order = _unlinked(connection, list(reversed(once.values())))
    if connection.dialect.name == "sqlite":
        # The write lock is held: nobody else inserts meanwhile.
        there = _ids_of(connection, list(once))
        new = [event for event in in_order if event.id not in there]
        if new:
            connection.exec_driver_sql(_SQL, [_for_sqlite(event) for event in new])
        return new
    # In the order of their ids, whoever stores the same ones waits, and none for each other.
    by_id = sorted(in_order, key=attrgetter("id"))
    inserted = set(_inserted_on_postgres(connection, by_id))
    return [event for event in in_order if event.id in inserted]


def _unlinked(connection: Connection, batch: list[Event]) -> list[Event]:
    """Hashes of prompts under a secret of the database: nobody can tell a guess by them."""
    if all(event.cache_key is None for event in batch):
        return batch
    secret = secret_of(connection, "cache_key")
    return [replace(event, cache_key=_key_of(event, secret)) for event in batch]


def _key_of(event: Event, secret: bytes) -> bytes | None:
    key = event.cache_key
    return None if key is None else blake2b(key, digest_size=16, key=secret).digest()


def _inserted_on_postgres(connection: Connection, batch: Collection[Event]) -> Iterable[UUID]:
    if len(batch) < WORTH_COPYING:
        return connection.execute(_ON_POSTGRES, [as_row(event) for event in batch]).scalars()
    staged = copied(connection, events, map(_plain, batch))
    columns = [staged.c[events.c[name].name] for name in _ORDER]
    given = select(*columns).order_by(staged.c.id)
    return connection.execute(_ON_POSTGRES.from_select(list(_ORDER), given)).scalars()


def _ids_of(connection: Connection, wanted: Sequence[UUID]) -> set[UUID]:
    found: set[UUID] = set()
    for at in range(0, len(wanted), _IDS_AT_ONCE):
        asked = select(events.c.id).where(events.c.id.in_(wanted[at : at + _IDS_AT_ONCE]))
        found.update(connection.execute(asked).scalars())
    return found


def _for_sqlite(event: Event) -> tuple[Any, ...]:
    row = _plain(event)
    for at in _IDS:
        if row[at] is not None:
            row[at] = row[at].bytes
    return tuple(row)


def _plain(event: Event) -> list[Any]:
    """Its columns in order, as a driver takes them."""
    row = list(_values(event))
    for at, number in _NUMBERS:
        if row[at] is not None:
            row[at] = number(row[at])
    if row[_TAGS] is not None:
        row[_TAGS] = orjson.dumps(dict(row[_TAGS])).decode()
    return row

"""Rollups in the database: added to in the transaction that stores the events, kept small."""

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    bindparam,
    cast,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.fits.sketches import compacted
from llmops_langchain.ledger.rollups import rolled
from llmops_langchain.storage.copying import WORTH_COPYING, copied
from llmops_langchain.storage.schema import ROLLUP_KEY, ROLLUP_SUMS, rollups

__all__ = ["RollupWriter", "add_rows", "compact"]

_KEY = len(ROLLUP_KEY)
_LONG = 4096
"""Bytes of a sketch from which on it is made compact."""

_REMEMBERED = 50_000
"""Keys of which a process remembers how much it added."""

_AT_ONCE = 100

_sketches = ("sketch", "first_token")
_by_key = itemgetter(slice(_KEY))


def _new_values(excluded: Any, *, smaller: Any, larger: Any) -> dict[str, Any]:
    """What a row becomes when another of its key is added to it."""
    old = rollups.c

    def joined(name: str) -> ColumnElement[Any]:
        both = old[name].op("||")(excluded[name])
        return cast(both, LargeBinary)  # SQLite joins them as text otherwise

    return {
        **{name: old[name] + excluded[name] for name in ROLLUP_SUMS},
        "least": smaller(old.least, excluded.least),
        "most": larger(old.most, excluded.most),
        **{name: joined(name) for name in _sketches},
    }


def _of_two(function: Any) -> Any:
    """SQLite's `min` and `max` of two, of which each may be NULL."""
    return lambda a, b: function(func.coalesce(a, b), func.coalesce(b, a))


def _upsert_on_sqlite() -> tuple[str, tuple[str, ...]]:
    made = sqlite.insert(rollups)
    values = _new_values(made.excluded, smaller=_of_two(func.min), larger=_of_two(func.max))
    whole = made.on_conflict_do_update(index_elements=list(rollups.primary_key), set_=values)
    compiled = whole.compile(dialect=sqlite.dialect(paramstyle="qmark"))
    return str(compiled), tuple(compiled.positiontup or ())


_key_columns = [rollups.c[name] for name in ROLLUP_KEY]
_READ = select(*_key_columns, *(rollups.c[name] for name in _sketches)).where(
    tuple_(*_key_columns).in_(bindparam("keys", expanding=True))
)
_WRITE = (
    update(rollups)
    .where(*(rollups.c[name] == bindparam(f"of_{name}") for name in ROLLUP_KEY))
    .values({name: bindparam(name) for name in _sketches})
)
_KEY_COLUMNS = tuple(column.name for column in _key_columns)
_made = postgresql.insert(rollups)
_ON_POSTGRES = _made.on_conflict_do_update(
    index_elements=list(rollups.primary_key),
    set_=_new_values(_made.excluded, smaller=func.least, larger=func.greatest),
)
_SQL, _ORDER = _upsert_on_sqlite()
_NAMES = tuple(rollups.c.keys())
if _NAMES != _ORDER:
    raise AssertionError  # rows are tuples in this order


class RollupWriter:
    """Adds events to the rollups, and makes sketches compact that have grown long."""

    def __init__(self) -> None:
        self._grown: Counter[tuple[Any, ...]] = Counter()

    def add(self, connection: Connection, new: Sequence[Any], *, now: float) -> None:
        """Add events that were not there before, in the transaction that stores them.

        Args:
            connection: Inside a writing transaction.
            new: The events.
            now: Seconds since the Unix epoch.
        """
        rows = rolled(new, now=now)
        add_rows(connection, rows)
        compact(connection, self._long(rows))

    def _long(self, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Keys of the rows to which this process has added much."""
        if len(self._grown) > _REMEMBERED:
            self._grown.clear()
        long = []
        for row in rows:
            grown = self._grown[row[:_KEY]] + len(row[-2]) + len(row[-1])
            self._grown[row[:_KEY]] = grown
            if grown > _LONG:
                del self._grown[row[:_KEY]]
                long.append(row[:_KEY])
        return long


def add_rows(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add rows to those of the same keys, in the order of the keys: writers wait in one order."""
    ordered = sorted(rows, key=_by_key)
    if not ordered:
        return
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_SQL, ordered)
    elif len(ordered) < WORTH_COPYING:
        connection.execute(_ON_POSTGRES, [dict(zip(_NAMES, row, strict=True)) for row in ordered])
    else:
        staged = copied(connection, rollups, ordered)
        given = select(*staged.c).order_by(*(staged.c[name] for name in _KEY_COLUMNS))
        connection.execute(_ON_POSTGRES.from_select(list(rollups.c), given))


def compact(connection: Connection, keys: Sequence[tuple[Any, ...]]) -> None:
    """Make the sketches of some rows as short as they can be; the transaction holds the rows."""
    for at in range(0, len(keys), _AT_ONCE):
        found = connection.execute(_READ, {"keys": keys[at : at + _AT_ONCE]}).all()
        shorter = [_shorter(row) for row in found]
        if shorter:
            connection.execute(_WRITE, shorter)


def _shorter(row: Any) -> dict[str, Any]:
    key = {f"of_{name}": value for name, value in zip(ROLLUP_KEY, row[:_KEY], strict=True)}
    return key | {"sketch": compacted(row.sketch), "first_token": compacted(row.first_token)}

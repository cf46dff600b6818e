"""What is known of the rollups as a whole."""

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.storage.schema import rollup_marks

__all__ = ["DELETED_UNTIL", "WAITING", "clear_mark", "mark", "raise_mark"]

WAITING = "waiting"
"""There are events that were never added up: an earlier release stored them."""

DELETED_UNTIL = "events_deleted_until"
"""Events before this moment may be gone."""


def mark(connection: Connection, name: str) -> float | None:
    """What is known, if anything."""
    asked = select(rollup_marks.c.value).where(rollup_marks.c.name == name)
    found: float | None = connection.execute(asked).scalar()
    return found


def raise_mark(connection: Connection, name: str, value: float) -> None:
    """Note a value, unless a larger one is known."""
    is_sqlite = connection.dialect.name == "sqlite"
    made = (sqlite if is_sqlite else postgresql).insert(rollup_marks).values(name=name, value=value)
    larger = (func.max if is_sqlite else func.greatest)(rollup_marks.c.value, made.excluded.value)
    connection.execute(made.on_conflict_do_update(index_elements=["name"], set_={"value": larger}))


def clear_mark(connection: Connection, name: str) -> None:
    """Know nothing any more."""
    connection.execute(delete(rollup_marks).where(rollup_marks.c.name == name))

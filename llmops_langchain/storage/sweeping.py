"""Delete many rows a few at a time, so that others get their turn to write in between."""

from typing import Any

from sqlalchemy import Column, ColumnElement, Delete, Select, UpdateBase, delete, select

from llmops_langchain.storage.database import Database

__all__ = ["BATCH", "free", "sweep", "swept"]

BATCH = 200
"""Rows that change in one transaction."""


def free(column: Column[Any], *conditions: ColumnElement[bool]) -> Select[Any]:
    """Rows that no other transaction holds on PostgreSQL: who skips the others cannot deadlock."""
    return select(column).where(*conditions).with_for_update(skip_locked=True)


def swept(column: Column[Any], *conditions: ColumnElement[bool]) -> Delete:
    """Deletes a batch of the rows for which the conditions hold, by their key `column`."""
    return delete(column.table).where(column.in_(free(column, *conditions).limit(BATCH)))


def sweep(
    database: Database, statement: UpdateBase, *, lock_timeout: float | None = None, **values: Any
) -> int:
    """Run a statement, a transaction each time, until it finds less than a batch; rows changed.

    Args:
        database: Where the rows are.
        statement: Changes a `BATCH` of rows at most, such as one of `swept`.
        lock_timeout: As for `Database.begin`.
        values: The statement's bound parameters.

    Raises:
        StorageError: If the database cannot do it; what was committed before stays so.
    """
    changed, last = 0, BATCH
    while last >= BATCH:
        (last,) = database.write((statement, values), lock_timeout=lock_timeout)
        changed += last
    return changed

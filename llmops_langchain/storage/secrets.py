"""Random bytes that belong to one database, made at first use."""

import os
import weakref
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.storage.schema import secrets

__all__ = ["secret_of"]

_BYTES = 32
_known: "weakref.WeakKeyDictionary[Any, dict[str, bytes]]" = weakref.WeakKeyDictionary()


def secret_of(connection: Connection, name: str) -> bytes:
    """The secret of this name, the same in every process.

    Args:
        connection: Inside a writing transaction, which makes it if there is none.
        name: What it is for.
    """
    known = _known.setdefault(connection.engine.pool, {})
    if name not in known:
        known[name] = _read_or_made(connection, name)
    return known[name]


def _read_or_made(connection: Connection, name: str) -> bytes:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    made = dialect.insert(secrets).values(name=name, value=os.urandom(_BYTES))
    connection.execute(made.on_conflict_do_nothing(index_elements=["name"]))
    found: bytes = connection.execute(
        select(secrets.c.value).where(secrets.c.name == name)
    ).scalar_one()
    return found

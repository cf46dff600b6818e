"""How each database is opened: what its connections are told, and how they begin."""

import sqlite3
import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

__all__ = ["postgres_engine", "sqlite_engine"]

# A server that accepts a connection and says nothing must not hold up a model call for ever. The
# parameters are libpq's; a value in the URL wins.
_POSTGRES = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "prepare_threshold": None,
}


def postgres_engine(url: URL, *, schema: str | None) -> Engine:
    """An engine whose transactions may each run on another server connection."""
    # PgBouncer in transaction mode gives each transaction another server connection, so
    # nothing may outlive one: no prepared statements, and `search_path` is set `LOCAL`.
    told = {name: value for name, value in _POSTGRES.items() if name not in url.query}
    engine = create_engine(
        url, pool_pre_ping=True, hide_parameters=True, pool_timeout=10, connect_args=told
    )
    if schema is not None:

        @event.listens_for(engine, "begin")
        def _use_schema(connection: Connection) -> None:
            # `public` is left out: tables of the same names there are somebody else's.
            connection.exec_driver_sql(f'SET LOCAL search_path TO "{schema}"')

    return engine


def sqlite_engine(url: URL, *, in_memory: bool, timeout: float) -> Engine:
    """An engine whose writing transactions hold the write lock from their first moment."""
    options: dict[str, Any] = {
        "connect_args": {"check_same_thread": False},
        "hide_parameters": True,  # an error that is logged must not quote what was stored
    }
    if in_memory:
        options["poolclass"] = StaticPool
    engine = create_engine(url, **options)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # The driver's own transactions start too late and lose updates: it is told to start none.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {int(timeout * 1000)}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        if connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete":
            _switch_to_wal(connection, timeout=timeout)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        for name, value in options.get("llmops_pragmas", {}).items():
            if connection.info.get(name) != value:
                connection.exec_driver_sql(f"PRAGMA {name} = {value}")
                connection.info[name] = value
        connection.exec_driver_sql(
            "BEGIN" if options.get("llmops_read_only") else "BEGIN IMMEDIATE"
        )

    return engine


def _switch_to_wal(connection: sqlite3.Connection, *, timeout: float) -> None:
    """Let readers and a writer work side by side; processes may do this at the same moment.

    `busy_timeout` does not cover it: two that hold a read lock would wait for each other.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
            time.sleep(0.005)
        else:
            return

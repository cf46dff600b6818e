"""The one way to the tables: an engine, its settings, and `begin()`."""

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

from sqlalchemy import URL, Connection, Engine, Select, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import StaticPool

from llmops_langchain.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    MissingExtraError,
    SchemaVersionError,
)
from llmops_langchain.storage import migrate
from llmops_langchain.storage.failures import storage_error
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.storage.schema import SCHEMA_VERSION

__all__ = ["Database"]

_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class Database:
    """Transactions on SQLite (memory, file) or PostgreSQL; tables are made at first use.

    One object serves all threads and survives a fork; nothing is opened before the first
    `begin()`. Several processes may use one file or server at the same time.

    Args:
        url: `"sqlite://"` (memory), `"sqlite:///llmops.db"`, `"postgresql://user@host/name"`.
        schema: The PostgreSQL schema the tables live in; `None` takes the login's own. It is set
            in each transaction, so PgBouncer in transaction mode works.
        auto_migrate: Bring the tables up to date at first use. If `False`, `upgrade()` (or
            `llmops db upgrade`) must have been run.
        lock_timeout: Seconds to wait for another process's write lock.

    Raises:
        ConfigurationError: If `url` or `schema` cannot be understood.
        MissingExtraError: If the driver of `url` is not installed.

    Example:
        >>> from sqlalchemy import text
        >>> with Database("sqlite://") as database, database.begin() as connection:
        ...     connection.execute(text("SELECT 1 + 1")).scalar()
        2
    """

    def __init__(
        self,
        url: str = "sqlite:///llmops.db",
        *,
        schema: str | None = None,
        auto_migrate: bool = True,
        lock_timeout: float = 10.0,
    ) -> None:
        self.url = _parsed(url)
        if schema is not None and not _IDENTIFIER.fullmatch(schema):
            msg = f"`schema` must be a lower-case identifier, got {schema!r}"
            raise ConfigurationError(msg)
        if schema is not None and self.is_sqlite:
            msg = f"`schema` is for PostgreSQL, and the URL is {self._where!r}"
            raise ConfigurationError(msg)
        self.schema = schema
        self._auto_migrate, self._lock_timeout = auto_migrate, lock_timeout
        self._closed = False
        self._engine: Engine | None = None
        self._reader: Engine | None = None
        self._opening = threading.RLock()
        self._reset()
        _check_driver(self.url)
        on_fork(self)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite (PostgreSQL otherwise)."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def path(self) -> Path | None:
        """The SQLite file, `None` for a database in memory or on a server."""
        name = self.url.database
        if not self.is_sqlite or not name or name == ":memory:":
            return None
        return Path(name.removeprefix("file:"))

    @contextmanager
    def begin(self, *, read_only: bool = False) -> Iterator[Connection]:
        """A transaction: committed when the block ends, rolled back when it raises.

        On SQLite a writing transaction holds the write lock from its first moment, so what it
        read stays true until it commits. PostgreSQL runs READ COMMITTED: change rows by one
        statement or lock them with `FOR UPDATE`. Transactions do not nest.

        Args:
            read_only: The block only reads; on SQLite it then waits for no writer.

        Yields:
            A SQLAlchemy connection inside the transaction.

        Raises:
            StorageError: One of its subclasses, when the database cannot do it.
        """
        with self._translated(), self._turn:
            engine = self._prepared(read_only=read_only)
            with engine.begin() as connection:
                yield connection

    def read_one(self, statement: Select[Any], **values: Any) -> tuple[Any, ...] | None:
        """The first row of one plain read, for hot paths; `None` if there is none.

        On SQLite the driver runs it itself, in a seventh of the time that `begin()` takes.
        Columns come as the driver gives them: select none whose type converts (ids, tags).

        Args:
            statement: Built once and kept: its compiled form is remembered.
            values: The statement's bound parameters by name.
        """
        if not self.is_sqlite:
            with self.begin(read_only=True) as connection:
                row = connection.execute(statement, values).first()
            return None if row is None else tuple(row)
        with self._translated(), self._turn:
            engine = self._prepared(read_only=True)
            if statement not in self._compiled:
                compiled = statement.compile(engine)
                self._compiled[statement] = (str(compiled), tuple(compiled.positiontup or ()))
            sql, names = self._compiled[statement]
            pooled = engine.raw_connection()
            try:
                cursor = pooled.cursor()
                cursor.execute(sql, [values[name] for name in names])
                return cursor.fetchone()
            finally:
                pooled.close()

    def upgrade(self) -> str:
        """Bring the tables to this code's version, and return that version."""
        with self._translated(), self._turn, self._opened().begin() as connection:
            migrate.upgrade(connection, schema=self.schema)
        self._checked = True
        return SCHEMA_VERSION

    def upgrade_sql(self) -> str:
        """The SQL that `upgrade` would run on an empty database; nothing is run."""
        return migrate.upgrade_sql(self.url.get_backend_name(), schema=self.schema)

    def close(self) -> None:
        """Close every connection; a later `begin()` is refused."""
        self._closed = True
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent and open own ones when needed."""
        if self._engine is not None:
            self._engine.dispose(close=False)
        self._reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reset(self) -> None:
        self._engine = self._reader = None
        self._checked = False
        self._compiled: dict[Select[Any], tuple[str, tuple[str, ...]]] = {}
        self._opening = threading.RLock()
        # A database in memory lives on one connection, which threads use in turn.
        in_memory = self.is_sqlite and self.path is None
        self._turn: AbstractContextManager[Any] = threading.RLock() if in_memory else nullcontext()

    @property
    def _where(self) -> str:
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            known = storage_error(error, self.url)
            if known is None:
                raise
            raise known from error
        except PoolTimeoutError as error:
            msg = f"{self._where!r}: all connections are in use: keep transactions short"
            raise DatabaseUnavailableError(msg) from error

    def _prepared(self, *, read_only: bool) -> Engine:
        """The engine, once the tables have been found to be of the right version."""
        engine = self._opened()
        if not self._checked:
            with self._opening:
                self._check_tables(engine)
        return self._reader if read_only and self._reader is not None else engine

    def _opened(self) -> Engine:
        with self._opening:
            if self._closed:
                msg = f"{self._where!r} was closed: make a new `Database`"
                raise DatabaseUnavailableError(msg)
            if self._engine is None:
                self._engine = _engine(self.url, schema=self.schema, timeout=self._lock_timeout)
                self._reader = self._engine.execution_options(llmops_read_only=True)
            return self._engine

    def _check_tables(self, engine: Engine) -> None:
        reader = self._reader or engine
        with reader.begin() as connection:
            found = migrate.current_version(connection)
        if migrate.needs_upgrade(found):
            if not self._auto_migrate:
                msg = (
                    f"{self._where!r} has tables of version {found}, this release needs "
                    f"{SCHEMA_VERSION}: run `llmops db upgrade`"
                )
                raise SchemaVersionError(msg, found=found, expected=SCHEMA_VERSION)
            with engine.begin() as connection:
                migrate.upgrade(connection, schema=self.schema)
        self._checked = True


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        msg = f"{url!r} is no database URL; write `sqlite:///llmops.db` or `postgresql://…`"
        raise ConfigurationError(msg) from error
    driver = _DRIVERS.get(parsed.get_backend_name())
    if driver is None:
        msg = (
            f"{parsed.get_backend_name()!r} is no database this package knows; "
            "write `sqlite:///llmops.db` or `postgresql://…`"
        )
        raise ConfigurationError(msg)
    if parsed.get_backend_name() == "sqlite" and _names_a_file(parsed):
        # A later `os.chdir` must not lead to another file.
        return parsed.set(database=str(Path(parsed.database or "").absolute()))
    return parsed if "+" in parsed.drivername else parsed.set(drivername=driver)


def _names_a_file(url: URL) -> bool:
    return bool(url.database) and url.database != ":memory:" and "uri" not in url.query


def _check_driver(url: URL) -> None:
    try:
        url.get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or url.drivername, extra="postgres") from error
    except NoSuchModuleError as error:
        msg = f"{url.drivername!r} is no driver that SQLAlchemy knows; write `postgresql://…`"
        raise ConfigurationError(msg) from error


def _engine(url: URL, *, schema: str | None, timeout: float) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, timeout=timeout)
    # PgBouncer in transaction mode gives each transaction another server connection, so
    # nothing may outlive one: no prepared statements, and `search_path` is set `LOCAL`.
    engine = create_engine(
        url,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"prepare_threshold": None},
    )
    if schema is not None:

        @event.listens_for(engine, "begin")
        def _use_schema(connection: Connection) -> None:
            connection.exec_driver_sql(f"SET LOCAL search_path TO {schema}, public")

    return engine


def _sqlite_engine(url: URL, *, timeout: float) -> Engine:
    options: dict[str, Any] = {
        "connect_args": {"check_same_thread": False},
        "hide_parameters": True,  # an error that is logged must not quote what was stored
    }
    if not url.database or url.database == ":memory:":
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
            connection.execute("PRAGMA journal_mode = WAL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("llmops_read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine

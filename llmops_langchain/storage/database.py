"""The one way to the tables: an engine, its settings, and `begin()`."""

import logging
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy import URL, Connection, Engine, Select, make_url
from sqlalchemy.exc import ArgumentError

from llmops_langchain.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    MissingExtraError,
    SchemaVersionError,
)
from llmops_langchain.storage import migrate
from llmops_langchain.storage.driver import DriverConnection, Spares, Step, plain
from llmops_langchain.storage.engines import postgres_engine, sqlite_engine
from llmops_langchain.storage.failures import Translation
from llmops_langchain.storage.fork import around_fork, on_fork
from llmops_langchain.storage.schema import SCHEMA_VERSION
from llmops_langchain.storage.turns import Gate, OneByOne

__all__ = ["Database"]

logger = logging.getLogger(__name__)

_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")

_COUNTED = {"preserve_rowcount": True}  # of an INSERT too

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")


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
        lock_timeout: Seconds to wait for another process's write lock on SQLite.

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
        self._is_sqlite = self.url.get_backend_name() == "sqlite"
        if schema is not None and not _IDENTIFIER.fullmatch(schema):
            msg = f"`schema` must be a lower-case identifier, got {schema!r}"
            raise ConfigurationError(msg)
        if schema is not None and self.is_sqlite:
            msg = f"`schema` is for PostgreSQL, and the URL is {self._where!r}"
            raise ConfigurationError(msg)
        self.schema = schema
        self._auto_migrate, self._lock_timeout = auto_migrate, lock_timeout
        self._closed = False
        self._translated = Translation(self.url)
        self._engine: Engine | None = None
        self._views: dict[tuple[object, ...], Engine] = {}
        self._opening = threading.RLock()
        self._reset()
        _check_driver(self.url)
        on_fork(self)
        if self.path is not None:
            around_fork(self)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite (PostgreSQL otherwise)."""
        return self._is_sqlite

    @property
    def path(self) -> Path | None:
        """The SQLite file, `None` for a database in memory or on a server."""
        name = (self.url.database or "").removeprefix("file:")
        in_memory = name in ("", ":memory:") or self.url.query.get("mode") == "memory"
        return Path(name) if self.is_sqlite and not in_memory else None

    @contextmanager
    def begin(
        self, *, read_only: bool = False, durable: bool = False, lock_timeout: float | None = None
    ) -> Iterator[Connection]:
        """A transaction: committed when the block ends, rolled back when it raises.

        On SQLite a writing transaction holds the write lock from its first moment, so what it
        read stays true until it commits. PostgreSQL runs READ COMMITTED: change rows by one
        statement or lock them with `FOR UPDATE`. Transactions do not nest.

        Args:
            read_only: The block only reads; on SQLite it then waits for no writer.
            durable: Once committed, a power cut undoes nothing. PostgreSQL's commits are so
                anyway; SQLite's reach the disk a little later unless this is set.
            lock_timeout: Seconds to wait for another writer of an SQLite file, if not the
                database's own.

        Yields:
            A SQLAlchemy connection inside the transaction.

        Raises:
            StorageError: One of its subclasses, when the database cannot do it.
        """
        with self._translated, self._turn:
            pragmas = {
                "synchronous": "FULL" if durable else "NORMAL",
                "busy_timeout": self._milliseconds(lock_timeout),
            }
            self._prepared()
            with self._view(pragmas, read_only=read_only).begin() as connection:
                yield connection

    def read_one(self, statement: Select[Any], **values: Any) -> tuple[Any, ...] | None:
        """The first row of one plain read, for hot paths; `None` if there is none.

        On SQLite the driver runs it itself, in an eighth of the time that `begin()` takes.
        Columns come as the driver gives them: select none whose type converts (ids, tags).

        Args:
            statement: Built once and kept: its compiled form is remembered.
            values: The statement's bound parameters by name.
        """
        if self._is_sqlite:
            return self._directly(DriverConnection.one, plain(statement), values)
        with self.begin(read_only=True) as connection:
            found = connection.execute(statement, values).first()
        return None if found is None else tuple(found)

    def read(self, statement: Select[Any], **values: Any) -> list[tuple[Any, ...]]:
        """Every row of one plain read; otherwise as `read_one`."""
        if self._is_sqlite:
            return self._directly(DriverConnection.all, plain(statement), values)
        with self.begin(read_only=True) as connection:
            return [tuple(row) for row in connection.execute(statement, values)]

    def write(self, *steps: Step, lock_timeout: float | None = None) -> list[int]:
        """Plain statements in one transaction, for hot paths; how many rows each one changed.

        On SQLite the driver runs them itself. Values are bound as they are: give what the driver
        takes (bytes, text, numbers, `None`). For anything else there is `begin()`.

        Args:
            steps: Statements, built once and kept, each with its bound parameters by name. An
                INSERT states its columns: it does not take them from the names given here.
            lock_timeout: As for `begin`.

        Raises:
            StorageError: One of its subclasses, when the database cannot do it.
        """
        if self._is_sqlite:
            waiting = self._milliseconds(lock_timeout)
            return self._directly(DriverConnection.change, steps, lock_timeout=waiting)
        with self.begin() as connection:
            return [
                connection.execute(statement, values, execution_options=_COUNTED).rowcount
                for statement, values in steps
            ]

    def write_or_nothing(self, *steps: Step) -> bool:
        """Plain statements of which each must change one row: else nothing is changed at all.

        Otherwise as `write`.

        Returns:
            Whether every step found its row.
        """
        if self._is_sqlite:
            waiting = self._milliseconds(None)
            return self._directly(DriverConnection.change_each, steps, lock_timeout=waiting)
        with self.begin() as connection:
            found = all(
                connection.execute(statement, values, execution_options=_COUNTED).rowcount == 1
                for statement, values in steps
            )
            if not found:
                connection.rollback()
        return found

    def upgrade(self) -> str:
        """Bring the tables to this code's version, and return the version they are of."""
        with self._translated, self._turn, self._opened().begin() as connection:
            migrate.upgrade(connection, schema=self.schema)
            version = migrate.current_version(connection) or SCHEMA_VERSION
        self._checked = True
        return version

    def upgrade_sql(self) -> str:
        """The SQL that `upgrade` would run on an empty database; nothing is run."""
        return migrate.upgrade_sql(self.url.get_backend_name(), schema=self.schema)

    def close(self) -> None:
        """Close every connection; a later `begin()` is refused."""
        self._closed = True
        # Closed in the middle of another thread's statement, SQLite's one connection in memory
        # takes the process down.
        resting = self._turn.at_rest() if isinstance(self._turn, OneByOne) else nullcontext()
        with resting, self._opening:
            self._spares.close()
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None
                self._views = {}

    def before_fork(self) -> None:
        """Close the connections to the SQLite file once the transactions have ended.

        SQLite keeps account of its locks by process: a child that inherits a connection believes
        that it holds them, and then loses what it writes or waits for a lock that nobody frees.
        """
        if not self._gate.shut(self._lock_timeout):
            logger.warning("%r: a fork inside a transaction: the child may lock up", self._where)
        self._spares.drain()
        if self._engine is not None:
            self._engine.dispose()

    def after_fork_in_parent(self) -> None:
        """Let transactions begin again."""
        self._gate.open()

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent and open own ones when needed."""
        if self._engine is not None:
            self._closing.detach()
            self._engine.dispose(close=False)
        self._reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reset(self) -> None:
        self._engine = None
        self._views = {}
        self._checked = False
        self._spares = Spares()
        self._opening = threading.RLock()
        self._gate = Gate()
        # A database in memory lives on one connection, which threads use in turn.
        of_sqlite = OneByOne() if self.path is None else self._gate
        self._turn: AbstractContextManager[Any] = of_sqlite if self.is_sqlite else nullcontext()

    @property
    def _where(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def _milliseconds(self, lock_timeout: float | None) -> int:
        return int(1000 * (self._lock_timeout if lock_timeout is None else lock_timeout))

    def _directly(
        self,
        work: Callable[Concatenate[DriverConnection, _Arguments], _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Result:
        """What `work` does on a connection of the driver that is its own meanwhile."""
        with self._translated, self._turn:
            connection = self._spares.take() or self._driver_connection()
            try:
                return work(connection, *args, **kwargs)
            finally:
                self._spares.give(connection)

    def _driver_connection(self) -> DriverConnection:
        """One more connection, set up as the engine does it, and out of its pool.

        A database in memory has only one, which stays in the pool as well.
        """
        pooled = self._prepared().raw_connection()
        connection: Any = pooled.driver_connection
        if self.path is None:
            pooled.close()
        else:
            pooled.detach()
        return DriverConnection(connection, lock_timeout=self._milliseconds(None))

    def _view(self, pragmas: Mapping[str, str | int], *, read_only: bool) -> Engine:
        """The engine, telling its connections how to begin; SQLAlchemy takes 6 µs to make one."""
        key = (read_only, *pragmas.values())
        if key not in self._views:
            options = {"llmops_read_only": read_only, "llmops_pragmas": pragmas}
            self._views[key] = self._opened().execution_options(**options)
        return self._views[key]

    def _prepared(self) -> Engine:
        """The engine, once the tables have been found to be of the right version."""
        engine = self._opened()
        if not self._checked:
            with self._opening:
                self._check_tables(engine)
        return engine

    def _opened(self) -> Engine:
        with self._opening:
            if self._closed:
                msg = f"{self._where!r} was closed: make a new `Database`"
                raise DatabaseUnavailableError(msg)
            if self._engine is None:
                self._engine = self._new_engine()
                # Whoever forgets `close` leaves no open connection behind.
                self._closing = weakref.finalize(self, _let_go, self._spares, self._engine)
                self._closing.atexit = False
            return self._engine

    def _new_engine(self) -> Engine:
        if not self.is_sqlite:
            return postgres_engine(self.url, schema=self.schema)
        return sqlite_engine(self.url, in_memory=self.path is None, timeout=self._lock_timeout)

    def _check_tables(self, engine: Engine) -> None:
        with self._view({}, read_only=True).begin() as connection:
            found = migrate.current_version(connection)
        if migrate.needs_upgrade(found):
            if not self._auto_migrate:
                msg = (
                    f"{self._where!r} has {f'tables of version {found}' if found else 'no tables'}"
                    f", this release needs {SCHEMA_VERSION}: run `llmops db upgrade --url …`"
                )
                raise SchemaVersionError(msg, found=found, expected=SCHEMA_VERSION)
            with engine.begin() as connection:
                migrate.upgrade(connection, schema=self.schema)
        self._checked = True


def _let_go(spares: Spares, engine: Engine) -> None:
    spares.close()
    engine.dispose()


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # The text is not quoted: it may hold a password where none is looked for.
        msg = "`url` is no database URL; write `sqlite:///llmops.db` or `postgresql://…`"
        raise ConfigurationError(msg) from error
    if parsed.drivername not in _DRIVERS:
        msg = (
            f"{parsed.drivername!r} is no database or driver this package knows; "
            "write `sqlite:///llmops.db` or `postgresql://…`"
        )
        raise ConfigurationError(msg)
    if parsed.get_backend_name() == "sqlite" and _names_a_file(parsed):
        # A later `os.chdir` must not lead to another file.
        return parsed.set(database=str(Path(parsed.database or "").absolute()))
    return parsed.set(drivername=_DRIVERS[parsed.drivername])


def _names_a_file(url: URL) -> bool:
    return bool(url.database) and url.database != ":memory:" and "uri" not in url.query


def _check_driver(url: URL) -> None:
    try:
        url.get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or url.drivername, extra="postgres") from error

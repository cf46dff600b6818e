"""What a driver's error means to the user, and the way out of it."""

import sqlite3

from sqlalchemy import URL
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from llmops_langchain.errors import (
    ConfigurationError,
    DatabaseCorruptError,
    DatabaseLockedError,
    DatabaseReadOnlyError,
    DatabaseUnavailableError,
    StorageError,
)

__all__ = ["Translation", "storage_error"]

# The drivers' own words, the error they stand for, and what the user can do.
_MEANINGS: tuple[tuple[str, type[StorageError], str], ...] = (
    (
        "database is locked",
        DatabaseLockedError,
        "another process kept the write lock: raise `lock_timeout`, or move to PostgreSQL",
    ),
    (
        "database table is locked",
        DatabaseLockedError,
        "a transaction of the same process holds it; `begin()` does not nest",
    ),
    (
        "lock timeout",
        DatabaseLockedError,
        "another transaction holds the row; try again",
    ),
    (
        "deadlock detected",
        DatabaseLockedError,
        "two transactions waited for each other; try again",
    ),
    (
        "readonly database",
        DatabaseReadOnlyError,
        "open it without `mode=ro`, or give the process write access to the file and its folder",
    ),
    (
        "read-only transaction",
        DatabaseReadOnlyError,
        "connect to the primary, not to a read replica",
    ),
    (
        "file is not a database",
        DatabaseCorruptError,
        "the URL names a file of another kind; it was left as it is",
    ),
    (
        "malformed",
        DatabaseCorruptError,
        "restore it from a backup, or run `sqlite3 FILE .recover`",
    ),
    (
        "unable to open database file",
        DatabaseUnavailableError,
        "create the folder, and give the process write access to it",
    ),
    (
        "database or disk is full",
        DatabaseUnavailableError,
        "free some space on the disk of the database",
    ),
    (
        "row-level security",
        StorageError,
        "the row belongs to another workspace than the transaction is for",
    ),
    (
        "permission denied",
        DatabaseUnavailableError,
        "grant the login the rights on the schema and its tables",
    ),
)


def storage_error(error: Exception, url: URL) -> StorageError | None:
    """The typed error for a driver's error; `None` where it is the caller's (a broken constraint).

    Passwords in the URL are masked, and the statement's values are left out.
    """
    if isinstance(error, (DataError, IntegrityError)):
        return None  # about a value, and its text may quote any of the words below
    said = str(error.orig if isinstance(error, DBAPIError) else error)
    where = url.render_as_string(hide_password=True)
    for words, kind, way_out in _MEANINGS:
        if words in said:
            return kind(f"{where!r}: {said.strip()}: {way_out}")
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if lost or any(word in said.lower() for word in ("connection", "resolve host", "timeout")):
        return DatabaseUnavailableError(
            f"{where!r}: {said.strip()}: check that the server runs and that host, port, "
            "database and login are right"
        )
    if isinstance(error, (OperationalError, sqlite3.OperationalError)):
        return StorageError(f"{where!r}: {said.strip()}")
    return None


class Translation:
    """A block in which the drivers' errors become this package's; it may be entered repeatedly.

    Args:
        url: The database that they are about.
    """

    def __init__(self, url: URL) -> None:
        self._url = url

    def __enter__(self) -> None:
        """Nothing to do: a block that succeeds pays for a method call, not for a generator."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, PoolTimeoutError):
            where = self._url.render_as_string(hide_password=True)
            msg = f"{where!r}: all connections are in use: keep transactions short"
            raise DatabaseUnavailableError(msg) from error
        if isinstance(error, UnicodeEncodeError):
            msg = (
                "a text holds half of a surrogate pair, which no database takes: mend or refuse it"
            )
            raise ConfigurationError(msg) from error
        if isinstance(error, sqlite3.IntegrityError):
            # As it would have come through SQLAlchemy: the caller's own error.
            raise IntegrityError(None, None, error) from error
        if isinstance(error, (DBAPIError, sqlite3.Error)):
            known = storage_error(error, self._url)
            if known is not None:
                raise known from error

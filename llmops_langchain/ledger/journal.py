"""A file of events that outlives its process, until the database has them.

Each process appends to a file of its own, one line an event. A line handed to the operating system
survives the death of the process (`fsync` adds the loss of power). Whoever can lock a file owns it:
a living process holds its journal's lock, a dead one has let go, so another may store what is left.
"""

import hashlib
import logging
import os
import sys
from collections.abc import Generator, Iterator, Mapping
from dataclasses import fields
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import orjson

from llmops_langchain.ledger.event import Event, as_row, from_row, storable
from llmops_langchain.storage import Database
from llmops_langchain.storage.types import new_id

if sys.platform != "win32":
    import fcntl

__all__ = ["Journal", "journal_directory", "leftovers"]

logger = logging.getLogger(__name__)

_SUFFIX = ".journal"

_DEFAULTS = {each.name: each.default for each in fields(Event)}


def journal_directory(database: Database, chosen: Path | None = None) -> Path | None:
    """Where the journals of a database lie; `None` if it has none.

    A database in memory dies with its process, so there is nothing to outlive it; Windows has no
    lock that tells a dead owner from a living one; a user without a home has no state folder.
    """
    if sys.platform == "win32" or (database.is_sqlite and database.path is None):
        return None
    if chosen is None and database.path is not None:
        # Never `<file>-journal`: that name is SQLite's own.
        return database.path.with_name(f"{database.path.name}-llmops")
    parent = chosen or _state_folder()
    if parent is None:
        return None
    # A folder for each database: what one left behind must not be stored in another.
    address = database.url.set(password=None).render_as_string()
    return parent / hashlib.sha256(f"{address} {database.schema}".encode()).hexdigest()[:16]


def _state_folder() -> Path | None:
    home = os.path.expanduser("~")  # noqa: PTH111 - `Path.home()` raises where there is none
    state = os.environ.get("XDG_STATE_HOME") or f"{home}/.local/state"
    return None if state.startswith("~") else Path(state) / "llmops_langchain"


class Journal:
    """An append-only file of events, owned by this process until it is removed or let go.

    Args:
        directory: Where the file lies; made with mode 0700, the file with 0600.
        fsync: Wait for the disk at each append, so that a power cut loses nothing either.
    """

    def __init__(self, directory: Path, *, fsync: bool = False) -> None:
        self._descriptor, self._fsync = -1, fsync
        self._torn = False  # the last line was cut off: the next one must not continue it
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = directory / f"{os.getpid()}-{new_id()}{_SUFFIX}"
        # Locked before it gets its name: nobody can take an unlocked new file for a leftover.
        unnamed = self.path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(unnamed, flags, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            unnamed.rename(self.path)
            if fsync:
                _sync(directory)
        except OSError:
            unnamed.unlink(missing_ok=True)
            self.forget()
            raise

    def append(self, *events: Event) -> None:
        """Hand events to the operating system at once; they survive the process from here on.

        Raises:
            OSError: If the disk did not take it; the file then ends in a line that is passed over.
        """
        lines = b"".join([b"\n" if self._torn else b"", *map(encode, events)])
        self._torn = os.write(self._descriptor, lines) != len(lines)
        if self._torn:
            msg = f"{self.path.name!r} took a part of a line only: is the disk full?"
            raise OSError(msg)
        if self._fsync:
            os.fsync(self._descriptor)

    def remove(self) -> None:
        """Delete the file: the database has what was in it."""
        self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Leave the file to whoever stores leftovers, even if a forked child has it open too."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.forget()

    def forget(self) -> None:
        """Close the file; in a forked child it stays the parent's."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.forget()


def leftovers(directory: Path) -> Generator[list[Event]]:
    """The events of each file whose owner is gone; a file is deleted once the caller comes back.

    Processes may do this at the same time: each file is given to one of them.
    """
    for path in sorted(directory.glob(f"*{_SUFFIX}")):
        try:
            descriptor = os.open(path, os.O_RDWR)
        except OSError:  # stored by another process just now, or another user's
            continue
        try:
            if _owned(descriptor):
                yield list(_read(descriptor, path.name))
                path.unlink(missing_ok=True)
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def encode(event: Event) -> bytes:
    """One line of a journal: what is set, without what only the writer in memory can know."""
    try:
        return _line(event)
    except TypeError:  # a lone surrogate, or a number over 64 bits
        return _line(storable(event))


def _line(event: Event) -> bytes:
    row = {name: it for name, it in as_row(event).items() if it is not _DEFAULTS[name]}
    row.pop("cache_key", None)
    row.pop("features", None)
    return orjson.dumps(row, default=_as_json, option=orjson.OPT_APPEND_NEWLINE)


def _as_json(value: Any) -> Any:
    """What JSON has no word for: other mappings, numpy's scalars and other numbers; else text."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "item"):
        return value.item()
    return float(value) if isinstance(value, (Decimal, Real)) else str(value)


def _sync(directory: Path) -> None:
    """Bring the directory's list of names to the disk; a file's own `fsync` need not."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _owned(descriptor: int) -> bool:
    """Whether the lock is ours now and the file was not removed while we waited for it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0


def _read(descriptor: int, name: str) -> Iterator[Event]:
    with os.fdopen(os.dup(descriptor), "rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield from_row(orjson.loads(line))
            except (ValueError, TypeError, AttributeError):
                # A process was killed, or the disk filled up, in the middle of this line.
                logger.warning("journal %s: line %d is not an event, passed over", name, number)

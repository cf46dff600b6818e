"""Takes events in microseconds and brings them to the database in batches, each exactly once."""

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal, Self

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import ConfigurationError, DatabaseUnavailableError
from llmops_langchain.ledger.budget_alerts import Raised, log_alerts
from llmops_langchain.ledger.event import Event, storable
from llmops_langchain.ledger.journal import Journal, journal_directory, leftovers
from llmops_langchain.ledger.settlement import Settlement
from llmops_langchain.ledger.values import is_about_a_value
from llmops_langchain.storage import Database
from llmops_langchain.storage.fork import on_fork

__all__ = ["Durability", "Ledger"]

logger = logging.getLogger(__name__)

Durability = Literal["journal", "fsync", "commit"]
"""What an acknowledged event survives: the process, a power cut (`fsync`), both at once (`commit`,
without a thread or a file, at the price of a transaction an event)."""

_IN_MEMORY = 10_000  # events; about a third of a second of writing on SQLite


# What the writer is told: an event waits, or a whole batch does.
_SOON, _NOW = "soon", "now"


class Ledger:
    """Every event of the package goes through `record`, which never fails.

    When `record` returns, the event is in this process's journal; a writer thread brings it to
    the database within a second. What a killed process left behind, the next one stores.

    Args:
        database: Where events are kept.
        durability: `"journal"`, `"fsync"` or `"commit"`, see `Durability`. A database in memory
            dies with its process, so it has no journal.
        journal_dir: Where journals lie; by default `<file>-llmops/` beside an SQLite file and
            the user's state folder for a server.
        batch_size: Events that make the writer start at once.
        interval: Seconds an event waits for the writer at most.
        disabled: Record nothing.
        clock: Returns seconds since the Unix epoch.

    Raises:
        ConfigurationError: If an argument makes no sense.

    Example:
        >>> with Database("sqlite://") as database, Ledger(database) as ledger:
        ...     ledger.record(Event(name="task.success", value=1, unit="count", ts=1_800_000_000))
    """

    def __init__(
        self,
        database: Database,
        *,
        durability: Durability = "journal",
        journal_dir: Path | None = None,
        batch_size: int = 500,
        interval: float = 1.0,
        disabled: bool = False,
        clock: Clock = system_clock,
    ) -> None:
        if durability not in ("journal", "fsync", "commit"):
            msg = f"`durability` is 'journal', 'fsync' or 'commit', got {durability!r}"
            raise ConfigurationError(msg)
        if batch_size < 1 or interval <= 0:
            msg = f"`batch_size` and `interval` must be positive, got {batch_size}, {interval}"
            raise ConfigurationError(msg)
        self._database, self._batch_size, self._interval = database, batch_size, interval
        self._fsync, self._durable = durability == "fsync", durability != "journal"
        self._commits, self._disabled = durability == "commit", disabled
        journals = not self._commits and not disabled
        self._directory = journal_directory(database, journal_dir) if journals else None
        self.dropped = 0
        """Events that could be neither stored nor kept in a journal."""
        self.settlement = Settlement(clock)
        """Brings what events cost to the budgets, in the transaction that stores them."""
        self.tell: Callable[[Sequence[Raised]], None] = log_alerts
        """Told which shares of budgets were reached, after the commit."""
        self._listeners: list[Callable[[Event], None]] = []
        self._flushed_too: list[Callable[[], None]] = []
        self._reset()
        on_fork(self)

    def record(self, event: Event) -> None:
        """Keep one event. A failure is counted and logged, never raised."""
        self.record_all((event,))

    def record_all(self, events: Sequence[Event]) -> None:
        """`record` for each of some events, in less time."""
        if self._disabled:
            return
        for at in range(0, len(events), self._batch_size):
            batch = events[at : at + self._batch_size]
            try:
                if self._commits:
                    self._store(batch)
                else:
                    self._enqueue(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, the user's call did not fail
                self._drop(error, len(batch))
        for listener in self._listeners:
            for event in events:
                try:
                    listener(event)
                except Exception as error:  # noqa: BLE001 - as above
                    self._tell_once("a listener failed", error)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with each event right after it was recorded, where it was recorded.

        It must be quick and must not block: what it raises is logged once and goes no further.
        """
        self._listeners.append(listener)

    def flush_too(self, flush: Callable[[], None]) -> None:
        """Call `flush` with each flush: in the writer's thread, and where somebody asks for one."""
        self._flushed_too.append(flush)

    def flush(self) -> None:
        """Bring everything recorded so far to the database, and what dead processes left.

        Raises:
            StorageError: If the database cannot take it; the events stay where they are.
        """
        if self._recorder == threading.get_ident():
            # A signal handler, or a finalizer, in the middle of this thread's own `record`.
            self._wake.put(_NOW)
            return
        with self._flushing:
            try:
                self._store_waiting()
                self._store_leftovers()
                for flush in self._flushed_too:
                    flush()
            except BaseException:
                self._wake.put(_SOON)  # the writer tries again
                raise

    def close(self) -> None:
        """Flush and end the writer. If the database is away, the journal keeps the events."""
        self._closed = True
        self._wake.put(_NOW)
        self._flush_quietly()
        _unflushed.discard(self)

    def after_fork(self) -> None:
        """Leave the parent's events, journal and thread to the parent."""
        if self._journal is not None:
            self._journal.forget()
        self._reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reset(self) -> None:
        self._queue: list[Event] = []
        self._loose: list[Event] = []  # those of the queue that no journal has
        self._journal: Journal | None = None
        self._writer: threading.Thread | None = None
        # Re-entrant, the queue too: a signal handler, or the garbage collector that ends a stream,
        # may record in the middle of a record.
        self._recording, self._flushing = threading.RLock(), threading.RLock()
        self._recorder: int | None = None
        self._wake: SimpleQueue[str] = SimpleQueue()
        self._told: set[str] = set()
        self._closed = False

    def _enqueue(self, batch: Sequence[Event]) -> None:
        with self._recording:
            outer, self._recorder = self._recorder, threading.get_ident()
            try:
                waiting = self._add(batch)
            finally:
                self._recorder = outer
        self._notify(waiting - len(batch), waiting)

    def _add(self, batch: Sequence[Event]) -> int:
        """Append to journal and queue; how many events wait now."""
        if not self._journalled(batch):
            self._wait_in_memory(batch)
        self._queue.extend(batch)
        waiting = len(self._queue)
        if waiting - len(self._loose) >= _IN_MEMORY and self._journal is not None:
            # The database is slow or away: the journal remembers, this process need not.
            self._journal.release()
            self._queue, self._journal = list(self._loose), None
        return waiting

    def _journalled(self, batch: Sequence[Event]) -> bool:
        """Append to the journal; `False` if there is none, or no disk for it."""
        if self._directory is None:
            return False
        try:
            if self._journal is None:
                self._journal = Journal(self._directory, fsync=self._fsync)
            self._journal.append(*batch)
        except OSError as error:
            self._tell_once("no journal, events wait in memory", error)
            return False
        return True

    def _wait_in_memory(self, batch: Sequence[Event]) -> None:
        if len(self._loose) >= 2 * _IN_MEMORY:
            msg = "neither the database nor a journal takes events, and memory is bounded"
            raise DatabaseUnavailableError(msg)
        self._loose.extend(batch)

    def _notify(self, before: int, waiting: int) -> None:
        if before <= 0:
            _unflushed.add(self)
            self._wake.put(_SOON)
            if self._writer is None and not self._closed:
                self._writer = _start_writer(self)
        if before < self._batch_size <= waiting:
            self._wake.put(_NOW)
        elif waiting >= _IN_MEMORY and self._directory is None:
            self._flush_quietly()

    def _seal(self) -> tuple[list[Event], list[Event], Journal | None]:
        """Take what is waiting; what comes now goes to a new queue and a new journal."""
        with self._recording:
            sealed = self._queue, self._loose, self._journal
            self._queue, self._loose, self._journal = [], [], None
        return sealed

    def _store_waiting(self) -> None:
        batch, loose, journal = self._seal()
        try:
            self._store(batch)
        except BaseException:
            # Nothing is lost: the next flush finds the journal, and the others wait on.
            if journal is not None:
                journal.release()
            with self._recording:
                self._queue, self._loose = loose + self._queue, loose + self._loose
            raise
        if journal is not None:
            journal.remove()

    def _store_leftovers(self) -> None:
        if self._directory is None:
            return
        with closing(leftovers(self._directory)) as files:
            for batch in files:
                self._store(batch)

    def _store(self, batch: Sequence[Event]) -> None:
        if not batch:
            return
        try:
            self._insert_rows(batch)
        except _UnstorableError:
            self._store_one_by_one(batch)

    def _store_one_by_one(self, batch: Sequence[Event]) -> None:
        for event in batch:
            try:
                self._insert_rows([_mended(event)])
            except _UnstorableError as error:
                self._drop(error.cause)

    def _insert_rows(self, batch: Sequence[Event]) -> None:
        with self._database.begin(durable=self._durable) as connection:
            try:
                raised = self.settlement.store(connection, batch)
            except Exception as error:
                # Only what this statement raises can be about a value: whatever fails before it,
                # such as opening the database, leaves the events where they are.
                if is_about_a_value(error):
                    raise _UnstorableError(error) from error
                raise
        if raised:
            self.tell(raised)

    def _drop(self, error: Exception, number: int = 1) -> None:
        self.dropped += number
        # Its class alone: the text of an error may quote what was to be stored.
        logger.error("an event was dropped (%d so far): %s", self.dropped, type(error).__name__)

    def _flush_quietly(self) -> None:
        try:
            self.flush()
        except Exception as error:  # noqa: BLE001 - the thread must live on, whatever a driver raises
            self._tell_once("events wait for the database", error)
        else:
            self._told.clear()

    def _tell_once(self, what: str, error: Exception) -> None:
        if what not in self._told:
            self._told.add(what)
            logger.warning("%s: %s", what, error)


class _UnstorableError(Exception):
    """An event of a batch is to blame, so that the others can be stored without it."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause
        super().__init__(type(cause).__name__)


def _mended(event: Event) -> Event:
    try:
        return storable(event)
    except (AttributeError, TypeError, ValueError) as error:
        raise _UnstorableError(error) from error


def _start_writer(ledger: Ledger) -> threading.Thread:
    wake, interval = ledger._wake, ledger._interval  # noqa: SLF001 - its own writer

    # A weak reference: a ledger that is dropped without `close` ends its thread.
    seen = weakref.ref(ledger, lambda _: wake.put(_NOW))
    thread = threading.Thread(
        target=_write, args=(seen, wake, interval), name="llmops-writer", daemon=True
    )
    thread.start()
    return thread


def _write(seen: "weakref.ref[Ledger]", wake: "SimpleQueue[str]", interval: float) -> None:
    while True:
        _wait(wake, interval)
        ledger = seen()
        if ledger is None or ledger._closed:  # noqa: SLF001 - as above
            return
        ledger._flush_quietly()  # noqa: SLF001 - as above
        del ledger


def _wait(wake: "SimpleQueue[str]", interval: float) -> None:
    """Wait for the first event, and then for more, but no longer than `interval`."""
    if wake.get() == _NOW:
        return
    deadline = time.monotonic() + interval
    with suppress(Empty):
        while wake.get(timeout=max(0.0, deadline - time.monotonic())) != _NOW:
            pass


_unflushed: weakref.WeakSet[Ledger] = weakref.WeakSet()


@atexit.register
def _close_ledgers() -> None:
    for ledger in list(_unflushed):
        ledger.close()

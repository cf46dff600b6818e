"""Keeps the index beside the rows: one process at a time, in a thread of its own."""

import logging
import os
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from uuid import UUID

from llmops_langchain.clock import Clock
from llmops_langchain.errors import MissingExtraError
from llmops_langchain.learning.embedder import Embedder
from llmops_langchain.learning.index import ChromaIndex, Place
from llmops_langchain.learning.row_form import Vector
from llmops_langchain.learning.rows import Counted, ExperienceRows
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.storage.leases import lease

if sys.platform != "win32":
    import fcntl

__all__ = ["Indexer"]

logger = logging.getLogger(__name__)

_LEASE = 120.0
"""Seconds that writing one page to a server may take."""

_LOCK = "holder.lock"


class Indexer:
    """Opens the index where that is worth it, and brings it to where the rows are.

    A folder is opened by the process that holds its lock, for as long as that lives; the others
    search what they have in memory. A server is searched by all, and written to by one at a time.

    Args:
        rows: The truth.
        embedder: Whose vectors are indexed.
        place: Where the index is; `None` for none.
        worth: How many rows there must be before it is opened.
        clock: Returns seconds since the Unix epoch.
    """

    def __init__(
        self,
        rows: ExperienceRows,
        embedder: Embedder,
        place: Place | None,
        *,
        worth: int,
        clock: Clock,
    ) -> None:
        self._rows, self._embedder, self._clock = rows, embedder, clock
        self._place, self._worth = place, worth
        self.failures = 0
        """How often the index could not be opened, written or searched."""
        self._lock = -1
        self._told: set[str] = set()
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Leave the lock and the index to the parent."""
        self._busy = threading.RLock()
        self._index: ChromaIndex | None = None
        self._closed = False
        if self._lock >= 0:
            # The lock is the parent's: closing a copy of the file does not let go of it.
            os.close(self._lock)
            self._lock = -1

    @property
    def is_open(self) -> bool:
        """Whether this process can search the index."""
        return self._index is not None

    def sync(self) -> int:
        """Bring the index to where the rows are, if this process may; how many rows it took.

        Raises:
            StorageError: If the database cannot say what is new.
            Exception: Whatever Chroma raises.
        """
        with self._busy:
            index = self._opened()
            if index is None:
                return 0
            with self._turn() as turn:
                return 0 if turn is None else self._brought(index)

    def try_sync(self) -> None:
        """`sync`, but what goes wrong is counted and logged once."""
        try:
            self.sync()
        except Exception as error:  # noqa: BLE001 - whatever Chroma raises, the rows are the truth
            self._failed(error)
            with self._busy:
                self._shut()

    def candidates(self, workspace: str | None, vector: Vector, k: int) -> list[UUID]:
        """The nearest runs that the index knows; none where this process cannot ask it."""
        if (index := self._index) is None:
            return []
        try:
            return index.candidates(workspace, vector, k)
        except Exception as error:  # noqa: BLE001 - what is in memory is searched all the same
            self._failed(error)
            return []

    def rebuild(self) -> int:
        """Make the index anew from the rows; how many it took.

        Raises:
            StorageError: If the database cannot be read.
            Exception: Whatever Chroma raises.
        """
        with self._busy:
            index = self._opened(now=True)
            if index is None:
                return 0
            index.clear()
            return self._brought(index)

    def differing(self) -> tuple[int, int] | None:
        """How many rows the index lacks, and how many it has too many; `None` if it is not open.

        Raises:
            StorageError: If the database cannot be read.
            Exception: Whatever Chroma raises.
        """
        with self._busy:
            if self._index is None:
                return None
            here, there = set(self._index.ids()), set(self._rows.ids())
            return len(there - here), len(here - there)

    def close(self) -> None:
        """Let go of the index and its lock."""
        with self._busy:
            self._closed = True
            self._shut()
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    def _opened(self, *, now: bool = False) -> ChromaIndex | None:
        if self._index is None and self._place is not None and not self._closed:
            is_worth = now or self._rows.reaches(self._worth)
            if is_worth and self._may_open(self._place):
                self._index = ChromaIndex(self._place, self._rows.identity(), self._embedder.name)
        return self._index

    def _may_open(self, place: Place) -> bool:
        if place.folder is None or self._lock >= 0:
            return True
        if sys.platform == "win32":  # no lock that ends with its process
            return False
        # Beside the folder, not in it: a damaged index is deleted with its folder.
        path = place.folder.with_name(f"{place.folder.name}.{_LOCK}")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def _turn(self) -> AbstractContextManager[Any]:
        if self._place is not None and self._place.folder is not None:
            return nullcontext(self)  # whoever has it open is the one
        return lease(self._rows.database, "learning-index", _LEASE, self._clock)

    def _brought(self, index: ChromaIndex) -> int:
        counted, reached, took = self._rows.counted(), index.reached, 0
        change = reached.change
        while change < counted.change:
            page, last = self._rows.since(change)
            mine = [each for each in page if each.embedder == self._embedder.name]
            index.put(mine)
            took, change = took + len(mine), counted.change if last is None else last
            index.reach(Counted(change, reached.forgotten))
        if reached.forgotten != counted.forgotten:
            index.drop(set(index.ids()) - set(self._rows.ids()))
            index.reach(Counted(change, counted.forgotten))
        return took

    def _shut(self) -> None:
        index, self._index = self._index, None
        if index is not None:
            try:
                index.close()
            except Exception as error:  # noqa: BLE001 - it is not needed any more
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        name = type(error).__name__
        if name not in self._told:
            self._told.add(name)
            way = "; pip install llmops-langchain[learning]"
            told = way if isinstance(error, MissingExtraError) else ""
            logger.warning("experiences are searched in memory alone: %s%s", name, told)

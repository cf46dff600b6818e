"""The mirrors of the workspaces that are asked about, brought to where the rows are."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from llmops_langchain.clock import Clock
from llmops_langchain.learning.embedder import Embedder
from llmops_langchain.learning.indexing import Indexer
from llmops_langchain.learning.mirror import Mirror
from llmops_langchain.learning.row_form import Vector
from llmops_langchain.learning.rows import Counted, ExperienceRows
from llmops_langchain.storage.fork import around_fork, on_fork

__all__ = ["Mirrors"]

_MOST_WORKSPACES = 16
"""Mirrors in memory: those that were asked last."""

_CANDIDATES = 200
"""Runs that the index names where there are more than the mirror holds."""

_SPARE = 10_000
"""Older runs that the index named and a mirror holds beside the newest."""


class Mirrors:
    """One mirror a workspace, read from the rows when it is first asked.

    What this process wrote is found at once, what others wrote within `interval` seconds. Safe to
    share between threads, which search one after the other.

    Args:
        rows: The truth.
        embedder: Whose vectors are compared.
        indexer: Names older runs where there are more than `most`.
        clock: Returns seconds since the Unix epoch.
        most: Runs of a workspace in memory: the newest.
        interval: Seconds between two looks at what others wrote.
    """

    def __init__(
        self,
        rows: ExperienceRows,
        embedder: Embedder,
        indexer: Indexer,
        *,
        clock: Clock,
        most: int = 50_000,
        interval: float = 1.0,
    ) -> None:
        self._rows, self._embedder, self._indexer = rows, embedder, indexer
        self._clock, self._most, self._interval = clock, most, interval
        self._mirrors: OrderedDict[str | None, _Kept] = OrderedDict()
        self.after_fork()
        on_fork(self)
        around_fork(self)

    def after_fork(self) -> None:
        """Leave the lock to the parent."""
        self._lock = threading.RLock()

    def before_fork(self) -> None:
        """Wait for the end of matrix products: OpenBLAS cannot fork while its threads work."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def told(self) -> None:
        """Something was written: look before the next search."""
        for kept in list(self._mirrors.values()):
            kept.looked = float("-inf")

    def clear(self) -> None:
        """Something was deleted: read everything anew."""
        with self._lock:
            self._mirrors.clear()

    @contextmanager
    def of(self, workspace: str | None, vector: Vector | None = None) -> Iterator[Mirror]:
        """The mirror of a workspace, for this thread alone while it is in the block.

        Args:
            workspace: Whose.
            vector: Of the task that is asked about: older runs that are like it are taken in.

        Raises:
            StorageError: If the database cannot be read.
        """
        with self._lock:
            kept = self._fresh(workspace)
            if vector is not None and kept.is_partial:
                self._take_in(workspace, kept, vector)
            yield kept.mirror

    def _fresh(self, workspace: str | None) -> "_Kept":
        now, kept = self._clock(), self._mirrors.get(workspace)
        if kept is not None and abs(now - kept.looked) < self._interval:
            self._mirrors.move_to_end(workspace)
            return kept
        counted, embedder = self._rows.counted(), self._embedder.name
        is_stale = kept is None or kept.counted.forgotten != counted.forgotten
        if kept is None or is_stale or kept.embedder != embedder or kept.overflows(self._most):
            kept = _Kept(Mirror(embedder), embedder)
        if counted.change > kept.counted.change:
            news = self._rows.newest(workspace, kept.counted.change, self._most + 1)
            kept.is_partial = kept.is_partial or len(news) > self._most
            kept.mirror.put(news[-self._most :])
        # As counted before they were read: what was written meanwhile is news the next time.
        kept.counted, kept.looked = counted, now
        self._mirrors[workspace] = kept
        self._mirrors.move_to_end(workspace)
        while len(self._mirrors) > _MOST_WORKSPACES:
            self._mirrors.popitem(last=False)
        return kept

    def _take_in(self, workspace: str | None, kept: "_Kept", vector: Vector) -> None:
        named = self._indexer.candidates(workspace, vector, _CANDIDATES)
        unknown = [each for each in named if each not in kept.mirror]
        if unknown:
            kept.mirror.put(self._rows.found(workspace, unknown).values())


class _Kept:
    """A mirror and how far it has come."""

    def __init__(self, mirror: Mirror, embedder: str) -> None:
        self.mirror, self.embedder = mirror, embedder
        self.counted = Counted(0, 0)
        self.looked = float("-inf")
        self.is_partial = False
        """There are more runs than it holds."""

    def overflows(self, most: int) -> bool:
        """Whether it is time to read the newest anew."""
        return len(self.mirror) > most + _SPARE

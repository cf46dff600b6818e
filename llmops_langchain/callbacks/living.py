"""Prolong the leases of the calls that this process still makes."""

import logging
import threading
import time
import weakref
from collections.abc import Callable, Collection
from uuid import UUID

from llmops_langchain.errors import StorageError

__all__ = ["Living"]

logger = logging.getLogger(__name__)

_MOST_LEASES = 12
"""So many leases long is a call believed in: a stream that nobody reads on and nobody closes."""


class Living:
    """The calls under way that have something set aside.

    A daemon thread prolongs those that are older than a third of the lease. It is there while there
    are such calls. Of a killed process nobody prolongs them.

    Args:
        prolong: Prolongs leases, by the ids of what is set aside.
        lease: Seconds of a lease.
    """

    def __init__(self, prolong: Callable[[Collection[UUID]], None], *, lease: float) -> None:
        self._prolong, self._lease = prolong, lease
        self._begun: dict[UUID, float] = {}
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def begin(self, reservation_id: UUID) -> None:
        """A call is under way."""
        self._begun[reservation_id] = time.monotonic()
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = _started(self, self._closed, self._lease / 3)

    def end(self, reservation_id: UUID | None) -> None:
        """A call has ended."""
        if reservation_id is not None:
            self._begun.pop(reservation_id, None)

    def round(self, now: float) -> bool:
        """Prolong what is due at `now`, by the monotonic clock; whether there are calls left."""
        begun = list(self._begun.items())
        for each in (it for it, since in begun if now - since > _MOST_LEASES * self._lease):
            self._begun.pop(each, None)
        due = [it for it, since in begun if it in self._begun and now - since >= self._lease / 3]
        try:
            if due:
                self._prolong(due)
        except StorageError as error:
            logger.warning("leases could not be prolonged: %s", error)
        return bool(self._begun)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()

    def rest(self) -> bool:
        """Let the thread end, unless a call began meanwhile; whether it may."""
        with self._starting:
            if not self._begun:
                self._thread = None
            return self._thread is None


def _started(living: Living, closed: threading.Event, interval: float) -> threading.Thread:
    # A weak reference: calls of an app that is dropped are nobody's.
    seen = weakref.ref(living, lambda _: closed.set())
    thread = threading.Thread(
        target=_renew, args=(seen, closed, interval), name="llmops-leases", daemon=True
    )
    thread.start()
    return thread


def _renew(seen: "weakref.ref[Living]", closed: threading.Event, interval: float) -> None:
    while not closed.wait(interval):
        living = seen()
        if living is None or (not living.round(time.monotonic()) and living.rest()):
            return
        del living

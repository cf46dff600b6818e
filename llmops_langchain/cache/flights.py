"""Equal calls at the same moment: one is made, the others wait for its answer."""

import asyncio
import threading
import time
from concurrent.futures import Future

from llmops_langchain.cache.steps import Steps, Waiting
from llmops_langchain.cache.store import Entry

__all__ = ["Flight", "Flights"]

_STALLED = 5.0
"""Seconds without a chunk after which nobody waits for a stream any longer: its reader may have
gone without closing it."""


class Flight:
    """One call that is being made in this process, and its outcome for those who wait.

    Args:
        needs_worker: The call is made by asyncio in a thread of the loop's own executor. A thread
            that waits may be the one it needs, so threads do not wait for it.
    """

    def __init__(self, *, needs_worker: bool = False) -> None:
        self.entry: Entry | None = None
        """The answer, once it is there."""
        self.try_again = False
        """The call failed, and whoever waited may make it."""
        self._done: Future[None] = Future()
        # Running: a waiter that is cancelled must not cancel it for the others.
        self._done.set_running_or_notify_cancel()
        self._loop = _running_loop()
        self._needs_worker = needs_worker
        self._beat_at: float | None = None

    @property
    def has_landed(self) -> bool:
        """Whether its outcome has been told."""
        return self._done.done()

    def beat(self) -> None:
        """Another chunk of the answer arrived."""
        self._beat_at = time.monotonic()

    def land(self, entry: Entry | None = None, *, try_again: bool = False) -> None:
        """Tell those who wait; what is told first stands."""
        if not self._done.done():
            self.entry, self.try_again = entry, try_again
            self._done.set_result(None)

    def waiting(self, until: float) -> Steps[bool]:
        """Wait for the outcome until then (monotonic seconds); whether it is there."""
        while not self._done.done():
            left = until - time.monotonic()
            if left <= 0 or self._is_stalled():
                return False
            if (yield Waiting(self._done, min(left, _STALLED), self._needs_this_thread)) is None:
                return False
        return True

    def _is_stalled(self) -> bool:
        return self._beat_at is not None and time.monotonic() - self._beat_at > _STALLED

    def _needs_this_thread(self) -> bool:
        """Whether the call cannot go on while this thread waits for it."""
        return self._loop is not None and (self._needs_worker or self._loop is _running_loop())


class Flights:
    """The calls that are being made, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_key: dict[bytes, Flight] = {}

    def join(self, key: bytes, *, needs_worker: bool = False) -> tuple[Flight, bool]:
        """The flight of this key, and whether the caller is to make the call."""
        with self._lock:
            flight = self._by_key.get(key)
            if flight is not None:
                return flight, False
            flight = self._by_key[key] = Flight(needs_worker=needs_worker)
            return flight, True

    def leave(self, key: bytes, flight: Flight) -> None:
        """Let the next equal call be made anew, and those who still wait make it."""
        with self._lock:
            if self._by_key.get(key) is flight:
                del self._by_key[key]
        flight.land(try_again=True)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

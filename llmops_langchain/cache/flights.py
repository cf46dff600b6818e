"""Equal calls at the same moment: one is made, the others wait for its answer."""

import asyncio
import threading
import time
from concurrent.futures import Future

from llmops_langchain.cache.match import Match
from llmops_langchain.cache.steps import Steps, Waiting
from llmops_langchain.cache.store import Entry

__all__ = ["Flight", "Flights"]

_STALLED = 5.0
"""Seconds that a chunk is in the hands of a stream's reader after which nobody waits for the stream
any longer: the reader may have gone without closing it."""

_ALIVE = 1.0
"""Seconds in which a loop must take up a call for a thread to wait for one of its tasks."""


class Flight:
    """One call that is being made in this process, and its outcome for those who wait.

    Args:
        generation: The store's generation when the call began: who begins after an invalidation
            does not wait for an answer from before it.
        needs_worker: The call is made by asyncio in a thread of the loop's own executor. A thread
            that waits may be the one it needs, so threads do not wait for it.
        is_last: It was made by one who had waited in vain: if it fails too, nobody waits for a
            third, and each asks.
    """

    def __init__(
        self, generation: int | None, *, needs_worker: bool = False, is_last: bool = False
    ) -> None:
        self.generation = generation
        self.entry: Entry | None = None
        """The answer, once it is there."""
        self.match: Match | None = None
        """How it was found by meaning, if it was."""
        self.try_again = False
        """The call failed, and whoever waited may make it."""
        self._done: Future[None] = Future()
        # Running: a waiter that is cancelled must not cancel it for the others.
        self._done.set_running_or_notify_cancel()
        self._loop = _running_loop()
        self._needs_worker, self._is_last = needs_worker, is_last
        self._handed_at: float | None = None

    @property
    def has_landed(self) -> bool:
        """Whether its outcome has been told."""
        return self._done.done()

    def is_of(self, generation: int | None) -> bool:
        """Whether nothing was invalidated since it began, as far as anybody knows."""
        return None in (self.generation, generation) or self.generation == generation

    def handed(self) -> None:
        """A chunk of the answer is in the hands of its reader."""
        self._handed_at = time.monotonic()

    def taken_back(self) -> None:
        """The reader asks for the next one: from now on the model is waited for."""
        self._handed_at = None

    def land(
        self, entry: Entry | None = None, match: Match | None = None, *, failed: bool = False
    ) -> None:
        """Tell those who wait; what is told first stands."""
        if not self._done.done():
            self.entry, self.match = entry, match
            self.try_again = failed and not self._is_last
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
        handed_at = self._handed_at
        return handed_at is not None and time.monotonic() - handed_at > _STALLED

    def _needs_this_thread(self) -> bool:
        """Whether the call cannot go on while this thread waits for it."""
        if self._loop is None:
            return False
        return self._needs_worker or self._loop is _running_loop() or not _is_alive(self._loop)


class Flights:
    """The calls that are being made, by key."""

    def __init__(self) -> None:
        # The collector may end an abandoned stream, and so call `leave`, inside `join`.
        self._lock = threading.RLock()
        self._by_key: dict[bytes, Flight] = {}

    def join(
        self,
        key: bytes,
        generation: int | None,
        *,
        needs_worker: bool = False,
        is_last: bool = False,
    ) -> tuple[Flight, bool]:
        """The flight of this key, and whether the caller is to make the call."""
        own = Flight(generation, needs_worker=needs_worker, is_last=is_last)
        with self._lock:
            flight = self._by_key.get(key)
            if flight is not None and flight.is_of(generation):
                return flight, False
            self._by_key[key] = own
            return own, True

    def leave(self, key: bytes, flight: Flight) -> None:
        """Let the next equal call be made anew, and those who still wait make it."""
        with self._lock:
            if self._by_key.get(key) is flight:
                del self._by_key[key]
        flight.land(failed=True)


def _is_alive(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop runs what it is given; one that waits for this thread does not."""
    heard = threading.Event()
    try:
        loop.call_soon_threadsafe(heard.set)
    except RuntimeError:  # it is closed
        return False
    return heard.wait(_ALIVE)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

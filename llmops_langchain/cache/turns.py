"""One call's way through the cache: to an answer that is there, or to being the one that asks."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from langchain_core.outputs import Generation

from llmops_langchain.cache.asking import is_led
from llmops_langchain.cache.call import Call
from llmops_langchain.cache.flights import Flight, Flights
from llmops_langchain.cache.match import Match
from llmops_langchain.cache.shelf import Shelf
from llmops_langchain.cache.steps import Blocking, Pause, Steps
from llmops_langchain.cache.store import Entry

__all__ = ["Turn", "Turns"]

_MOST_ATTEMPTS = 2
"""So often does one of those who wait ask while the others go on waiting."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25
"""Seconds between two looks for the answer that another process asks for."""


class Serve(Protocol):
    """Makes a hit of an entry."""

    def __call__(
        self, call: Call, entry: Entry, match: Match | None, *, joined: bool
    ) -> Steps[list[Generation] | None]:
        """The answer; `None` if the entry does not do.

        Args:
            call: Whom it is for.
            entry: The kept answer.
            match: How it was found by meaning, if it was.
            joined: An equal call just left it.
        """


class Turn:
    """What a call is to do: give the answer that is there, or ask and keep what it is told."""

    def __init__(
        self,
        call: Call | None = None,
        answer: list[Generation] | None = None,
        *,
        flight: Flight | None = None,
        seen: int | None = None,
        match: Match | None = None,
    ) -> None:
        self.call = call
        """The call to keep the answer of; `None` if it is not to be kept."""
        self.answer = answer
        """The answer, marked as a hit; `None` if the model is to be asked."""
        self.flight = flight
        """Those who wait for this call's answer."""
        self.seen = seen
        """The store's generation before the model was asked."""
        self.match = match
        """A kept answer to another question that the model's may be compared with."""

    def handed(self) -> None:
        """A chunk of the answer is in the hands of its reader."""
        if self.flight is not None:
            self.flight.handed()

    def taken_back(self) -> None:
        """The reader asks for the next chunk."""
        if self.flight is not None:
            self.flight.taken_back()

    def land(self, entry: Entry | None) -> None:
        """Give the answer to those who wait; without one that can be kept each asks itself."""
        if self.flight is not None:
            self.flight.land(entry)


class Turns:
    """Lets one of many equal calls ask, in this process and among those that share the store.

    Args:
        shelf: Where the answers are.
        serve: Makes a hit of an entry.
        look: Finds a kept answer by meaning.
        wait: Seconds that a call waits for an equal one before it asks itself.
    """

    def __init__(
        self,
        shelf: Shelf,
        serve: Serve,
        look: Callable[[Call], Steps[Match | None]],
        *,
        wait: float,
    ) -> None:
        self._shelf, self._serve, self._look, self._wait = shelf, serve, look, wait
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the calls that threads of the parent make."""
        self._flights = Flights()

    def approach(self, call: Call | None, *, needs_worker: bool) -> Steps[Turn]:
        """Find the answer to `call`, wait for an equal call that is being made, or take the lead.

        Args:
            call: The call; `None` if it is not to be cached.
            needs_worker: asyncio makes it in a thread of the loop's own executor.
        """
        if call is None:
            return Turn()
        if call.options.refresh or is_led(call.key):
            return self._alone(call)
        if (answer := (yield from self._remembered(call))) is not None:
            return Turn(call, answer)
        until = time.monotonic() + self._wait
        for attempt in range(_MOST_ATTEMPTS):
            flight, leads = self._flights.join(
                call.key,
                self._shelf.generation,
                needs_worker=needs_worker,
                is_last=attempt == _MOST_ATTEMPTS - 1,
            )
            if leads:
                return (yield from self._lead(call, flight, until))
            landed = yield from flight.waiting(until)
            if landed and flight.entry is not None:
                answer = yield from self._serve(call, flight.entry, flight.match, joined=True)
                return Turn(call, answer) if answer is not None else self._alone(call)
            if not (landed and flight.try_again):
                break
        return self._alone(call)

    def leave(self, turn: Turn) -> None:
        """End the turn: who still waits may ask, here and in the other processes."""
        if turn.call is not None and turn.flight is not None:
            self._leave(turn.call, turn.flight)

    def _alone(self, call: Call) -> Turn:
        return Turn(call, seen=self._shelf.generation)

    def _remembered(self, call: Call) -> Steps[list[Generation] | None]:
        entry = self._shelf.recent(call.key)
        return None if entry is None else (yield from self._serve(call, entry, None, joined=False))

    def _lead(self, call: Call, flight: Flight, until: float) -> Steps[Turn]:
        """As the only one of this process: look into the store, and agree with the others."""
        try:
            entry, match = (yield Blocking(partial(self._shelf.load, call.key))), None
            # Before the claim: an answer found by meaning is asked for by nobody.
            if entry is None and (match := (yield from self._look(call))) and match.is_served:
                entry = match.entry
            if entry is None:
                entry = yield from self._claimed(call, flight, until)
                match = match if entry is None else None
            answer = None
            if entry is not None:
                answer = yield from self._serve(call, entry, match, joined=False)
        except BaseException:
            self._leave(call, flight)
            raise
        if answer is None:
            flight.generation = self._shelf.generation
            return Turn(call, flight=flight, seen=flight.generation, match=match)
        flight.land(entry, match)
        self._leave(call, flight)
        return Turn(call, answer)

    def _claimed(self, call: Call, flight: Flight, until: float) -> Steps[Entry | None]:
        """The entry that another process leaves while this one waits; none if this one may ask."""
        for pause in _pauses():
            entry: Entry | None
            entry, is_ours = yield Blocking(partial(self._enter, call, flight))
            if entry is not None or is_ours or time.monotonic() + pause > until:
                return entry
            yield Pause(pause)
        return None

    def _enter(self, call: Call, flight: Flight) -> tuple[Entry | None, bool]:
        """The entry, or whether this process is the one to ask."""
        if not self._wait:
            return None, True
        if not self._shelf.claim(call.key):
            return self._shelf.load(call.key, again=True), False
        if flight.has_landed:  # who waited for this claim is gone
            self._shelf.release(call.key)
            return None, True
        # Whoever held the claim before may have left the answer just now.
        return self._shelf.load(call.key, again=True), True

    def _leave(self, call: Call, flight: Flight) -> None:
        self._flights.leave(call.key, flight)
        self._shelf.release_soon(call.key)


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 1.5, _LONGEST_PAUSE)

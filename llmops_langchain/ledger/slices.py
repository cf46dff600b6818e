"""Parts of budgets that this process has taken for itself, and spends without asking."""

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from llmops_langchain.clock import Clock
from llmops_langchain.errors import BudgetExceededError, StorageError
from llmops_langchain.ledger.budget_rows import SLICE
from llmops_langchain.ledger.event import Event
from llmops_langchain.ledger.known_budgets import Window
from llmops_langchain.ledger.ledger import Ledger
from llmops_langchain.ledger.reservations import Amount, Governed, Reservations
from llmops_langchain.ledger.shared_failure import SharedFailure
from llmops_langchain.storage.fork import on_fork

__all__ = ["Slices"]

logger = logging.getLogger(__name__)

_ROOM = 2
"""So many slices must fit into the budgets for one to be taken."""


@dataclass(slots=True)
class _Slice:
    """What was set aside in the database, and how much of it is free here."""

    id: UUID
    left: int
    """Nano-dollars that no call has drawn; below zero if calls cost more than they drew."""
    expires_at: float
    drawn: dict[UUID, int] = field(default_factory=dict)
    """What calls under way have drawn, by their run."""
    ask_again_at: float = 0.0
    """When its lease may be prolonged next."""
    retired: bool = False
    """Nothing is drawn from it any more."""


class Drawn(NamedTuple):
    """Of which slice a call may spend."""

    reservation_id: UUID
    renewal_is_due: bool
    """A third of the slice's lease is over."""


class Slices:
    """A slice for each set of budgets; the cap holds, since the whole slice is set aside.

    While the database is away, calls go on until the slice is used or its lease ends. What a killed
    process left of its slices stays set aside for a day after their lease. A slice is taken only
    while the budgets have room for two of them: near the end each call asks for itself.

    Args:
        reservations: Sets slices aside.
        ledger: Settles what is spent of them, with the events.
        size: Nano-dollars of a slice.
        clock: Returns seconds since the Unix epoch.
    """

    def __init__(
        self, reservations: Reservations, ledger: Ledger, *, size: int, clock: Clock
    ) -> None:
        self._reservations, self._ledger, self._size = reservations, ledger, size
        self._clock = clock
        # Re-entrant: the collector that ends a stream may settle a call in the middle of a draw.
        self._lock, self._taking = threading.RLock(), threading.RLock()
        self._failure = SharedFailure()
        self._at_hand: dict[tuple[Window, ...], _Slice] = {}
        self._by_id: dict[UUID, _Slice] = {}
        _open.add(self)
        ledger.listen(self._settle)
        on_fork(self)

    def draw(self, governed: Governed, amount: int, run_id: UUID) -> Drawn | None:
        """Take `amount` of the slice at hand; `None` if it has not so much. Asks no database."""
        now = self._clock()
        with self._lock:
            slice_ = self._at_hand.get(_key(governed, now))
            if slice_ is None or slice_.left < amount or now >= slice_.expires_at:
                return None
            slice_.left -= amount
            slice_.drawn[run_id] = amount
            lease = self._reservations.lease
            due = slice_.expires_at - now < lease * 2 / 3 and now >= slice_.ask_again_at
            if due:  # once, however many calls draw meanwhile
                slice_.ask_again_at = now + lease / 12
            return Drawn(slice_.id, due)

    def take(
        self, governed: Governed, amount: int, run_id: UUID, about: Mapping[str, Any]
    ) -> UUID | None:
        """Draw from a new slice, where the budgets have room for one; else `None`.

        Raises:
            StorageError: If the database does not answer.
        """
        if amount > self._size:
            return None
        since = time.monotonic()
        with self._taking:  # one at a time: the others draw of what it took
            if drawn := self.draw(governed, amount, run_id):
                return drawn.reservation_id
            with self._failure.shared_by(since):
                return self._take(governed, amount, run_id, about)

    def _take(
        self, governed: Governed, amount: int, run_id: UUID, about: Mapping[str, Any]
    ) -> UUID | None:
        now = self._clock()
        # A strict budget counts what a killed process left of it.
        slice_amount = Amount(self._size, self._size if governed.is_strict else 0)
        try:
            made = self._reservations.reserve(
                governed, slice_amount, about=about, kind=SLICE, room=_ROOM * self._size
            )
        except BudgetExceededError:
            # Near the end each call asks for itself, and finds what is left of slices there.
            self._end(lambda key, _slice: key == _key(governed, now))
            return None
        if made is None:
            return None
        slice_ = _Slice(made, self._size - amount, now + self._reservations.lease, {run_id: amount})
        with self._lock:
            self._retire(lambda key, old: key == _key(governed, now) or now >= old.expires_at)
            self._at_hand[_key(governed, now)] = self._by_id[made] = slice_
        self._end(lambda _key, _slice: False)
        return made

    def goes_on_as(self, run_id: UUID, other: UUID) -> None:
        """What was drawn for one run is settled by the event of another."""
        with self._lock:
            for slice_ in self._by_id.values():
                if run_id in slice_.drawn:
                    slice_.drawn[other] = slice_.drawn.pop(run_id)

    def undo(self, run_id: UUID) -> None:
        """Give back what a call drew that is not made."""
        with self._lock:
            for slice_ in self._by_id.values():
                slice_.left += slice_.drawn.pop(run_id, 0)

    def give_back(self) -> bool:
        """Give back what no call has drawn, for others who find no room; whether there was any.

        Raises:
            StorageError: If the database does not answer.
        """
        with self._lock:
            idle = any(slice_.left > 0 for slice_ in self._at_hand.values())
            self._retire(lambda _key, _slice: True)
        self._give_back_retired()
        return idle

    def renew(self, reservation_id: UUID) -> None:
        """Prolong the lease of a slice.

        Raises:
            StorageError: If the database does not answer; the slice ends with its lease.
        """
        until = self._clock() + self._reservations.lease
        self._reservations.prolong([reservation_id])
        with self._lock:
            if (slice_ := self._by_id.get(reservation_id)) is not None:
                slice_.expires_at = until

    def close(self) -> None:
        """Give back every slice but what calls under way have drawn, which their lease ends.

        Raises:
            StorageError: If the database does not answer.
        """
        self.give_back()

    def after_fork(self) -> None:
        """Leave the parent's slices to the parent."""
        self._lock, self._taking = threading.RLock(), threading.RLock()
        self._at_hand, self._by_id = {}, {}

    def _settle(self, event: Event) -> None:
        """What a call drew and did not spend is free again."""
        if event.reservation_id not in self._by_id or event.run_id is None:
            return
        with self._lock:
            slice_ = self._by_id.get(event.reservation_id)
            if slice_ is not None and event.run_id in slice_.drawn:
                slice_.left += slice_.drawn.pop(event.run_id) - event.cost

    def _end(self, which: Callable[[tuple[Window, ...], _Slice], bool]) -> None:
        """Retire slices, and give back what can be, now or the next time."""
        with self._lock:
            self._retire(which)
        try:
            self._give_back_retired()
        except StorageError as error:
            logger.warning("slices are given back later: %s", error)

    def _retire(self, which: Callable[[tuple[Window, ...], _Slice], bool]) -> None:
        for key in [key for key, slice_ in self._at_hand.items() if which(key, slice_)]:
            self._at_hand.pop(key).retired = True

    def _give_back_retired(self) -> None:
        """Free what nobody has drawn of retired slices; what was spent of them is stored first."""
        with self._lock:
            over = [it for it in self._by_id.values() if it.retired and (it.left or not it.drawn)]
        if over:
            self._ledger.flush()
        for slice_ in over:
            with self._lock:
                slice_.left, keep = 0, sum(slice_.drawn.values())
                if not keep:
                    self._by_id.pop(slice_.id, None)
            self._reservations.release(slice_.id, keep=keep)


_open: weakref.WeakSet[Slices] = weakref.WeakSet()


@atexit.register
def _give_back() -> None:
    for slices in list(_open):
        with suppress(StorageError):  # the database is away: they end with their lease
            slices.close()


def _key(governed: Governed, now: float) -> tuple[Window, ...]:
    return tuple(kept.window(now) for kept in governed.budgets)

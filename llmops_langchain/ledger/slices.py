"""Parts of budgets that this process has taken for itself, and spends without asking."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from llmops_langchain.clock import Clock
from llmops_langchain.errors import BudgetExceededError
from llmops_langchain.ledger.budget_rows import SLICE
from llmops_langchain.ledger.event import Event
from llmops_langchain.ledger.known_budgets import Window
from llmops_langchain.ledger.ledger import Ledger
from llmops_langchain.ledger.reservations import Amount, Governed, Reservations
from llmops_langchain.storage.fork import on_fork

__all__ = ["Slices"]


@dataclass(slots=True)
class _Slice:
    """What was set aside in the database, and how much of it is free here."""

    id: UUID
    left: int
    """Nano-dollars that no call has drawn; below zero if calls cost more than they drew."""
    expires_at: float
    drawn: dict[UUID, int] = field(default_factory=dict)
    """What calls under way have drawn, by their run."""
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
    process left of its slices stays set aside for a day after their lease.

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
        self._lock = threading.Lock()
        self._at_hand: dict[tuple[Window, ...], _Slice] = {}
        self._by_id: dict[UUID, _Slice] = {}
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
            due = slice_.expires_at - now < self._reservations.lease * 2 / 3
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
        now = self._clock()
        try:
            made = self._reservations.reserve(
                governed, Amount(self._size, 0), about=about, kind=SLICE
            )
        except BudgetExceededError:
            return None  # near the end each call asks for itself
        if made is None:
            return None
        slice_ = _Slice(made, self._size - amount, now + self._reservations.lease, {run_id: amount})
        with self._lock:
            old = self._at_hand.get(key := _key(governed, now))
            self._at_hand[key] = self._by_id[made] = slice_
            if old is not None:
                old.retired = True
        self._give_back_retired()
        return made

    def renew(self, reservation_id: UUID) -> None:
        """Prolong the lease of a slice.

        Raises:
            StorageError: If the database does not answer; the slice ends with its lease.
        """
        until = self._clock() + self._reservations.lease
        self._reservations.renew(reservation_id)
        with self._lock:
            if (slice_ := self._by_id.get(reservation_id)) is not None:
                slice_.expires_at = until

    def close(self) -> None:
        """Give back what is left of every slice.

        Raises:
            StorageError: If the database does not answer.
        """
        with self._lock:
            self._at_hand = {}
            for slice_ in self._by_id.values():
                slice_.retired, slice_.drawn = True, {}
        self._give_back_retired()

    def after_fork(self) -> None:
        """Leave the parent's slices to the parent."""
        self._lock, self._at_hand, self._by_id = threading.Lock(), {}, {}

    def _settle(self, event: Event) -> None:
        """What a call drew and did not spend is free again."""
        if event.reservation_id not in self._by_id or event.run_id is None:
            return
        with self._lock:
            slice_ = self._by_id.get(event.reservation_id)
            if slice_ is not None and event.run_id in slice_.drawn:
                slice_.left += slice_.drawn.pop(event.run_id) - event.cost

    def _give_back_retired(self) -> None:
        """End the slices that nothing is drawn from; what was spent of them is stored first."""
        with self._lock:
            over = [it.id for it in self._by_id.values() if it.retired and not it.drawn]
            for each in over:
                del self._by_id[each]
        if over:
            self._ledger.flush()
        for each in over:
            self._reservations.release(each)


def _key(governed: Governed, now: float) -> tuple[Window, ...]:
    return tuple(kept.window(now) for kept in governed.budgets)

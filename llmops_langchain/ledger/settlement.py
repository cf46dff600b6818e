"""Events into the table, the rollups and the budgets, in one transaction, each once."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple
from uuid import UUID, uuid5

from sqlalchemy import Connection

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.ledger.budget_alerts import Raised, raise_alerts, reached
from llmops_langchain.ledger.budget_rows import (
    SLICE,
    Change,
    Held,
    Sums,
    change_windows,
    delete_reservations,
    expired,
    held,
    locked_windows,
    mark_billed,
    reduce_slices,
)
from llmops_langchain.ledger.event import ABANDONED, Event
from llmops_langchain.ledger.known_budgets import BudgetIndex, KnownBudgets, Window
from llmops_langchain.ledger.rollup_rows import RollupWriter
from llmops_langchain.ledger.rows import insert_new
from llmops_langchain.ledger.scope import Scope

__all__ = ["Settlement"]

_SLICE_GRACE = 86_400.0


class Settlement:
    """Stores events, adds them to the rollups, and settles them.

    A call belongs to the period in which it began. What it cost counts in every budget of its
    scope; what was set aside for it is free again.
    """

    def __init__(self, clock: Clock = system_clock) -> None:
        self.known = KnownBudgets()
        """Which budgets there are."""
        self._clock = clock
        self._rollups = RollupWriter()

    def store(self, connection: Connection, batch: Sequence[Event]) -> list[Raised]:
        """Insert the events that are not there yet, and settle those.

        Returns:
            The shares of budgets that were reached for the first time, to be told after the commit.
        """
        index = self.known.settled(connection)
        held_ids = {each.reservation_id for each in batch if each.reservation_id is not None}
        set_aside = held(connection, held_ids) if held_ids else {}
        stored = insert_new(connection, batch)
        raised = list[Raised]()
        if index.by_id or held_ids:
            new = [each for each in stored if _counts(each)]
            late = _corrections(set_aside, new)
            stored += insert_new(connection, late)
            done = _released(new, set_aside)
            raised = self._settle(connection, index, [*new, *late], set_aside, done)
            reduce_slices(connection, [(of.id, by) for of, by in done if of.kind == SLICE])
            delete_reservations(connection, [of.id for of, _ in done if of.kind != SLICE])
            mark_billed(connection, _still_billed(set_aside, late))
        # Last, as every writer waits for the same rows: those of all calls of this hour.
        self._rollups.add(connection, stored, now=self._clock())
        return raised

    def sweep(self, connection: Connection, now: float) -> tuple[int, list[Raised]]:
        """Count the calls whose lease ran out with their estimate, and free what they held.

        A slice that its process did not give back waits a day longer, since what was spent of it
        may still come from a journal. Then a strict budget counts what is left of it as spent.

        Returns:
            How many there were, and alerts as `store` does.
        """
        index = self.known.settled(connection)
        found = expired(connection, now=now, slices_before=now - _SLICE_GRACE)
        lost = {of.id: of._replace(at_risk=min(of.at_risk, of.amount)) for of in found}
        given_up = [abandoned(of, of.at_risk, id_of=of.id) for of in lost.values() if of.at_risk]
        stored = insert_new(connection, given_up)
        freed = [_Released(of, of.amount) for of in lost.values()]
        raised = self._settle(connection, index, given_up, lost, freed)
        mark_billed(connection, lost.values())
        self._rollups.add(connection, stored, now=self._clock())
        return len(lost), raised

    def _settle(
        self,
        connection: Connection,
        index: BudgetIndex,
        new: Sequence[Event],
        set_aside: dict[UUID, Held],
        released: Sequence["_Released"],
    ) -> list[Raised]:
        counted_in = [(event, _windows_of(event, index, set_aside)) for event in new]
        touched = {window for _, windows in counted_in for window in windows}
        touched.update(window for of, _ in released for window in of.windows)
        known = {each for each in touched if each.budget_id in index.by_id}
        sums = locked_windows(connection, known)
        changes = _changes(counted_in, released, sums)
        change_windows(connection, changes)
        latest = max((event.ts for event in new), default=0.0)
        grown = {window: (sums[window].spent, by.spent) for window, by in changes.items()}
        return raise_alerts(connection, reached(index, grown), ts=latest, now=self._clock())


def _scope_of(event: Event) -> Scope:
    """Whose call it was, as far as budgets ask."""
    return Scope(
        workspace=event.workspace, project=event.project, user=event.user, agent=event.agent
    )


class _Released(NamedTuple):
    """A reservation, or a part of a slice, that is free again."""

    of: Held
    by: int


def _counts(event: Event) -> bool:
    return bool(event.cost) or event.reservation_id is not None


def abandoned(of: Held, cost: int, *, id_of: UUID) -> Event:
    """The event of a call that nobody told the end of, or what takes it back."""
    return Event(
        name=ABANDONED,
        id=id_of,
        run_id=of.run_id,
        reservation_id=of.id,
        cost=cost,
        status="error",
        error_class="Abandoned",
        estimated=True,
        aborted=True,
        **of.about,
    )


def _corrections(set_aside: dict[UUID, Held], new: Collection[Event]) -> list[Event]:
    """What takes back guesses: the truth is in the calls' own events, which come now.

    Of a slice it takes back as much as the calls did cost; its others may come later.
    """
    costs = _costs(new, set_aside)
    late = ((of, costs[id_]) for id_, of in set_aside.items() if of.billed and id_ in costs)
    return [
        abandoned(
            of,
            -(min(cost, of.billed or 0) if of.kind == SLICE else of.billed or 0),
            id_of=uuid5(of.id, f"late {of.billed}"),
        )
        for of, cost in late
    ]


def _still_billed(set_aside: dict[UUID, Held], late: Iterable[Event]) -> list[Held]:
    """Slices with what is left of their guess."""
    slices = ((set_aside[each.reservation_id], each.cost) for each in late if each.reservation_id)
    return [of._replace(at_risk=(of.billed or 0) + cost) for of, cost in slices if of.kind == SLICE]


def _windows_of(
    event: Event, index: BudgetIndex, set_aside: dict[UUID, Held]
) -> dict[Window, None]:
    """The windows it counts in: of each budget one, that of its reservation where it has one."""
    of = set_aside.get(event.reservation_id) if event.reservation_id else None
    windows = dict.fromkeys(of.windows if of else ())
    reserved = {window.budget_id for window in windows}
    began = event.ts - (event.latency or 0.0)
    for kept in index.counting(_scope_of(event)):
        if kept.id not in reserved:
            windows[kept.window(began)] = None
    return windows


def _released(new: Sequence[Event], set_aside: dict[UUID, Held]) -> list[_Released]:
    """What is free again: all of a call's reservation, of a slice what was spent of it."""
    costs = _costs(new, set_aside)
    return [_Released(of, _free(of, costs[id_])) for id_, of in set_aside.items() if id_ in costs]


def _costs(new: Iterable[Event], set_aside: dict[UUID, Held]) -> dict[UUID, int]:
    """What the calls of each reservation did cost."""
    costs: dict[UUID, int] = defaultdict(int)
    for event in new:
        if event.reservation_id in set_aside:
            costs[event.reservation_id] += event.cost
    return costs


def _free(of: Held, cost: int) -> int:
    if of.billed is not None:
        return 0
    return min(cost, of.amount) if of.kind == SLICE else of.amount


def _changes(
    counted_in: Sequence[tuple[Event, dict[Window, None]]],
    released: Sequence[_Released],
    sums: dict[Window, Sums],
) -> dict[Window, Change]:
    changes: dict[Window, Change] = defaultdict(Change)
    for event, windows in counted_in:
        for window in windows:
            # A clock may have been set back since it began; a reset alone forgives.
            ended = max(event.ts, window.start)
            if window in sums and ended >= sums[window].counted_from:
                changes[window].spent += event.cost
    for of, by in released:
        for window in of.windows:
            if window in sums:
                changes[window].reserved -= by
    return changes

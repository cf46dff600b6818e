"""Slices: a process spends by itself what it took, and the cap holds."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import pytest
from conftest import FakeClock

from llmops_langchain import Budget, BudgetExceededError, Database, Event, StorageError
from llmops_langchain.ledger import (
    LLM_CALL,
    Amount,
    Budgets,
    Ledger,
    Reservations,
    Scope,
    Slices,
)

CENT = 10**7
P = Scope(project="p")


class Process:
    """What one process has: a ledger, budgets, and slices of ten cents."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.clock, self.ledger = clock, Ledger(database, clock=clock)
        self.reservations = Reservations(database, self.ledger, clock=clock, lease=600)
        self.budgets = Budgets(database, self.ledger, self.reservations, clock=clock)
        self.slices = Slices(self.reservations, self.ledger, size=10 * CENT, clock=clock)

    def begin(self, cents: int) -> Event:
        """A call that may cost so much: let in as the gate does it, with its event to come."""
        run_id = uuid4()
        about = {"ts": self.clock(), "project": "p"}
        governed = self.reservations.known(P)
        drawn = self.slices.draw(governed, cents * CENT, run_id)
        held = drawn.reservation_id if drawn else None
        while held is None:
            governed = self.reservations.governing(P)
            held = self.slices.take(governed, cents * CENT, run_id, about)
            held = held or self.reservations.reserve(governed, Amount(cents * CENT, 0), about=about)
        return Event(
            name=LLM_CALL,
            ts=self.clock(),
            project="p",
            id=run_id,
            run_id=run_id,
            reservation_id=held,
        )

    def end(self, call: Event, cents: int) -> None:
        self.ledger.record(replace(call, cost=cents * CENT))

    def call(self, cents: int) -> None:
        self.end(self.begin(cents), cents)


@pytest.fixture
def process(database: Database, clock: FakeClock) -> Iterator[Process]:
    made = Process(database, clock)
    made.budgets.set(Budget(project="p", limit="1.00"))
    yield made
    made.ledger.close()


def sums(process: Process) -> tuple[Decimal, Decimal]:
    status = process.budgets.get(project="p")
    return status.spent, status.reserved


def test_a_slice_is_set_aside_once_for_many_calls(process: Process) -> None:
    calls = [process.begin(1) for _ in range(10)]
    assert len({each.reservation_id for each in calls}) == 1
    assert sums(process) == (0, Decimal("0.1"))


def test_what_a_call_did_not_spend_is_free_again(process: Process) -> None:
    for _ in range(30):
        process.end(process.begin(5), 0)
    assert sums(process) == (0, Decimal("0.1"))


def test_what_was_spent_of_a_slice_counts_and_the_rest_stays_set_aside(process: Process) -> None:
    for _ in range(4):
        process.call(1)
    assert sums(process) == (Decimal("0.04"), Decimal("0.06"))


def test_a_used_slice_is_followed_by_another_until_all_is_spent(process: Process) -> None:
    for _ in range(100):
        process.call(1)
    with pytest.raises(BudgetExceededError):
        process.begin(1)
    process.slices.close()
    assert sums(process) == (Decimal(1), 0)


def test_near_the_end_each_call_asks_for_itself(process: Process) -> None:
    process.budgets.set(Budget(project="p", limit="0.05"))
    for _ in range(5):
        process.call(1)
    assert sums(process) == (Decimal("0.05"), 0)


def test_a_process_that_ends_gives_its_slice_back(process: Process) -> None:
    process.call(3)
    process.slices.close()
    assert sums(process) == (Decimal("0.03"), 0)


def test_a_slice_that_is_over_is_given_back_when_its_last_call_has_ended(process: Process) -> None:
    long = process.begin(8)
    process.call(5)  # of a second slice
    assert sums(process)[1] == Decimal("0.13")  # what nobody drew of the first one is free
    process.end(long, 8)
    process.call(6)  # the first slice is given back with the next one that is taken
    process.slices.close()
    assert sums(process) == (Decimal("0.19"), 0)


def test_two_processes_never_set_more_aside_than_there_is(
    process: Process, database: Database, clock: FakeClock
) -> None:
    other = Process(database, clock)
    process.budgets.set(Budget(project="p", limit="0.25"))
    process.begin(1)
    calls = [other.begin(1) for _ in range(15)]
    assert len({each.reservation_id for each in calls}) == 15  # no room for a second slice
    with pytest.raises(BudgetExceededError):
        other.begin(1)
    other.ledger.close()


def test_while_the_database_is_away_calls_go_on_until_the_slice_is_used(
    clock: FakeClock, tmp_path
) -> None:
    with Database(f"sqlite:///{tmp_path}/a.db") as database:
        process = Process(database, clock)
        process.budgets.set(Budget(project="p", limit="1.00"))
        process.call(1)
        process.ledger.flush()
    for _ in range(9):
        process.call(1)
    with pytest.raises(StorageError):
        process.begin(1)
    with Database(f"sqlite:///{tmp_path}/a.db") as database:
        again = Process(database, clock)
        process.ledger.close()
        assert sums(again) == (Decimal("0.1"), 0)
        again.ledger.close()


def test_a_slice_ends_with_its_lease_unless_it_is_prolonged(process: Process) -> None:
    process.begin(1)
    process.clock.advance(199)
    governed = process.reservations.known(P)
    assert not process.slices.draw(governed, CENT, uuid4()).renewal_is_due
    process.clock.advance(2)
    drawn = process.slices.draw(governed, CENT, uuid4())
    assert drawn.renewal_is_due  # a third of it is over
    process.slices.renew(drawn.reservation_id)
    process.clock.advance(599)
    assert process.slices.draw(governed, CENT, uuid4())
    process.clock.advance(2)
    assert process.slices.draw(governed, CENT, uuid4()) is None


def test_the_slice_of_a_killed_process_is_given_back_after_a_day(process: Process) -> None:
    process.begin(1)
    process.clock.advance(86_400)
    process.budgets.maintain(process.clock())
    assert process.budgets.get(project="p").reserved == Decimal("0.1")
    process.clock.advance(601)
    process.budgets.maintain(process.clock())
    assert process.budgets.get(project="p").reserved == 0

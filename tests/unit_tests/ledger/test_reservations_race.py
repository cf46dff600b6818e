"""Reservations and settlement against a simple model, and where processes meet."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest
from conftest import FakeClock
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from llmops_langchain import Budget, BudgetExceededError, Database, Event
from llmops_langchain.ledger import LLM_CALL, Amount, Budgets, Ledger, Reservations, Scope
from llmops_langchain.models import dollars
from llmops_langchain.storage.schema import events, reservations

CENT = 10**7
LEASE = 600.0
P = Scope(workspace="w", project="p")
amounts = st.integers(1, 40)


class Process:
    """A ledger with budgets, as one process has them."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database, self.clock = database, clock
        self.ledger = Ledger(database, interval=600)
        self.reservations = Reservations(database, self.ledger, clock=clock, lease=LEASE)
        self.budgets = Budgets(database, self.ledger, self.reservations, clock=clock)

    def reserve(self, cents: int, at_risk: int = 0) -> UUID:
        about = {"ts": self.clock(), "workspace": "w", "project": "p"}
        held = None
        while held is None:
            governed = self.reservations.governing(P)
            amount = Amount(cents * CENT, at_risk * CENT)
            held = self.reservations.reserve(governed, amount, about=about)
        return held

    def event(self, cents: int, held: UUID | None = None) -> Event:
        scope = {"workspace": "w", "project": "p"}
        return Event(
            name=LLM_CALL, ts=self.clock(), cost=cents * CENT, reservation_id=held, **scope
        )

    def settle(self, *made: Event) -> None:
        for each in made:
            self.ledger.record(each)
        self.ledger.flush()


@dataclass
class Held:
    """What the model knows of a call that was let through."""

    id: UUID
    cents: int
    at_risk: int
    expires: float
    swept: bool = False


@dataclass
class Sums:
    """What the model expects, cents."""

    limit: int
    spent: int = 0
    open: dict[UUID, Held] = field(default_factory=dict)

    @property
    def reserved(self) -> int:
        return sum(each.cents for each in self.open.values() if not each.swept)


class BudgetMachine(RuleBasedStateMachine):
    """Two processes do what they like to one budget; a dictionary says what should be."""

    database: Database
    held = Bundle("held")
    settled = Bundle("settled")

    @initialize(limit=st.integers(20, 200))
    def begin(self, limit: int) -> None:
        self.clock = FakeClock()
        self.processes = [Process(self.database, self.clock) for _ in range(2)]
        self.processes[0].budgets.set(Budget(project="p", limit=_dollars(limit), period="total"))
        self.sums = Sums(limit)
        self.went_over = False

    def teardown(self) -> None:
        if hasattr(self, "processes"):
            self.processes[0].budgets.remove(project="p")
            for each in self.processes:
                each.ledger.close()
            with self.database.begin() as connection:
                connection.execute(events.delete())
                connection.execute(reservations.delete())

    def _sweep(self) -> None:
        for each in self.sums.open.values():
            if not each.swept and each.expires < self.clock():
                each.swept = True
                self.sums.spent += each.at_risk

    @rule(target=held, number=st.integers(0, 1), cents=amounts, risk=st.integers(0, 40))
    def reserve(self, number: int, cents: int, risk: int) -> object:
        at_risk = min(risk, cents)
        self.processes[number].reservations.sweep(self.clock())
        self._sweep()
        if self.sums.spent + self.sums.reserved + cents > self.sums.limit:
            with pytest.raises(BudgetExceededError) as refused:
                self.processes[number].reserve(cents, at_risk)
            assert refused.value.spent == _dollars(self.sums.spent)
            assert refused.value.reserved == _dollars(self.sums.reserved)
            return multiple()
        made = self.processes[number].reserve(cents, at_risk)
        self.sums.open[made] = Held(made, cents, at_risk, self.clock() + LEASE)
        return made

    @rule(target=settled, number=st.integers(0, 1), made=consumes(held), share=st.floats(0, 1))
    def settle(self, number: int, made: UUID, share: float) -> Event:
        return self._told(number, made, int(share * self.sums.open[made].cents))

    @rule(target=settled, number=st.integers(0, 1), made=consumes(held), more=st.integers(1, 30))
    def settle_with_more(self, number: int, made: UUID, more: int) -> Event:
        self.went_over = True
        return self._told(number, made, self.sums.open[made].cents + more)

    def _told(self, number: int, made: UUID, cents: int) -> Event:
        known = self.sums.open.pop(made)
        event = self.processes[number].event(cents, made)
        self.processes[number].settle(event)
        self.sums.spent += cents - (known.at_risk if known.swept else 0)
        return event

    @rule(number=st.integers(0, 1), event=settled)
    def tell_again(self, number: int, event: Event) -> None:
        self.processes[number].settle(event, event)

    @rule(number=st.integers(0, 1), made=consumes(held))
    def release(self, number: int, made: UUID) -> None:
        self.processes[number].reservations.release(made)
        self.sums.open.pop(made)

    @rule(number=st.integers(0, 1), made=held)
    def renew(self, number: int, made: UUID) -> None:
        self.processes[number].reservations.prolong([made])
        if not self.sums.open[made].swept:
            self.sums.open[made].expires = self.clock() + LEASE

    @rule(number=st.integers(0, 1))
    def maintain(self, number: int) -> None:
        self.processes[number].budgets.maintain(self.clock())
        self._sweep()

    @rule(seconds=st.sampled_from([1.0, LEASE / 2, LEASE + 1]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(number=st.integers(0, 1), limit=st.integers(20, 200))
    def change(self, number: int, limit: int) -> None:
        limit = max(limit, self.sums.spent + self.sums.reserved)  # a lower one is passed already
        changed = Budget(project="p", limit=_dollars(limit), period="total")
        self.processes[number].budgets.set(changed)
        self.sums.limit = limit

    @rule(number=st.integers(0, 1))
    def remove_and_set_again(self, number: int) -> None:
        if self.sums.open:
            return  # what is under way was set aside in the budget that was removed
        budgets = self.processes[number].budgets
        budgets.remove(project="p")
        budgets.set(Budget(project="p", limit=_dollars(self.sums.limit), period="total"))

    @invariant()
    def it_adds_up(self) -> None:
        if not hasattr(self, "processes"):
            return
        status = self.processes[0].budgets.get(project="p")
        assert status.spent == _dollars(self.sums.spent) == dollars(_stored(self.database))
        assert status.reserved == _dollars(self.sums.reserved) == dollars(_open(self.database))
        if not self.went_over:
            assert status.spent + status.reserved <= status.limit


def _dollars(cents: int) -> Decimal:
    return dollars(cents * CENT)


def _stored(database: Database) -> int:
    with database.begin(read_only=True) as connection:
        return connection.execute(select(func.coalesce(func.sum(events.c.cost), 0))).scalar_one()


def _open(database: Database) -> int:
    asked = select(func.coalesce(func.sum(reservations.c.amount), 0))
    with database.begin(read_only=True) as connection:
        return connection.execute(asked.where(reservations.c.billed.is_(None))).scalar_one()


def machine_on(database: Database, examples: int) -> None:
    kind = type("OnThis", (BudgetMachine,), {"database": database})
    slowly = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=examples, stateful_step_count=25, deadline=None,
            suppress_health_check=slowly,
        ),
    )  # fmt: skip


def test_budgets_do_what_a_dictionary_does(database: Database) -> None:
    machine_on(database, 8)


@pytest.mark.slow
def test_budgets_do_for_long_what_a_dictionary_does(database: Database) -> None:
    machine_on(database, 150)


@pytest.fixture(params=["file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> str:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/llmops.db"


@pytest.fixture
def processes(url: str, clock: FakeClock) -> Iterator[list[Process]]:
    """Two that share a database, each with connections of its own."""
    made = [Process(Database(url, lock_timeout=60), clock) for _ in range(2)]
    made[0].budgets.set(Budget(project="p", limit=1, period="total"))
    made[0].budgets.set(Budget(workspace="w", limit=2, period="total"))
    yield made
    for each in made:
        each.ledger.close()
        each.database.close()


def test_events_that_two_processes_store_at_once_count_once(processes: list[Process]) -> None:
    told = [processes[0].event(1) for _ in range(40)]
    together = threading.Barrier(2, timeout=60)

    def store(number: int) -> None:
        for at in range(0, 40, 4):
            batch = told[at : at + 4]
            together.wait()
            # In another order: each would wait for what the other has.
            processes[number].settle(*(batch if number else reversed(batch)))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(store, range(2)))
    assert processes[0].budgets.get(project="p").spent == Decimal("0.4")
    assert [each.ledger.dropped for each in processes] == [0, 0]


def test_reserving_settling_and_sweeping_do_not_lock_each_other_up(
    processes: list[Process], clock: FakeClock
) -> None:
    refused = []

    def work(number: int) -> None:
        process = processes[number % 2]
        for turn in range(15):
            try:
                held = process.reserve(2, at_risk=1)
            except BudgetExceededError as error:
                refused.append(error)
                continue
            if turn % 3 == 0:
                process.reservations.release(held)
            elif turn % 3 == 1:
                process.settle(process.event(1, held))
            else:
                clock.advance(LEASE / 3)  # some leases end while others work
                process.budgets.maintain(clock())

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    clock.advance(2 * LEASE)
    processes[0].budgets.maintain(clock())
    for status in processes[1].budgets.list():
        assert status.spent == dollars(_stored(processes[0].database))
        assert status.reserved == dollars(_open(processes[0].database)) == 0
        assert status.spent <= status.limit


def test_budgets_may_change_while_calls_are_made(processes: list[Process]) -> None:
    stop = threading.Event()

    def change() -> None:
        budgets = processes[1].budgets
        for turn in range(12):
            budgets.set(Budget(project="p", limit=1 + turn % 3, period="total"))
            budgets.set(Budget(user="mira", limit=1))
            if turn % 4 == 3:
                budgets.remove(project="p")
                budgets.set(Budget(project="p", limit=1, period="total"))
            budgets.remove(user="mira")
        stop.set()

    def call(_: int) -> None:
        while not stop.is_set():
            try:
                held = processes[0].reserve(1)
            except BudgetExceededError:
                continue
            processes[0].settle(processes[0].event(1, held))

    with ThreadPoolExecutor(4) as threads:
        changing = threads.submit(change)
        list(threads.map(call, range(3)))
        changing.result()
    for status in processes[1].budgets.list():
        assert status.spent == dollars(_stored(processes[0].database))
        assert status.reserved == 0


def test_what_is_left_of_a_removed_budget_may_be_given_back(processes: list[Process]) -> None:
    held = processes[0].reserve(10)
    processes[1].budgets.remove(project="p")
    processes[0].reservations.release(held)
    (left,) = processes[0].budgets.list()
    assert left.reserved == 0


def test_shares_are_told_once_by_all_processes_together(processes: list[Process]) -> None:
    told: list[tuple[str | None, float]] = []
    for each in processes:
        each.budgets.on_alert(lambda alert: told.append((alert.budget.project, alert.threshold)))

    def spend(number: int) -> None:
        for _ in range(50):
            processes[number].settle(processes[number].event(1))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(spend, range(2)))
    assert sorted(told, key=str) == sorted(
        [("p", share) for share in (0.5, 0.75, 0.9, 1.0)] + [(None, 0.5)], key=str
    )

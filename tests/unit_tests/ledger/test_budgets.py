"""Budgets on real databases: what they count, when they start anew, what they tell."""

from collections.abc import Iterator
from decimal import Decimal
from uuid import uuid4

import pytest
from conftest import FakeClock
from sqlalchemy import select

from llmops_langchain import Budget, ConfigurationError, Database, Event, Ledger, NotFoundError
from llmops_langchain.errors import BudgetExceededError, UnscopedCallError
from llmops_langchain.ledger import LLM_CALL, Amount, Budgets, Reservations, Scope
from llmops_langchain.storage.kept import Subject
from llmops_langchain.storage.schema import reservations

DOLLAR = 10**9
CENT = DOLLAR // 100
P = Scope(project="p")


class Books:
    """A ledger with budgets on one database, as one process has them."""

    def __init__(self, database: Database, clock: FakeClock, *, allow_unscoped=False) -> None:
        self.clock = clock
        self.ledger = Ledger(database, clock=clock)
        self.reservations = Reservations(
            database, self.ledger, clock=clock, lease=600, allow_unscoped=allow_unscoped
        )
        self.budgets = Budgets(database, self.ledger, self.reservations, clock=clock)

    def call(self, cost: int, *, scope: Scope = P, ts: float | None = None, **event) -> Event:
        """A call that was made, and is recorded."""
        named = {"workspace": scope.workspace, "project": scope.project, "user": scope.user}
        made = Event(
            name=LLM_CALL, ts=self.clock() if ts is None else ts, cost=cost, **named, **event
        )
        self.ledger.record(made)
        self.ledger.flush()
        return made

    def reserve(self, cents: int, *, scope: Scope = P, at_risk: int = CENT, **about):
        governed = self.reservations.governing(scope)
        told = {"ts": self.clock(), "project": scope.project, **about}
        return self.reservations.reserve(governed, Amount(cents * CENT, at_risk), about=told)


@pytest.fixture
def books(database: Database, clock: FakeClock) -> Iterator[Books]:
    made = Books(database, clock)
    yield made
    made.ledger.close()


def test_a_budget_counts_the_calls_of_its_scope(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit=1))
    books.call(CENT)
    books.call(CENT, scope=Scope(project="other"))
    books.call(CENT, scope=Scope(workspace="acme", project="p", user="mira"))
    status = books.budgets.get(project="p")
    assert (status.spent, status.reserved, status.remaining) == (
        Decimal("0.02"),
        0,
        Decimal("0.98"),
    )
    assert status.share == pytest.approx(0.02)


def test_a_call_counts_in_each_of_its_budgets(books: Books) -> None:
    wanted = [{}, {"workspace": "acme"}, {"workspace": "acme", "user": "mira"}, {"project": "p"}]
    for scope in wanted:
        books.budgets.set(Budget(limit=1, **scope))
    books.call(CENT, scope=Scope(workspace="acme", project="p", user="mira"))
    assert [each.spent for each in books.budgets.list()] == [Decimal("0.01")] * 4


def test_the_budgets_that_count_a_scope_are_told(books: Books) -> None:
    for budget in (
        Budget(limit=3),
        Budget(project="p", limit=1, hard=False),
        Budget(user="u", limit=2),
    ):
        books.budgets.set(budget)
    books.call(CENT)
    found = books.budgets.counting(P)
    assert [(each.limit, each.spent) for each in found] == [
        (3, Decimal("0.01")),
        (1, Decimal("0.01")),
    ]


def test_what_was_spent_before_a_budget_was_set_counts(books: Books) -> None:
    books.call(CENT)
    books.call(CENT, ts=books.clock() - 40 * 86_400)  # in another month
    assert books.budgets.set(Budget(project="p", limit=1)).spent == Decimal("0.01")
    assert books.budgets.set(Budget(project="p", limit=1, period="total")).spent == Decimal("0.02")


def test_changing_a_limit_keeps_what_was_spent(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit=1))
    books.call(CENT)
    assert books.budgets.set(Budget(project="p", limit=2)).spent == Decimal("0.01")
    assert books.budgets.get(project="p").limit == 2
    assert len(books.budgets.list()) == 1


def test_a_period_that_is_over_starts_anew(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit="0.01", period="day"))
    books.call(CENT)
    with pytest.raises(BudgetExceededError):
        books.reserve(1)
    books.clock.advance(86_400)
    assert books.reserve(1)
    assert books.budgets.get(project="p").spent == 0


def test_a_clock_that_jumps_and_comes_back_forgives_nothing(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit="0.01", period="day"))
    books.call(CENT)
    books.clock.advance(30 * 86_400)
    assert books.reserve(1)
    books.clock.advance(-30 * 86_400)
    with pytest.raises(BudgetExceededError):
        books.reserve(1)


def test_a_call_belongs_to_the_period_in_which_it_began(books: Books) -> None:
    start = books.clock() - books.clock() % 86_400
    books.clock.now = start + 5
    books.budgets.set(Budget(project="p", limit=1, period="day"))
    books.call(CENT, latency=60.0)
    assert books.budgets.get(project="p").spent == 0


@pytest.mark.parametrize("times", [1, 3])
def test_an_event_counts_once_however_often_it_is_stored(books: Books, times) -> None:
    books.budgets.set(Budget(project="p", limit=1))
    made = books.call(CENT)
    for _ in range(times):
        books.ledger.record(made)
        books.ledger.flush()
    assert books.budgets.get(project="p").spent == Decimal("0.01")


def test_what_is_set_aside_is_freed_when_the_call_is_settled(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit=1))
    held = books.reserve(50)
    assert books.budgets.get(project="p").reserved == Decimal("0.5")
    books.call(CENT, reservation_id=held)
    status = books.budgets.get(project="p")
    assert (status.spent, status.reserved) == (Decimal("0.01"), 0)


def test_a_call_must_fit_into_each_of_its_budgets(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit=1))
    books.budgets.set(Budget(limit="0.10"))
    with pytest.raises(BudgetExceededError) as refused:
        books.reserve(11)
    error = refused.value
    assert (error.scope, error.limit, error.requested) == (
        "everything",
        Decimal("0.1"),
        Decimal("0.11"),
    )
    assert books.budgets.get(project="p").reserved == 0  # nothing was set aside in the other one


def test_a_refusal_says_its_figures(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit="0.10", period="day"))
    books.call(5 * CENT)
    books.reserve(3)
    with pytest.raises(BudgetExceededError, match=r"project 'p' has spent \$0.05") as refused:
        books.reserve(3)
    error = refused.value
    assert (error.spent, error.reserved, error.period) == (
        Decimal("0.05"),
        Decimal("0.03"),
        "day",
    )
    assert error.resets_at == books.clock() - books.clock() % 86_400 + 86_400


def test_a_refusal_first_settles_what_this_process_has_not_told(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit="0.10"))
    event = Event(name=LLM_CALL, ts=books.clock(), reservation_id=books.reserve(10))
    books.ledger.record(event)
    assert books.reserve(10)


def test_a_soft_budget_counts_and_lets_through(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit="0.01", hard=False))
    books.call(5 * CENT)
    assert books.reservations.governing(P).budgets == ()
    assert books.budgets.get(project="p").remaining == 0


def test_a_limit_of_nothing_lets_nothing_through(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit=0))
    with pytest.raises(BudgetExceededError):
        books.reserve(1)


def test_a_call_of_nobody_is_refused_while_scoped_hard_budgets_exist(books: Books) -> None:
    assert books.reservations.governing(Scope()).budgets == ()
    books.budgets.set(Budget(project="p", limit=1))
    with pytest.raises(UnscopedCallError, match=r"ops\.track"):
        books.reservations.governing(Scope(thread="t", task="x"))
    books.budgets.set(Budget(limit=1))  # this one counts it
    assert len(books.reservations.governing(Scope()).budgets) == 1


def test_a_call_of_nobody_may_be_allowed(database: Database, clock: FakeClock) -> None:
    books = Books(database, clock, allow_unscoped=True)
    books.budgets.set(Budget(project="p", limit=1))
    assert books.reservations.governing(Scope()).budgets == ()
    books.ledger.close()


def test_a_budget_set_elsewhere_holds_at_once(database: Database, clock: FakeClock) -> None:
    here, there = Books(database, clock), Books(database, clock)
    here.budgets.set(Budget(project="p", limit=1))
    governed = here.reservations.governing(P)
    there.budgets.set(Budget(limit="0.01"))
    assert here.reservations.reserve(governed, Amount(CENT, CENT), about={"ts": 0}) is None
    here.reserve(1)
    with pytest.raises(BudgetExceededError):
        there.reserve(1)
    for each in (here, there):
        each.ledger.close()


def test_a_call_nobody_heard_of_again_is_counted_with_its_estimate(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit=1))
    books.reserve(50, at_risk=2 * CENT)
    books.clock.advance(599)
    assert books.budgets.maintain(books.clock())["abandoned calls"] == 0
    books.clock.advance(2)
    assert books.budgets.maintain(books.clock())["abandoned calls"] == 1
    status = books.budgets.get(project="p")
    assert (status.spent, status.reserved) == (Decimal("0.02"), 0)


def test_a_call_past_its_lease_makes_room_for_the_next(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit="0.10"))
    books.reserve(10)
    books.clock.advance(601)
    assert books.reserve(9)


def test_a_lease_is_prolonged_while_a_call_is_heard_of(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit=1))
    held = books.reserve(50)
    books.clock.advance(500)
    books.reservations.prolong([held])
    books.clock.advance(500)
    assert books.budgets.maintain(books.clock())["abandoned calls"] == 0


def test_an_event_that_comes_after_all_replaces_the_estimate(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit=1))
    held = books.reserve(50, at_risk=2 * CENT)
    books.clock.advance(601)
    books.budgets.maintain(books.clock())
    made = books.call(7 * CENT, reservation_id=held)
    assert books.budgets.get(project="p").spent == Decimal("0.07")
    books.ledger.record(made)
    assert books.budgets.get(project="p").spent == Decimal("0.07")


def test_the_sum_of_all_events_is_what_was_spent(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit=10))
    ids = [books.reserve(5, at_risk=CENT) for _ in range(6)]
    for number, held in enumerate(ids[:3]):
        books.call(number * CENT, reservation_id=held)
    books.clock.advance(601)
    books.budgets.maintain(books.clock())
    books.call(4 * CENT, reservation_id=ids[3])
    spent = books.budgets.get(project="p").spent
    books.budgets.remove(project="p")
    assert books.budgets.set(Budget(project="p", limit=10)).spent == spent == Decimal("0.09")


def test_what_was_given_back_is_free(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit="0.10"))
    books.reservations.release(books.reserve(10))
    books.reservations.release(uuid4())
    assert books.budgets.get(project="p").reserved == 0


def test_a_reset_forgives_what_was_spent(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit="0.10"))
    old = books.call(10 * CENT)
    books.clock.advance(1)
    assert books.budgets.reset(project="p").spent == 0
    books.ledger.record(Event(name=LLM_CALL, ts=old.ts, cost=CENT, project="p"))
    assert books.budgets.get(project="p").spent == 0  # it ended before the reset
    books.call(2 * CENT)
    assert books.budgets.get(project="p").spent == Decimal("0.02")


def test_a_budget_is_named_by_its_scope_and_period(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit=1, period="day"))
    books.budgets.set(Budget(project="p", limit=9, period="month"))
    assert books.budgets.get(project="p", period="month").limit == 9
    with pytest.raises(ConfigurationError, match="day, month"):
        books.budgets.get(project="p")
    with pytest.raises(NotFoundError, match=r"project='p'.*day, month"):
        books.budgets.get(project="p", period="week")
    with pytest.raises(NotFoundError, match="user='mira'"):
        books.budgets.get(user="mira")


def test_a_removed_budget_limits_nothing(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit="0.01"))
    held = books.reserve(1)
    books.budgets.remove(project="p")
    assert books.budgets.list() == []
    assert books.reservations.governing(P).budgets == ()
    books.call(CENT, reservation_id=held)
    books.ledger.flush()
    assert books.ledger.dropped == 0


def test_each_share_is_told_once(books: Books) -> None:
    told: list[float] = []
    books.budgets.on_alert(lambda alert: told.append(alert.threshold))
    books.budgets.set(Budget(project="p", limit="0.10"))
    for _ in range(10):
        books.call(CENT)
    assert told == [0.5, 0.75, 0.9, 1.0]
    assert [each.threshold for each in books.budgets.alerts()] == told


def test_a_refusal_near_the_end_is_told_as_the_end(books: Books) -> None:
    told: list[float] = []
    books.budgets.on_alert(lambda alert: told.append(alert.threshold))
    books.budgets.set(Budget(project="p", limit="0.10"))
    books.call(9 * CENT)
    for _ in range(2):
        with pytest.raises(BudgetExceededError):
            books.reserve(2)
    assert told == [0.5, 0.75, 0.9, 1.0]


def test_a_budget_that_is_set_below_what_was_spent_tells_at_once(books: Books) -> None:
    told: list[float] = []
    books.budgets.on_alert(lambda alert: told.append(alert.threshold))
    books.call(8 * CENT)
    books.budgets.set(Budget(project="p", limit="0.10"))
    assert told == [0.5, 0.75]
    books.budgets.set(Budget(project="p", limit=1))
    books.budgets.set(Budget(project="p", limit="0.10"))
    assert told == [0.5, 0.75, 0.5, 0.75]  # it was not reached any more in between


def test_an_alert_that_could_not_be_told_is_told_later(books: Books, caplog) -> None:
    told: list[float] = []

    @books.budgets.on_alert
    def tell(alert) -> None:
        if not told:
            told.append(alert.threshold)
            msg = "the mail server is away"
            raise ConnectionError(msg)
        told.append(alert.threshold)

    books.budgets.set(Budget(project="p", limit="0.10"))
    books.call(5 * CENT)
    assert "ConnectionError" in caplog.text
    assert books.budgets.maintain(books.clock())["alerts told"] == 0  # it has a minute to do so
    books.clock.advance(61)
    assert books.budgets.maintain(books.clock())["alerts told"] == 1
    books.clock.advance(61)
    assert books.budgets.maintain(books.clock())["alerts told"] == 0
    assert told == [0.5, 0.5]


def test_without_anybody_to_tell_alerts_go_to_the_log(books: Books, caplog) -> None:
    books.budgets.set(Budget(project="p", limit="0.10"))
    books.call(5 * CENT)
    assert "project 'p' has reached 50 % of its budget" in caplog.text


def test_a_person_is_forgotten_and_the_sums_stay(books: Books, database: Database) -> None:
    for budget in (Budget(user="mira", limit=1), Budget(project="p", limit=1)):
        books.budgets.set(budget)
    books.reserve(5, user="mira", thread="t")
    books.reserve(5, user="jonas")
    assert books.budgets.forget(Subject(user="mira")) == 2
    assert [each.budget.name for each in books.budgets.list()] == ["project 'p'"]
    with database.begin(read_only=True) as connection:
        told = " ".join(connection.execute(select(reservations.c.about)).scalars())
    assert "mira" not in told
    assert "jonas" in told
    assert books.budgets.get(project="p").reserved == Decimal("0.1")
    assert books.budgets.forget(Subject(thread="t")) == 0


def test_a_clock_set_back_across_a_period_loses_no_spend(books: Books) -> None:
    start = books.clock() - books.clock() % 86_400
    books.clock.now = start + 5
    books.budgets.set(Budget(project="p", limit=1, period="day"))
    held = books.reserve(5)
    books.call(3 * CENT, reservation_id=held, ts=start - 60)
    assert books.budgets.get(project="p").spent == Decimal("0.03")


def test_what_is_left_of_a_removed_budget_is_given_back(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit=1))
    books.budgets.set(Budget(limit=1))
    held = books.reserve(5)
    books.budgets.remove(project="p")
    books.reservations.release(held)
    assert [each.reserved for each in books.budgets.list()] == [0]


def test_many_abandoned_calls_are_settled_at_once(books: Books) -> None:
    books.budgets.set(Budget(project="p", limit=100))
    for _ in range(501):
        books.reserve(1)
    books.clock.advance(601)
    assert books.budgets.maintain(books.clock())["abandoned calls"] == 501


def test_one_deaf_listener_does_not_keep_an_alert_from_the_others(books: Books) -> None:
    told: list[float] = []
    books.budgets.on_alert(lambda _: 1 / 0)
    books.budgets.on_alert(lambda alert: told.append(alert.threshold))
    books.budgets.set(Budget(project="p", limit="0.10"))
    books.call(5 * CENT)
    books.clock.advance(61)
    books.budgets.maintain(books.clock())
    assert told == [0.5]


async def _later(_alert: object) -> None: ...


@pytest.mark.parametrize("deaf", [None, "https://example.com/hook", _later])
def test_who_cannot_be_told_is_refused(books: Books, deaf) -> None:
    with pytest.raises(ConfigurationError, match="alert"):
        books.budgets.on_alert(deaf)


@pytest.mark.parametrize("wrong", [None, {"project": "p", "limit": 1}, "p"])
def test_only_a_budget_can_be_set(books: Books, wrong) -> None:
    with pytest.raises(ConfigurationError, match="Budget"):
        books.budgets.set(wrong)


async def test_the_async_methods_do_the_same(books: Books) -> None:
    await books.budgets.aset(Budget(project="p", limit=1))
    books.call(CENT)
    assert (await books.budgets.aget(project="p")).spent == Decimal("0.01")
    assert (await books.budgets.areset(project="p")).spent == 0
    assert len(await books.budgets.alist()) == 1
    await books.budgets.aremove(project="p")
    assert await books.budgets.alist() == []


def test_what_is_committed_with_a_budget_stands_or_falls_with_it(books: Books) -> None:
    budget = Budget(project="with", limit="5")

    def fails(_) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        books.budgets.set(budget, also=fails)
    with pytest.raises(NotFoundError):
        books.budgets.get(project="with")
    books.budgets.set(budget, also=lambda connection: connection.execute(select(1)))
    with pytest.raises(LookupError):
        books.budgets.remove(project="with", also=fails)
    assert books.budgets.get(project="with").limit == 5

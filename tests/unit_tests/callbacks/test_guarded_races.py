"""Guarded calls that are cancelled, cut off, many at once, or left without a database."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import FakeClock
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from sqlalchemy import func, select
from typing_extensions import override
from unit_tests.ledger.reading import eventually
from unit_tests.storage.processes import run

from llmops_langchain import (
    Budget,
    BudgetExceededError,
    BudgetUnavailableError,
    LLMOps,
    Settings,
)
from llmops_langchain.models import dollars
from llmops_langchain.storage.schema import events

A_DAY = 86_400.0


class Provider(BaseChatModel):
    """A tenth of a cent a token; what it charges counts from the moment it is asked."""

    model_name: str = "tested-model"
    max_tokens: int | None = None
    wants: int = 100
    charged: list[int]
    before: Any = None
    """Called when it is asked, before it answers."""
    asleep: Any = None

    @property
    def _llm_type(self) -> str:
        return "provider"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        named = {"ls_provider": "tested", "ls_model_name": self.model_name}
        return {**super()._get_ls_params(stop=stop, **kwargs), **named}

    def _answered(self, kwargs: Any) -> ChatResult:
        output = min(self.wants, kwargs.get("max_tokens") or self.wants)
        self.charged.append(output)
        usage = {"input_tokens": 1, "output_tokens": output, "total_tokens": 1 + output}
        said = {"model_name": self.model_name}
        message = AIMessage("yes", usage_metadata=usage, response_metadata=said)
        return ChatResult(generations=[ChatGeneration(message=message)])

    @override
    def _generate(self, messages, stop=None, run_manager=None, **kwargs: Any) -> ChatResult:
        answer = self._answered(kwargs)
        if self.before:
            self.before()
        return answer

    @override
    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs: Any) -> ChatResult:
        answer = self._answered(kwargs)
        if self.asleep:
            await self.asleep()
        return answer

    @property
    def bill(self) -> Decimal:
        """What it charged in all."""
        return Decimal(sum(self.charged)) / 1_000


Open = Callable[..., LLMOps]


@pytest.fixture
def open_ops(database_url: str, tmp_path: Path, clock: FakeClock) -> Iterator[Open]:
    """Opens the database with settings of one's own, at most once."""
    opened = []

    def made(**settings: Any) -> LLMOps:
        given = Settings(journal_dir=tmp_path / "journals", **settings)
        ops = LLMOps(database_url, given, clock=clock)
        ops.prices.set("tested-model", input_per_million=0, output_per_million=1_000)
        opened.append(ops)
        return ops

    yield made
    for each in opened:
        each.close()


def left(ops: LLMOps) -> tuple[Decimal, Decimal]:
    """What is spent and set aside, when the threads have given back what they had to."""
    ops.flush()
    status = ops.budgets.get(project="p")
    return status.spent, status.reserved


def stored(ops: LLMOps) -> Decimal:
    with ops.database.begin(read_only=True) as connection:
        asked = select(func.coalesce(func.sum(events.c.cost), 0))
        return dollars(connection.execute(asked).scalar_one())


def in_threads(number: int, call: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(number) as threads:
        list(threads.map(call, range(number)))


async def cancelled_while_answering(ops: LLMOps, model: Provider) -> None:
    asked = asyncio.Event()

    async def for_ever() -> None:
        asked.set()
        await asyncio.Event().wait()

    model.asleep = for_ever
    with ops.track(project="p"):
        task = asyncio.ensure_future(model.ainvoke("hi", max_tokens=100))
        refused = asyncio.ensure_future(asked.wait())
        await asyncio.wait([task, refused], return_when=asyncio.FIRST_COMPLETED)
        refused.cancel()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_cancelled_calls_never_take_a_strict_budget_past_its_limit(open_ops: Open) -> None:
    ops = open_ops()
    ops.budgets.set(Budget(project="p", limit=1, period="total", strict=True))
    model = ops.guard(Provider(charged=[]))
    for _ in range(10):
        asyncio.run(cancelled_while_answering(ops, model))
    with pytest.raises(BudgetExceededError):
        asyncio.run(cancelled_while_answering(ops, model))
    assert model.bill == Decimal(1)
    assert left(ops) == (1, 0)
    assert stored(ops) == 1


def used_up(ops: LLMOps, model: Any) -> int:
    """Calls, one after the other, until one is refused."""
    before = len(model.charged)
    with ops.track(project="p"), suppress(BudgetExceededError):
        while True:
            model.invoke("hi", max_tokens=100)
    return len(model.charged) - before


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "metadata alone"])
@pytest.mark.parametrize("slices", [None, "0.5"], ids=["each asks", "a slice"])
@pytest.mark.parametrize("turns", [1, 2, 3, 5])
def test_calls_that_are_cancelled_before_they_are_made_cost_and_keep_nothing(
    open_ops: Open, slices: str | None, turns: int, *, tracked: bool
) -> None:
    ops = open_ops(budget_slice=slices)
    ops.budgets.set(Budget(project="p", limit=1, period="total", strict=True))
    model = ops.guard(Provider(charged=[], metadata=None if tracked else {"project": "p"}))

    async def leave() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(model.ainvoke("hi", max_tokens=100)) for _ in range(8)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()

    with ops.track(project="p") if tracked else nullcontext():
        asyncio.run(leave())  # the loop ends while threads still ask the database
    made = len(model.charged)  # those that were let in before they were cancelled
    most = 2 * Decimal(slices or 0)  # the second is given back when a third finds no room
    eventually(lambda: left(ops)[1] <= most)
    assert left(ops)[0] == Decimal(made) / 10
    # What a cancelled call holds of a slice comes back when its thread has ended.
    eventually(lambda: used_up(ops, model) == 0 and len(model.charged) >= 10)
    assert len(model.charged) == 10
    assert left(ops) == (1, 0)


@pytest.mark.parametrize("how", ["threads", "asyncio"])
def test_without_a_cap_the_limit_is_passed_by_what_calls_cost_more_and_by_nothing_else(
    open_ops: Open, how: str
) -> None:
    ops = open_ops()
    expected, answered = Decimal("1.024"), Decimal("1.5")  # dollars: 1,024 tokens are expected
    ops.budgets.set(Budget(project="p", limit=5 * expected, period="total"))
    all_in = threading.Event()

    async def asleep() -> None:
        await asyncio.to_thread(all_in.wait, 30)

    before = partial(all_in.wait, 30)
    model = ops.guard(Provider(charged=[], wants=1_500, before=before, asleep=asleep))
    refused: list[BaseException] = []

    def heard(error: BaseException | None) -> None:
        refused.extend([error] if error else [])
        if len(refused) == 7:
            all_in.set()

    def call(_: int) -> None:
        try:
            with ops.track(project="p"):
                model.invoke("hi")
        except BudgetExceededError as error:
            heard(error)

    async def many() -> None:
        with ops.track(project="p"):
            tasks = [asyncio.ensure_future(model.ainvoke("hi")) for _ in range(12)]
        for each in tasks:
            each.add_done_callback(lambda task: heard(task.exception()))
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(many()) if how == "asyncio" else in_threads(12, call)
    assert model.bill == 5 * answered
    spent, reserved = left(ops)
    assert spent - 5 * expected == 5 * (answered - expected)
    assert reserved == 0


def test_threads_that_begin_together_leave_no_slice_behind(open_ops: Open) -> None:
    ops = open_ops(budget_slice="0.5")
    ops.budgets.set(Budget(project="p", limit=1, period="total"))
    model = ops.guard(Provider(charged=[]))
    together = threading.Barrier(8)

    def call(_: int) -> None:
        together.wait(30)
        with ops.track(project="p"):
            model.invoke("hi", max_tokens=100)

    in_threads(8, call)
    assert used_up(ops, model) == 2
    assert left(ops) == (1, 0)


def test_a_slice_of_a_budget_that_was_removed_may_be_given_back(open_ops: Open) -> None:
    ops = open_ops(budget_slice="0.5")
    ops.budgets.set(Budget(project="p", limit=1, period="total"))
    with ops.track(project="p"):
        ops.guard(Provider(charged=[])).invoke("hi", max_tokens=100)
    ops.budgets.remove(project="p")
    ops.close()


def test_the_end_of_a_budget_is_told_when_a_call_is_refused_and_not_a_slice(open_ops: Open) -> None:
    ops = open_ops(budget_slice="0.3")
    told: list[float] = []
    ops.budgets.on_alert(lambda alert: told.append(alert.threshold))
    ops.budgets.set(Budget(project="p", limit=1, period="total"))
    model = ops.guard(Provider(charged=[], wants=50))
    with ops.track(project="p"):
        for _ in range(19):
            model.invoke("hi", max_tokens=50)
    ops.flush()
    assert told == [0.5, 0.75, 0.9]


def test_what_a_slice_of_a_killed_process_may_have_paid_counts_in_a_strict_budget(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    work_and(url, "os.kill(os.getpid(), 9)", strict=True)
    with LLMOps(url) as ops:
        ops.budgets.maintain(ops._clock() + 2 * A_DAY)
        status = ops.budgets.get(project="p")
    assert (status.spent >= Decimal("0.1"), status.reserved) == (True, 0)


def test_a_process_that_ends_without_closing_gives_its_slice_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    work_and(url, "None", strict=False)
    with LLMOps(url) as ops:
        assert left(ops) == (Decimal("0.1"), 0)


def work_and(url: str, then: str, *, strict: bool) -> None:
    """A process that makes one call of a slice, and does something while it is made."""
    tests = Path(__file__).parents[2]
    source = f"""
        sys.path.insert(0, {str(tests)!r})
        from unit_tests.callbacks.test_guarded_races import Budget, LLMOps, Provider, Settings

        if os.fork() == 0:
            ops = LLMOps({url!r}, Settings(budget_slice="0.5"))
            ops.prices.set("tested-model", input_per_million=0, output_per_million=1_000)
            ops.budgets.set(Budget(project="p", limit=1, period="total", strict={strict}))
            model = ops.guard(Provider(charged=[], before=lambda: {then}))
            with ops.track(project="p"):
                model.invoke("hi", max_tokens=100)
        else:
            os.wait()
        """
    run(source)


@pytest.fixture
def impatient(tmp_path: Path, clock: FakeClock) -> Iterator[tuple[LLMOps, sqlite3.Connection]]:
    """An app that waits a tenth of a second for a file, and who may lock it."""
    url, patience = f"sqlite:///{tmp_path}/a.db", Settings(lock_timeout=0.1, budget_slice="0.5")
    with LLMOps(url, patience, clock=clock) as ops:
        ops.prices.set("tested-model", input_per_million=0, output_per_million=1_000)
        ops.budgets.set(Budget(project="p", limit=1, period="total"))
        with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as other:
            yield ops, other


def test_while_the_database_is_away_a_slice_pays_and_then_all_are_refused(impatient) -> None:
    ops, other = impatient
    model = ops.guard(Provider(charged=[]))
    with ops.track(project="p"):
        model.invoke("hi", max_tokens=100)
        ops.flush()
        other.execute("BEGIN IMMEDIATE")
        for _ in range(4):
            model.invoke("hi", max_tokens=100)
        for _ in range(3):
            with pytest.raises(BudgetUnavailableError):
                model.invoke("hi", max_tokens=100)
        other.execute("ROLLBACK")
    assert model.bill == Decimal("0.5")
    assert used_up(ops, model) == 5
    assert left(ops) == (1, 0)


@pytest.mark.parametrize("how", ["threads", "asyncio"])
def test_of_many_calls_none_waits_for_a_database_that_another_waited_for_in_vain(
    impatient, monkeypatch, how
) -> None:
    ops, other = impatient
    model = ops.guard(Provider(charged=[], wants=500))
    with ops.track(project="p"):
        model.invoke("hi", max_tokens=500)  # all of the slice
    ops.flush()
    waited = []
    write = type(ops.database).write_or_nothing

    def counted(*args: Any) -> bool:
        waited.append(None)
        return write(*args)

    monkeypatch.setattr(type(ops.database), "write_or_nothing", counted)
    other.execute("BEGIN IMMEDIATE")

    def call(_: int) -> None:
        with ops.track(project="p"), pytest.raises(BudgetUnavailableError):
            model.invoke("hi", max_tokens=100)

    async def many() -> None:
        with ops.track(project="p"):
            asked = (model.ainvoke("hi", max_tokens=100) for _ in range(40))
            ended = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(each) for each in ended} == {BudgetUnavailableError}

    asyncio.run(many()) if how == "asyncio" else in_threads(40, call)
    other.execute("ROLLBACK")
    assert len(waited) <= 8  # of 40


def test_one_asks_for_a_longer_lease_however_many_draw(impatient, clock, monkeypatch) -> None:
    ops, _ = impatient
    model = ops.guard(Provider(charged=[], wants=1))
    asked = []
    with ops.track(project="p"):
        model.invoke("hi", max_tokens=1)
        clock.advance(400)
        monkeypatch.setattr("llmops_langchain.ledger.Slices.renew", lambda *_: asked.append(None))
        for _ in range(50):
            model.invoke("hi", max_tokens=1)
    eventually(lambda: len(asked) == 1)

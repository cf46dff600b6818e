"""The gate as a rate limiter: the model's own code stays, and the budget holds all the same."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import FakeClock
from guarding import ASKED, COST, PRICE, recorded, until_refused
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from models import AsyncModel, AsyncStreamingModel, CountingModel, StreamingModel
from sqlalchemy import select

from llmops_langchain import (
    Budget,
    BudgetError,
    BudgetExceededError,
    BudgetUnavailableError,
    ConfigurationError,
    LLMOps,
    Settings,
    UnscopedCallError,
)
from llmops_langchain.ledger import Amount, Scope, track
from llmops_langchain.storage.schema import reservations


@pytest.fixture
def ops(clock: FakeClock) -> Iterator[LLMOps]:
    with LLMOps("sqlite://", Settings(), clock=clock) as made:
        made.prices.set("tested-model", **PRICE)
        made.budgets.set(Budget(project="p", limit=1))
        yield made


def held(ops: LLMOps) -> int:
    """Reservations that nothing has settled."""
    with ops.database.begin(read_only=True) as connection:
        asked = select(reservations.c.id).where(reservations.c.billed.is_(None))
        return len(connection.execute(asked).all())


def invoke(model: Any, **kwargs: Any) -> object:
    return model.invoke(ASKED, **kwargs)


def stream(model: Any, **kwargs: Any) -> object:
    return list(model.stream(ASKED, **kwargs))


def ainvoke(model: Any, **kwargs: Any) -> object:
    return asyncio.run(model.ainvoke(ASKED, **kwargs))


def astream(model: Any, **kwargs: Any) -> object:
    async def read() -> list[object]:
        return [chunk async for chunk in model.astream(ASKED, **kwargs)]

    return asyncio.run(read())


def batch(model: Any, **kwargs: Any) -> object:
    return model.batch([ASKED, ASKED], **kwargs)


def generate(model: Any, **kwargs: Any) -> object:
    return model.generate([ASKED, ASKED], **kwargs)


def agenerate(model: Any, **kwargs: Any) -> object:
    return asyncio.run(model.agenerate([ASKED, ASKED], **kwargs))


CALLS = {invoke: 1, stream: 1, ainvoke: 1, astream: 1, batch: 2, generate: 2, agenerate: 2}
PATHS = [pytest.param(path, id=path.__name__) for path in CALLS]
MODELS = [
    pytest.param(kind, id=kind.__name__)
    for kind in (CountingModel, AsyncModel, StreamingModel, AsyncStreamingModel)
]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("path", PATHS)
def test_a_call_is_held_room_for_and_settled(ops: LLMOps, kind, path) -> None:
    model = kind(rate_limiter=ops.budget_gate())
    with ops.track(project="p"):
        path(model)
    status = ops.budgets.get(project="p")
    assert (status.spent, status.reserved) == (CALLS[path] * COST, 0)
    assert len(recorded(ops)) == CALLS[path]
    assert held(ops) == 0


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("path", PATHS)
def test_a_call_without_room_is_refused_before_the_model_is_asked(
    ops: LLMOps, kind, path: Callable[[Any], object]
) -> None:
    ops.budgets.set(Budget(project="p", limit="0.000001"))
    model = kind(rate_limiter=ops.budget_gate())
    with ops.track(project="p"), pytest.raises(BudgetExceededError, match="project 'p'"):
        path(model)
    assert model.calls == 0
    assert {event.error_class for event in recorded(ops)} == {"BudgetExceededError"}


def test_a_handler_of_the_run_is_enough(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=0))
    model = CountingModel(rate_limiter=ops.budget_gate())
    config = {"callbacks": [ops.usage], "metadata": {"project": "p"}}
    with pytest.raises(BudgetExceededError):
        model.invoke(ASKED, config)
    model.invoke(ASKED, {**config, "metadata": {"project": "another"}})


@pytest.mark.parametrize("path", [invoke, ainvoke])
def test_a_call_that_nobody_watches_is_refused_where_a_budget_limits_it(ops, path) -> None:
    model = CountingModel(rate_limiter=ops.budget_gate())
    with pytest.raises(UnscopedCallError, match=r"ops\.track"):
        path(model)
    with track(project="p"), pytest.raises(BudgetError, match=r"callbacks=\[ops\.usage\]"):
        path(model)
    with track(project="another"):
        path(model)
    ops.database.close()
    with track(project="another"), pytest.raises(BudgetUnavailableError):
        path(model)
    assert model.calls == 1


def test_a_run_that_is_over_is_not_the_one_that_asks(ops: LLMOps) -> None:
    model = CountingModel(rate_limiter=ops.budget_gate())
    with ops.track(project="p"):
        model.invoke(ASKED)
    with track(project="p"), pytest.raises(BudgetError, match="no usage handler"):
        model.invoke(ASKED)


def test_what_is_set_aside_is_the_whole_prompt_and_the_longest_answer(ops: LLMOps) -> None:
    @tool
    def weather(city: str) -> str:
        """The weather in a city, which is a long description of it."""
        return city

    tools = [convert_to_openai_tool(weather)]
    ops.budgets.set(Budget(project="p", limit=0))
    model = CountingModel(rate_limiter=ops.budget_gate())
    guarded = ops.guard(CountingModel())
    for asked in ({"max_tokens": 7}, {"max_tokens": 7, "n": 3}, {"tools": tools, "max_tokens": 1}):
        with ops.track(project="p"):
            with pytest.raises(BudgetExceededError) as refused:
                model.invoke(ASKED, **asked)
            with pytest.raises(BudgetExceededError) as refused_too:
                guarded.invoke(ASKED, **asked)
        assert refused.value.requested == refused_too.value.requested > 0


def test_a_strict_budget_needs_a_cap_of_the_models_own(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=1, strict=True))
    model = CountingModel(rate_limiter=ops.budget_gate())
    with ops.track(project="p"):
        model.invoke(ASKED, max_tokens=7)
        with pytest.raises(ConfigurationError, match="max_tokens"):
            model.invoke(ASKED)


def test_a_hit_of_a_cache_over_the_model_needs_no_room(ops: LLMOps) -> None:
    model = ops.cached(CountingModel(rate_limiter=ops.budget_gate()))
    with ops.track(project="p"):
        model.invoke(ASKED)
        ops.budgets.set(Budget(project="p", limit=0))
        model.invoke(ASKED)
        with pytest.raises(BudgetExceededError):
            model.invoke("something new")
    assert model.calls == 1


def test_the_budget_is_not_passed_by_a_batch(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit="0.025"))
    model = CountingModel(rate_limiter=ops.budget_gate())
    with ops.track(project="p"), pytest.raises(BudgetExceededError):
        model.generate([ASKED] * 4)  # a cent is set aside for each
    assert model.calls == 2


def test_a_guarded_model_with_the_gate_settles_both(ops: LLMOps) -> None:
    model = ops.guard(CountingModel(rate_limiter=ops.budget_gate()))
    with ops.track(project="p"):
        model.invoke(ASKED)
    assert ops.budgets.get(project="p").spent == COST
    assert held(ops) == 0


def test_without_blocking_the_answer_is_yes_or_no(ops: LLMOps) -> None:
    gate = ops.budget_gate(on_full="wait")
    seen: list[object] = []

    class Asks(CountingModel):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(gate.acquire(blocking=False))
            ops.budgets.set(Budget(project="p", limit=0))
            seen.append(gate.acquire(blocking=False))
            return super()._generate(*args, **kwargs)

        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(await gate.aacquire(blocking=False))
            return super()._generate(*args, **kwargs)

    with ops.track(project="p"):
        invoke(Asks())
        ainvoke(Asks())
    assert seen == [True, False, False]
    assert [event.status for event in recorded(ops)] == ["ok", "ok"]


async def test_it_waits_for_room_where_it_may(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit="0.02"))
    others = ops._parts.gate._reservations
    governed = others.governing(Scope(project="p"))
    taken = others.reserve(governed, Amount(15 * 10**6, 0), about={"ts": 0})
    model = CountingModel(rate_limiter=ops.budget_gate(on_full="wait", timeout=30))
    with ops.track(project="p"):
        waiting = asyncio.ensure_future(model.ainvoke(ASKED))
        await until_refused(ops, waiting)
        await asyncio.to_thread(others.release, taken)
        await waiting
    assert model.calls == 1


async def test_whoever_stops_waiting_has_spent_nothing(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit="0.02"))
    held = ops._parts.reservations
    held.reserve(held.governing(Scope(project="p")), Amount(15_000_000, 0), about={"ts": 0})
    model = CountingModel(rate_limiter=ops.budget_gate(on_full="wait", timeout=30))
    with ops.track(project="p"):
        waiting = asyncio.ensure_future(model.ainvoke(ASKED))
        await until_refused(ops, waiting)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert recorded(ops) == []
    assert ops.budgets.get(project="p").spent == 0


async def test_what_a_lost_run_held_is_counted_when_its_lease_ends(
    ops: LLMOps, clock: FakeClock
) -> None:
    gate, began = ops.budget_gate(), asyncio.Event()

    class Hanging(CountingModel):
        async def _agenerate(self, *_args: Any, **_kwargs: Any) -> Any:
            began.set()
            await asyncio.Event().wait()

    with ops.track(project="p"):
        asked = asyncio.ensure_future(Hanging(rate_limiter=gate).ainvoke(ASKED))
        await began.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        clock.advance(3_600)  # longer than any call
        await CountingModel(rate_limiter=gate).ainvoke(ASKED)
    ops.budgets.maintain(clock())
    status = ops.budgets.get(project="p")
    assert (status.spent > COST, status.reserved) == (True, 0)
    assert (ops.usage.orphans, gate._held) == (1, {})

"""Guarded text models: refused before they are asked, settled with what they used."""

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from conftest import FakeClock
from guarding import recorded
from models import CountingModel
from text_models import AsyncStreaming, Counted, Simple, Streaming

from llmops_langchain import Budget, BudgetExceededError, ConfigurationError, LLMOps, Settings


@pytest.fixture
def ops(clock: FakeClock) -> Iterator[LLMOps]:
    with LLMOps("sqlite://", Settings(fallback_price=(1, 10)), clock=clock) as made:
        made.budgets.set(Budget(project="p", limit=1))
        yield made


def _stream(model: Any) -> object:
    return list(model.stream("q"))


def _astream(model: Any) -> object:
    async def read() -> list[object]:
        return [chunk async for chunk in model.astream("q")]

    return asyncio.run(read())


PATHS = [
    pytest.param(lambda model: model.invoke("q"), id="invoke"),
    pytest.param(lambda model: asyncio.run(model.ainvoke("q")), id="ainvoke"),
    pytest.param(_stream, id="stream"),
    pytest.param(_astream, id="astream"),
]


@pytest.mark.parametrize("kind", [Simple, Streaming, AsyncStreaming])
@pytest.mark.parametrize("ask", PATHS)
def test_a_call_is_one_event_and_settles(
    ops: LLMOps, kind: type[Simple], ask: Callable[[Any], object]
) -> None:
    with ops.track(project="p"):
        ask(ops.guard(kind()))
    (event,) = recorded(ops)
    assert (event.status, event.reservation_id is None) == ("ok", False)
    status = ops.budgets.get(project="p")
    assert status.spent > 0
    assert status.reserved == 0


@pytest.mark.parametrize("kind", [Simple, Streaming, AsyncStreaming])
@pytest.mark.parametrize("ask", PATHS)
def test_a_call_without_room_is_refused_before_the_model_is_asked(
    ops: LLMOps, kind: type[Simple], ask: Callable[[Any], object]
) -> None:
    ops.budgets.set(Budget(project="p", limit=0))
    model = ops.guard(kind())
    with ops.track(project="p"), pytest.raises(BudgetExceededError):
        ask(model)
    assert model.calls == 0


def test_of_several_prompts_one_event_has_the_usage_of_all(ops: LLMOps) -> None:
    with ops.track(project="p"):
        ops.guard(Counted()).generate(["a", "b", "c"])
    told = recorded(ops)
    assert sum(event.input_tokens for event in told) == 30
    assert sum(event.reservation_id is not None for event in told) == 1
    status = ops.budgets.get(project="p")
    assert (status.spent, status.reserved) == (Decimal("0.00018"), 0)


def test_the_answers_of_all_prompts_are_set_aside(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit="0.02"))
    model = ops.guard(Simple())
    with ops.track(project="p"):
        model.generate(["a"])  # may cost 1,024 tokens out: a cent
        with pytest.raises(BudgetExceededError):
            model.generate(["a", "b"])


def test_a_stream_that_is_broken_off_is_billed_as_far_as_it_came(ops: LLMOps) -> None:
    with ops.track(project="p"):
        arriving = ops.guard(Streaming()).stream("q")
        next(arriving)
        arriving.close()
    (event,) = recorded(ops)
    assert (event.aborted, event.estimated) == (True, True)
    assert ops.budgets.get(project="p").reserved == 0


def test_a_text_model_has_no_cheaper_one_beside_it(ops: LLMOps) -> None:
    with pytest.raises(ConfigurationError, match="downgrade_to"):
        ops.guard(Simple(), downgrade_to=CountingModel())

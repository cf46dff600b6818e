"""Whoever watches an agent hears of cuts and of windows that fill: a UI, a callback, the ledger."""

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import FakeClock
from langchain.agents import create_agent
from langchain_core.language_models import FakeListChatModel
from langgraph.checkpoint.memory import InMemorySaver

from llmops_langchain import LLMOps, Settings
from llmops_langchain.ledger import TRIM, Event
from llmops_langchain.ledger.event import CONTEXT_WARNING
from llmops_langchain.memory import ContextStatus, ContextWindow, recorder
from llmops_langchain.memory.recorded import warning_recorder
from llmops_langchain.middleware import ContextWindowMiddleware

THREAD = {"configurable": {"thread_id": "t1"}}


def question(turn: int) -> dict[str, Any]:
    return {"messages": [("user", f"hello there, number {turn}")]}


def agent(window: Any = None, *, name: str | None = None, **options: Any) -> Any:
    last = ContextWindowMiddleware(window or ContextWindow("gpt-4o", 300), **options)
    model = FakeListChatModel(responses=["hi, what is it?"])
    return create_agent(model, middleware=[last], checkpointer=InMemorySaver(), name=name)


def told(graph: Any, turns: int) -> list[list[dict[str, Any]]]:
    """What the graph wrote to its custom stream in each turn."""
    return [list(graph.stream(question(i), THREAD, stream_mode="custom")) for i in range(turns)]


def kinds(turns: list[list[dict[str, Any]]]) -> list[str]:
    return [event["type"] for turn in turns for event in turn]


def test_a_ui_hears_of_each_cut_once_when_it_moves() -> None:
    turns = told(agent(), 60)
    cuts = [event for turn in turns for event in turn if event["type"] == TRIM]
    assert 3 < len(cuts) < 20
    assert all(cut["removed"] > 0 and cut["freed_tokens"] > 0 for cut in cuts)


def test_a_warning_comes_once_a_crossing_not_once_a_turn() -> None:
    heard: list[ContextStatus] = []
    turns = told(agent(on_warning=heard.append), 60)
    # Each climb from 60 % passes 75 % once, and ends with a cut.
    assert [k for k in kinds(turns) if k == CONTEXT_WARNING] == [CONTEXT_WARNING] * len(heard)
    assert kinds(turns)[: 2 * 3] == [CONTEXT_WARNING, TRIM] * 3
    assert {status.status for status in heard} == {"warning"}
    assert all(0.75 <= status.share < 0.85 for status in heard)
    assert heard[0].current_tokens == round(heard[0].share * heard[0].limit)


def test_a_warning_is_not_repeated_by_another_process() -> None:
    heard: list[ContextStatus] = []
    saver = InMemorySaver()
    for turn in range(20):
        last = ContextWindowMiddleware(ContextWindow("gpt-4o", 300), on_warning=heard.append)
        model = FakeListChatModel(responses=["hi, what is it?"])
        graph = create_agent(model, middleware=[last], checkpointer=saver)
        graph.invoke(question(turn), THREAD)
    one: list[ContextStatus] = []
    told(agent(on_warning=one.append), 20)
    assert len(heard) == len(one) > 0


def test_what_cannot_be_cut_any_more_is_critical() -> None:
    heard: list[ContextStatus] = []
    graph = agent(ContextWindow("gpt-4o", 100), on_warning=heard.append)
    graph.invoke({"messages": [("user", "fern " * 88)]}, THREAD)
    assert [status.status for status in heard] == ["critical"]


async def test_an_async_stream_tells_the_same() -> None:
    graph = agent()
    turns = [
        [event async for event in graph.astream(question(i), THREAD, stream_mode="custom")]
        for i in range(60)
    ]
    assert kinds(turns) == kinds(told(agent(), 60))


def test_a_callback_that_fails_costs_nothing_and_is_logged_once(caplog) -> None:
    def broken(_status: ContextStatus) -> None:
        msg = "secret words"
        raise RuntimeError(msg)

    graph = agent(on_warning=broken)
    assert len(kinds(told(graph, 60))) > 6
    assert [r.message for r in caplog.records] == ["a cut or a warning was not told: RuntimeError"]


@pytest.fixture
def ops(clock: FakeClock) -> Iterator[LLMOps]:
    with LLMOps("sqlite://", Settings(), clock=clock) as made:
        made.prices.set("tested-model", input_per_million=1, output_per_million=2)
        yield made


class Listening:
    """A ledger that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def record(self, event: Event) -> None:
        self.events.append(event)


@pytest.mark.parametrize(
    ("name", "called"), [("desk", "desk"), (None, "model")], ids=["named", "by its node"]
)
def test_cuts_and_warnings_are_recorded_with_agent_and_thread(ops, clock, name, called) -> None:
    ledger = Listening()
    window = ContextWindow(
        "tested-model", 300, on_trim=recorder(ledger, ops.prices, "tested-model", clock=clock)
    )
    warn = warning_recorder(ledger, "tested-model", clock=clock)
    with ops.track(project="shop", tags={"env": "test"}):
        told(agent(window, name=name, on_warning=warn), 30)
    assert {event.name for event in ledger.events} == {TRIM, CONTEXT_WARNING}
    assert {(e.project, e.agent, e.thread) for e in ledger.events} == {("shop", called, "t1")}
    assert {e.model for e in ledger.events} == {"tested-model"}
    assert all(e.saved > 0 for e in ledger.events if e.name == TRIM)
    [first, *_] = [e for e in ledger.events if e.name == CONTEXT_WARNING]
    assert 0.75 <= first.value < 0.85
    assert (first.unit, first.tags) == ("share", {"env": "test", "status": "warning"})

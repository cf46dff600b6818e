"""An agent whose budget has no room left ends, raises, or goes on with a cheaper model."""

import asyncio
import json
import runpy
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import FakeClock
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    hook_config,
)
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from models import CountingModel
from pydantic import BaseModel, Field
from typing_extensions import override

from llmops_langchain import (
    Budget,
    BudgetError,
    BudgetExceededError,
    ConfigurationError,
    LLMOps,
    MissingExtraError,
    Settings,
    UnpricedModelError,
    UnscopedCallError,
)
from llmops_langchain.middleware import BudgetMiddleware

# A dollar a million tokens in, ten out: an answer of 1,024 tokens costs a little above a cent,
# which is also what is set aside for a model that was hardly asked yet.
PRICE = {"input_per_million": 1, "output_per_million": 10}
CENT = {"input_tokens": 10, "output_tokens": 1024, "total_tokens": 1034}
COST = Decimal("0.01025")
ASKED = {"messages": [("user", "What is the weather in Paris and in Rome?")]}
BOTH = [
    {"name": "weather", "args": {"city": "Paris"}, "id": "a", "type": "tool_call"},
    {"name": "weather", "args": {"city": "Rome"}, "id": "b", "type": "tool_call"},
]


class Scripted(CountingModel):
    """Says one thing after the other, the last one for ever; keeps what it was called with."""

    usage: dict[str, Any] | None = CENT
    script: list[Any] = Field(default_factory=lambda: [BOTH, "Sunny."])
    bound: list[Any] = Field(default_factory=list)

    @override
    def _message(self) -> AIMessage:
        said = self.script[min(self.calls, len(self.script)) - 1]
        calls = said if isinstance(said, list) else []
        text = "" if calls else said
        return AIMessage(text, tool_calls=calls, usage_metadata=self.usage)

    @override
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        self.bound.append(kwargs)
        return self.bind(tools=[convert_to_openai_tool(each) for each in tools], **kwargs)


class Streamed(Scripted):
    """The same, as a stream of one chunk."""

    @override
    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        self._ask("stream")
        told = self._message()
        pieces = [
            tool_call_chunk(name=it["name"], args=json.dumps(it["args"]), id=it["id"], index=at)
            for at, it in enumerate(told.tool_calls)
        ]
        last = AIMessageChunk(
            told.content,
            tool_call_chunks=pieces,
            usage_metadata=self.usage,
            chunk_position="last",
        )
        yield ChatGenerationChunk(message=last)


class Report(BaseModel):
    """The weather."""

    celsius: int


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"Fine in {city}."


@pytest.fixture
def ops(clock: FakeClock) -> Iterator[LLMOps]:
    with LLMOps("sqlite://", Settings(), clock=clock) as made:
        made.prices.set("tested-model", **PRICE)
        made.prices.set("cheap", input_per_million="0.01", output_per_million="0.01")
        yield made


@pytest.fixture
def limited(ops: LLMOps) -> Iterator[LLMOps]:
    """Whoever asks inside has room for one call."""
    ops.budgets.set(Budget(project="p", limit="0.015"))
    with ops.track(project="p"):
        yield ops


def invoke(agent: Any, given: Any = ASKED, config: Any = None) -> list[BaseMessage]:
    return agent.invoke(given, config)["messages"]


def ainvoke(agent: Any, given: Any = ASKED, config: Any = None) -> list[BaseMessage]:
    return asyncio.run(agent.ainvoke(given, config))["messages"]


def updates(agent: Any) -> list[BaseMessage]:
    told = agent.stream(ASKED, stream_mode="updates")
    return [message for part in told for update in part.values() for message in update["messages"]]


def amessages(agent: Any) -> list[BaseMessage]:
    async def read() -> list[BaseMessage]:
        return [part async for part, _ in agent.astream(ASKED, stream_mode="messages")]

    return asyncio.run(read())


def messages(agent: Any) -> list[BaseMessage]:
    return [part for part, _ in agent.stream(ASKED, stream_mode="messages")]


PATHS = [pytest.param(path, id=path.__name__) for path in (invoke, ainvoke)]
STREAMS = [pytest.param(path, id=path.__name__) for path in (updates, messages, amessages)]


def orphans(messages: list[BaseMessage]) -> set[str]:
    """Tool calls without a result."""
    asked = {call["id"] for it in messages if isinstance(it, AIMessage) for call in it.tool_calls}
    return asked - {it.tool_call_id for it in messages if isinstance(it, ToolMessage)}


@pytest.mark.parametrize("path", [*PATHS, *STREAMS])
@pytest.mark.parametrize("kind", [Scripted, Streamed])
@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "guarded for the call"])
def test_an_agent_ends_cleanly_when_there_is_no_room(
    limited: LLMOps, path: Callable[[Any], list[BaseMessage]], kind, *, guarded: bool
) -> None:
    plain = kind()
    model = limited.guard(plain) if guarded else plain
    agent = create_agent(model, [weather], middleware=[BudgetMiddleware(limited.guard)])
    said = path(agent)
    assert plain.calls == 1
    assert orphans(said) == set()
    assert sum("llmops_budget" in each.response_metadata for each in said) == 1
    assert said[-1].content.startswith("The budget has no room for another answer.")
    assert limited.budgets.get(project="p").spent == COST


def test_the_last_message_has_the_figures(limited: LLMOps) -> None:
    agent = create_agent(Scripted(), [weather], middleware=[BudgetMiddleware(limited.guard)])
    told = invoke(agent)[-1].response_metadata["llmops_budget"]
    requested = told.pop("requested")
    status = limited.budgets.get(project="p")
    assert 0.01 < requested < 0.011
    assert told == {
        "scope": "project 'p'",
        "limit": 0.015,
        "spent": 0.01025,
        "reserved": 0.0,
        "period": "month",
        "resets_at": status.resets_at,
    }


@pytest.mark.parametrize(
    ("message", "said"),
    [("Enough.", "Enough."), (lambda error: f"{error.scope}: ${error.limit}", "project 'p': $0")],
)
def test_the_words_can_be_chosen(ops: LLMOps, message, said) -> None:
    ops.budgets.set(Budget(project="p", limit=0))
    stop = BudgetMiddleware(ops.guard, message=message)
    with ops.track(project="p"):
        assert invoke(create_agent(Scripted(), middleware=[stop]))[-1].content == said


@pytest.mark.parametrize(
    ("period", "end"),
    [("day", " A new one begins 2027-01-16 00:00 UTC."), ("total", "for another answer.")],
)
def test_the_usual_words_say_when_a_new_budget_begins(ops: LLMOps, period, end) -> None:
    ops.budgets.set(Budget(project="p", limit=0, period=period))
    with ops.track(project="p"):
        agent = create_agent(Scripted(), middleware=[BudgetMiddleware(ops.guard)])
        assert invoke(agent)[-1].content.endswith(end)


@pytest.mark.parametrize("path", PATHS)
def test_the_thread_goes_on_when_the_budget_is_raised(limited: LLMOps, path) -> None:
    stop = BudgetMiddleware(limited.guard)
    agent = create_agent(Scripted(), [weather], middleware=[stop], checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    path(agent, ASKED, thread)
    refused = path(agent, {"messages": ["And now?"]}, thread)
    limited.budgets.set(Budget(project="p", limit=1))
    said = path(agent, {"messages": ["And now?"]}, thread)
    assert "llmops_budget" in refused[-1].response_metadata
    assert said[-1].content == "Sunny."
    assert [each.type for each in said] == [
        *["human", "ai", "tool", "tool", "ai"],
        *["human", "ai"] * 2,
    ]


@pytest.mark.parametrize("path", [*PATHS, *STREAMS])
def test_an_error_reaches_the_caller_of_the_agent(limited: LLMOps, path) -> None:
    stop = BudgetMiddleware(limited.guard, exit_behavior="error")
    agent = create_agent(Scripted(), [weather], middleware=[stop])
    with pytest.raises(BudgetExceededError) as refused:
        path(agent)
    assert refused.value.spent == COST


@pytest.mark.parametrize("path", PATHS)
def test_a_cheaper_model_goes_on_with_the_same_tools(limited: LLMOps, path) -> None:
    dear, cheap = Scripted(), Scripted(model_name="cheap", script=["Fine in both."])
    change = BudgetMiddleware(limited.guard, exit_behavior="downgrade", downgrade_to=cheap)
    said = path(create_agent(dear, [weather], middleware=[change]))
    assert said[-1].content == "Fine in both."
    assert (dear.calls, cheap.calls) == (1, 1)
    assert cheap.bound == dear.bound[-1:]
    assert limited.budgets.get(project="p").spent > COST


def test_a_cheaper_model_answers_in_the_same_form(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit="0.001"))
    answer = [{"name": "Report", "args": {"celsius": 20}, "id": "r", "type": "tool_call"}]
    cheap = Scripted(model_name="cheap", script=[answer])
    change = BudgetMiddleware(ops.guard, exit_behavior="downgrade", downgrade_to=cheap)
    agent = create_agent(Scripted(), [weather], middleware=[change], response_format=Report)
    with ops.track(project="p"):
        assert agent.invoke(ASKED)["structured_response"] == Report(celsius=20)
    assert cheap.bound[-1]["tool_choice"] == "any"


@pytest.mark.parametrize("path", PATHS)
def test_without_room_for_the_cheaper_model_the_agent_ends(ops: LLMOps, path) -> None:
    ops.budgets.set(Budget(project="p", limit=0))
    dear, cheap = Scripted(), Scripted(model_name="cheap")
    change = BudgetMiddleware(ops.guard, exit_behavior="downgrade", downgrade_to=cheap)
    with ops.track(project="p"):
        said = path(create_agent(dear, [weather], middleware=[change]))
    assert "llmops_budget" in said[-1].response_metadata
    assert dear.calls == cheap.calls == 0


def test_a_cheaper_model_can_be_named(ops: LLMOps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    ops.budgets.set(Budget(project="p", limit=0))
    change = BudgetMiddleware(
        ops.guard, exit_behavior="downgrade", downgrade_to="openai:gpt-5-nano"
    )
    with ops.track(project="p"):
        assert len(invoke(create_agent(Scripted(), middleware=[change]))) == 2
    ops.flush()
    assert set(ops.analytics.cost().by_model) == {"tested-model", "gpt-5-nano"}


def test_a_guarded_model_keeps_what_it_does_without_room(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit="0.001"))
    cheap = Scripted(model_name="cheap", script=["cheap answer"])
    model = ops.guard(Scripted(), downgrade_to=cheap)
    with ops.track(project="p"):
        agent = create_agent(model, middleware=[BudgetMiddleware(ops.guard)])
        assert invoke(agent)[-1].content == "cheap answer"


def test_a_cache_hit_needs_no_room(limited: LLMOps) -> None:
    model = limited.wrap(Scripted(script=["Sunny."]))
    agent = create_agent(model, middleware=[BudgetMiddleware(limited.guard)])
    assert [invoke(agent)[-1].content for _ in range(2)] == ["Sunny.", "Sunny."]


@pytest.mark.parametrize("beside", [[], [ModelCallLimitMiddleware(run_limit=50)]])
@pytest.mark.parametrize("tools", [[], [weather]])
def test_an_agent_with_an_output_format_ends_too(ops: LLMOps, tools, beside) -> None:
    ops.budgets.set(Budget(project="p", limit=0))
    model = Scripted()
    middleware = [*beside, BudgetMiddleware(ops.guard)]
    agent = create_agent(model, tools, middleware=middleware, response_format=ToolStrategy(Report))
    with ops.track(project="p"):
        state = agent.invoke(ASKED, {"recursion_limit": 20})
    assert state["structured_response"] is None
    assert len(state["messages"]) == 2


class Insists(AgentMiddleware):
    """Always leads back to the model."""

    @hook_config(can_jump_to=["model"])
    def after_model(self, state: Any, runtime: Any) -> dict[str, Any]:  # noqa: ARG002 - given by name
        return {"jump_to": "model"}


def test_an_agent_that_is_led_back_does_not_go_round_for_ever(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=0))
    agent = create_agent(Scripted(), middleware=[Insists(), BudgetMiddleware(ops.guard)])
    with ops.track(project="p"), pytest.raises(BudgetExceededError):
        invoke(agent, ASKED, {"recursion_limit": 20})


def researcher(model: Any, *middleware: Any) -> Any:
    """A tool with an agent inside."""
    agent = create_agent(model, [weather], middleware=middleware)

    @tool("weather")
    def research(city: str) -> str:
        """Ask another agent."""
        return agent.invoke({"messages": [f"The weather in {city}?"]})["messages"][-1].text

    @tool("weather")
    async def aresearch(city: str) -> str:
        """Ask another agent."""
        answer = await agent.ainvoke({"messages": [f"The weather in {city}?"]})
        return answer["messages"][-1].text

    return {invoke: research, ainvoke: aresearch}


@pytest.mark.parametrize("path", [invoke, ainvoke])
@pytest.mark.parametrize("own", [True, False], ids=["own middleware", "without"])
def test_sub_agents_without_room_leave_no_orphan(limited: LLMOps, path, *, own: bool) -> None:
    stop = BudgetMiddleware(limited.guard)
    inner = limited.guard(Scripted())
    tools = [researcher(inner, *([BudgetMiddleware(limited.guard)] if own else []))[path]]
    said = path(create_agent(Scripted(), tools, middleware=[stop]))
    assert [each.type for each in said] == ["human", "ai", "tool", "tool", "ai"]
    assert orphans(said) == set()
    assert {each.status for each in said[2:4]} == {"success" if own else "error"}
    assert inner.calls == 0
    assert "llmops_budget" in said[-1].response_metadata


def test_a_sub_agent_with_a_budget_of_its_own_stops_alone(ops: LLMOps) -> None:
    ops.budgets.set(Budget(agent="scout", limit=0))
    scout = create_agent(ops.guard(Scripted()), name="scout")

    @tool("weather")
    def ask(city: str) -> str:
        """Ask the scout."""
        return scout.invoke({"messages": [city]})["messages"][-1].text

    with ops.track(project="p"):
        said = invoke(create_agent(Scripted(), [ask], middleware=[BudgetMiddleware(ops.guard)]))
    assert [each.status for each in said[2:4]] == ["error"] * 2
    assert said[-1].content == "Sunny."


@pytest.mark.parametrize("path", [invoke, ainvoke])
def test_an_error_of_a_sub_agent_reaches_the_caller(limited: LLMOps, path) -> None:
    stop = BudgetMiddleware(limited.guard, exit_behavior="error")
    tools = [researcher(limited.guard(Scripted()))[path]]
    with pytest.raises(BudgetExceededError):
        path(create_agent(Scripted(), tools, middleware=[stop]))


def test_what_tools_return_is_left_alone(ops: LLMOps) -> None:
    for path in (invoke, ainvoke):
        agent = create_agent(Scripted(), [weather], middleware=[BudgetMiddleware(ops.guard)])
        assert [each.text for each in path(agent)[2:]] == [
            *["Fine in Paris.", "Fine in Rome."],
            "Sunny.",
        ]


def test_a_refusal_is_not_tried_again_nor_given_to_another_model(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=0))
    dear, other = Scripted(), Scripted()
    beside = [ModelRetryMiddleware(max_retries=3), ModelFallbackMiddleware(other)]
    agent = create_agent(dear, middleware=[*beside, BudgetMiddleware(ops.guard)])
    with ops.track(project="p"):
        assert "llmops_budget" in invoke(agent)[-1].response_metadata
    assert dear.calls == other.calls == 0
    ops.flush()
    assert ops.analytics.cost().refused_calls == 1


def test_a_fallback_is_guarded_too(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit="0.001"))
    broken = Scripted(model_name="cheap", error=ConnectionError("down"))
    dear = Scripted()
    agent = create_agent(
        broken, middleware=[ModelFallbackMiddleware(dear), BudgetMiddleware(ops.guard)]
    )
    with ops.track(project="p"):
        assert "llmops_budget" in invoke(agent)[-1].response_metadata
    assert (broken.calls, dear.calls) == (1, 0)


def test_an_error_is_not_tried_again_where_retries_are_told_so(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=0))
    retry = ModelRetryMiddleware(retry_on=lambda error: not isinstance(error, BudgetError))
    stop = BudgetMiddleware(ops.guard, exit_behavior="error")
    agent = create_agent(Scripted(), middleware=[retry, stop])
    with ops.track(project="p"), pytest.raises(BudgetExceededError):
        invoke(agent)
    ops.flush()
    assert ops.analytics.cost().refused_calls == 1


@pytest.mark.parametrize(
    "behavior", [{}, {"exit_behavior": "downgrade", "downgrade_to": Scripted()}]
)
def test_what_is_no_used_up_budget_reaches_the_caller(ops: LLMOps, behavior) -> None:
    ops.budgets.set(Budget(project="p", limit=1))
    stop = BudgetMiddleware(ops.guard, **behavior)
    with pytest.raises(UnscopedCallError):
        invoke(create_agent(Scripted(), middleware=[stop]))
    with ops.track(project="p"), pytest.raises(UnpricedModelError):
        invoke(create_agent(Scripted(model_name="unheard-of"), middleware=[stop]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"exit_behavior": "panic"},
        {"exit_behavior": "downgrade"},
        {"exit_behavior": "end", "downgrade_to": Scripted()},
    ],
)
def test_arguments_are_checked(ops: LLMOps, wrong) -> None:
    with pytest.raises(ConfigurationError, match="exit_behavior"):
        BudgetMiddleware(ops.guard, **wrong)


def test_disabled_everything_passes_through() -> None:
    with LLMOps("sqlite://", Settings(disabled=True)) as ops:
        stop = BudgetMiddleware(ops.guard)
        assert invoke(create_agent(Scripted(script=["hi"]), middleware=[stop]))[-1].content == "hi"


def test_the_example_stops_a_runaway_agent(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(Path(__file__).parents[3] / "examples" / "budgets.py"))
    told = capsys.readouterr().out
    assert "mira: 4 searches, then: The budget has no room for another answer." in told
    assert "jonas: 6 searches, then: Water it twice a week." in told
    assert "user 'mira': $0.0331 of $0.05 (day)" in told
    assert "told at 75%: project 'plants'" in told


def test_without_langchain_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "llmops_langchain.middleware.budget")
    monkeypatch.setitem(sys.modules, "langchain.agents.middleware", None)
    with pytest.raises(MissingExtraError, match=r"llmops-langchain\[agents\]"):
        import_module("llmops_langchain.middleware.budget")

"""A graph sends a window of its conversation and keeps the whole, and looks at its budgets."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from conftest import FakeClock
from history_judge import refusals
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel

from llmops_langchain import Budget, ConfigurationError, LLMOps, Settings
from llmops_langchain.graph import BudgetLeft, trim_node
from llmops_langchain.memory import ContextWindow

SYSTEM = SystemMessage("Be brief.", id="system")
LONG_CHAT = [
    SYSTEM,
    *[m for _ in range(20) for m in (HumanMessage("hello there"), AIMessage("hi, what is it?"))],
]
NOW = HumanMessage("And now?")


class State(MessagesState):
    llm_input_messages: list[AnyMessage]


class PydanticState(BaseModel):
    messages: list[AnyMessage]
    llm_input_messages: list[AnyMessage] = []


@dataclass
class DataclassState:
    messages: list[AnyMessage]
    llm_input_messages: list[AnyMessage] = field(default_factory=list)


class Chat:
    """A graph that trims and answers, with the prompts its model was sent."""

    def __init__(self, window: ContextWindow) -> None:
        self.prompts: list[list[BaseMessage]] = []
        model = FakeListChatModel(responses=["hi, what is it?"])

        def answer(state: State) -> dict[str, list[BaseMessage]]:
            self.prompts.append(state["llm_input_messages"])
            return {"messages": [model.invoke(state["llm_input_messages"])]}

        graph = StateGraph(State)
        graph.add_sequence([("trim", trim_node(window)), ("answer", answer)])
        graph.add_edge(START, "trim")
        self.graph = graph.compile(checkpointer=InMemorySaver())
        self.thread = {"configurable": {"thread_id": "1"}}

    def say(self, *messages: BaseMessage) -> list[BaseMessage]:
        return self.graph.invoke({"messages": list(messages)}, self.thread)["messages"]

    async def asay(self, *messages: BaseMessage) -> list[BaseMessage]:
        return (await self.graph.ainvoke({"messages": list(messages)}, self.thread))["messages"]


@pytest.fixture
def chat() -> Chat:
    return Chat(ContextWindow("gpt-4o", 200))


def test_the_state_keeps_the_whole_conversation(chat: Chat) -> None:
    for turn in range(30):
        assert len(chat.say(HumanMessage("hello there"))) == 2 * (turn + 1)
    assert len(chat.prompts[-1]) < 30


def test_the_prefix_stays_equal_across_turns_until_the_cut_moves(chat: Chat) -> None:
    chat.say(SYSTEM, NOW)
    for _ in range(40):
        chat.say(HumanMessage("hello there"))
    moves = sum(b[: len(a)] != a for a, b in pairwise(chat.prompts))
    assert 2 < moves < 12
    assert all(prompt[0] == SYSTEM for prompt in chat.prompts)
    assert all(refusals(prompt) == [] for prompt in chat.prompts)


async def test_an_async_graph_sends_the_same(chat: Chat) -> None:
    await chat.asay(*LONG_CHAT, NOW)
    [prompt] = chat.prompts
    assert (prompt[0].content, prompt[-1].content) == (SYSTEM.content, NOW.content)
    assert len(prompt) < 20


def test_the_cut_comes_at_85_percent_and_goes_down_to_60() -> None:
    window = ContextWindow("gpt-4o", 200)
    for length in range(2, len(LONG_CHAT), 2):
        history = LONG_CHAT[:length]
        sent = trim_node(window)({"messages": history})["llm_input_messages"]
        assert (sent == history) == (window.check(history).share < 0.85)
        assert window.check(sent).share < 0.85


@pytest.mark.parametrize(
    "state",
    [
        {"messages": [*LONG_CHAT, NOW]},
        PydanticState(messages=[*LONG_CHAT, NOW]),
        DataclassState(messages=[*LONG_CHAT, NOW]),
    ],
)
def test_any_kind_of_state_will_do(state) -> None:
    written = trim_node(ContextWindow("gpt-4o", 200))(state)
    assert set(written) == {"llm_input_messages"}
    assert len(written["llm_input_messages"]) < 20


def test_the_last_prompt_is_carried_on() -> None:
    last = [SYSTEM, *LONG_CHAT[3:6]]
    state = {"messages": [*LONG_CHAT[:8]], "llm_input_messages": last}
    written = trim_node(ContextWindow("gpt-4o", 200))(state)
    assert written == {"llm_input_messages": [*last, *LONG_CHAT[6:8]]}


def test_the_keys_can_be_chosen() -> None:
    node = trim_node(ContextWindow("gpt-4o", 200), messages_key="talk", output_key="prompt")
    assert node({"talk": [NOW]}) == {"prompt": [NOW]}


class BudgetState(MessagesState):
    budget: BudgetLeft | None
    went: str


@pytest.fixture
def ops(clock: FakeClock) -> Iterator[LLMOps]:
    with LLMOps("sqlite://", Settings(), clock=clock) as made:
        yield made


def spend(ops: LLMOps, cost: str) -> None:
    ops.usage.record(model="any", cost=cost)


def graph_with(node: Any, *, chooses: bool = True) -> Any:
    """The node, then `work` or `stop`."""
    graph = StateGraph(BudgetState)
    graph.add_node("look", node)
    graph.add_node("work", lambda _: {"went": "work"})
    graph.add_node("stop", lambda _: {"went": "stop"})
    graph.add_edge(START, "look")
    if not chooses:
        graph.add_edge("look", "work")
    return graph.compile(checkpointer=InMemorySaver())


def run(graph: Any, **metadata: str) -> dict[str, Any]:
    config = {"configurable": {"thread_id": "1"}, "metadata": metadata}
    return graph.invoke({"messages": []}, config, durability="sync")


def arun(graph: Any, **metadata: str) -> dict[str, Any]:
    config = {"configurable": {"thread_id": "1"}, "metadata": metadata}
    return asyncio.run(graph.ainvoke({"messages": []}, config))


@pytest.mark.parametrize("runs", [run, arun])
def test_a_budget_node_writes_what_is_left_of_the_tightest_budget(ops: LLMOps, runs) -> None:
    ops.budgets.set(Budget(project="p", limit=20))
    ops.budgets.set(Budget(user="u", limit=8, period="day"))
    ops.budgets.set(Budget(user="another", limit=1))
    graph = graph_with(ops.budget_node(), chooses=False)
    with ops.track(project="p", user="u"):
        spend(ops, "2")
        state = runs(graph)
    assert state["went"] == "work"
    assert state["budget"] == {
        "scope": "user 'u'",
        "remaining": 6.0,
        "share": 0.25,
        "resets_at": ops.budgets.get(user="u").resets_at,
        "exceeded": False,
    }
    (kept,) = graph.checkpointer.list({"configurable": {"thread_id": "1"}}, limit=1)
    assert kept.checkpoint["channel_values"]["budget"] == state["budget"]


@pytest.mark.parametrize("runs", [run, arun])
def test_a_budget_node_leads_elsewhere_when_a_budget_is_exceeded(ops: LLMOps, runs) -> None:
    ops.budgets.set(Budget(project="p", limit=20, hard=False))
    graph = graph_with(ops.budget_node(then="work", exceeded="stop", at=0.75))
    with ops.track(project="p"):
        spend(ops, "14.99")
        assert runs(graph)["went"] == "work"
        spend(ops, "0.01")
        state = runs(graph)
    assert (state["went"], state["budget"]["exceeded"]) == ("stop", True)


def test_an_exceeded_budget_is_the_tightest_whatever_others_have_left(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=1000, hard=False))
    ops.budgets.set(Budget(user="u", limit=10))
    graph = graph_with(ops.budget_node(then="work", exceeded="stop", at=0.9))
    with ops.track(project="p"):
        spend(ops, "900")
        with ops.track(user="u"):
            assert run(graph)["budget"]["scope"] == "project 'p'"


@pytest.mark.parametrize(
    ("needs", "went"), [("0.5", "stop"), (Decimal("0.49"), "work"), (0, "work")]
)
def test_a_budget_with_less_than_a_call_needs_is_exceeded(ops: LLMOps, needs, went) -> None:
    ops.budgets.set(Budget(project="p", limit=20))
    graph = graph_with(ops.budget_node(then="work", exceeded="stop", needs=needs))
    with ops.track(project="p"):
        spend(ops, "19.5")
        assert run(graph)["went"] == went


def test_the_scope_is_that_of_track_and_then_of_the_metadata(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=0))
    graph = graph_with(ops.budget_node(then="work", exceeded="stop"))
    assert run(graph)["budget"] is None
    assert run(graph, project="p")["went"] == "stop"
    with ops.track(project="another"):
        assert run(graph, project="p")["went"] == "work"


def test_the_nodes_own_name_is_no_agent(ops: LLMOps) -> None:
    ops.budgets.set(Budget(agent="look", limit=0))
    ops.budgets.set(Budget(agent="work", limit=1))
    assert run(graph_with(ops.budget_node(), chooses=False))["budget"] is None
    named = run(graph_with(ops.budget_node(agent="work"), chooses=False))
    assert named["budget"]["scope"] == "agent 'work'"


def test_the_ways_on_are_drawn_and_checked(ops: LLMOps) -> None:
    drawn = graph_with(ops.budget_node(then="work", exceeded=END)).get_graph().edges
    assert {edge.target for edge in drawn if edge.source == "look"} == {"work", END}
    with pytest.raises(ValueError, match="nowhere"):
        graph_with(ops.budget_node(then="work", exceeded="nowhere"))


def test_the_key_of_the_state_can_be_chosen(ops: LLMOps) -> None:
    look = ops.budget_node(output_key="money")
    assert look({}, {}) == {"money": None}


@pytest.mark.parametrize(
    "wrong", [{"then": "work"}, {"exceeded": "stop"}, {"at": 0}, {"needs": -1}, {"needs": "much"}]
)
def test_arguments_of_a_budget_node_are_checked(ops: LLMOps, wrong) -> None:
    with pytest.raises(ConfigurationError):
        ops.budget_node(**wrong)


def test_disabled_a_budget_node_goes_on(clock: FakeClock) -> None:
    with LLMOps("sqlite://", Settings(disabled=True), clock=clock) as ops:
        ops.budgets.set(Budget(project="p", limit=0))
        graph = graph_with(ops.budget_node(then="work", exceeded="stop"))
        with ops.track(project="p"):
            assert run(graph)["went"] == "work"

"""A graph sends a window of its conversation and keeps the whole."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from history_judge import refusals
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from llmops_langchain.graph import trim_node
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

"""Agents with a context window before providers that refuse what does not fit or is half."""

# ruff: noqa: E402 - what may be missing is skipped first
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

for _name in ("langchain", "langchain_openai", "langchain_anthropic"):
    pytest.importorskip(_name, reason=f"needs the package {_name.replace('_', '-')}")

from langchain.agents import create_agent
from langchain.agents.middleware import wrap_model_call
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from strict_provider import Asked, Call, StrictProvider

from llmops_langchain.cli.local_model import LocalModel
from llmops_langchain.memory import ContextWindow
from llmops_langchain.middleware import ContextWindowMiddleware

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning"),
]

THREAD = {"configurable": {"thread_id": "1"}}
TURNS = 20


@tool
def stock(plant: str) -> str:
    """How many of a plant are left."""
    return f"There are 12 of {plant} in the house and 30 more in the garden behind it. " * 8


def desk(asked: Asked) -> str | Call:
    """Looks into the stock before every second answer."""
    last = asked.messages[-1]
    is_question = last["role"] == "user" and "How many" in str(last["content"])
    looked = "tool_result" in str(last["content"])
    return Call("stock", {"plant": "fern"}) if is_question and not looked else "We have 42 of it."


@pytest.fixture
def provider() -> Iterator[StrictProvider]:
    with StrictProvider(2500, desk) as running:
        yield running


def openai(provider: StrictProvider) -> BaseChatModel:
    return ChatOpenAI(
        base_url=f"{provider.url}/v1",
        api_key="none",
        model="gpt-4o",
        max_retries=0,
        stream_usage=True,
    )


def anthropic(provider: StrictProvider) -> BaseChatModel:
    return ChatAnthropic(
        base_url=provider.url, api_key="none", model="claude-sonnet-4-5", max_retries=0
    )


both = pytest.mark.parametrize("client", [openai, anthropic])
Client = Callable[[StrictProvider], BaseChatModel]


def agent(model: BaseChatModel, *middleware: Any) -> Any:
    return create_agent(
        model,
        [stock],
        system_prompt="You are the desk of a shop for plants.",
        middleware=middleware,
        checkpointer=InMemorySaver(),
    )


def windowed(model: BaseChatModel, max_tokens: int = 1500, **options: Any) -> Any:
    window = ContextWindow(model, max_tokens)
    return agent(model, ContextWindowMiddleware(window, **options))


def question(turn: int) -> dict[str, Any]:
    return {"messages": [("user", f"How many ferns are left, now in week {turn}?")]}


def talk(graph: Any, turns: int = TURNS) -> list[BaseMessage]:
    for turn in range(turns):
        state = graph.invoke(question(turn), THREAD)
    return state["messages"]


@both
@pytest.mark.parametrize("how", ["invoke", "stream", "ainvoke", "astream"])
async def test_a_long_chat_is_answered_to_its_end(client: Client, how, provider) -> None:
    graph = windowed(client(provider))
    for turn in range(TURNS):
        if how == "invoke":
            graph.invoke(question(turn), THREAD)
        elif how == "stream":
            list(graph.stream(question(turn), THREAD, stream_mode="messages"))
        elif how == "ainvoke":
            await graph.ainvoke(question(turn), THREAD)
        else:
            async for _ in graph.astream(question(turn), THREAD, stream_mode="messages"):
                pass
    state = graph.get_state(THREAD).values["messages"]
    assert (len(state), state[-1].text) == (4 * TURNS, "We have 42 of it.")
    assert provider.refused == []
    assert len(provider.answered) == 2 * TURNS


@both
def test_without_the_middleware_the_same_chat_is_refused_as_too_long(client, provider) -> None:
    with pytest.raises(Exception, match=r"maximum context length|prompt is too long"):
        talk(agent(client(provider)))


@both
def test_the_newest_messages_alone_are_refused_as_half(client: Client, provider) -> None:
    @wrap_model_call
    def last_three(request: Any, handler: Callable[..., Any]) -> Any:
        return handler(request.override(messages=request.messages[-3:]))

    with pytest.raises(Exception, match=r"'tool_calls'|tool_use_id|first message"):
        talk(agent(client(provider), last_three))


@both
def test_prompts_begin_alike_until_the_cut_moves(client: Client, provider) -> None:
    talk(windowed(client(provider)))
    prompts = [asked.messages for asked in provider.answered]
    moved = [list(b[: len(a)]) != list(a) for a, b in pairwise(prompts)]
    assert 2 < sum(moved) < TURNS


@both
@pytest.mark.parametrize("vague", [False, True], ids=["with figures", "without"])
def test_a_window_that_is_too_large_is_found_out(client: Client, vague) -> None:
    with StrictProvider(1000, desk, vague=vague) as provider:
        assert len(talk(windowed(client(provider), 4000))) == 4 * TURNS
    assert 0 < len(provider.refused) <= (1 if not vague else TURNS)
    assert len(provider.answered) == 2 * TURNS


@both
async def test_an_async_agent_finds_it_out_too(client: Client) -> None:
    with StrictProvider(1000, desk) as provider:
        graph = windowed(client(provider), 4000)
        for turn in range(TURNS):
            async for _ in graph.astream(question(turn), THREAD, stream_mode="messages"):
                pass
    assert len(provider.refused) == 1
    assert len(provider.answered) == 2 * TURNS


@both
def test_a_provider_that_counts_more_is_learnt_from(client: Client) -> None:
    with StrictProvider(1500, desk, characters_per_token=2.0) as provider:
        model = client(provider)
        middleware = ContextWindowMiddleware(lambda asked: ContextWindow(asked, 1500))
        talk(agent(model, middleware), 40)
    assert len(provider.refused) <= 3
    assert len(provider.answered) == 80


@both
def test_messages_removed_from_the_state_leave_a_valid_one(client: Client, provider) -> None:
    assert len(talk(windowed(client(provider), persist=True))) < 4 * TURNS - 20
    assert provider.refused == []


QUESTIONS = [f"Name houseplant number {i} in one word, please. " * 3 for i in range(6)]


def test_a_real_model_answers_a_chat_longer_than_its_window(local_model: LocalModel) -> None:
    model = local_model.chat_model(max_tokens=8)
    graph = create_agent(
        model,
        middleware=[ContextWindowMiddleware(ContextWindow(model, 250))],
        checkpointer=InMemorySaver(),
    )
    for asked in QUESTIONS:
        state = graph.invoke({"messages": [("user", asked)]}, THREAD)
    answers = [m for m in state["messages"] if m.type == "ai"]
    assert len(answers) == len(QUESTIONS)
    assert max(m.usage_metadata["input_tokens"] for m in answers) <= 250


def test_a_real_model_that_refuses_is_asked_again() -> None:
    with LocalModel(context_tokens=256) as small:
        model = small.chat_model(max_tokens=8)
        graph = create_agent(
            model,
            middleware=[ContextWindowMiddleware(ContextWindow(model, 4000))],
            checkpointer=InMemorySaver(),
        )
        for asked in QUESTIONS:
            state = graph.invoke({"messages": [("user", asked)]}, THREAD)
    assert len(state["messages"]) == 2 * len(QUESTIONS)

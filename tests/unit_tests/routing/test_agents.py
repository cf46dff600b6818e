"""Agents whose model is a router: tools, forms, events, streams and budgets."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from models import CountingModel, StreamingModel
from pydantic import BaseModel
from routed import EASY, RateLimitError, choices, large, small
from typing_extensions import override

from llmops_langchain import (
    Budget,
    BudgetExceededError,
    BudgetMiddleware,
    LLMOps,
    ModelChoice,
    ModelRouter,
)

WAYS = ["invoke", "ainvoke", "stream", "astream"]
ASKED = {"messages": [("user", EASY)]}
LONG = {"messages": [("user", "word " * 1_000)]}
LOOK = {"name": "look", "args": {"place": "the attic"}, "id": "1", "type": "tool_call"}


class City(BaseModel):
    """A city."""

    name: str


@tool
def look(place: str) -> str:
    """Look there."""
    return f"nothing in {place}"


def place_of(thing: str) -> str:
    """Where it is."""
    return f"{thing} is lost"


class Scripted(CountingModel):
    """Says one thing after the other, the last one for ever; a dictionary is a call of a tool."""

    script: list[Any]

    @override
    def _message(self) -> AIMessage:
        said = self.script[min(self.calls, len(self.script)) - 1]
        message = super()._message()
        if isinstance(said, str):
            return message.model_copy(update={"content": said})
        return message.model_copy(update={"content": "", "tool_calls": [said]})

    @override
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(each) for each in tools], **kwargs)


class Named(GenericFakeChatModel):
    """LangChain's fake, which streams word by word, with a name and tools."""

    model_name: str

    @override
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(**kwargs)


@pytest.fixture
def ops() -> Iterator[LLMOps]:
    with LLMOps("sqlite://") as ops:
        yield ops


def looking(name: str = "small") -> Scripted:
    return Scripted(model_name=name, script=[LOOK, f"by the {name} one"])


async def last(agent: Any, way: str, asked: Any = ASKED) -> dict[str, Any]:
    """The state at the end."""
    if way == "invoke":
        return agent.invoke(asked)
    if way == "ainvoke":
        return await agent.ainvoke(asked)
    if way == "stream":
        return list(agent.stream(asked, stream_mode="values"))[-1]
    return [each async for each in agent.astream(asked, stream_mode="values")][-1]


def events(ops: LLMOps) -> list[tuple[Any, ...]]:
    """The calls of models in their order: who, how it ended, tokens in and nano-dollars."""
    ops.flush()
    with ops.database.begin(read_only=True) as connection:
        sql = (
            "select model, status, input_tokens, cost from llmops_events"
            " where name = 'llm.call' order by ts"
        )
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


SMALL, LARGE = ("small", "ok", 10, 20_000), ("large", "ok", 10, 200_000)
FAILED = ("small", "error", 0, 0)


@pytest.mark.parametrize("way", WAYS)
async def test_an_agent_calls_its_tools_and_each_call_is_counted_once(ops, way: str) -> None:
    model, dear = looking(), looking("large")
    agent = create_agent(ops.router(*choices(model, dear)), [look])
    with ops.track(project="p"):
        said = (await last(agent, way))["messages"]
    assert [each.type for each in said] == ["human", "ai", "tool", "ai"]
    assert (said[2].text, said[3].text) == ("nothing in the attic", "by the small one")
    assert (model.calls, dear.calls) == (2, 0)
    assert events(ops) == [SMALL, SMALL]


@pytest.mark.parametrize("way", WAYS)
async def test_another_model_goes_on_with_a_tools_result(ops, way: str) -> None:
    class Tiring(Scripted):
        """Is asked too often after its first answer."""

        def _ask(self, how: str) -> None:
            super()._ask(how)
            if self.calls > 1:
                raise RateLimitError

    first = Tiring(model_name="small", script=[LOOK])
    second = Scripted(model_name="large", script=["by the large one"])
    agent = create_agent(ops.router(*choices(first, second)), [look])
    with ops.track(project="p"):
        said = (await last(agent, way))["messages"]
    asked = [each.response_metadata["llmops_route"]["choice"] for each in (said[1], said[3])]
    assert asked == ["small", "large"]
    assert isinstance(said[2], ToolMessage)
    assert sorted(events(ops)) == sorted([SMALL, FAILED, LARGE])


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_has_its_form_by_a_tool(ops, way: str) -> None:
    call = {"name": "City", "args": {"name": "Bern"}, "id": "2", "type": "tool_call"}
    first = small(error=TimeoutError())
    router = ops.router(*choices(first, Scripted(model_name="large", script=[LOOK, call])))
    agent = create_agent(router, [look], response_format=ToolStrategy(City))
    with ops.track(project="p"):
        state = await last(agent, way)
    assert state["structured_response"] == City(name="Bern")
    assert [row for row in events(ops) if row[1] == "ok"] == [LARGE, LARGE]


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_has_its_form_by_the_provider(ops, way: str) -> None:
    first, second = choices(
        small(), Scripted(model_name="large", script=[LOOK, '{"name": "Bern"}'])
    )
    router = ops.router(first.replaced(structured_output=False), second)
    agent = create_agent(router, [look], response_format=ProviderStrategy(City))
    with ops.track(project="p"):
        state = await last(agent, way)
    assert state["structured_response"] == City(name="Bern")
    assert events(ops) == [LARGE, LARGE]


async def test_events_tell_of_each_answer_once_and_of_who_gave_it(ops) -> None:
    agent = create_agent(ops.router(*choices(looking(), looking("large"))), [look])
    with ops.track(project="p"):
        told = [each async for each in agent.astream_events(ASKED, version="v2")]
    ends = [each["data"]["output"] for each in told if each["event"] == "on_chat_model_end"]
    assert [each.response_metadata["llmops_route"]["choice"] for each in ends] == ["small"] * 2
    assert [each.usage_metadata["input_tokens"] for each in ends] == [10, 10]
    started = [each for each in told if each["event"] == "on_chat_model_start"]
    assert [each["name"] for each in started] == ["ModelRouter"] * 2
    assert sum(each["event"] == "on_tool_end" for each in told) == 1
    assert events(ops) == [SMALL, SMALL]


async def test_events_tell_the_words_of_who_answers_and_of_nobody_else(ops) -> None:
    first = StreamingModel(model_name="small", breaks_after=0)
    agent = create_agent(ops.router(*choices(first, StreamingModel(model_name="large"))))
    with ops.track(project="p"):
        told = [each async for each in agent.astream_events(ASKED, version="v2")]
    chunks = [each["data"]["chunk"] for each in told if each["event"] == "on_chat_model_stream"]
    assert [each.text for each in chunks] == ["one ", "two ", "three ", ""]
    assert sorted(events(ops)) == sorted([FAILED, LARGE])


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_messages_are_streamed_word_by_word_under_one_id(ops, way: str) -> None:
    first = StreamingModel(model_name="small", breaks_after=0)
    agent = create_agent(ops.router(*choices(first, StreamingModel(model_name="large"))))
    with ops.track(project="p"):
        parts = await messages(agent, way)
    assert [each.text for each in parts] == ["one ", "two ", "three ", ""]
    assert len({each.id for each in parts}) == 1
    whole = sum(parts[1:], parts[0])
    assert whole.response_metadata["llmops_route"]["choice"] == "large"
    assert whole.usage_metadata["input_tokens"] == 10
    assert sorted(events(ops)) == sorted([FAILED, LARGE])


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_model_whose_answers_keep_breaking_off_rests(ops, way: str) -> None:
    first = StreamingModel(model_name="small", breaks_after=1)
    router = ops.router(*choices(first, StreamingModel(model_name="large")))
    for _ in range(3):
        with pytest.raises(ConnectionError):
            await messages(create_agent(router), way)
    assert [(each.name, each.why) for each in router.decide(EASY).excluded] == [
        ("small", "cooldown")
    ]


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_langchains_own_fakes_call_tools_and_stream(way: str) -> None:
    said = iter([AIMessage("", tool_calls=[LOOK]), AIMessage("nothing is there")])
    model = ModelChoice(
        Named(model_name="small", messages=said), input_per_million=1, output_per_million=2
    )
    # The fake cannot stream a call of a tool.
    router = ModelRouter(model, *choices(large()), disable_streaming="tool_calling")
    agent = create_agent(router, [look])
    parts = [each for each in await messages(agent, way) if not isinstance(each, ToolMessage)]
    assert [call["name"] for each in parts for call in each.tool_calls] == ["look"]
    assert "".join(each.text for each in parts) == "nothing is there"


async def messages(agent: Any, way: str) -> list[AIMessageChunk]:
    if way == "stream":
        return [part for part, _ in agent.stream(ASKED, stream_mode="messages")]
    return [part async for part, _ in agent.astream(ASKED, stream_mode="messages")]


@pytest.mark.parametrize("way", WAYS)
async def test_a_wrapped_router_asks_the_one_there_is_room_for(ops, way: str) -> None:
    ops.budgets.set(Budget(project="p", limit="0.005", period="total"))
    cheap, dear = looking(), looking("large")
    router = ops.wrap(ops.router(*choices(cheap, dear), target=1.0))  # it wants the best
    with ops.track(project="p"):
        said = (await last(create_agent(router, [look]), way, LONG))["messages"]
    assert said[-1].text == "by the small one"
    assert (cheap.calls, dear.calls) == (2, 0)
    assert events(ops) == [SMALL, SMALL]
    budget = ops.budgets.get(project="p")
    assert (budget.spent * 10**9, budget.reserved) == (40_000, 0)


@pytest.mark.parametrize("tools", [[look], [place_of]], ids=["tool", "function"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_wrapped_routers_equal_calls_with_tools_are_asked_once(ops, way, tools) -> None:
    model = Scripted(model_name="small", script=["nothing to look for"])
    agent = create_agent(ops.wrap(ops.router(*choices(model))), tools)
    with ops.track(project="p"):
        said = [(await last(agent, way))["messages"][-1].text for _ in range(2)]
    assert said == ["nothing to look for"] * 2
    assert model.calls == 1


async def test_a_wrapped_router_tells_tools_apart_by_what_a_provider_is_told_of_them(ops) -> None:
    model = Scripted(model_name="small", script=["nothing to look for"])
    router = ops.wrap(ops.router(*choices(model)))
    # Anthropic's form of a tool has them.
    shown = [{"input_examples": [{"place": place}]} for place in ("the attic", "the cellar")]
    with ops.track(project="p"):
        for extras in shown:
            router.bind_tools([look.model_copy(update={"extras": extras})]).invoke(EASY)
    assert model.calls == 2


@pytest.mark.parametrize("way", WAYS)
async def test_without_room_for_anybody_an_agent_of_a_wrapped_router_is_told(ops, way) -> None:
    ops.budgets.set(Budget(project="p", limit="0.000001", period="total"))
    cheap, dear = looking(), looking("large")
    router = ops.wrap(ops.router(*choices(cheap, dear)))
    with ops.track(project="p"), pytest.raises(BudgetExceededError):
        await last(create_agent(router, [look]), way)
    assert cheap.calls == dear.calls == 0
    assert ops.budgets.get(project="p").reserved == 0


@pytest.mark.parametrize("way", WAYS)
async def test_an_agent_is_downgraded_to_a_router(ops, way: str) -> None:
    ops.prices.set("large", input_per_million=10, output_per_million=20)
    ops.budgets.set(Budget(project="p", limit="0.005", period="total"))
    cheap, dear = looking(), looking("large")
    below = BudgetMiddleware(
        ops.guard, exit_behavior="downgrade", downgrade_to=ops.router(*choices(cheap))
    )
    agent = create_agent(dear, [look], middleware=[below])
    with ops.track(project="p"):
        said = (await last(agent, way, LONG))["messages"]
    assert said[-1].text == "by the small one"
    assert (cheap.calls, dear.calls) == (2, 0)
    assert [row for row in events(ops) if row[1] == "ok"] == [SMALL, SMALL]
    budget = ops.budgets.get(project="p")
    assert (budget.spent * 10**9, budget.reserved) == (40_000, 0)


@pytest.mark.parametrize("way", WAYS)
async def test_a_router_is_downgraded_to_a_router_of_the_cheap_one(ops, way: str) -> None:
    ops.budgets.set(Budget(project="p", limit="0.005", period="total"))
    cheap, dear = looking(), looking("large")
    below = BudgetMiddleware(
        ops.guard, exit_behavior="downgrade", downgrade_to=ops.router(*choices(cheap))
    )
    agent = create_agent(ops.router(*choices(dear)), [look], middleware=[below])
    with ops.track(project="p"):
        said = (await last(agent, way, LONG))["messages"]
    assert said[-1].text == "by the small one"
    assert (cheap.calls, dear.calls) == (2, 0)
    assert [row for row in events(ops) if row[1] == "ok"] == [SMALL, SMALL]
    budget = ops.budgets.get(project="p")
    assert (budget.spent * 10**9, budget.reserved) == (40_000, 0)

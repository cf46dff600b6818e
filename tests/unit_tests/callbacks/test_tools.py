"""Each run of a tool is one event, without what it was given and what it gave."""

from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from llmops_langchain.callbacks import attached
from llmops_langchain.ledger import track

PRIVATE = "nobody must read this"


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    if city == "Atlantis":
        raise LookupError(PRIVATE)
    return PRIVATE


@tool
async def slow_weather(city: str) -> str:
    """The weather in a city."""
    return weather.func(city)


def test_a_run_of_a_tool_is_one_event(book, clock) -> None:
    run_id = uuid4()
    weather.invoke({"city": PRIVATE}, config={**book.config, "run_id": run_id})
    event = book.only()
    assert (event.id, event.run_id, event.name) == (run_id, run_id, "tool.call")
    assert (event.tags, event.status, event.ts) == ({"tool": "weather"}, "ok", clock())
    assert event.latency > 0
    assert (event.cost, event.input_tokens, event.model) == (0, 0, None)


def test_an_event_of_a_tool_holds_no_text(book) -> None:
    weather.invoke({"city": PRIVATE}, config=book.config)
    with pytest.raises(LookupError):
        weather.invoke({"city": "Atlantis"}, config=book.config)
    assert PRIVATE not in repr(book.events())


async def test_an_async_tool_is_one_event(book) -> None:
    await slow_weather.ainvoke({"city": "Paris"}, config=book.config)
    await weather.ainvoke({"city": "Paris"}, config=book.config)
    assert [event.tags["tool"] for event in book.events()] == ["slow_weather", "weather"]


@pytest.mark.parametrize("asked", [weather, slow_weather], ids=["sync", "async"])
async def test_a_tool_that_fails_says_how(book, asked: BaseTool) -> None:
    with pytest.raises(LookupError):
        await asked.ainvoke({"city": "Atlantis"}, config=book.config)
    assert (book.only().status, book.only().error_class) == ("error", "LookupError")


def test_a_tool_that_tells_the_model_of_its_failure_has_failed(book) -> None:
    @tool
    def broken() -> str:
        """Never works."""
        raise ToolException(PRIVATE)

    broken.handle_tool_error = True
    call = {"name": "broken", "args": {}, "id": "1", "type": "tool_call"}
    assert broken.invoke(call, config=book.config).status == "error"
    assert (book.only().status, book.only().error_class) == ("error", None)


def test_a_tool_that_is_interrupted_is_cut_off(book) -> None:
    @tool
    def endless() -> str:
        """Never ends."""
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        endless.invoke({}, config=book.config)
    assert (book.only().status, book.only().aborted) == ("error", True)


def test_a_tool_belongs_to_whom_track_says(book) -> None:
    with track(project="p", tags={"env": "dev"}), attached(book.handler):
        weather.invoke({"city": "Paris"}, config={"metadata": {"user": "u"}})
    event = book.only()
    assert (event.project, event.user) == ("p", "u")
    assert event.tags == {"env": "dev", "tool": "weather"}


def test_a_tool_knows_what_ran_it(book) -> None:
    chain = RunnableLambda(lambda city: {"city": city}) | weather
    chain.invoke("Paris", config=book.config)
    assert book.only().parent_run_id is not None


def graph_of_tools(*tools: BaseTool) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode(list(tools)))
    graph.add_edge(START, "tools")
    return graph.compile(checkpointer=InMemorySaver())


def asking(*names: str) -> dict[str, Any]:
    calls = [{"name": name, "args": {"city": "Paris"}, "id": name} for name in names]
    return {"messages": [AIMessage("", tool_calls=calls)]}


def test_tools_of_a_graph_are_an_event_each(book) -> None:
    @tool
    def news(city: str) -> str:
        """The news of a city."""
        return city

    config = {**book.config, "configurable": {"thread_id": "t"}}
    graph_of_tools(weather, news).invoke(asking("weather", "news"), config)
    assert {event.tags["tool"] for event in book.events()} == {"weather", "news"}
    assert {(event.agent, event.thread) for event in book.events()} == {("tools", "t")}


def test_a_tool_that_waits_for_a_human_is_one_event_in_the_end(book) -> None:
    @tool
    def refund(city: str) -> str:
        """Pay back."""
        return interrupt(city)

    graph = graph_of_tools(refund)
    config = {**book.config, "configurable": {"thread_id": "t"}}
    graph.invoke(asking("refund"), config)
    assert book.events() == []
    graph.invoke(Command(resume="yes"), config)
    assert book.only().status == "ok"


def test_attached_twice_a_tool_is_one_event(book) -> None:
    with attached(book.handler):
        weather.invoke({"city": "Paris"}, config=book.config)
    assert book.only().name == "tool.call"


def test_an_end_of_an_unknown_tool_is_passed_over(book) -> None:
    book.handler.on_tool_end("", run_id=uuid4())
    book.handler.on_tool_error(ValueError(), run_id=uuid4())
    assert book.events() == []

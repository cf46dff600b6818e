"""Whose call it was: `track`, LangChain's metadata, and the node of a graph."""

from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from models import AsyncModel, CountingModel

from llmops_langchain.callbacks import attached
from llmops_langchain.ledger import track


def graph_of(name: str, node: Any, **kwargs: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node(name, node)
    graph.add_edge(START, name)
    return graph.compile(**kwargs)


def writer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [CountingModel().invoke(state["messages"])]}


START_WITH = {"messages": [("user", "q")]}


def test_track_says_whose_call_it_is(book) -> None:
    named = {
        "workspace": "w",
        "project": "p",
        "task": "t",
        "user": "u",
        "agent": "a",
        "thread": "d",
    }
    with track(**named, tags={"env": "dev"}), attached(book.handler):
        CountingModel().invoke("q")
    event = book.only()
    assert {name: getattr(event, name) for name in named} == named
    assert event.tags == {"env": "dev"}


def test_without_a_scope_nobody_is_named(book) -> None:
    CountingModel().invoke("q", config=book.config)
    event = book.only()
    assert (event.workspace, event.agent, event.thread, event.tags) == (None, None, None, None)


@pytest.mark.parametrize("suffix", ["", "_id"])
def test_metadata_fills_what_track_left_open(book, suffix) -> None:
    named = ("workspace", "project", "task", "user", "agent")
    metadata = {f"{name}{suffix}": f"{name}'s" for name in named} | {"session_id": "s"}
    CountingModel().invoke("q", config={**book.config, "metadata": metadata})
    event = book.only()
    assert [getattr(event, name) for name in named] == [f"{name}'s" for name in named]
    assert event.thread == "s"


def test_metadata_never_replaces_what_track_said(book) -> None:
    with track(workspace="acme"):
        metadata = {"workspace": "rival", "user": "u"}
        CountingModel().invoke("q", config={**book.config, "metadata": metadata})
    assert (book.only().workspace, book.only().user) == ("acme", "u")


def test_the_node_of_a_graph_is_the_agent(book) -> None:
    graph_of("writer", writer).invoke(START_WITH, config=book.config)
    assert book.only().agent == "writer"


def test_nodes_of_nested_graphs_are_a_path(book) -> None:
    team = graph_of("team", graph_of("writer", writer))
    team.invoke(START_WITH, config=book.config)
    assert book.only().agent == "team/writer"


def test_an_agent_named_by_the_user_stays(book) -> None:
    config = {**book.config, "metadata": {"agent": "mine"}}
    graph_of("writer", writer).invoke(START_WITH, config=config)
    assert book.only().agent == "mine"


def test_an_agent_of_langchain_is_known_by_its_name(book) -> None:
    config = {**book.config, "metadata": {"lc_agent_name": "researcher"}}
    CountingModel().invoke("q", config=config)
    assert book.only().agent == "researcher"


def test_the_thread_of_a_graph_is_the_thread(book) -> None:
    graph = graph_of("writer", writer, checkpointer=InMemorySaver())
    graph.invoke(START_WITH, config={**book.config, "configurable": {"thread_id": "t-1"}})
    assert book.only().thread == "t-1"


async def test_async_graphs_keep_the_scope(book) -> None:
    async def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await AsyncModel().ainvoke(state["messages"])]}

    with track(project="p"), attached(book.handler):
        await graph_of("writer", node).ainvoke(START_WITH)
    assert (book.only().project, book.only().agent) == ("p", "writer")


def test_langchains_threads_keep_the_scope(book) -> None:
    model = CountingModel()
    with track(project="p"), attached(book.handler):
        model.batch(["a", "b", "c"], config={"max_concurrency": 2})
        RunnableParallel(x=model, y=RunnableLambda(str) | model).invoke("q")
    assert [event.project for event in book.events()] == ["p"] * 5


def test_a_call_knows_what_made_it(book) -> None:
    chain = RunnableLambda(lambda text: text) | CountingModel()
    chain.invoke("q", config=book.config)
    assert book.only().parent_run_id is not None

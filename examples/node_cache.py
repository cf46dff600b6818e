"""A LangGraph node that asks a model runs once for each workspace; then its result is served.

python examples/node_cache.py  # offline, with a model that always says the same
"""

from typing import TypedDict

from langchain_core.language_models import FakeListChatModel
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy

from llmops_langchain import LLMOps

model = FakeListChatModel(responses=["Water it twice a week."])


class State(TypedDict, total=False):
    """A question about a plant, and the answer."""

    question: str
    answer: str


def answer(state: State) -> State:
    """The expensive node."""
    print("  (the model is asked)")
    return {"answer": str(model.invoke(state["question"]).content)}


with LLMOps("sqlite://") as ops:  # in memory; "sqlite:///llmops.db" keeps it
    graph = StateGraph(State).add_node(answer, cache_policy=CachePolicy())
    desk = graph.add_edge(START, "answer").compile(cache=ops.node_cache)
    for workspace in ("acme", "acme", "rival"):
        with ops.track(workspace=workspace):
            print(f"{workspace}:")
            print(" ", desk.invoke({"question": "How often do I water a fern?"})["answer"])
    stats = ops.node_cache.stats()
    print(f"runs of the node: {stats.misses}, served from the cache: {stats.hits}")

"""What LangGraph asks of a node cache: its own in memory as the measure, ours on every store."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

import pytest
from conftest import FakeClock
from langchain_core.messages import AIMessage
from langgraph.cache.base import BaseCache, FullKey, Namespace
from langgraph.cache.memory import InMemoryCache
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import CachePolicy

from llmops_langchain import Database
from llmops_langchain.cache.memory_store import MemoryStore
from llmops_langchain.cache.redis_store import RedisStore
from llmops_langchain.graph import SqlNodeCache
from llmops_langchain.ledger import track

NODE = ("writes", "app.node", "node")
OTHER = ("writes", "app.other", "other")


class State(TypedDict, total=False):
    question: str
    noise: int
    answer: str


class Face:
    """One cache by its sync or by its async methods, so that each case is written once."""

    def __init__(self, cache: BaseCache[Any], kind: str) -> None:
        self.cache, self.is_async = cache, kind == "async"

    def get(self, *keys: FullKey) -> dict[FullKey, Any]:
        return asyncio.run(self.cache.aget(keys)) if self.is_async else self.cache.get(keys)

    def set(self, pairs: Mapping[FullKey, Any], ttl: int | None = None) -> None:
        timed = {key: (value, ttl) for key, value in pairs.items()}
        if self.is_async:
            asyncio.run(self.cache.aset(timed))
        else:
            self.cache.set(timed)

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        if self.is_async:
            asyncio.run(self.cache.aclear(namespaces))
        else:
            self.cache.clear(namespaces)

    def run(self, graph: CompiledStateGraph, state: State) -> str:
        done = asyncio.run(graph.ainvoke(state)) if self.is_async else graph.invoke(state)
        return done["answer"]


class Desk:
    """A graph of one node that counts how often it runs."""

    def __init__(self, cache: BaseCache[Any], policy: CachePolicy[Any]) -> None:
        self.runs = 0
        graph = StateGraph(State).add_node("answer", self.answer, cache_policy=policy)
        self.graph = graph.add_edge(START, "answer").compile(cache=cache)

    def answer(self, state: State) -> State:
        self.runs += 1
        return {"answer": f"{state['question']}!"}


class EveryNodeCache:
    """A subclass whose `cache` is another one meets every case below, sync and async."""

    @pytest.fixture(params=["sync", "async"])
    def face(self, cache: BaseCache[Any], request: pytest.FixtureRequest) -> Face:
        return Face(cache, request.param)

    def test_what_was_set_is_got(self, face) -> None:
        values = {(NODE, "1"): {"result": 42}, (NODE, "2"): ["a", None, 1.5], (OTHER, "3"): "text"}
        face.set(values)
        assert face.get(*values) == values

    def test_missing_keys_are_left_out(self, face) -> None:
        face.set({(NODE, "there"): 1})
        assert face.get((NODE, "there"), (NODE, "missing")) == {(NODE, "there"): 1}
        assert face.get((NODE, "missing")) == {}

    def test_no_keys_no_values(self, face) -> None:
        face.set({})
        assert face.get() == {}

    def test_nothing_is_a_value_too(self, face) -> None:
        face.set({(NODE, "key"): None})
        assert face.get((NODE, "key")) == {(NODE, "key"): None}

    def test_the_latest_value_counts(self, face) -> None:
        face.set({(NODE, "key"): "old"})
        face.set({(NODE, "key"): "new"})
        assert face.get((NODE, "key")) == {(NODE, "key"): "new"}

    def test_a_missing_value_can_be_set(self, face) -> None:
        assert face.get((NODE, "key")) == {}
        face.set({(NODE, "key"): 1})
        assert face.get((NODE, "key")) == {(NODE, "key"): 1}

    def test_one_key_in_two_namespaces_is_two_values(self, face) -> None:
        values = {(NODE, "key"): 1, (OTHER, "key"): 2, ((), "key"): 3}
        face.set(values)
        assert face.get(*values) == values

    def test_text_moved_between_namespace_and_key_is_another_key(self, face) -> None:
        face.set({(("a", "bc"), "d"): 1})
        moved = [(("ab", "c"), "d"), (("a",), "bcd"), (("a", "b"), "cd"), (("a", "bc", "d"), "")]
        assert face.get(*moved) == {}

    def test_a_namespace_is_cleared_alone(self, face) -> None:
        face.set({(NODE, "1"): 1, (NODE, "2"): 2, (OTHER, "1"): 3})
        face.clear([NODE])
        assert face.get((NODE, "1"), (NODE, "2"), (OTHER, "1")) == {(OTHER, "1"): 3}

    def test_namespaces_are_cleared_together(self, face) -> None:
        face.set({(NODE, "1"): 1, (OTHER, "1"): 2, (("third",), "1"): 3})
        face.clear([NODE, OTHER, ("unknown",)])
        assert face.get((NODE, "1"), (OTHER, "1"), (("third",), "1")) == {(("third",), "1"): 3}

    def test_clearing_a_namespace_leaves_those_below_it(self, face) -> None:
        face.set({(("a", "b"), "key"): 1})
        face.clear([("a",)])
        face.clear([])
        assert face.get((("a", "b"), "key")) == {(("a", "b"), "key"): 1}

    def test_everything_is_cleared(self, face) -> None:
        face.set({(NODE, "1"): 1, (OTHER, "1"): 2})
        face.clear()
        assert face.get((NODE, "1"), (OTHER, "1")) == {}

    def test_what_was_cleared_can_be_set_again(self, face) -> None:
        face.set({(NODE, "key"): 1})
        face.clear([NODE])
        face.clear()
        face.set({(NODE, "key"): 2})
        assert face.get((NODE, "key")) == {(NODE, "key"): 2}

    def test_no_seconds_to_live_is_never_served(self, face) -> None:
        face.set({(NODE, "key"): 1}, ttl=0)
        assert face.get((NODE, "key")) == {}

    def test_a_long_life_is_served(self, face) -> None:
        face.set({(NODE, "key"): 1}, ttl=10**9)
        assert face.get((NODE, "key")) == {(NODE, "key"): 1}

    def test_values_are_copies(self, face) -> None:
        value = {"list": [1]}
        face.set({(NODE, "key"): value})
        value["list"].append(2)
        face.get((NODE, "key"))[NODE, "key"]["list"].append(3)
        assert face.get((NODE, "key")) == {(NODE, "key"): {"list": [1]}}

    def test_a_message_comes_back_as_its_class(self, face) -> None:
        face.set({(NODE, "key"): [("messages", [AIMessage("hi", name="bot")])]})
        [[channel, [message]]] = face.get((NODE, "key"))[NODE, "key"]
        assert (channel, message) == ("messages", AIMessage("hi", name="bot"))

    def test_a_graph_is_served(self, face) -> None:
        desk = Desk(face.cache, CachePolicy())
        assert [face.run(desk.graph, {"question": "why"}) for _ in range(3)] == ["why!"] * 3
        assert face.run(desk.graph, {"question": "how"}) == "how!"
        assert desk.runs == 2

    def test_a_graph_is_served_what_the_other_face_kept(self, face) -> None:
        desk = Desk(face.cache, CachePolicy())
        face.run(desk.graph, {"question": "why"})
        assert asyncio.run(desk.graph.ainvoke({"question": "why"}))["answer"] == "why!"
        assert desk.graph.invoke({"question": "why"})["answer"] == "why!"
        assert desk.runs == 1

    def test_the_key_function_says_what_counts(self, face) -> None:
        desk = Desk(face.cache, CachePolicy(key_func=lambda state: state["question"]))
        for noise in range(3):
            assert face.run(desk.graph, {"question": "why", "noise": noise}) == "why!"
        assert desk.runs == 1

    def test_a_graph_clears_its_nodes(self, face) -> None:
        desk = Desk(face.cache, CachePolicy())
        face.run(desk.graph, {"question": "why"})
        if face.is_async:
            asyncio.run(desk.graph.aclear_cache(["answer"]))
        else:
            desk.graph.clear_cache(["answer"])
        face.run(desk.graph, {"question": "why"})
        assert desk.runs == 2


class TestLangGraphsOwn(EveryNodeCache):
    """The measure: what fails here is no promise of LangGraph."""

    @pytest.fixture
    def cache(self) -> BaseCache[Any]:
        return InMemoryCache()


class OurPromises(EveryNodeCache):
    """What a `SqlNodeCache` does beyond that, on every store."""

    @pytest.fixture
    def cache(self, new_cache: Callable[[], SqlNodeCache]) -> SqlNodeCache:
        return new_cache()

    def test_a_value_lives_for_its_seconds(self, face, clock) -> None:
        face.set({(NODE, "short"): 1}, ttl=60)
        face.set({(NODE, "long"): 2}, ttl=61)
        clock.advance(59)
        assert len(face.get((NODE, "short"), (NODE, "long"))) == 2
        clock.advance(1)
        assert face.get((NODE, "short"), (NODE, "long")) == {(NODE, "long"): 2}

    def test_a_node_runs_again_after_its_seconds(self, face, clock) -> None:
        desk = Desk(face.cache, CachePolicy(ttl=60))
        face.run(desk.graph, {"question": "why"})
        clock.advance(59)
        face.run(desk.graph, {"question": "why"})
        assert desk.runs == 1
        clock.advance(1)
        face.run(desk.graph, {"question": "why"})
        assert desk.runs == 2

    def test_another_cache_on_the_store_finds_it(self, face, new_cache) -> None:
        face.set({(NODE, "key"): 1})
        assert new_cache().get([(NODE, "key")]) == {(NODE, "key"): 1}

    def test_two_workspaces_do_not_share_a_value(self, face) -> None:
        with track(workspace="acme"):
            face.set({(NODE, "key"): 1})
        with track(workspace="rival"):
            assert face.get((NODE, "key")) == {}
        assert face.get((NODE, "key")) == {}
        with track(workspace="acme", project="any"):
            assert face.get((NODE, "key")) == {(NODE, "key"): 1}

    def test_a_namespace_is_cleared_for_every_workspace(self, face) -> None:
        with track(workspace="acme"):
            face.set({(NODE, "key"): 1, (OTHER, "key"): 2})
        face.clear([NODE])
        with track(workspace="acme"):
            assert face.get((NODE, "key"), (OTHER, "key")) == {(OTHER, "key"): 2}

    def test_what_cannot_be_written_down_is_not_kept(self, face) -> None:
        face.set({(NODE, "bad"): object(), (NODE, "good"): 1})
        assert face.get((NODE, "bad"), (NODE, "good")) == {(NODE, "good"): 1}
        assert face.cache.stats().refused == 1

    def test_what_was_worked_out_before_a_clear_is_not_kept(self, face) -> None:
        face.get((NODE, "key"), (OTHER, "other"))
        face.clear([NODE])
        face.set({(NODE, "key"): "old", (OTHER, "other"): 2})
        assert face.get((NODE, "key"), (OTHER, "other")) == {(OTHER, "other"): 2}


class TestInMemory(OurPromises):
    @pytest.fixture
    def new_cache(self, clock: FakeClock) -> Callable[[], SqlNodeCache]:
        store = MemoryStore()
        return lambda: SqlNodeCache(store, clock=clock)


class TestInSql(OurPromises):
    @pytest.fixture
    def new_cache(self, database: Database, clock: FakeClock) -> Callable[[], SqlNodeCache]:
        return lambda: SqlNodeCache(database, clock=clock)


class TestInValkey(OurPromises):
    @pytest.fixture
    def new_cache(self, valkey_url: str, clock: FakeClock) -> Iterator[Callable[[], SqlNodeCache]]:
        with RedisStore(valkey_url, space="nodes") as store:
            yield lambda: SqlNodeCache(store, clock=clock)

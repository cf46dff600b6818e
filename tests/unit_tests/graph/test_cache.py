"""A node's result is served to whom it belongs, as it was, and never at the price of a run."""

import asyncio
import logging
import operator
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import shake_128
from inspect import signature
from typing import Annotated, Any, TypedDict
from uuid import UUID

import pytest
from conftest import FakeClock
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import CachePolicy, Send
from pydantic import BaseModel

from llmops_langchain import CacheStats, ConfigurationError, Database, StorageError
from llmops_langchain.cache.memory_store import MemoryStore
from llmops_langchain.cache.store import Entry
from llmops_langchain.graph import SqlNodeCache
from llmops_langchain.ledger import track
from llmops_langchain.storage.kept import Subject

NODE = ("writes", "app.node", "node")
KEY = (NODE, "key")
ACME = {"metadata": {"workspace": "acme"}}
RIVAL = {"metadata": {"workspace_id": "rival"}}
FERNET = ["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "YWJj" * 10 + "YWI="]


class Answers(TypedDict):
    question: str
    answers: Annotated[list[str], operator.add]


class Outcome(BaseModel):
    """As an app would declare it, without knowing the message's class."""

    message: BaseMessage


@dataclass
class Note:
    about: Any


class Desk:
    """A graph with two nodes side by side that count how often they run."""

    def __init__(self, cache: SqlNodeCache, *, names: str = "ab") -> None:
        self.runs = 0
        self._counting = threading.Lock()
        graph = StateGraph(Answers)
        for name in names:
            graph.add_node(name, self.answer, cache_policy=CachePolicy())
            graph.add_edge(START, name)
        self.graph = graph.compile(cache=cache)

    def answer(self, state: Answers) -> dict[str, list[str]]:
        with self._counting:
            self.runs += 1
        return {"answers": [state["question"] + "!"]}


def invoke(graph: CompiledStateGraph, config: Any = None) -> Any:
    return graph.invoke({"question": "why"}, config)


def ainvoke(graph: CompiledStateGraph, config: Any = None) -> Any:
    return asyncio.run(graph.ainvoke({"question": "why"}, config))


def stream(graph: CompiledStateGraph, config: Any = None) -> Any:
    return list(graph.stream({"question": "why"}, config, stream_mode="values"))[-1]


class Spoiled(MemoryStore):
    """A store that can fail, and whose rows can be damaged."""

    error: Exception | None = None
    damage: Callable[[bytes], bytes] = staticmethod(lambda value: value)

    def get(self, key: bytes) -> Entry | None:
        if self.error:
            raise self.error
        entry = super().get(key)
        return entry and replace(entry, value=self.damage(entry.value))

    def put(self, key: bytes, entry: Entry, **kwargs: Any) -> bool:
        if self.error:
            raise self.error
        return super().put(key, entry, **kwargs)

    def generation(self) -> int:
        if self.error:
            raise self.error
        return super().generation()


@pytest.fixture
def store() -> Spoiled:
    return Spoiled()


@pytest.fixture
def cache(store: Spoiled, clock: FakeClock) -> SqlNodeCache:
    return SqlNodeCache(store, clock=clock)


def kept(cache: SqlNodeCache, value: Any) -> Any:
    """What a hit gives for `value`."""
    cache.set({KEY: (value, None)})
    return cache.get([KEY]).get(KEY, "nothing")


class TestWorkspaces:
    @pytest.mark.parametrize("run", [invoke, ainvoke, stream])
    @pytest.mark.parametrize("names", ["a", "ab"])
    def test_a_run_is_served_in_its_workspace_alone(self, cache, run, names) -> None:
        desk = Desk(cache, names=names)
        for workspace in ("acme", "rival", "acme", "rival"):
            with track(workspace=workspace):
                assert run(desk.graph)["answers"] == ["why!"] * len(names)
        assert desk.runs == 2 * len(names)
        run(desk.graph)
        assert desk.runs == 3 * len(names)

    @pytest.mark.parametrize("run", [invoke, ainvoke, stream])
    @pytest.mark.parametrize("names", ["a", "ab"])
    def test_the_metadata_of_a_run_names_its_workspace(self, cache, run, names) -> None:
        desk = Desk(cache, names=names)
        for config in (ACME, RIVAL, ACME, RIVAL):
            run(desk.graph, config)
        assert desk.runs == 2 * len(names)
        run(desk.graph)
        assert desk.runs == 3 * len(names)

    def test_metadata_and_track_name_the_same_workspace(self, cache) -> None:
        desk = Desk(cache)
        invoke(desk.graph, ACME)
        with track(workspace="acme"):
            invoke(desk.graph)
        assert desk.runs == 2

    def test_metadata_does_not_pick_another_tenant(self, cache) -> None:
        desk = Desk(cache)
        invoke(desk.graph, ACME)
        with track(workspace="rival"):
            invoke(desk.graph, ACME)
        assert desk.runs == 4

    @pytest.mark.parametrize("run", [invoke, ainvoke])
    def test_a_graph_inside_a_graph_is_in_its_workspace(self, cache, run) -> None:
        desk = Desk(cache)
        whole = StateGraph(Answers).add_node("inner", desk.graph).add_edge(START, "inner")
        for config in (ACME, RIVAL, ACME):
            run(whole.compile(), config)
        assert desk.runs == 4

    def test_tasks_of_a_function_are_in_their_workspace(self, cache) -> None:
        runs: list[int] = []

        @task(cache_policy=CachePolicy())
        def double(number: int) -> int:
            runs.append(number)
            return 2 * number

        @entrypoint(cache=cache)
        def both(numbers: list[int]) -> list[int]:
            return [each.result() for each in [double(number) for number in numbers]]

        for workspace in ("acme", "acme", "rival"):
            with track(workspace=workspace):
                assert both.invoke([1, 2]) == [2, 4]
        both.invoke([1, 2])
        assert sorted(runs) == [1, 1, 1, 2, 2, 2]

    def test_a_result_from_a_thread_without_a_scope_belongs_to_who_asked(self, cache) -> None:
        keys = {name: (NODE, str(b"key", "ascii")) for name in ("acme", "rival")}
        for name, key in keys.items():
            with track(workspace=name):
                cache.get([key])
        for name, key in reversed(keys.items()):
            thread = threading.Thread(target=cache.set, args=({key: (name, None)},))
            thread.start()
            thread.join()
        for name, key in keys.items():
            with track(workspace=name):
                assert cache.get([key]) == {key: name}
        assert cache.get([KEY]) == {}

    def test_a_result_that_nobody_asked_for_is_not_given_to_everybody(self, cache) -> None:
        with track(workspace="acme"):
            cache.get([KEY])
        cache.set({(NODE, "another"): (1, None)})
        assert cache.get([(NODE, "another")]) == {}
        assert cache.stats().refused == 1


class TestMessages:
    def ask(self, cache: SqlNodeCache, node: Any, times: int = 2) -> list[BaseMessage]:
        """The conversation of one thread in which the same is asked several times."""
        policy = CachePolicy(key_func=lambda state: state["messages"][-1].content)
        graph = StateGraph(MessagesState).add_node("answer", node, cache_policy=policy)
        compiled = graph.add_edge(START, "answer").compile(InMemorySaver(), cache=cache)
        for _ in range(times):
            done = compiled.invoke(
                {"messages": [HumanMessage("hi")]}, {"configurable": {"thread_id": "1"}}
            )
        return done["messages"]

    @pytest.mark.parametrize("identity", ["run-1", None])
    def test_a_node_served_twice_in_a_thread_answers_twice(self, cache, identity) -> None:
        talk = self.ask(cache, lambda _: {"messages": [AIMessage("hello", id=identity)]}, times=3)
        assert [message.content for message in talk] == ["hi", "hello"] * 3
        assert cache.stats().hits == 2

    def test_equal_ids_of_a_result_stay_equal(self, cache) -> None:
        answer = AIMessage("hi", id="run-1")
        served = kept(cache, {"messages": [answer], "last": answer, "sent": Send("n", [answer])})
        ids = {served["messages"][0].id, served["last"].id, served["sent"].arg[0].id}
        assert len(ids) == 1
        assert ids != {"run-1"}

    def test_ids_of_other_messages_and_of_tool_calls_stay(self, cache) -> None:
        call = {"name": "look", "args": {}, "id": "call-1"}
        talk = [
            HumanMessage("hi", id="human-1"),
            AIMessage("", tool_calls=[call]),
            ToolMessage("found", tool_call_id="call-1", id="tool-1"),
        ]
        assert kept(cache, talk) == talk

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda message: message,
            lambda message: {"messages": [message]},
            lambda message: deque([message]),
            lambda message: Send("node", {"messages": [message], "note": Note(message)}),
            lambda message: Send("node", ChatGeneration(message=message)),
            lambda message: ChatGeneration(message=message),
            lambda message: Outcome(message=message),
            lambda message: Note(Outcome(message=message)),
            lambda message: ToolMessage("found", tool_call_id="1", artifact=[message]),
        ],
    )
    def test_a_message_is_of_its_class_wherever_it_stands(self, cache, wrap) -> None:
        usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        value = wrap(AIMessage("hi", usage_metadata=usage, response_metadata={"model": "m"}))
        assert kept(cache, value) == value

    def test_documents_of_a_tool_come_back(self, cache) -> None:
        message = ToolMessage("found", tool_call_id="1", artifact=[Document("text")])
        assert kept(cache, message) == message


class TestValues:
    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**63 - 1)
            | st.floats(allow_nan=False)
            | st.text(st.characters(exclude_categories=["Cs"]))
            | st.binary()
            | st.datetimes()
            | st.decimals(allow_nan=False)
            | st.uuids()
            | st.frozensets(st.text("abc")),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.text("ab"), inner)
                | st.builds(Note, inner)
                | st.lists(inner).map(deque)
            ),
        )
    )
    def test_a_value_comes_back_as_it_was(self, value) -> None:
        assert kept(SqlNodeCache(MemoryStore()), value) == value

    def test_a_tuple_comes_back_as_a_list(self, cache) -> None:
        assert kept(cache, {"pair": (1, 2)}) == {"pair": [1, 2]}

    def test_what_would_come_back_as_something_else_is_not_kept(self, cache) -> None:
        @dataclass
        class Local:
            number: int

        for value in (Local(1), {"error": ValueError("no")}, {"deep": [Local(1)]}, 2**64, object()):
            assert kept(cache, value) == "nothing"
        assert cache.stats() == CacheStats(misses=5, refused=5)

    def test_nothing_is_pickled(self, cache) -> None:
        class Pickled:
            def __reduce__(self) -> Any:
                pytest.fail("it was pickled")

        assert kept(cache, Pickled()) == "nothing"

    def test_nothing_is_unpickled(self, store, cache) -> None:
        careless = SqlNodeCache(store, serde=JsonPlusSerializer(pickle_fallback=True))
        assert kept(careless, 1j) == 1j
        assert cache.get([KEY]) == {}

    def test_a_serde_of_ones_own_is_used_as_it_is(self, store) -> None:
        class Hex:
            def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
                return "hex", str(obj).encode()

            def loads_typed(self, data: tuple[str, bytes]) -> Any:
                return data

        assert kept(SqlNodeCache(store, serde=Hex()), 1) == ("hex", b"1")

    @pytest.mark.skipif(
        "allowed_msgpack_modules" not in signature(JsonPlusSerializer).parameters,
        reason="needs langgraph-checkpoint 3, whose serde can name classes",
    )
    def test_langgraphs_serde_can_name_the_classes_it_may_make(self, store, caplog) -> None:
        serde = JsonPlusSerializer(allowed_msgpack_modules=[Note])
        assert kept(SqlNodeCache(store, serde=serde), Note(UUID(int=1))) == Note(UUID(int=1))
        assert caplog.records == []

    def test_messages_are_read_without_a_warning(self, cache, caplog) -> None:
        kept(cache, {"messages": [AIMessage("hi"), HumanMessage("ho")], "about": Document("hi")})
        assert caplog.records == []

    def test_an_encrypted_result_needs_its_key(self, store) -> None:
        old, new = (SqlNodeCache(store, encryption_keys=[key]) for key in FERNET)
        assert kept(old, "secret " * 3) == "secret " * 3
        assert not any(b"secret" in entry.value for entry in store._entries.values())
        assert new.get([KEY]) == {}
        assert SqlNodeCache(store, encryption_keys=FERNET[::-1]).get([KEY]) == {KEY: "secret " * 3}


class TestLife:
    def test_the_caches_own_seconds_count_where_the_policy_has_none(self, store, clock) -> None:
        cache = SqlNodeCache(store, ttl=60, clock=clock)
        cache.set({KEY: (1, None), (NODE, "longer"): (2, 61)})
        clock.advance(60)
        assert cache.get([KEY, (NODE, "longer")]) == {(NODE, "longer"): 2}

    @pytest.mark.parametrize("ttl", [0, -1, float("nan")])
    def test_seconds_must_be_positive(self, store, ttl) -> None:
        with pytest.raises(ConfigurationError, match="`ttl`"):
            SqlNodeCache(store, ttl=ttl)

    def test_a_database_is_store_enough(self) -> None:
        with Database("sqlite://") as database:
            assert kept(SqlNodeCache(database), 1) == 1

    def test_a_bounded_store_lets_go_of_what_is_not_served(self, clock) -> None:
        cache = SqlNodeCache(MemoryStore(max_bytes=25_000), clock=clock)
        served, idle, new = keys = [(NODE, name) for name in ("served", "idle", "new")]
        value = shake_128().digest(9000)  # of which compression makes nothing smaller
        cache.set({served: (value, None), idle: (value, None)})
        cache.get([served])
        cache.set({new: (value, None)})
        assert set(cache.get(keys)) == {served, new}

    def test_a_clear_during_a_run_counts(self, cache) -> None:
        runs = []

        def answer(_: Answers) -> dict[str, list[str]]:
            runs.append(1)
            if len(runs) == 1:
                cache.clear()
            return {"answers": ["old"]}

        graph = StateGraph(Answers).add_node("answer", answer, cache_policy=CachePolicy())
        compiled = graph.add_edge(START, "answer").compile(cache=cache)
        for _ in range(3):
            invoke(compiled)
        assert len(runs) == 2

    def test_looking_a_running_node_up_again_does_not_hide_a_clear(self, cache) -> None:
        cache.get([KEY])
        cache.clear()
        cache.get([KEY])
        assert kept(cache, "old") == "nothing"

    def test_a_run_that_failed_keeps_nothing(self, cache) -> None:
        runs = []

        def answer(_: Answers) -> dict[str, list[str]]:
            runs.append(1)
            if len(runs) == 1:
                raise ValueError
            return {"answers": ["right"]}

        graph = StateGraph(Answers).add_node("answer", answer, cache_policy=CachePolicy())
        compiled = graph.add_edge(START, "answer").compile(cache=cache)
        with pytest.raises(ValueError):  # noqa: PT011 - the node's own, without a message
            invoke(compiled)
        assert [invoke(compiled)["answers"] for _ in range(2)] == [["right"]] * 2
        assert len(runs) == 2

    def test_runs_that_never_ended_are_forgotten(self, cache, monkeypatch) -> None:
        monkeypatch.setattr("llmops_langchain.graph.cache._MAX_RUNNING", 10)
        with track(workspace="acme"):
            cache.get([(NODE, f"key {number}") for number in range(30)])
        assert len(cache._running._runs) == 10

    def test_a_forked_child_starts_anew(self, cache) -> None:
        cache.get([KEY])
        cache.after_fork()
        assert cache.stats() == CacheStats()
        assert kept(cache, 1) == 1


class TestFailures:
    @pytest.mark.parametrize("run", [invoke, ainvoke])
    @pytest.mark.parametrize("error", [StorageError("away"), RuntimeError("a bug")])
    def test_a_broken_store_never_breaks_a_graph(self, cache, store, run, error, caplog) -> None:
        store.error = error
        desk = Desk(cache)
        assert [run(desk.graph)["answers"] for _ in range(2)] == [["why!"] * 2] * 2
        assert desk.runs == 4
        assert cache.stats().errors >= 1
        assert len(caplog.records) == 1

    def test_a_store_that_failed_is_left_alone_for_a_while(self, cache, store, clock) -> None:
        store.error = StorageError("away")
        cache.get([KEY])
        cache.get([KEY])
        assert cache.stats() == CacheStats(misses=2, errors=1)
        store.error = None
        clock.advance(60)
        cache.set({(NODE, "another"): (1, None)})
        assert cache.get([(NODE, "another")]) == {(NODE, "another"): 1}

    def test_a_result_is_not_kept_if_a_clear_may_be_missed(self, cache, store, clock) -> None:
        store.error = StorageError("away")
        cache.get([KEY])
        store.error = None
        clock.advance(60)
        cache.set({KEY: ("old", None)})
        assert cache.get([KEY]) == {}

    @pytest.mark.parametrize("damage", [lambda value: value[:-1], lambda _: b"", lambda _: b"junk"])
    def test_a_damaged_row_is_a_miss_and_is_mended(self, cache, store, damage, caplog) -> None:
        cache.set({KEY: ("secret answer", None)})
        store.damage = damage
        assert cache.get([KEY]) == {}
        assert cache.stats() == CacheStats(misses=1, stored=1, errors=1)
        del store.damage
        assert kept(cache, "new") == "new"
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "secret" not in caplog.text

    def test_clearing_says_when_it_cannot(self) -> None:
        with Database("sqlite://") as database:
            cache = SqlNodeCache(database)
        for namespaces in (None, [NODE]):
            with pytest.raises(StorageError):
                cache.clear(namespaces)

    def test_a_disabled_cache_finds_and_keeps_nothing(self, store, cache) -> None:
        cache.set({KEY: (1, None)})
        off = SqlNodeCache(store, disabled=True)
        off.set({(NODE, "other"): (2, None)})
        assert off.get([KEY]) == {}
        assert off.stats() == CacheStats()
        assert cache.get([(NODE, "other")]) == {}

    async def test_the_loop_never_waits_for_the_store(self, clock) -> None:
        threads: set[int] = set()

        class Watched(MemoryStore):
            def __getattribute__(self, name: str) -> Any:
                threads.add(threading.get_ident())
                return super().__getattribute__(name)

        cache = SqlNodeCache(Watched(), clock=clock)
        threads.clear()
        await cache.aget([KEY])
        await cache.aset({KEY: (1, None)})
        await cache.aclear([NODE])
        await cache.aclear()
        assert threads
        assert threading.get_ident() not in threads


class TestForgetting:
    @pytest.fixture
    def nodes(self, database: Database, clock: FakeClock) -> SqlNodeCache:
        return SqlNodeCache(database, ttl=60, clock=clock)

    @pytest.mark.parametrize("ask", [invoke, ainvoke])
    def test_results_for_a_user_go_and_those_of_others_stay(self, nodes, ask) -> None:
        anne, ben = Desk(nodes, names="a"), Desk(nodes, names="b")
        for desk, user in ((anne, "anne"), (ben, "ben")):
            ask(desk.graph, {"metadata": {"workspace": "acme", "user_id": user}})
        assert nodes.forget(Subject(user="anne")) == 1
        with track(workspace="acme"):
            ask(anne.graph)
            ask(ben.graph)
        assert (anne.runs, ben.runs) == (2, 1)

    def test_results_of_a_conversation_go(self, nodes: SqlNodeCache) -> None:
        desk = Desk(nodes, names="a")
        with track(workspace="acme", thread="chat"):
            invoke(desk.graph)
        assert nodes.forget(Subject(thread="chat")) == 1
        assert nodes.forget(Subject(thread="chat")) == 0

    def test_stale_results_are_deleted(self, nodes: SqlNodeCache, clock: FakeClock) -> None:
        invoke(Desk(nodes).graph)
        assert nodes.maintain(clock() + 59) == {"expired": 0}
        assert nodes.maintain(clock() + 60) == {"expired": 2}

    def test_switched_off_there_is_nothing_to_do(self) -> None:
        nodes = SqlNodeCache(MemoryStore(), disabled=True)
        assert (nodes.maintain(0.0), nodes.forget(Subject(user="anne"))) == ({}, 0)

"""`set_llm_cache(ResponseCache(…))`: what LangChain's own path does with it."""

import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, Generation
from langgraph.graph import StateGraph, add_messages
from models import USAGE, AsyncModel, CountingModel

from llmops_langchain import CacheStats, ConfigurationError, Database, ResponseCache
from llmops_langchain.cache import cached, recent
from llmops_langchain.errors import StorageError
from llmops_langchain.ledger import track


@pytest.fixture
def everywhere(cache: ResponseCache) -> Iterator[ResponseCache]:
    set_llm_cache(cache)
    yield cache
    set_llm_cache(None)


def conversation(run: str) -> list[AnyMessage]:
    """One conversation with a tool; `run` changes everything but what was said."""
    size = len(run)
    usage = {"input_tokens": size, "output_tokens": size, "total_tokens": 2 * size}
    call = {"name": "clock", "args": {"city": "Paris"}, "id": f"call-{run}", "type": "tool_call"}
    raw = [{"id": f"call-{run}", "type": "function", "function": {"name": "clock"}}]
    asked = AIMessage(
        [{"type": "tool_use", "id": f"call-{run}", "name": "clock", "input": {}}],
        id=f"ai-{run}",
        tool_calls=[call],
        usage_metadata=usage,
        response_metadata={"request": run},
        additional_kwargs={"tool_calls": raw},
    )
    told = ToolMessage("noon", tool_call_id=f"call-{run}", id=f"tool-{run}")
    return [HumanMessage("time?", id=f"human-{run}"), asked, told]


@pytest.mark.usefixtures("everywhere")
def test_an_equal_call_is_asked_once() -> None:
    model = CountingModel()
    first, second = model.invoke("q"), model.invoke("q")
    assert (model.calls, first.content, second.content) == (1, "the answer", "the answer")
    assert first.id != second.id


@pytest.mark.usefixtures("everywhere")
async def test_an_equal_call_is_asked_once_by_async_code() -> None:
    model = AsyncModel()
    first, second = await model.ainvoke("q"), await model.ainvoke("q")
    assert (model.calls, first.content, second.content) == (1, "the answer", "the answer")


@pytest.mark.usefixtures("everywhere")
def test_the_sums_of_langchains_own_handler_are_the_providers() -> None:
    own = UsageMetadataCallbackHandler()
    for _ in range(3):
        CountingModel().invoke("q", config={"callbacks": [own]})
    total = own.usage_metadata["tested-model"]
    assert {name: total[name] for name in USAGE} == USAGE


@pytest.mark.usefixtures("everywhere")
def test_a_hit_of_a_model_without_usage_can_be_read_like_any_other() -> None:
    model = CountingModel(usage=None)
    model.invoke("q")
    assert model.invoke("q").usage_metadata["input_tokens"] == 0


@pytest.mark.parametrize("way", ["set_llm_cache", "cached"])
def test_a_repeated_conversation_is_one_key(everywhere, way) -> None:
    plain = CountingModel()
    model = cached(plain, everywhere) if way == "cached" else plain
    answers = [model.invoke(conversation(run)) for run in ("one", "second")]
    assert model.calls == 1
    assert "llmops_cache" in answers[1].response_metadata


@pytest.mark.usefixtures("everywhere")
def test_a_conversation_in_which_the_tool_said_something_else_is_another() -> None:
    model = CountingModel()
    changed = conversation("one")
    changed[-1] = ToolMessage("midnight", tool_call_id="call-one")
    model.invoke(conversation("one"))
    model.invoke(changed)
    assert model.calls == 2


@pytest.mark.usefixtures("everywhere")
def test_both_answers_stay_in_a_graph() -> None:
    class State(TypedDict):
        messages: Annotated[list[AnyMessage], add_messages]

    model = CountingModel()
    graph = StateGraph(State)
    for name in ("first", "second"):
        graph.add_node(name, lambda _: {"messages": model.invoke("q")})
    graph.set_entry_point("first")
    graph.add_edge("first", "second")
    messages = graph.compile().invoke({"messages": []})["messages"]
    assert (len(messages), model.calls) == (2, 1)


@pytest.mark.parametrize(
    "said",
    [
        {"finish_reason": "length"},
        {"finish_reason": "MAX_TOKENS"},
        {"finish_reason": "content_filter"},
        {"finish_reason": "SAFETY"},
        {"answer": ""},
        {"answer": []},
        {"answer": [{"type": "text", "text": ""}]},
        {"metadata_of_answer": {"stop_reason": "max_tokens"}},
        {"metadata_of_answer": {"stop_reason": "refusal"}},
        {"metadata_of_answer": {"stopReason": "max_tokens"}},
        {"metadata_of_answer": {"done_reason": "length"}},
        {"metadata_of_answer": {"status": "incomplete"}},
        {"answer": "\ud800"},
    ],
    ids=str,
)
def test_what_is_no_whole_answer_is_not_kept(everywhere, said) -> None:
    if "metadata_of_answer" in said:
        said = {**said, "finish_reason": ""}
    model = CountingModel(**said)
    model.invoke("q")
    model.invoke("q")
    assert model.calls == 2
    assert everywhere.stats() == CacheStats(misses=2, refused=2)


@pytest.mark.usefixtures("everywhere")
def test_a_call_of_a_tool_is_an_answer_without_text() -> None:
    calls = [{"name": "f", "args": {}, "id": "1", "type": "tool_call"}]
    model = CountingModel(answer="", tool_calls=calls, finish_reason="tool_calls")
    model.invoke("q")
    assert model.invoke("q").tool_calls == calls
    assert model.calls == 1


def test_one_cut_choice_of_several_keeps_all_from_being_kept(cache) -> None:
    whole = ChatGeneration(message=AIMessage("all"))
    cut = ChatGeneration(message=AIMessage("al"), generation_info={"finish_reason": "length"})
    cache.update("q", "model", [whole, cut])
    cache.update("q", "model", [])
    assert cache.stats() == CacheStats(refused=2)


@pytest.mark.usefixtures("everywhere")
def test_a_text_model_is_asked_once() -> None:
    model = FakeListLLM(responses=["one", "two"])
    assert [model.invoke("q") for _ in range(2)] == ["one", "one"]


@pytest.mark.parametrize(("one", "another"), [("[]", "[ ]"), ("{}", "{ }"), ('""', '"" ')])
def test_text_prompts_that_are_json_differ_by_every_character(cache, one, another) -> None:
    cache.update(one, "text-model", [Generation(text="answer")])
    assert cache.lookup(another, "text-model") is None


def test_an_empty_text_is_not_kept(cache) -> None:
    cache.update("q", "text-model", [Generation(text="")])
    cut = Generation(text="al", generation_info={"finish_reason": "length"})
    cache.update("q", "text-model", [cut])
    assert cache.stats() == CacheStats(refused=2)


def test_one_model_alone_may_have_the_cache(cache) -> None:
    model = CountingModel(cache=cache)
    model.invoke("q")
    model.invoke("q")
    assert model.calls == 1


def test_memory_holds_the_answers_used_last(tmp_path) -> None:
    with Database(f"sqlite:///{tmp_path}/a.db") as database:
        cache = ResponseCache(database, max_items=2)
        for prompt in ("a", "b"):
            cache.update(prompt, "model", [Generation(text=prompt)])
        cache.lookup("a", "model")
        cache.update("c", "model", [Generation(text="c")])
        database.close()
        assert [cache.lookup(each, "model") is not None for each in "abc"] == [True, False, True]


def test_a_cache_without_memory_asks_the_database() -> None:
    with Database("sqlite://") as database:
        cache = ResponseCache(database, max_items=0)
        cache.update("q", "model", [Generation(text="x")])
        assert cache.lookup("q", "model") is not None
        database.close()
        assert cache.lookup("q", "model") is None


def test_an_answer_survives_the_process(tmp_path, clock) -> None:
    for expected in (None, "x"):
        with Database(f"sqlite:///{tmp_path}/a.db") as database:
            cache = ResponseCache(database, clock=clock)
            found = cache.lookup("q", "model")
            assert (found[0].text if found else None) == expected
            cache.update("q", "model", [Generation(text="x")])


async def test_async_clear_forgets_too(cache) -> None:
    await cache.aupdate("q", "model", [Generation(text="x")])
    await cache.aclear()
    assert await cache.alookup("q", "model") is None


@pytest.mark.parametrize(
    "wrong",
    [{"ttl": 0}, {"ttl": -1}, {"ttl": float("nan")}, {"max_items": -1}, {"wait": -1}],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong) -> None:
    with pytest.raises(ConfigurationError):
        ResponseCache(Database("sqlite://"), **wrong)


@pytest.mark.usefixtures("everywhere")
def test_the_workspace_of_track_separates_tenants() -> None:
    model = CountingModel()
    for workspace in ("acme", "rival", "acme"):
        with track(workspace=workspace):
            model.invoke("q")
    assert model.calls == 2


def test_a_cache_that_was_never_asked_has_no_hits() -> None:
    assert CacheStats().hit_rate == 0.0


def test_a_child_forked_during_lookups_is_not_stuck(tmp_path) -> None:
    source = """
        import os, signal, threading
        from langchain_core.outputs import Generation
        from llmops_langchain import Database, ResponseCache

        cache = ResponseCache(Database("sqlite:///a.db"))
        cache.update("p", "m", [Generation(text="a")])

        def look():
            while True:
                cache.lookup("p", "m")

        for _ in range(2):
            threading.Thread(target=look, daemon=True).start()
        for _ in range(15):
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # ends a child that waits for a lock for ever
                os._exit(cache.lookup("p", "m") is None)
            assert os.waitpid(child, 0)[1] == 0
        os._exit(0)
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(source)]
    # Measured by coverage, a child forked beside busy threads may hang in coverage's own locks.
    environment = {name: it for name, it in os.environ.items() if not name.startswith("COV")}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=200)


def test_a_lookup_that_began_before_clear_puts_nothing_back(
    database: Database, monkeypatch
) -> None:
    ResponseCache(database).update("prompt", "model", [Generation(text="old")])
    cache = ResponseCache(database)
    read = database.read_one

    def cleared_meanwhile(*args: Any, **kwargs: Any) -> Any:
        row = read(*args, **kwargs)
        cache.clear()
        return row

    monkeypatch.setattr(database, "read_one", cleared_meanwhile)
    cache.lookup("prompt", "model")
    monkeypatch.undo()
    assert cache.lookup("prompt", "model") is None


def test_a_closed_database_never_breaks_a_call(database, clock, caplog) -> None:
    cache = ResponseCache(database, clock=clock)
    database.close()
    caplog.set_level(logging.WARNING)
    answer = [Generation(text="secret answer")]
    for _ in range(3):
        assert cache.lookup("secret prompt", "model") is None
    cache.update("secret prompt", "model", answer)
    # After the first failure the store is left alone for a while; memory serves.
    assert cache.stats() == CacheStats(misses=3, stored=1, errors=1)
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text
    clock.advance(60)
    assert cache.lookup("secret prompt", "model") == answer
    cache.lookup("other", "model")
    assert len(caplog.records) == 2


@pytest.mark.parametrize("lookups", [(2, 0), (1, 1), (2, 2)], ids=str)
def test_no_answer_from_before_an_invalidation_is_kept(cache, lookups) -> None:
    before, after = lookups
    for _ in range(before):
        cache.lookup("q", "model")
    cache.clear()
    for _ in range(after):
        cache.lookup("q", "model")
    for _ in range(before):
        cache.update("q", "model", [Generation(text="from before")])
    assert cache.lookup("q", "model") is None


def test_what_was_kept_while_the_store_was_away_does_not_outlive_a_clear(database, clock) -> None:
    cache = ResponseCache(database, clock=clock)
    read, cache._shelf._store.generation = cache._shelf._store.generation, broken
    cache.update("q", "model", [Generation(text="x")])
    cache._shelf._store.generation = read
    ResponseCache(database).clear()
    cache._shelf.look_around()
    assert cache.lookup("q", "model") is None


def broken() -> int:
    msg = "away"
    raise StorageError(msg)


def test_looking_around_survives_whatever_a_store_raises(cache) -> None:
    cache.lookup("q", "model")
    cache._shelf._store.generation = broken
    cache._shelf.look_around()
    cache._shelf._store.generation = lambda: 1 // 0
    cache._shelf.look_around()


def test_an_answer_larger_than_the_memory_pushes_nothing_out(cache, monkeypatch) -> None:
    monkeypatch.setattr(recent, "_MAX_BYTES", 1_000)
    cache.update("small", "model", [Generation(text="x")])
    cache.update("large", "model", [Generation(text="x" * 2_000)])
    assert cache._shelf.recent(next(iter(cache._shelf._recent._entries))) is not None


@pytest.mark.parametrize("wrong", ["x", None, 1])
def test_what_is_no_store_is_refused(wrong) -> None:
    with pytest.raises(ConfigurationError, match="store"):
        ResponseCache(wrong)


@pytest.mark.parametrize("wrong", [1, [1], [""], ""])
def test_what_is_no_tag_is_refused(cache, wrong) -> None:
    with pytest.raises(ConfigurationError, match="tags"):
        cache.invalidate(wrong)

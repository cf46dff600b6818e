"""`LLMOps`: the parts together, as an app uses them."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from conftest import FakeClock
from fastapi import FastAPI
from fastapi.testclient import TestClient
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from models import AsyncModel, CountingModel

from llmops_langchain import (
    ConfigurationError,
    CostReport,
    DatabaseUnavailableError,
    LLMOps,
    MissingExtraError,
    Settings,
)


@pytest.fixture
def ops(clock: FakeClock) -> Iterator[LLMOps]:
    with LLMOps("sqlite://", Settings(), clock=clock) as made:
        made.prices.set("tested-model", input_per_million=1, output_per_million=10)
        yield made


@pytest.fixture
def off(tmp_path: Path) -> Iterator[LLMOps]:
    with LLMOps(f"sqlite:///{tmp_path}/off.db", Settings(disabled=True)) as made:
        yield made


def long_chat(turns: int = 40) -> list[AnyMessage]:
    pairs = [(HumanMessage(f"question {n} " * 20), AIMessage("answer " * 20)) for n in range(turns)]
    return [message for pair in pairs for message in pair] + [HumanMessage("and now?")]


def report_of(ops: LLMOps, **scope: str) -> CostReport:
    ops.flush()
    return ops.analytics.cost(**scope)


def test_a_day_in_production_adds_up(ops) -> None:
    model = ops.cached(CountingModel())
    with ops.track(workspace="acme", project="shop"):
        for question in ("a", "a", "b"):
            model.invoke(question)
    with ops.track(workspace="rival", project="shop"):
        model.invoke("a")
    report = report_of(ops, workspace="acme", project="shop")
    assert (report.calls, report.cache_hits, model.calls) == (3, 1, 3)
    assert (report.input_tokens, report.output_tokens) == (20, 10)
    assert (report.total, report.saved) == (Decimal("0.00012"), Decimal("0.00006"))
    assert report_of(ops).calls == 4


def test_it_works_alike_on_every_database(database_url, tmp_path) -> None:
    with LLMOps(database_url, Settings(journal_dir=tmp_path)) as ops:
        model = ops.cached(CountingModel())
        with ops.track(project="p"):
            model.invoke("q")
            model.invoke("q")
        report = report_of(ops, project="p")
    assert (report.calls, report.cache_hits, model.calls) == (2, 1, 1)


async def test_async_code_is_recorded_too(ops) -> None:
    with ops.track(project="p"):
        await ops.cached(AsyncModel()).ainvoke("q")
    await ops.aflush()
    assert ops.analytics.cost(project="p").calls == 1


def test_the_handler_may_be_passed_instead_of_track(ops) -> None:
    with ops.track(project="p"):
        CountingModel().invoke("q", config={"callbacks": [ops.usage]})
    CountingModel().invoke("q", config={"callbacks": [ops.usage]})
    assert (report_of(ops, project="p").calls, report_of(ops).calls) == (1, 2)


def test_an_inner_track_inherits(ops) -> None:
    with ops.track(workspace="w", tags={"a": "1"}), ops.track(task="t", tags={"b": "2"}) as scope:
        assert (scope.workspace, scope.task, scope.tags) == ("w", "t", {"a": "1", "b": "2"})


def test_the_cache_serves_code_that_cannot_be_touched(ops) -> None:
    set_llm_cache(ops.cache)
    try:
        model = CountingModel()
        with ops.track(project="p"):
            model.invoke("q")
            model.invoke("q")
    finally:
        set_llm_cache(None)
    assert (model.calls, report_of(ops, project="p").cache_hits) == (1, 1)


def test_langchains_own_handler_sums_up_what_was_paid(ops) -> None:
    own, model = UsageMetadataCallbackHandler(), ops.cached(CountingModel())
    for _ in range(3):
        model.invoke("q", config={"callbacks": [own]})
    assert own.usage_metadata["tested-model"]["total_tokens"] == 15


def test_a_cut_is_recorded_with_what_it_saved(ops) -> None:
    window = ops.context_window("tested-model", max_tokens=500)
    with ops.track(project="p"):
        trim = window.trim(long_chat())
    report = report_of(ops, project="p")
    assert report.trimmed_tokens == trim.freed_tokens > 0
    assert report.saved_by_trimming == Decimal(trim.freed_tokens) / 10**6
    assert (report.calls, report.total) == (0, 0)


def test_a_cut_for_a_model_object_goes_by_its_name(ops) -> None:
    ops.context_window(CountingModel(), max_tokens=500).trim(long_chat())
    assert report_of(ops).by_model["tested-model"].saved > 0


def test_a_history_that_fits_is_no_event(ops) -> None:
    ops.context_window("tested-model", max_tokens=10**6).trim(long_chat())
    assert report_of(ops).trimmed_tokens == 0


def test_a_cut_in_a_chain_knows_the_metadata(ops) -> None:
    window = ops.context_window("tested-model", max_tokens=500)
    metadata = {"project": "p", "thread_id": "t"}
    (window | CountingModel()).invoke(long_chat(), config={"metadata": metadata})
    assert report_of(ops, project="p").trimmed_tokens > 0


def test_a_trim_node_leaves_the_state_whole(ops) -> None:
    class State(MessagesState):
        llm_input_messages: list[AnyMessage]

    graph = StateGraph(State)
    graph.add_node("trim", ops.trim_node(ops.context_window("tested-model", max_tokens=500)))
    graph.add_edge(START, "trim")
    history = long_chat()[:25]  # the first question at which the cut comes
    with ops.track(project="p"):
        state = graph.compile().invoke({"messages": history})
    assert len(state["messages"]) == len(history) > len(state["llm_input_messages"]) > 0
    assert report_of(ops, project="p").trimmed_tokens > 0


def test_disabled_everything_passes_through(off, tmp_path) -> None:
    model = CountingModel()
    assert off.cached(model) is model
    with off.track(project="p"):
        model.invoke("q", config={"callbacks": [off.usage]})
    set_llm_cache(off.cache)
    model.invoke("q")
    set_llm_cache(None)
    assert off.context_window("tested-model", max_tokens=50).trim(long_chat()).removed == ()
    assert (model.calls, list(tmp_path.iterdir())) == (2, [])


def test_disabled_nobody_listens(off, monkeypatch) -> None:
    heard: list[object] = []
    monkeypatch.setattr(off.usage, "on_chat_model_start", lambda *_, **__: heard.append(1))
    with off.track(project="p"):
        CountingModel().invoke("q")
    assert heard == []


def test_the_environment_can_disable_it(monkeypatch) -> None:
    monkeypatch.setenv("LLMOPS_DISABLED", "1")
    with LLMOps("sqlite://") as ops:
        assert ops.settings.disabled


def test_settings_reach_the_parts(clock) -> None:
    with LLMOps("sqlite://", Settings(cache_ttl=60), clock=clock) as ops:
        model = ops.cached(CountingModel())
        model.invoke("q")
        clock.advance(60)
        model.invoke("q")
    assert model.calls == 2


def test_nothing_is_opened_until_used(tmp_path) -> None:
    with LLMOps(f"sqlite:///{tmp_path}/a.db", Settings()):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_url_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        LLMOps("no url", Settings())


def test_what_is_no_chat_model_is_refused(ops) -> None:
    with pytest.raises(ConfigurationError, match="a language model is needed"):
        ops.cached(lambda text: text)


def test_closing_stores_what_was_recorded(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with LLMOps(url, Settings()) as ops, ops.track():
        CountingModel().invoke("q")
    with LLMOps(url, Settings()) as ops:
        assert ops.analytics.cost().calls == 1


async def test_aclose_stores_what_was_recorded(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    ops = LLMOps(url, Settings())
    with ops.track():
        await AsyncModel().ainvoke("q")
    await ops.aclose()
    with pytest.raises(DatabaseUnavailableError):
        ops.analytics.cost()
    with LLMOps(url, Settings()) as again:
        assert again.analytics.cost().calls == 1


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_web_app_flushes_when_it_ends(ops) -> None:
    app = FastAPI(lifespan=ops.lifespan)

    @app.get("/")
    def answer() -> str:
        with ops.track(project="web"):
            return CountingModel().invoke("q").content

    with TestClient(app) as client:
        assert client.get("/").json() == "the answer"
    assert ops.analytics.cost(project="web").calls == 1


async def test_a_web_app_that_fails_flushes_too(ops) -> None:
    async def serve() -> None:
        async with ops.lifespan():
            with ops.track():
                await AsyncModel().ainvoke("q")
            msg = "port in use"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="port in use"):
        await serve()
    assert ops.analytics.cost().calls == 1


def test_a_program_that_never_closes_loses_nothing(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    program = f"""
        from langchain_core.language_models import FakeListChatModel
        from llmops_langchain import LLMOps

        ops = LLMOps({url!r})
        with ops.track(project="p"):
            for number in range(20):
                FakeListChatModel(responses=["a"]).invoke(str(number))
    """
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(program)], check=True)
    with LLMOps(url, Settings()) as ops:
        assert ops.analytics.cost(project="p").calls == 20


def test_a_database_that_is_away_does_not_stop_the_app(tmp_path) -> None:
    with LLMOps(f"sqlite:///{tmp_path}/no/such/folder/a.db", Settings()) as ops:
        model = ops.cached(CountingModel())
        with ops.track(project="p"):
            assert model.invoke("q").content == "the answer"
        assert ops.cache.stats().errors == 1  # and then left alone for a while


def test_the_switch_in_the_environment_wins(monkeypatch) -> None:
    monkeypatch.setenv("LLMOPS_DISABLED", "1")
    with LLMOps("sqlite://", Settings(cache_ttl=60)) as ops:
        model = CountingModel()
        assert ops.cached(model) is model
        assert ops.settings.cache_ttl == 60


def test_switched_off_nothing_of_the_cache_touches_the_database(tmp_path) -> None:
    with LLMOps(f"sqlite:///{tmp_path}/none/a.db", Settings(disabled=True)) as ops:
        ops.cache.clear()
        ops.cache.invalidate("tag")
        ops.node_cache.clear()
        assert "switched off" in ops.cache.explain(CountingModel(), "q").reason


def test_a_model_may_be_named(ops, monkeypatch: pytest.MonkeyPatch) -> None:
    chats = pytest.importorskip("langchain.chat_models", reason="needs the package langchain")
    made = CountingModel()
    monkeypatch.setattr(chats, "init_chat_model", lambda _name: made)
    assert isinstance(ops.wrap("tested:tested-model"), CountingModel)
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(MissingExtraError, match="agents"):
        ops.wrap("tested:tested-model")

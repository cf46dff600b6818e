"""`cached(model, cache)`: the model's own class, asked once."""

import asyncio
import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.fernet import Fernet
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel, FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableBinding
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_openai import ChatOpenAI
from langchain_tests.unit_tests import ChatModelUnitTests
from models import AsyncModel, CountingModel, StreamingModel
from pydantic import BaseModel, PrivateAttr
from typing_extensions import override

from llmops_langchain import ConfigurationError, Database, ResponseCache
from llmops_langchain.cache import MemoryStore, cached
from llmops_langchain.ledger import track


class City(BaseModel):
    """A city."""

    name: str


def clock_in(city: str) -> str:
    """Tell the time."""
    return city


class ToolModel(CountingModel):
    """Calls the one tool it has."""

    @override
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(each) for each in tools])

    @override
    def _generate(self, messages: Any, *args: Any, tools: Any = (), **kwargs: Any) -> ChatResult:
        self._ask("generate")
        call = {"name": tools[0]["function"]["name"], "args": {"name": "Paris"}, "id": "1"}
        return ChatResult(generations=[ChatGeneration(message=AIMessage("", tool_calls=[call]))])


class OpenAIModel(ChatOpenAI):
    """A real provider's class; how it is written to disk is its own affair."""

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return False


class TestStandard(ChatModelUnitTests):
    """LangChain's suite finds nothing that a wrapped model does differently."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return OpenAIModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "gpt-4o", "api_key": "not-a-key"}

    @pytest.fixture
    def model(self) -> BaseChatModel:
        plain = OpenAIModel(**{**self.standard_chat_model_params, **self.chat_model_params})
        return cached(plain, ResponseCache(Database("sqlite://")))


def test_the_model_is_asked_once(cache) -> None:
    model = cached(CountingModel(), cache)
    first, second = model.invoke("q"), model.invoke("q")
    assert (model.calls, first.content, second.content) == (1, "the answer", "the answer")
    assert first.id != second.id


@pytest.mark.parametrize("model_class", [CountingModel, AsyncModel, StreamingModel])
async def test_async_code_asks_once(cache, model_class) -> None:
    model = cached(model_class(), cache)
    first, second = await model.ainvoke("q"), await model.ainvoke("q")
    assert (model.calls, first.content == second.content) == (1, True)
    assert cache.stats().misses == 1


async def test_sync_and_async_code_share_answers(cache) -> None:
    model = cached(AsyncModel(), cache)
    model.invoke("q")
    await model.ainvoke("q")
    assert model.calls == 1


def test_only_the_hit_is_marked(cache) -> None:
    model = cached(CountingModel(), cache)
    first, second = model.invoke("q"), model.invoke("q")
    assert "llmops_cache" not in first.response_metadata
    assert second.response_metadata["llmops_cache"]["tier"] == "exact"
    assert second.usage_metadata["total_tokens"] == 0


def test_a_hit_says_what_the_answer_said(cache) -> None:
    model = cached(CountingModel(), cache)
    first, second = model.invoke("q"), model.invoke("q")
    told = {k: v for k, v in second.response_metadata.items() if k != "llmops_cache"}
    assert told == first.response_metadata


class TellsInOutput(CountingModel):
    """Says how it ended in `llm_output` alone, as Anthropic's does."""

    @override
    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        self._ask("generate")
        answers = [ChatGeneration(message=AIMessage("the answer"))]
        told = {"model_name": "told-model", "stop_reason": self.finish_reason}
        return ChatResult(generations=answers, llm_output=told)


def test_a_hit_says_what_stood_beside_the_answer(cache) -> None:
    model = cached(TellsInOutput(finish_reason="end_turn"), cache)
    first, second = model.invoke("q"), model.invoke("q")
    assert first.response_metadata["model_name"] == "told-model"
    assert second.response_metadata["model_name"] == "told-model"


def test_an_answer_whose_cut_is_told_beside_it_is_not_kept(cache) -> None:
    model = cached(TellsInOutput(finish_reason="max_tokens"), cache)
    model.invoke("q")
    model.invoke("q")
    assert model.calls == 2


def test_several_choices_come_back_together(cache) -> None:
    model = cached(CountingModel(n=3), cache)
    for _ in range(2):
        result = model.generate([[HumanMessage("q")]])
        assert len(result.generations[0]) == 3
    assert model.calls == 1


def test_it_stays_what_it_was(cache) -> None:
    plain = FakeListChatModel(responses=["a"])
    model = cached(plain, cache)
    assert isinstance(model, FakeListChatModel)
    assert type(model).__qualname__ == type(model).__name__ == "FakeListChatModel"
    assert (model.lc_id(), model.get_name()) == (plain.lc_id(), plain.get_name())
    assert model.model_dump() == plain.model_dump()


def test_the_model_given_is_left_as_it_was(cache) -> None:
    plain = CountingModel()
    cached(plain, cache)
    plain.invoke("q")
    plain.invoke("q")
    assert (type(plain), plain.calls, plain.cache) == (CountingModel, 2, None)


def test_wrapping_twice_is_wrapping_once(cache) -> None:
    twice = cached(cached(CountingModel(), cache), cache)
    twice.invoke("q")
    twice.invoke("q")
    assert (twice.calls, cache.stats().misses, cache.stats().hits) == (1, 1, 1)


def test_wrapping_again_takes_the_new_cache(cache) -> None:
    with Database("sqlite://") as database:
        newer = ResponseCache(database)
        model = cached(cached(CountingModel(), cache), newer)
        model.invoke("q")
    assert (cache.stats().stored, newer.stats().stored) == (0, 1)


@pytest.mark.parametrize("first", ["bind", "wrap"])
def test_tools_may_be_bound_before_or_after(cache, first) -> None:
    plain = ToolModel()
    wrapped_first = cached(plain, cache).bind_tools([clock_in])
    model = wrapped_first if first == "wrap" else cached(plain.bind_tools([clock_in]), cache)
    assert isinstance(model, RunnableBinding)
    answers = [model.invoke("q").tool_calls[0]["name"] for _ in range(2)]
    assert (answers, plain.calls) == (["clock_in"] * 2, 1)


def test_other_tools_are_another_call(cache) -> None:
    model = cached(ToolModel(), cache)
    named = [
        model.bind_tools([each]).invoke("q").tool_calls[0]["name"] for each in (clock_in, City)
    ]
    assert named == ["clock_in", "City"]


def test_structured_output_is_asked_once(cache) -> None:
    model = cached(ToolModel(), cache)
    chain = model.with_structured_output(City)
    assert [chain.invoke("where?") for _ in range(2)] == [City(name="Paris")] * 2
    assert model.calls == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ToolModel().with_structured_output(City),
        lambda: CountingModel() | (lambda answer: answer),
        lambda: CountingModel().with_retry(),
        lambda: CountingModel().with_fallbacks([CountingModel()]),
    ],
    ids=["structured", "piped", "retry", "fallbacks"],
)
def test_what_is_no_chat_model_any_more_is_refused(cache, wrong) -> None:
    with pytest.raises(ConfigurationError, match="wrap the model before"):
        cached(wrong(), cache)


def test_a_configurable_model_is_refused(cache) -> None:
    from langchain.chat_models import init_chat_model
    from langchain_core.runnables import ConfigurableField

    field = ConfigurableField(id="temperature")
    for model in (
        CountingModel().configurable_fields(temperature=field),
        init_chat_model(configurable_fields="any"),
    ):
        with pytest.raises(ConfigurationError, match="a language model is needed"):
            cached(model, cache)


def test_a_global_cache_is_not_used_as_well(cache) -> None:
    with Database("sqlite://") as database:
        everywhere = ResponseCache(database)
        set_llm_cache(everywhere)
        try:
            model = cached(CountingModel(), cache)
            model.invoke("q")
            model.invoke("q")
        finally:
            set_llm_cache(None)
        assert (everywhere.stats().misses, cache.stats().hits) == (0, 1)


async def test_a_hit_in_memory_needs_no_worker_thread(cache) -> None:
    model = cached(AsyncModel(), cache)
    await model.ainvoke("q")
    free = threading.Event()
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as only_one:
        loop.set_default_executor(only_one)
        blocked = loop.run_in_executor(None, free.wait)
        answer = await asyncio.wait_for(model.ainvoke("q"), timeout=10)
        free.set()
        await blocked
    assert "llmops_cache" in answer.response_metadata


def test_a_batch_is_asked_once_per_question(cache) -> None:
    model = cached(CountingModel(), cache)
    model.batch(["a", "b"])
    answers = model.batch(["a", "b", "c"])
    assert (model.calls, len(answers)) == (3, 3)


async def test_an_async_batch_is_asked_once_per_question(cache) -> None:
    model = cached(AsyncModel(), cache)
    await model.abatch(["a", "b"])
    await model.abatch(["a", "b", "c"])
    assert model.calls == 3


def test_a_model_without_a_stream_streams_its_whole_answer(cache) -> None:
    model = cached(CountingModel(), cache)
    texts = [[chunk.content for chunk in model.stream("q")] for _ in range(2)]
    assert (texts, model.calls) == ([["the answer"]] * 2, 1)


def test_an_error_goes_to_the_caller_and_is_not_kept(cache) -> None:
    model = cached(CountingModel(error=ConnectionError("down")), cache)
    with pytest.raises(ConnectionError, match="down"):
        model.invoke("q")
    model.error = None
    assert model.invoke("q").content == "the answer"


async def test_after_an_error_async_code_is_cached_again(cache) -> None:
    failing = cached(AsyncModel(), cache)
    broken = cached(AsyncModel(error=ConnectionError()), cache)
    with pytest.raises(ConnectionError):
        await broken.ainvoke("q")
    await failing.ainvoke("q")
    await failing.ainvoke("q")
    assert failing.calls == 1


def test_a_closed_database_does_not_break_the_call() -> None:
    database = Database("sqlite://")
    database.close()
    model = cached(CountingModel(), ResponseCache(database, max_items=0))
    assert [model.invoke("q").content for _ in range(2)] == ["the answer"] * 2
    assert model.calls == 2


@pytest.mark.parametrize("via", ["track", "metadata"])
def test_tenants_are_apart(cache, via) -> None:
    model = cached(CountingModel(), cache)
    for workspace in ("acme", "rival", "acme"):
        if via == "track":
            with track(workspace=workspace):
                model.invoke("q")
        else:
            model.invoke("q", config={"metadata": {"workspace": workspace}})
    assert model.calls == 2


def test_metadata_cannot_choose_another_tenant_than_track(cache) -> None:
    model = cached(CountingModel(), cache)
    with track(workspace="rival"):
        model.invoke("q")
    with track(workspace="acme"):
        model.invoke("q", config={"metadata": {"workspace": "rival"}})
    assert model.calls == 2


async def test_async_tenants_are_apart(cache) -> None:
    model = cached(CountingModel(), cache)
    for workspace in ("acme", "rival", "acme"):
        await model.ainvoke("q", config={"metadata": {"workspace_id": workspace}})
    assert model.calls == 2


def test_settings_changed_later_are_another_model(cache) -> None:
    model = cached(CountingModel(temperature=0.1), cache)
    model.invoke("q")
    model.temperature = 0.9
    model.invoke("q")
    assert model.calls == 2


class Private(BaseChatModel):
    """Keeps its setting in a private name, and says so in `_identifying_params`."""

    _mood: str = PrivateAttr(default="good")

    def __init__(self, mood: str) -> None:
        super().__init__()
        self._mood = mood

    @property
    def _llm_type(self) -> str:
        return "private"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"mood": self._mood}

    @override
    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self._mood))])


def test_private_settings_survive_and_separate(cache) -> None:
    moods = [cached(Private(mood), cache).invoke("q").content for mood in ("good", "bad")]
    assert moods == ["good", "bad"]


def test_the_model_of_a_call_may_be_chosen_by_the_call(cache) -> None:
    model = cached(CountingModel(), cache)
    for name in ("small", "large", "small"):
        model.invoke("q", model=name)
    assert model.calls == 2


def test_a_call_that_cannot_be_written_down_is_simply_made(cache) -> None:
    model = cached(CountingModel(), cache)
    for _ in range(2):
        model.invoke("q", grammar=object())
    assert (model.calls, cache.stats().misses, cache.stats().bypassed) == (2, 0, 2)


def test_what_is_not_cached_is_said_once_and_without_what_was_asked(cache, caplog) -> None:
    model = cached(CountingModel(), cache)
    for _ in range(2):
        model.invoke("secret", grammar=object())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "secret" not in caplog.text


def test_a_model_that_holds_its_answers_in_an_iterator_is_simply_asked(cache) -> None:
    model = cached(GenericFakeChatModel(messages=iter(["one", "two"])), cache)
    assert [model.invoke("q").content for _ in range(2)] == ["one", "two"]


def test_a_disabled_cache_lets_every_call_through() -> None:
    with Database("sqlite://") as database:
        model = cached(CountingModel(), ResponseCache(database, disabled=True))
        model.invoke("q")
        model.invoke("q")
    assert model.calls == 2


class Persona(CountingModel):
    """Keeps what it answers in a private attribute, and tells nobody."""

    _persona: str = PrivateAttr(default="")

    @override
    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        super()._generate(*args, **kwargs)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self._persona))])


def test_models_with_private_settings_are_told_apart(cache) -> None:
    said = []
    for persona in ("pirate", "nurse"):
        plain = Persona()
        plain._persona = persona
        model = cached(plain, cache)
        said += [model.invoke("Who are you?").content for _ in range(2)]
    assert said == ["pirate", "pirate", "nurse", "nurse"]
    assert cache.stats().hits == 2


class Plain(CountingModel):
    """As old as a model may be: core gives it no `run_manager` either."""

    @override
    def _generate(self, messages: Any, stop: Any = None, **kwargs: Any) -> ChatResult:  # type: ignore[override]
        return super()._generate(messages, stop=stop, **kwargs)


async def test_a_model_that_takes_no_run_manager_is_asked_without_one(cache) -> None:
    model = cached(Plain(), cache)
    assert model.invoke("q").content == (await model.ainvoke("q")).content
    assert cache.stats().hits == 1


@pytest.mark.parametrize("kept", [{"previous_response_id": "r1"}, {"conversation": "c1"}])
def test_what_the_provider_keeps_is_not_cached(cache, kept: dict[str, str]) -> None:
    model = cached(CountingModel(), cache)
    for _ in range(2):
        model.invoke("continue", **kept)
    assert (model.calls, cache.stats().stored) == (2, 0)


def test_a_wrapped_model_may_be_copied_deeply(cache) -> None:
    model = cached(CountingModel(), cache)
    model.invoke("q")
    assert "llmops_cache" in copy.deepcopy(model).invoke("q").response_metadata


class Odd(CountingModel):
    """Fails where its settings are asked for."""

    @property
    def _identifying_params(self) -> dict[str, Any]:
        msg = "secret"
        raise RuntimeError(msg)


def test_a_model_that_cannot_tell_its_settings_is_simply_asked(cache, caplog) -> None:
    model = cached(Odd(), cache)
    assert [model._generate([HumanMessage("q")]).generations[0].text for _ in "12"] == [
        "the answer"
    ] * 2
    assert "secret" not in caplog.text


class Backend:
    """Cannot be written down."""

    def __init__(self, name: str) -> None:
        self.name = name


class Ours(CountingModel):
    """A class of one's own, whose client is all that tells it apart."""

    client: Any = None

    @override
    def _message(self) -> AIMessage:
        return AIMessage(getattr(self.client, "name", str(self.client)))


@pytest.mark.parametrize("kind", [Backend, str])
def test_models_that_differ_in_their_client_alone_do_not_share(cache, kind) -> None:
    models = [cached(Ours(client=kind(name)), cache) for name in ("llama", "gpt")]
    assert [model.invoke("q").content for model in models] == ["llama", "gpt"]


def test_a_copy_that_core_makes_anew_is_simply_asked(cache) -> None:
    model = cached(CountingModel(), cache)
    anew = type(model)(model_name="other")
    assert [anew.invoke("q").content for _ in "12"] == ["the answer"] * 2
    assert anew.calls == 2


def test_pickling_is_refused_with_the_way_out(cache) -> None:
    with pytest.raises(TypeError, match="wrap it in the process that uses it"):
        pickle.dumps(cached(CountingModel(), cache))


def test_a_scope_that_cannot_be_written_down_does_not_break_the_call(cache) -> None:
    model = cached(CountingModel(), cache)
    config = {"metadata": {"workspace": "\ud800"}}
    assert [model.invoke("q", config=config).content for _ in "12"] == ["the answer"] * 2


def test_where_no_thread_can_be_started_calls_go_on(monkeypatch) -> None:
    def refuse(_: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    model = cached(AsyncModel(), ResponseCache(MemoryStore()))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert model.invoke("q").content == "the answer"
    assert asyncio.run(model.ainvoke("other")).content == "the answer"


def test_a_closed_cache_goes_on_answering(cache) -> None:
    model = cached(AsyncModel(), cache)
    cache.close()
    assert model.invoke("q").content == asyncio.run(model.ainvoke("p")).content


def test_an_answer_of_another_key_is_counted_once_and_replaced() -> None:
    store = MemoryStore()
    old, new = (
        ResponseCache(store, encryption_keys=[Fernet.generate_key().decode()]) for _ in "12"
    )
    cached(CountingModel(), old).invoke("q")
    model = cached(CountingModel(), new)
    model.invoke("q")
    assert (new.stats().unreadable, new.stats().errors, new.stats().misses) == (1, 0, 1)
    model.invoke("q")
    assert model.calls == 1

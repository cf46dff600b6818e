"""Each model call is one event, with what it used and what it cost."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseLLM, FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult, Generation, LLMResult
from models import USAGE, AsyncModel, CountingModel
from typing_extensions import override

from llmops_langchain import Database, ResponseCache, UsageCallbackHandler
from llmops_langchain.cache import cached
from llmops_langchain.callbacks import attached
from llmops_langchain.models import TokenUsage, dollars

COST = 60_000  # nano-dollars of one answer of a CountingModel


class Flaky(CountingModel):
    """Fails the first time."""

    def _ask(self, how: str) -> None:
        super()._ask(how)
        if self.calls == 1:
            msg = "busy"
            raise ConnectionError(msg)


def test_a_call_is_one_event(book, clock) -> None:
    run_id = uuid4()
    CountingModel().invoke("q", config={**book.config, "run_id": run_id})
    event = book.only()
    assert (event.id, event.run_id, event.name) == (run_id, run_id, "llm.call")
    assert (event.provider, event.model) == ("tested", "tested-model")
    assert (event.input_tokens, event.output_tokens, event.cost) == (10, 5, COST)
    assert (event.ts, event.status, event.saved) == (clock(), "ok", 0)
    assert (event.estimated, event.unpriced, event.aborted) == (False, False, False)
    assert event.price_version is not None


def test_a_call_has_a_latency_and_without_a_stream_no_first_token(book) -> None:
    CountingModel().invoke("q", config=book.config)
    event = book.only()
    assert event.latency > 0
    assert event.time_to_first_token is None


@pytest.mark.parametrize("model_class", [CountingModel, AsyncModel])
async def test_an_async_call_is_one_event(book, model_class) -> None:
    await model_class().ainvoke("q", config=book.config)
    assert (book.only().input_tokens, book.only().cost) == (10, COST)


def test_several_choices_are_paid_once(book) -> None:
    CountingModel(n=3).invoke("q", config=book.config)
    assert (book.only().input_tokens, book.only().output_tokens) == (10, 5)
    assert book.only().model == "tested-model"


def test_a_batch_is_an_event_for_each_question(book) -> None:
    CountingModel().batch(["a", "b", "c"], config=book.config)
    assert [event.cost for event in book.events()] == [COST] * 3


async def test_an_async_batch_is_an_event_for_each_question(book) -> None:
    await AsyncModel().abatch(["a", "b", "c"], config=book.config)
    assert [event.cost for event in book.events()] == [COST] * 3


def test_generate_is_an_event_for_each_prompt(book) -> None:
    prompts = [[HumanMessage("a")], [HumanMessage("b")]]
    CountingModel().generate(prompts, callbacks=[book.handler])
    assert [event.cost for event in book.events()] == [COST] * 2


@pytest.mark.parametrize("has_response", [False, True])
def test_a_refused_call_costs_nothing(book, has_response) -> None:
    error = PermissionError("no")
    if has_response:
        error.response = SimpleNamespace(status_code=429, headers={}, json=dict)
    with pytest.raises(PermissionError):
        CountingModel(error=error).invoke("q", config=book.config)
    event = book.only()
    assert (event.status, event.error_class) == ("error", "PermissionError")
    assert (event.input_tokens, event.cost, event.model) == (0, 0, "tested-model")
    assert (event.estimated, event.unpriced, event.aborted) == (False, False, False)


async def test_a_refused_async_call_costs_nothing(book) -> None:
    with pytest.raises(PermissionError):
        await AsyncModel(error=PermissionError("no")).ainvoke("q", config=book.config)
    assert (book.only().status, book.only().input_tokens) == ("error", 0)


def test_each_try_is_an_event(book) -> None:
    model = Flaky().with_retry(wait_exponential_jitter=False, stop_after_attempt=2)
    model.invoke("q", config=book.config)
    assert [(event.status, event.cost) for event in book.events()] == [("error", 0), ("ok", COST)]


def test_a_fallback_is_recorded_under_its_own_name(book) -> None:
    broken = CountingModel(model_name="first", error=ConnectionError())
    broken.with_fallbacks([CountingModel()]).invoke("q", config=book.config)
    told = [(event.model, event.status) for event in book.events()]
    assert told == [("first", "error"), ("tested-model", "ok")]


def test_without_usage_tokens_are_counted_and_the_event_says_so(book) -> None:
    CountingModel(usage=None).invoke("how many tokens?", config=book.config)
    event = book.only()
    assert event.estimated
    assert event.input_tokens > 0
    assert event.output_tokens > 0
    assert event.cost > 0


def test_an_unknown_model_is_flagged(book) -> None:
    CountingModel(model_name="never heard of").invoke("q", config=book.config)
    event = book.only()
    assert (event.unpriced, event.cost, event.input_tokens) == (True, 0, 10)


def test_the_name_the_provider_answers_under_counts(book) -> None:
    said = {"model_name": "tested-model"}
    CountingModel(model_name="an-alias", metadata_of_answer=said).invoke("q", config=book.config)
    assert (book.only().model, book.only().cost) == ("tested-model", COST)


def test_parts_of_the_tokens_are_kept(book) -> None:
    usage = {
        "input_tokens": 100,
        "output_tokens": 50,
        "total_tokens": 150,
        "input_token_details": {"cache_read": 40, "cache_creation": 30, "audio": 3},
        "output_token_details": {"reasoning": 20, "audio": 4},
    }
    CountingModel(usage=usage).invoke("q", config=book.config)
    event = book.only()
    assert (event.cached_tokens, event.written_tokens) == (40, 30)
    assert (event.reasoning_tokens, event.audio_tokens) == (20, 7)


FLEX = {
    "input_tokens": 1000,
    "output_tokens": 500,
    "total_tokens": 1500,
    "input_token_details": {"flex": 600, "flex_cache_read": 400},
    "output_token_details": {"flex": 300, "flex_reasoning": 200},
}


def flexible(**kwargs: Any) -> CountingModel:
    return CountingModel(model_name="gpt-5-mini", provider="openai", usage=FLEX, **kwargs)


@pytest.mark.parametrize("said", [{}, {"service_tier": "flex"}], ids=["details", "named"])
def test_a_service_tier_is_read_and_priced(book, said) -> None:
    model = flexible(metadata_of_answer=said)
    model.invoke("q", config=book.config)
    event = book.only()
    assert (event.tier, event.cached_tokens, event.reasoning_tokens) == ("flex", 400, 200)
    usage = TokenUsage(
        input_tokens=1000, output_tokens=500, cached_tokens=400, reasoning_tokens=200
    )
    assert event.cost == book.prices.price("gpt-5-mini", usage, tier="flex").nano_dollars
    assert 0 < event.cost < book.prices.price("gpt-5-mini", usage).nano_dollars


def test_the_standard_tier_is_no_tier(book) -> None:
    model = CountingModel(metadata_of_answer={"service_tier": "default"})
    model.invoke("q", config=book.config)
    assert book.only().tier is None


class Legacy(CountingModel):
    """Tells its usage in `llm_output` alone."""

    @override
    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        told = {"token_usage": usage, "model_name": "tested-model"}
        answer = AIMessage("a", usage_metadata=self.usage)
        return ChatResult(generations=[ChatGeneration(message=answer)], llm_output=told)


def test_usage_of_older_models_is_read(book) -> None:
    Legacy(usage=None).invoke("q", config=book.config)
    assert (book.only().cost, book.only().estimated) == (COST, False)


def test_a_usage_that_names_a_cost_is_no_hit(book) -> None:
    told = UsageMetadata(**USAGE, total_cost=0.1)
    Legacy(usage=told).invoke("q", config=book.config)
    assert (book.only().cache_tier, book.only().cost) == (None, COST)


# Text models ------------------------------------------------------------------------------------


class TextModel(BaseLLM):
    """Tells the usage of a whole batch once, as OpenAI's does."""

    usage: dict[str, int] = {"prompt_tokens": 20, "completion_tokens": 10}  # noqa: RUF012 - a pydantic field

    @property
    def _llm_type(self) -> str:
        return "text"

    @override
    def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        told = {"token_usage": self.usage, "model_name": "tested-model"}
        answers = [[Generation(text="the answer")] for _ in prompts]
        return LLMResult(generations=answers, llm_output=told)


def test_a_text_model_is_recorded(book) -> None:
    TextModel().invoke("q", config=book.config)
    assert (book.only().input_tokens, book.only().cost) == (20, 2 * COST)


def test_a_batch_of_a_text_model_is_paid_once(book) -> None:
    TextModel().generate(["a", "b", "c"], callbacks=[book.handler])
    events = book.events()
    assert sorted(event.input_tokens for event in events) == [0, 0, 20]
    assert not any(event.estimated for event in events)


def test_two_batches_at_once_are_two_payments(book) -> None:
    for _ in range(2):
        TextModel().generate(["a", "b"], callbacks=[book.handler])
    assert sorted(event.input_tokens for event in book.events()) == [0, 0, 20, 20]


def test_a_batch_of_a_text_model_without_usage_is_estimated(book) -> None:
    TextModel(usage={}).generate(["a", "b"], callbacks=[book.handler])
    assert [event.estimated for event in book.events()] == [True, True]


def test_a_text_model_that_says_nothing_is_estimated(book) -> None:
    FakeListLLM(responses=["some words"]).invoke("a question", config=book.config)
    event = book.only()
    assert (event.estimated, event.unpriced, event.input_tokens > 0) == (True, True, True)


# Caches -----------------------------------------------------------------------------------------


@pytest.fixture
def everywhere():
    yield set_llm_cache
    set_llm_cache(None)


def asked_twice(book: Any, model: CountingModel) -> Any:
    for _ in range(2):
        model.invoke("q", config=book.config)
    assert model.calls == 1
    return book.events()


@pytest.mark.parametrize("way", ["cached", "set_llm_cache"])
def test_a_hit_costs_nothing_and_saves_what_the_call_cost(book, everywhere, way) -> None:
    with Database("sqlite://") as database:
        cache = ResponseCache(database)
        if way == "set_llm_cache":
            everywhere(cache)
        call, hit = asked_twice(
            book, CountingModel() if way == "set_llm_cache" else cached(CountingModel(), cache)
        )
    assert (call.cost, call.saved, call.cache_tier) == (COST, 0, None)
    assert (hit.cost, hit.saved, hit.cache_tier) == (0, COST, "exact")
    assert (hit.input_tokens, hit.output_tokens, hit.estimated) == (0, 0, False)
    assert hit.model == "tested-model"


def test_a_hit_saves_at_the_tier_of_the_call(book) -> None:
    with Database("sqlite://") as database:
        model = cached(flexible(), ResponseCache(database))
        call, hit = asked_twice(book, model)
    assert (hit.tier, hit.saved) == ("flex", call.cost)


def test_a_hit_of_langchains_own_cache_is_known(book, everywhere) -> None:
    everywhere(InMemoryCache())
    call, hit = asked_twice(book, CountingModel())
    assert (call.cost, call.cache_tier) == (COST, None)
    assert (hit.cost, hit.saved, hit.cache_tier, hit.input_tokens) == (0, COST, "other", 0)


def test_a_hit_of_a_model_without_usage_saves_an_estimate(book, everywhere) -> None:
    everywhere(InMemoryCache())
    call, hit = asked_twice(book, CountingModel(usage=None))
    assert (hit.cost, hit.saved, hit.cache_tier) == (0, call.cost, "other")
    assert (call.estimated, hit.estimated) == (True, True)


# The handler itself -----------------------------------------------------------------------------


def test_attached_twice_it_counts_once(book) -> None:
    with attached(book.handler):
        CountingModel().invoke("q", config=book.config)
    assert book.only().cost == COST


def test_two_handlers_of_one_ledger_count_once(book) -> None:
    second = UsageCallbackHandler(book.ledger, book.prices)
    CountingModel().invoke("q", config={"callbacks": [book.handler, second]})
    assert book.only().cost == COST


async def test_it_needs_no_worker_thread(book) -> None:
    free, loop = threading.Event(), asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as only_one:
        loop.set_default_executor(only_one)
        blocked = loop.run_in_executor(None, free.wait)
        await asyncio.wait_for(AsyncModel().ainvoke("q", config=book.config), timeout=10)
        free.set()
        await blocked
    assert book.only().cost == COST


def test_outside_of_attached_nothing_is_recorded(book) -> None:
    with attached(book.handler):
        pass
    CountingModel().invoke("q")
    assert book.events() == []


def test_an_end_without_a_start_is_passed_over(book) -> None:
    book.handler.on_llm_end(LLMResult(generations=[]), run_id=uuid4())
    book.handler.on_llm_error(ValueError(), run_id=uuid4())
    book.handler.on_llm_new_token("a", run_id=uuid4())
    assert book.events() == []


@pytest.mark.parametrize("part", ["_ledger", "_prices", "_clock"])
async def test_a_broken_handler_never_breaks_the_call(book, part) -> None:
    setattr(book.handler, part, None)
    assert CountingModel().invoke("q", config=book.config).content == "the answer"
    assert (await AsyncModel().ainvoke("q", config=book.config)).content == "the answer"


def test_a_ledger_without_a_database_never_breaks_the_call(book) -> None:
    book.ledger._database.close()
    assert CountingModel().invoke("q", config=book.config).content == "the answer"


def test_money_is_kept_to_the_nano_dollar(book) -> None:
    usage = {"input_tokens": 1, "output_tokens": 0, "total_tokens": 1}
    book.prices.set("tested-model", input_per_million="0.001", output_per_million=0)
    CountingModel(usage=usage, answer="").invoke("q", config=book.config)
    assert dollars(book.only().cost) == Decimal("0.000000001")

"""Whatever an answer tells of its usage is read; whatever it tells wrongly does not raise."""

import logging
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import BaseLLM
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult, Generation, LLMResult
from models import CountingModel, StreamingModel
from typing_extensions import override

from llmops_langchain import UsageCallbackHandler
from llmops_langchain.models import PriceBook, TokenUsage


class Telling(CountingModel):
    """Its answer tells what it is given, past all validation."""

    told: Any = None
    output: Any = None
    said: Any = None
    info: Any = None

    @override
    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        answer = AIMessage(self.answer, response_metadata=self.said or {})
        answer.usage_metadata = self.told
        generation = ChatGeneration(message=answer, generation_info=self.info)
        return ChatResult(generations=[generation], llm_output=self.output)


def told(book, **what: Any) -> Any:
    Telling(**what).invoke("a question", config=book.config)
    return book.only()


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": None, "output_tokens": None, "total_tokens": None},
        {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
        {"input_tokens": "many", "output_tokens": []},
        {"total_cost": 0.1},
        {},
        "usage",
        7,
    ],
    ids=repr,
)
def test_usage_that_tells_nothing_is_estimated(book, usage) -> None:
    event = told(book, told=usage, output={"model_name": "tested-model"})
    assert event.estimated
    assert event.input_tokens > 0
    assert event.output_tokens > 0


@pytest.mark.parametrize(
    "details", [None, {}, {"cache_read": None, "audio": "x", "flex": None}, "none", {"image": 4}]
)
def test_details_that_tell_nothing_are_nothing(book, details) -> None:
    usage = {"input_tokens": 10, "output_tokens": 5.0, "input_token_details": details}
    event = told(book, told=usage)
    assert (event.input_tokens, event.output_tokens, event.estimated) == (10, 5, False)
    assert (event.cached_tokens, event.audio_tokens, event.written_tokens) == (0, 0, 0)


PRICES = PriceBook()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
WORDS = st.sampled_from(
    [
        *("input_tokens", "output_tokens", "input_token_details", "output_token_details"),
        *("cache_read", "reasoning", "flex", "total_cost", "token_usage", "usage", "speed"),
        *("prompt_tokens", "prompt_tokens_details", "cached_tokens", "service_tier", "model_name"),
    ]
)
TELLING = st.dictionaries(WORDS, JSON | st.dictionaries(WORDS, JSON), max_size=4)


@settings(deadline=None, max_examples=60)
@example(told={"input_token_details": True}, output=None, said={}, info=None)
@given(told=TELLING | JSON, output=TELLING | st.none(), said=TELLING, info=TELLING | st.none())
def test_no_usage_is_too_odd_to_be_recorded(told, output, said, info) -> None:
    events: list[Any] = []
    handler = UsageCallbackHandler(SimpleNamespace(record=events.append), PRICES)
    message = AIMessage("an answer", response_metadata=said)
    message.usage_metadata = told
    generation = ChatGeneration(message=message)
    generation.generation_info = info
    result = LLMResult(generations=[[generation]])
    result.llm_output = output
    heard(handler, result)
    (event,) = events
    assert min(event.input_tokens, event.output_tokens, event.cost, event.cached_tokens) >= 0


def heard(handler: UsageCallbackHandler, result: LLMResult) -> None:
    """A call, as a gate lets a handler hear of it."""
    handler.on_chat_model_start({}, [[HumanMessage("q")]], run_id=(run_id := uuid4()))
    handler.on_llm_end(result, run_id=run_id)


PLACES = ["token_usage", "usage", "usage_metadata"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("into", "out"),
    [
        ("prompt_tokens", "completion_tokens"),
        ("input_tokens", "output_tokens"),
        ("prompt_token_count", "candidates_token_count"),
        ("input_token_count", "generated_token_count"),
        ("prompt_eval_count", "eval_count"),
    ],
)
def test_usage_in_a_providers_own_words_is_read(book, place, into, out) -> None:
    event = told(book, output={place: {into: 10, out: 5}})
    assert (event.input_tokens, event.output_tokens, event.estimated) == (10, 5, False)


@pytest.mark.parametrize("where", ["output", "said", "info"])
def test_older_usage_is_read_wherever_it_stands(book, where) -> None:
    event = told(book, **{where: {"token_usage": {"prompt_tokens": 10, "completion_tokens": 5}}})
    assert (event.input_tokens, event.output_tokens) == (10, 5)


def test_older_usage_has_parts_too(book) -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 40, "audio_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": None},
    }
    event = told(book, output={"token_usage": usage})
    assert (event.cached_tokens, event.reasoning_tokens, event.audio_tokens) == (40, 20, 3)


def test_anthropics_own_words_leave_the_cache_out_of_the_input(book) -> None:
    usage = {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_input_tokens": 400,
        "cache_creation_input_tokens": 30,
    }
    event = told(book, output={"usage": usage})
    assert (event.input_tokens, event.cached_tokens, event.written_tokens) == (440, 400, 30)


def test_a_text_model_of_ollama_is_read(book) -> None:
    class Text(BaseLLM):
        @property
        def _llm_type(self) -> str:
            return "text"

        @override
        def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
            info = {"prompt_eval_count": 10, "eval_count": 5, "model": "tested-model"}
            answers = [[Generation(text="a", generation_info=info)] for _ in prompts]
            return LLMResult(generations=answers)

    Text().generate(["a", "b"], callbacks=[book.handler])
    assert [event.cost for event in book.events()] == [60_000] * 2


# Before core has merged what the model said, as a gate hears it -----------------------------------


@pytest.mark.parametrize("where", ["said", "output", "info"])
def test_name_and_tier_are_read_wherever_they_stand(book, where) -> None:
    message = AIMessage(
        "a", usage_metadata={"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    )
    said = {"model_name": "gpt-5-mini", "service_tier": "flex"}
    generation = ChatGeneration(message=message, generation_info=said if where == "info" else None)
    message.response_metadata = said if where == "said" else {}
    result = LLMResult(generations=[[generation]], llm_output=said if where == "output" else None)
    heard(book.handler, result)
    assert (book.only().model, book.only().tier) == ("gpt-5-mini", "flex")


def test_claudes_fast_mode_is_a_tier(book) -> None:
    usage = {"input_tokens": 10, "output_tokens": 5}
    assert told(book, told=usage, said={"usage": {"speed": "fast"}}).tier == "fast"


def test_tool_calls_and_thoughts_of_an_answer_without_usage_are_estimated(book) -> None:
    call = {"name": "weather", "args": {"city": "a city with a long name"}, "id": "1"}
    thought = [{"type": "thinking", "thinking": "The user wants to know the weather."}]
    for model in (
        CountingModel(usage=None, answer=""),
        CountingModel(usage=None, answer="", tool_calls=[call]),
        CountingModel(usage=None, answer=thought),
    ):
        model.invoke("q", config=book.config)
    empty, calling, thinking = book.events()
    assert empty.output_tokens == 0
    assert calling.output_tokens > 5
    assert thinking.output_tokens > 5


# Streams of Claude do not say for how long what they wrote is kept --------------------------------


def marked(ttl: str) -> dict[str, Any]:
    return {"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral", "ttl": ttl}}


def written(book, *marks: str, details: Any = None, **bound: Any) -> int:
    usage = {
        "input_tokens": 3_000,
        "output_tokens": 5,
        "total_tokens": 3_005,
        "input_token_details": {"cache_creation": 2_000, **(details or {})},
    }
    model = StreamingModel(model_name="claude-sonnet-4-5", provider="anthropic", usage=usage)
    prompt = [SystemMessage([marked(ttl) for ttl in marks]), HumanMessage("q")]
    list(model.bind(**bound).stream(prompt, config=book.config))
    return book.only().cost


USAGE = TokenUsage(input_tokens=3_000, output_tokens=5, written_tokens=2_000)
HOUR = TokenUsage(
    input_tokens=3_000, output_tokens=5, written_tokens=2_000, written_1h_tokens=2_000
)


def price(book, usage: TokenUsage) -> int:
    return book.prices.price("claude-sonnet-4-5", usage, provider="anthropic").nano_dollars


def test_a_prompt_marked_for_an_hour_was_written_for_an_hour(book) -> None:
    assert written(book, "1h", "1h") == price(book, HOUR) > price(book, USAGE)


def test_a_whole_request_marked_for_an_hour_was_written_for_an_hour(book) -> None:
    assert written(book, cache_control={"type": "ephemeral", "ttl": "1h"}) == price(book, HOUR)


@pytest.mark.parametrize("marks", [(), ("5m",), ("1h", "5m")])
def test_any_other_prompt_was_written_for_five_minutes(book, marks) -> None:
    assert written(book, *marks) == price(book, USAGE)


def test_what_the_answer_says_of_it_counts(book) -> None:
    details = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
    assert written(book, "1h", details=details) == price(book, USAGE)


# An unheard-of model with a price for all such ----------------------------------------------------


def test_a_fallback_price_is_flagged(book) -> None:
    prices = PriceBook(fallback=(Decimal(1), Decimal(10)), clock=book.handler._clock)
    handler = UsageCallbackHandler(book.ledger, prices)
    CountingModel(model_name="house model").invoke("q", config={"callbacks": [handler]})
    assert (book.only().cost, book.only().unpriced) == (60_000, True)


def test_nothing_is_said_of_what_was_asked(book, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    told(book, told={"input_tokens": object()}, said={"usage": "secret"})
    assert "secret" not in caplog.text

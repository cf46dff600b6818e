"""What is billed of a call that brought no answer turns on who gave up."""

import asyncio
from typing import Any

import pytest
from langchain_core.language_models import SimpleChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from models import CountingModel, StreamingModel
from typing_extensions import override

from llmops_langchain.errors import BudgetUnavailableError, DatabaseLockedError


class Failing(SimpleChatModel):
    """Raises instead of answering."""

    model_name: str = "tested-model"
    raised: Any = None

    @property
    def _llm_type(self) -> str:
        return "failing"

    @override
    def _call(self, *args: Any, **kwargs: Any) -> str:
        raise self.raised


def failed(book, error: BaseException) -> Any:
    with pytest.raises(type(error)):
        Failing(raised=error).invoke("a question of some words", config=book.config)
    return book.only()


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, asyncio.CancelledError, SystemExit])
def test_a_call_that_was_cut_off_is_billed_its_input(book, kind) -> None:
    event = failed(book, kind())
    assert (event.aborted, event.estimated, event.status) == (True, True, "error")
    assert event.input_tokens > 0
    assert event.output_tokens == 0
    assert event.error_class == kind.__name__


class ReadTimeoutError(Exception):
    """Goes by the name of botocore's."""


@pytest.mark.parametrize("error", [TimeoutError(), ReadTimeoutError()], ids=repr)
def test_a_call_nobody_waited_for_any_longer_is_billed_its_input(book, error) -> None:
    event = failed(book, error)
    assert (event.aborted, event.estimated) == (False, True)
    assert event.input_tokens > 0
    assert event.cost >= 0


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        ConnectionResetError(),
        ValueError("unheard of"),
        BudgetUnavailableError(),
        DatabaseLockedError("a TimeoutError, but of ours"),
    ],
    ids=repr,
)
def test_a_refused_or_unsent_call_costs_nothing(book, error) -> None:
    event = failed(book, error)
    assert (event.input_tokens, event.cost, event.estimated, event.aborted) == (0, 0, False, False)
    assert not event.unpriced


def test_the_clients_errors_are_told_apart(book) -> None:
    httpx = pytest.importorskip("httpx", reason="needs the package httpx")
    openai = pytest.importorskip("openai", reason="needs the package openai")
    request = httpx.Request("POST", "https://provider.test")
    refusal = httpx.Response(429, request=request)
    slow, dead = httpx.ReadTimeout("slow"), httpx.ConnectTimeout("dead")
    errors = {
        openai.APITimeoutError(request=request): True,
        caused(openai.APITimeoutError(request=request), slow): True,
        slow: True,
        caused(openai.APITimeoutError(request=request), dead): False,
        dead: False,
        httpx.PoolTimeout("full"): False,
        openai.APIConnectionError(request=request): False,
        caused(openai.RateLimitError("no", response=refusal, body=None), slow): False,
        openai.ContentFilterFinishReasonError(): True,
    }
    for error in errors:
        with pytest.raises(type(error)):
            Failing(raised=error).invoke("q", config=book.config)
    assert [event.input_tokens > 0 for event in book.events()] == list(errors.values())


def test_causes_that_go_round_in_a_circle_end(book) -> None:
    error = ValueError()
    error.__cause__ = caused(KeyError(), error)
    assert failed(book, error).input_tokens == 0


def test_tools_are_part_of_the_input(book) -> None:
    schema = {"name": "weather", "description": "The weather in a city, by its name."}
    for bound in ({}, {"tools": [schema, "no schema"]}):
        with pytest.raises(TimeoutError):
            CountingModel(error=TimeoutError()).bind(**bound).invoke("q", config=book.config)
    without, with_tools = book.events()
    assert with_tools.input_tokens > without.input_tokens + 5


def test_an_answer_that_could_not_be_parsed_is_paid(book) -> None:
    openai = pytest.importorskip("openai", reason="needs the package openai")
    completion = openai.types.chat.ChatCompletion.model_validate(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "tested-model",
            "choices": [],
            "service_tier": "flex",
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
        }
    )
    event = failed(book, openai.LengthFinishReasonError(completion=completion))
    assert (event.input_tokens, event.output_tokens, event.reasoning_tokens) == (10, 5, 2)
    assert (event.cost, event.estimated, event.tier) == (60_000, False, "flex")


def test_a_stream_that_times_out_before_it_began_is_billed_its_input(book) -> None:
    class Silent(StreamingModel):
        @override
        def _stream(self, *args: Any, **kwargs: Any) -> Any:
            raise TimeoutError
            yield

    with pytest.raises(TimeoutError):
        list(Silent().stream("q", config=book.config))
    assert (book.only().estimated, book.only().output_tokens) == (True, 0)
    assert book.only().input_tokens > 0


def test_a_message_that_cannot_be_counted_loses_no_call(book) -> None:
    prompt = RunnableLambda(lambda _: [AIMessage.model_construct(content=[{"type": None}, 7])])
    chain = prompt | CountingModel(usage=None)
    chain.invoke("q", config=book.config)
    assert (book.only().status, book.only().estimated) == ("ok", True)

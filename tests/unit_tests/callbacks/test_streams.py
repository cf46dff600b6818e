"""Streams: what came is paid, however they end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.language_models import BaseChatModel, FakeStreamingListLLM
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from models import AsyncStreamingModel, StreamingModel
from typing_extensions import override

COST = 60_000


class Hanging(StreamingModel):
    """Says one word and then nothing more."""

    @override
    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk("one "))
        await asyncio.Event().wait()


class InputFirst(StreamingModel):
    """Tells its input with the first chunk and its output with the last, as Anthropic's does."""

    @override
    def _stream(self, *args: Any, **kwargs: Any) -> Any:
        usage = {"input_tokens": 10, "output_tokens": 0, "total_tokens": 10}
        yield ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=usage))
        yield from super()._stream(*args, **kwargs)


def test_a_stream_is_one_event(book) -> None:
    list(StreamingModel().stream("q", config=book.config))
    event = book.only()
    assert (event.input_tokens, event.output_tokens, event.cost) == (10, 5, COST)
    assert (event.status, event.estimated, event.model) == ("ok", False, "tested-model")


@pytest.mark.parametrize("model_class", [StreamingModel, AsyncStreamingModel])
async def test_an_async_stream_is_one_event(book, model_class) -> None:
    async for _ in model_class().astream("q", config=book.config):
        pass
    assert (book.only().cost, book.only().estimated) == (COST, False)


def test_a_stream_has_a_time_to_its_first_token(book) -> None:
    list(StreamingModel().stream("q", config=book.config))
    assert 0 < book.only().time_to_first_token <= book.only().latency


def test_a_stream_without_usage_is_estimated(book) -> None:
    list(StreamingModel(usage=None).stream("q", config=book.config))
    event = book.only()
    assert (event.estimated, event.status) == (True, "ok")
    assert event.input_tokens > 0
    assert event.output_tokens > 0


def test_a_stream_the_provider_breaks_is_paid_as_far_as_it_came(book) -> None:
    with pytest.raises(ConnectionError):
        list(StreamingModel(breaks_after=2).stream("q", config=book.config))
    event = book.only()
    assert (event.status, event.error_class, event.aborted) == ("error", "ConnectionError", False)
    assert event.estimated
    assert event.input_tokens > 0
    assert event.output_tokens > 0


def test_a_stream_that_never_began_costs_nothing(book) -> None:
    with pytest.raises(ConnectionError):
        list(StreamingModel(breaks_after=0).stream("q", config=book.config))
    assert (book.only().status, book.only().input_tokens, book.only().estimated) == (
        "error",
        0,
        False,
    )


def test_a_stream_the_consumer_breaks_off_is_paid_as_far_as_it_came(book) -> None:
    stream = StreamingModel().stream("q", config=book.config)
    next(stream)
    stream.close()
    event = book.only()
    assert (event.status, event.error_class, event.aborted) == ("error", "GeneratorExit", True)
    assert event.estimated
    assert event.output_tokens > 0


async def test_a_cancelled_stream_is_paid_as_far_as_it_came(book) -> None:
    began = asyncio.Event()

    async def consume() -> None:
        async for _ in Hanging().astream("q", config=book.config):
            began.set()

    task = asyncio.create_task(consume())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    event = book.only()
    assert (event.aborted, event.estimated, event.error_class) == (True, True, "CancelledError")
    assert event.output_tokens > 0


def test_input_that_was_told_is_not_estimated_again(book) -> None:
    stream = InputFirst().stream("q", config=book.config)
    for _ in range(3):
        next(stream)
    stream.close()
    event = book.only()
    assert (event.input_tokens, event.estimated) == (10, True)
    assert event.output_tokens > 0


def test_a_stream_of_a_text_model_is_one_event(book) -> None:
    list(FakeStreamingListLLM(responses=["some words"]).stream("q", config=book.config))
    event = book.only()
    assert (event.estimated, event.time_to_first_token is None) == (True, True)


newest_protocol = pytest.mark.skipif(
    not hasattr(BaseChatModel, "stream_events"),
    reason="this langchain-core is older than `stream_events`",
)


@newest_protocol
@pytest.mark.filterwarnings("ignore:.*beta.*")
def test_a_stream_of_the_newest_protocol_is_one_event(book) -> None:
    stream = StreamingModel().stream_events("q", version="v3", config=book.config)
    assert stream.output.text.strip() == "one two three"
    event = book.only()
    assert (event.cost, event.estimated) == (COST, False)
    assert 0 < event.time_to_first_token <= event.latency


@newest_protocol
@pytest.mark.filterwarnings("ignore:.*beta.*")
def test_a_broken_stream_of_the_newest_protocol_is_paid_as_far_as_it_came(book) -> None:
    model = StreamingModel(breaks_after=2)
    with pytest.raises(ConnectionError):
        _ = model.stream_events("q", version="v3", config=book.config).output
    event = book.only()
    assert (event.status, event.estimated) == ("error", True)
    assert event.output_tokens > 0


@pytest.mark.parametrize("delta", [{"reasoning": "two words"}, {"args": '{"a": 1}'}, {"text": "b"}])
def test_what_came_of_a_broken_stream_is_paid_whatever_it_was(book, delta) -> None:
    book.handler.on_chat_model_start({}, [[]], run_id=(run_id := uuid4()))
    for event in ({"event": "message-start"}, {"event": "content-block-delta", "delta": delta}):
        book.handler.on_stream_event(event, run_id=run_id)
    book.handler.on_llm_error(ConnectionError(), run_id=run_id)
    assert (book.only().estimated, book.only().time_to_first_token > 0) == (True, True)
    assert book.only().output_tokens > 0

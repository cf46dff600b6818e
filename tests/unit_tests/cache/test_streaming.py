"""`cached(model).stream`: served chunk by chunk, and what was streamed is kept."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypedDict

import pytest
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.rate_limiters import InMemoryRateLimiter
from langgraph.graph import StateGraph
from models import AsyncStreamingModel, CountingModel, StreamingModel
from typing_extensions import override

from llmops_langchain import ResponseCache
from llmops_langchain.cache import MemoryStore, cache_options, cached
from llmops_langchain.ledger import track

TEXT = "one two three "


class AsyncOnly(CountingModel):
    """Streams on the event loop alone."""

    @override
    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        self._ask("astream")
        for word in ("one ", "two "):
            yield ChatGenerationChunk(message=AIMessageChunk(word))


class Nested(StreamingModel):
    """Makes its answer of its own stream, as some integrations do."""

    @override
    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        from langchain_core.language_models.chat_models import generate_from_stream

        return generate_from_stream(self._stream(*args, **kwargs))


class Words(BaseCallbackHandler):
    """Notes each piece of text that a handler is told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    @override
    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.heard.append(token)


def text(chunks: Iterator[Any]) -> str:
    return "".join(chunk.content for chunk in chunks)


async def atext(chunks: AsyncIterator[Any]) -> str:
    return "".join([chunk.content async for chunk in chunks])


def test_a_stream_is_asked_once_and_served_in_chunks(cache) -> None:
    model = cached(StreamingModel(), cache)
    first, second = (list(model.stream("q")) for _ in range(2))
    assert text(first) == text(second) == TEXT
    assert model.calls == 1
    assert [chunk.content for chunk in second if chunk.content] == ["one ", "two ", "three "]


@pytest.mark.parametrize("model_class", [StreamingModel, AsyncStreamingModel, AsyncOnly])
async def test_an_async_stream_is_asked_once(cache, model_class) -> None:
    model = cached(model_class(), cache)
    assert await atext(model.astream("q")) == await atext(model.astream("q"))
    assert model.calls == 1


async def test_every_way_of_asking_shares_one_answer(cache) -> None:
    model = cached(AsyncStreamingModel(), cache)
    model.invoke("q")
    assert text(model.stream("q")) == await atext(model.astream("q")) == model.answer
    assert (await model.ainvoke("q")).content == model.answer
    assert model.calls == 1


def test_what_was_streamed_is_given_to_invoke(cache) -> None:
    model = cached(StreamingModel(), cache)
    streamed = sum(model.stream("q"), start=AIMessageChunk(""))
    hit = model.invoke("q")
    assert (hit.content, model.calls, type(hit)) == (TEXT, 1, AIMessage)
    mark = hit.response_metadata.pop("llmops_cache")
    assert (mark["tier"], mark["usage_metadata"]) == ("exact", streamed.usage_metadata)
    assert hit.response_metadata == streamed.response_metadata


def test_a_streamed_hit_is_marked_and_bills_nothing(cache) -> None:
    model, handler = cached(StreamingModel(), cache), UsageMetadataCallbackHandler()
    for _ in range(3):
        whole = sum(model.stream("q", config={"callbacks": [handler]}), start=AIMessageChunk(""))
    assert handler.usage_metadata["tested-model"]["total_tokens"] == 15
    assert whole.response_metadata["llmops_cache"]["tier"] == "exact"
    assert whole.usage_metadata["total_tokens"] == 0


def test_the_chunks_of_a_hit_are_one_message_with_a_fresh_id(cache) -> None:
    model = cached(StreamingModel(), cache)
    ids = [{chunk.id for chunk in model.stream("q")} for _ in range(3)]
    assert [len(each) for each in ids] == [1, 1, 1]
    assert len(set.union(*ids)) == 3


def test_handlers_hear_each_word_of_a_hit(cache) -> None:
    model = cached(StreamingModel(), cache)
    heard = []
    for _ in range(2):
        words = Words()
        list(model.stream("q", config={"callbacks": [words]}))
        heard.append([word for word in words.heard if word])
    assert heard[0] == heard[1] == ["one ", "two ", "three "]


def test_a_stream_that_is_broken_off_is_not_kept(cache) -> None:
    model = cached(StreamingModel(), cache)
    stream = model.stream("q")
    next(stream)
    stream.close()
    assert text(model.stream("q")) == TEXT
    assert (model.calls, cache.stats().stored) == (2, 1)


def test_a_stream_that_dies_is_not_kept(cache) -> None:
    model = cached(StreamingModel(breaks_after=1), cache)
    with pytest.raises(ConnectionError):
        list(model.stream("q"))
    model.breaks_after = None
    assert text(model.stream("q")) == TEXT


def test_a_stream_that_was_cut_short_is_not_kept(cache) -> None:
    model = cached(StreamingModel(finish_reason="length"), cache)
    for _ in range(2):
        list(model.stream("q"))
    assert (model.calls, cache.stats().refused) == (2, 2)


def test_who_edits_a_chunk_edits_nobody_elses(cache) -> None:
    model = cached(StreamingModel(), cache)
    for _ in range(3):
        for chunk in model.stream("q"):
            assert "edited" not in chunk.response_metadata
            assert "edited" not in chunk.additional_kwargs.get("told", ())
            chunk.content = "edited"
            chunk.response_metadata["edited"] = True
            chunk.additional_kwargs.setdefault("told", []).append("edited")
    assert text(model.stream("q")) == TEXT


def test_a_model_that_generates_from_its_stream_waits_for_nobody(cache) -> None:
    model = cached(Nested(), cache)
    assert model.invoke("q").content == text(model.stream("q"))
    assert model.calls == 1


@pytest.mark.parametrize("via", ["track", "config", "model"])
def test_tenants_that_stream_are_apart(cache, via) -> None:
    model = cached(StreamingModel(), cache)
    for workspace in ("a", "b", "a"):
        if via == "track":
            with track(workspace=workspace):
                text(model.stream("q"))
        elif via == "config":
            text(model.stream("q", config={"metadata": {"workspace": workspace}}))
        else:
            model.metadata = {"workspace": workspace}
            text(model.stream("q"))
    assert model.calls == 2


async def test_tenants_that_stream_async_are_apart(cache) -> None:
    model = cached(AsyncStreamingModel(), cache)
    for workspace in ("a", "b", "a"):
        config = {"metadata": {"workspace_id": workspace}}
        await atext(model.astream("q", config=config))
    assert model.calls == 2


def test_streams_and_calls_of_a_tenant_share(cache) -> None:
    model = cached(StreamingModel(), cache)
    config = {"metadata": {"workspace": "a"}}
    text(model.stream("q", config=config))
    model.invoke("q", config=config)
    model.invoke("q")
    assert model.calls == 2


class State(TypedDict):
    messages: list[AnyMessage]


async def test_a_graph_streams_the_words_of_a_hit_to_each_tenant(cache) -> None:
    model = cached(StreamingModel(), cache)
    builder = StateGraph(State)
    builder.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.set_entry_point("ask")
    graph = builder.compile()
    for workspace in ("a", "b", "a"):
        config = {"metadata": {"workspace": workspace}}
        parts = [
            part.content
            async for part, _ in graph.astream(
                {"messages": [("user", "q")]}, config, stream_mode="messages"
            )
        ]
        assert [part for part in parts if part] == ["one ", "two ", "three "]
    assert model.calls == 2


async def test_events_of_a_hit_are_those_of_a_call(cache) -> None:
    model = cached(AsyncStreamingModel(), cache)
    runs = [
        [event["event"] async for event in model.astream_events("q", version="v2")]
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert model.calls == 1


async def test_a_hit_waits_for_no_rate_limiter(cache) -> None:
    once_an_hour = InMemoryRateLimiter(requests_per_second=1 / 3600, max_bucket_size=1)
    once_an_hour.available_tokens = 1.0
    model = cached(AsyncStreamingModel(rate_limiter=once_an_hour), cache)
    model.invoke("q")
    assert once_an_hour.available_tokens < 1
    for _ in range(3):
        await model.ainvoke("q")
        text(model.stream("q"))
        await atext(model.astream("q"))
    assert model.calls == 1


def test_a_model_wrapped_again_still_waits_for_its_rate_limiter() -> None:
    limiter = InMemoryRateLimiter(requests_per_second=100, max_bucket_size=10)
    limiter.available_tokens = 5.0
    plain = CountingModel(rate_limiter=limiter)
    model = cached(cached(plain, ResponseCache(MemoryStore())), ResponseCache(MemoryStore()))
    before = limiter.available_tokens
    model.invoke("q")
    assert (limiter.available_tokens < before, plain.rate_limiter) == (True, limiter)


async def test_a_cancelled_stream_leaves_nothing_behind(cache) -> None:
    model = cached(AsyncStreamingModel(), cache)
    stream = model.astream("q")
    await anext(stream)
    await asyncio.wait_for(stream.aclose(), 30)
    assert await atext(model.astream("q")) == TEXT


@pytest.mark.parametrize("options", [{"bypass": True}, {"share": "user"}])
def test_a_stream_belongs_to_the_block_it_was_made_in(cache, options) -> None:
    model = cached(StreamingModel(), cache)
    streams = []
    for user in ("a", "b"):
        with track(workspace=user, user=user), cache_options(**options):
            streams.append(model.stream("q"))
    assert [text(stream) for stream in streams] == [TEXT, TEXT]
    assert model.calls == 2
    assert (cache.stats().bypassed == 2) is ("bypass" in options)


async def test_an_async_stream_belongs_to_the_block_it_was_made_in(cache) -> None:
    model = cached(AsyncStreamingModel(), cache)
    streams = []
    for workspace in ("a", "b"):
        with track(workspace=workspace):
            streams.append(model.astream("q"))
    assert [await atext(stream) for stream in streams] == [TEXT, TEXT]
    assert model.calls == 2


def test_a_stream_that_the_collector_ends_harms_nobody(cache) -> None:
    model = cached(StreamingModel(), cache)
    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for number in range(200):
            stream = model.stream(str(number % 3))
            next(stream)
            ring = [stream]
            ring.append(ring)  # only the collector ends it, wherever it happens to run
            del stream, ring
            model.invoke(str(number % 5))
    finally:
        gc.set_threshold(*threshold)


def test_a_loop_that_ends_with_an_open_stream_says_nothing(cache, caplog) -> None:
    model = cached(AsyncStreamingModel(), cache)

    async def leave() -> None:
        await anext(model.astream("q"))

    asyncio.run(leave())
    assert caplog.records == []


class Native(StreamingModel):
    """Has core's own stream of events, beside chunks."""

    def _stream_chat_model_events(self, *_: Any, **__: Any) -> Iterator[Any]:
        msg = "the layer does not see these"
        raise AssertionError(msg)
        yield


def test_core_takes_the_chunks_of_a_model_with_events_of_its_own(cache) -> None:
    model = cached(Native(), cache)
    assert model._stream_chat_model_events is None
    assert text(model.stream("q")) == TEXT

"""Of equal calls at the same moment one asks, and the others are given its answer."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from conftest import FakeClock
from langchain_core.outputs import ChatResult
from models import AsyncModel, AsyncStreamingModel, CountingModel, StreamingModel
from pydantic import PrivateAttr
from typing_extensions import override

from llmops_langchain import Database, ResponseCache
from llmops_langchain.cache import MemoryStore, cache_options, cached, flights

MANY = 64


class Slow(CountingModel):
    """Answers when a second call comes in, which must not happen, or after a moment."""

    patience: float = 0.3
    _second: threading.Event = PrivateAttr(default_factory=threading.Event)
    _errors: list[Exception] = PrivateAttr(default_factory=list)

    @override
    def _ask(self, how: str) -> None:
        super()._ask(how)
        if self.calls > 1:
            self._second.set()
        self._second.wait(self.patience)
        if self._errors:
            raise self._errors.pop()


class SlowStream(Slow, StreamingModel):
    """The same, word by word."""

    answer: str = "one two three"


class AsyncSlow(AsyncModel):
    """The same on the event loop."""

    _second: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    @override
    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        answer = await super()._agenerate(*args, **kwargs)
        if self.calls > 1:
            self._second.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._second.wait(), 0.3)
        return answer


class Gated(AsyncModel):
    """Async calls answer once the gate is open; sync ones at once."""

    _reached: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)
    _gate: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    @override
    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        self._reached.set()
        await self._gate.wait()
        return await super()._agenerate(*args, **kwargs)


class Watched(MemoryStore):
    """Says when it was first asked, and for which key."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.keys: list[bytes] = []

    @override
    def get(self, key: bytes) -> Any:
        self.keys.append(key)
        self.asked.set()
        return super().get(key)


# Whoever waits where it should not waits for ever here, and the time-out tells.
pytestmark = pytest.mark.timeout(60)
_FOR_EVER = 1e6


@pytest.fixture(params=["memory store", "database"])
def cache(request: pytest.FixtureRequest) -> Iterator[ResponseCache]:
    if request.param == "memory store":
        yield ResponseCache(MemoryStore(), wait=_FOR_EVER)
        return
    with Database("sqlite://") as database:
        yield ResponseCache(database, wait=_FOR_EVER)


def at_once(number: int, call: Any) -> list[Any]:
    """What comes of so many calls in threads; exceptions as they are."""
    start = threading.Barrier(number)

    def go(_: int) -> Any:
        start.wait()
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - it is what is looked at
            return error

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(go, range(number)))


def test_threads_ask_once(cache) -> None:
    model = cached(Slow(), cache)
    answers = at_once(MANY, lambda: model.invoke("q"))
    assert (model.calls, {each.content for each in answers}) == (1, {"the answer"})
    assert cache.stats().hits == MANY - 1


def test_each_is_given_a_copy_that_costs_nothing(cache) -> None:
    model = cached(Slow(), cache)
    answers = at_once(8, lambda: model.invoke("q"))
    assert len({each.id for each in answers}) == 8
    assert sum(each.usage_metadata["input_tokens"] for each in answers) == 10


@pytest.mark.parametrize("model_class", [AsyncSlow, Slow], ids=["own", "in a thread"])
async def test_tasks_ask_once(cache, model_class) -> None:
    model = cached(model_class(), cache)
    answers = await asyncio.gather(*(model.ainvoke("q") for _ in range(MANY)))
    assert (model.calls, {each.content for each in answers}) == (1, {"the answer"})


def test_a_batch_asks_once(cache) -> None:
    model = cached(Slow(), cache)
    assert len(model.batch(["q"] * 8)) == 8
    assert model.calls == 1


def test_streams_ask_once(cache) -> None:
    model = cached(SlowStream(), cache)
    texts = at_once(8, lambda: "".join(chunk.content for chunk in model.stream("q")))
    assert (model.calls, set(texts)) == (1, {"one two three "})


async def test_async_streams_ask_once(cache) -> None:
    model = cached(AsyncStreamingModel(), cache)

    async def text() -> str:
        return "".join([chunk.content async for chunk in model.astream("q")])

    assert set(await asyncio.gather(*(text() for _ in range(8)))) == {"one two three "}
    assert model.calls == 1


def test_other_questions_do_not_wait(cache) -> None:
    model = cached(CountingModel(), cache)
    stream = cached(StreamingModel(), cache).stream("q")
    next(stream)
    assert model.invoke("another").content == "the answer"
    stream.close()


def test_one_that_fails_hands_over_to_one_of_those_who_wait(cache) -> None:
    model = cached(Slow(), cache)
    model._errors.append(ConnectionError("down"))
    answers = at_once(8, lambda: model.invoke("q"))
    failed = [each for each in answers if isinstance(each, Exception)]
    assert ([str(each) for each in failed], model.calls) == (["down"], 2)


async def test_one_that_is_cancelled_hands_over(cache) -> None:
    model = cached(Gated(), cache)
    leader = asyncio.create_task(model.ainvoke("q"))
    await model._reached.wait()
    follower = asyncio.create_task(model.ainvoke("q"))
    await asyncio.sleep(0)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    model._gate.set()
    assert (await follower).content == "the answer"
    assert model.calls == 1


async def test_one_who_waits_may_be_cancelled_without_harm(cache) -> None:
    model = cached(Gated(), cache)
    tasks = [asyncio.create_task(model.ainvoke("q")) for _ in range(3)]
    await model._reached.wait()
    tasks[1].cancel()
    model._gate.set()
    first, gone, last = await asyncio.gather(*tasks, return_exceptions=True)
    assert first.content == last.content == "the answer"
    assert (isinstance(gone, asyncio.CancelledError), model.calls) == (True, 1)


def test_a_stream_that_is_broken_off_hands_over(cache) -> None:
    model = cached(StreamingModel(), cache)
    stream = model.stream("q")
    next(stream)
    with ThreadPoolExecutor(1) as pool:
        follower = pool.submit(model.invoke, "q")
        stream.close()
        assert follower.result(30).content == model.answer
    assert model.calls == 2


def test_nobody_waits_for_a_stream_that_is_not_read(cache, monkeypatch) -> None:
    monkeypatch.setattr(flights, "_STALLED", 0.05)
    model = cached(StreamingModel(), cache)
    stream = model.stream("q")
    next(stream)
    assert model.invoke("q").content == model.answer
    stream.close()


def test_an_answer_that_is_not_kept_is_given_to_nobody_else(cache) -> None:
    model = cached(Slow(finish_reason="length"), cache)
    answers = at_once(4, lambda: model.invoke("q"))
    assert {each.content for each in answers} == {"the answer"}
    assert (model.calls, cache.stats().refused) == (4, 4)


def test_without_patience_each_asks() -> None:
    model = cached(Slow(patience=10.0), ResponseCache(MemoryStore(), wait=0))
    at_once(2, lambda: model.invoke("q"))
    assert model.calls == 2


def test_a_refresh_waits_for_nobody(cache) -> None:
    with cache_options(refresh=True):
        model = cached(Slow(patience=10.0), cache)
        answers = model.batch(["q", "q"])
    assert (model.calls, len(answers)) == (2, 2)


async def test_a_sync_call_on_the_loop_does_not_wait_for_a_task_of_it(cache) -> None:
    model = cached(Gated(), cache)
    task = asyncio.create_task(model.ainvoke("q"))
    await model._reached.wait()
    assert model.invoke("q").content == "the answer"  # the task cannot go on meanwhile
    model._gate.set()
    await task
    assert model.calls == 2


async def test_a_thread_does_not_wait_for_a_task_that_needs_it() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    store = Watched()
    model = cached(CountingModel(), ResponseCache(store, wait=_FOR_EVER))

    def follow() -> Any:
        assert store.asked.wait(30)  # the leader's flight has begun; its model needs this thread
        return model.invoke("q")

    follower = asyncio.create_task(asyncio.to_thread(follow))
    await asyncio.sleep(0)
    answers = await asyncio.gather(model.ainvoke("q"), follower)
    assert {each.content for each in answers} == {"the answer"}


def test_another_process_waits_for_the_one_that_asks(database) -> None:
    slow = Slow()
    here, there = (cached(slow, ResponseCache(database)) for _ in range(2))
    models = iter([here, there])
    answers = at_once(2, lambda: next(models).invoke("q"))
    assert (slow.calls, {each.content for each in answers}) == (1, {"the answer"})


def test_a_process_that_died_is_waited_for_as_long_as_its_claim_lasts(clock: FakeClock) -> None:
    store = Watched()
    base = CountingModel()
    # Both before the first call: what a model has privately by then belongs to its key.
    model, other = (cached(base, ResponseCache(store, clock=clock)) for _ in range(2))
    model.invoke("q")
    store.clear()
    assert store.claim(store.keys[0], "dead", now=clock(), until=clock() + 5)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.invoke, "q")
        assert not waiting.done()
        clock.advance(5)
        assert waiting.result(30).content == "the answer"
    assert model.calls == 2


def test_who_asks_after_an_invalidation_waits_for_no_older_call(cache) -> None:
    stream = cached(StreamingModel(), cache).stream("q")
    next(stream)
    cache.invalidate("anything")
    model = cached(StreamingModel(), cache)
    assert model.invoke("q").content == model.answer
    list(stream)


async def test_a_thread_does_not_wait_for_a_loop_that_waits_for_it(cache, monkeypatch) -> None:
    monkeypatch.setattr(flights, "_ALIVE", 0.05)
    model = cached(Gated(), cache)
    task = asyncio.create_task(model.ainvoke("q"))
    await model._reached.wait()
    assert len(model.batch(["q", "q"])) == 2  # in threads, while the loop stands still
    model._gate.set()
    await task


async def test_a_thread_waits_for_a_loop_that_runs(cache) -> None:
    model = cached(Gated(), cache)
    task = asyncio.create_task(model.ainvoke("q"))
    await model._reached.wait()
    follower = asyncio.create_task(asyncio.to_thread(model.invoke, "q"))
    await asyncio.sleep(0)
    model._gate.set()
    assert (await follower).content == (await task).content
    assert model.calls == 1


def test_a_model_that_asks_a_copy_of_itself_does_not_wait_for_itself(cache) -> None:
    class Asking(CountingModel):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
            if self.calls == 0:
                self._ask("outer")
                self.model_copy().invoke(messages)
            return super()._generate(messages, *args, **kwargs)

    assert cached(Asking(), cache).invoke("q").content == "the answer"


def test_after_two_failures_nobody_waits_for_a_third(cache) -> None:
    class Down(CountingModel):
        _together: Any = PrivateAttr(default_factory=lambda: threading.Barrier(3))

        def _ask(self, how: str) -> None:
            self._asked.append(how)
            if self.calls <= 2:
                threading.Event().wait(0.5)  # until all wait for it
            else:
                self._together.wait(30)  # the rest are here at the same time
            msg = "down"
            raise ConnectionError(msg)

    model = cached(Down(), cache)
    answers = at_once(5, lambda: model.invoke("q"))
    assert [str(each) for each in answers] == ["down"] * 5


def test_a_follower_adds_its_tags_to_what_is_kept(cache) -> None:
    model = cached(Slow(), cache)
    tags = iter(["one", "two", "three", "four"])

    def ask() -> Any:
        with cache_options(tags=[next(tags)]):
            return model.invoke("q")

    at_once(4, ask)
    cache.invalidate("three")
    model.invoke("q")
    assert model.calls == 2

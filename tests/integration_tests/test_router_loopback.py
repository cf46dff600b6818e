"""What providers' errors become of, through their real clients against servers that fail."""

import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import anthropic
import openai
import pytest
from answering import obliging
from failing_provider import FailingProvider, How
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from routed_server import HEADERS, BrokenLine, event
from strict_provider import StrictProvider

from llmops_langchain import LLMOps, ModelChoice, ModelRouter, Target

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"])]

TOO_LONG = {
    "openai": "This model's maximum context length is 10 tokens. context_length_exceeded",
    "anthropic": "prompt is too long: 11 tokens > 10 maximum",
}
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "first"}
MESSAGE = {"id": "1", "type": "message", "role": "assistant", "model": "first", "content": []}
USED = {"input_tokens": 3, "output_tokens": 1}
BEGUN = {
    "openai": HEADERS
    + event(json.dumps({**CHUNK, "choices": [{"index": 0, "delta": {"content": "One"}}]})),
    "anthropic": HEADERS
    + b"".join(
        event(json.dumps(each), each["type"])
        for each in (
            {"type": "message_start", "message": {**MESSAGE, "usage": USED}},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": "One"},
            },
        )
    ),
}
"""An answer of which one word has come."""
WAYS = ["invoke", "ainvoke", "stream", "astream"]


@pytest.fixture(scope="module")
def provider() -> Iterator[StrictProvider]:
    with StrictProvider(script=obliging) as provider:
        yield provider


@pytest.fixture
def ops() -> Iterator[LLMOps]:
    with LLMOps("sqlite://") as ops:
        yield ops


def client(kind: str, url: str, name: str) -> BaseChatModel:
    if kind == "anthropic":
        return ChatAnthropic(
            model=name, base_url=url, api_key="none", max_retries=0, timeout=20, max_tokens=50
        )
    return ChatOpenAI(
        model=name,
        base_url=f"{url}/v1",
        api_key="none",
        max_retries=0,
        timeout=20,
        stream_usage=True,
    )


def router_of(
    ops: LLMOps,
    provider: StrictProvider,
    failing: FailingProvider | BrokenLine,
    kind: str,
    second: str = "openai",
    **options: Any,
) -> ModelRouter:
    first = ModelChoice(
        client(kind, failing.url, "first"), input_per_million=1, output_per_million=1, **options
    )
    other = ModelChoice(
        client(second, provider.url, "second"),
        input_per_million=5,
        output_per_million=5,
        max_input_tokens=100_000,
    )
    return ops.router(first, other, target=Target(quality=0.0))


async def answered(model: Any, way: str, config: Any = None) -> str:
    if way == "invoke":
        return model.invoke("hello", config).text
    if way == "ainvoke":
        return (await model.ainvoke("hello", config)).text
    if way == "stream":
        return "".join(chunk.text for chunk in model.stream("hello", config))
    return "".join([chunk.text async for chunk in model.astream("hello", config)])


def events(ops: LLMOps) -> list[tuple[Any, ...]]:
    ops.flush()
    with ops.database.begin(read_only=True) as connection:
        sql = "select model, status, input_tokens > 0 from llmops_events order by ts"
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("how", [429, 500, 502, 503, 529, "dies"])
async def test_a_provider_in_trouble_is_passed_over(ops, provider, kind: str, how: How) -> None:
    with FailingProvider(how) as failing, ops.track(project="p"):
        router = router_of(ops, provider, failing, kind)
        for way in WAYS:
            assert (await answered(router, way)).startswith("Hello")
        overloads = how in (429, 503, 529)
        assert failing.requests == (1 if overloads else 3)
        [out] = router.decide("hello").excluded
        assert (out.name, out.why) == ("first", "cooldown")
    told = events(ops)
    assert [row for row in told if row[1] == "ok"] == [("second", "ok", 1)] * 4
    assert [row for row in told if row[1] != "ok"] == [("first", "error", 0)] * failing.requests


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_provider_says_how_long_it_wants_to_be_left_alone(ops, provider, kind, way) -> None:
    with FailingProvider(429, headers={"retry-after": "3000"}) as failing:
        router = router_of(ops, provider, failing, kind)
        assert (await answered(router, way)).startswith("Hello")
        [out] = router.decide("hello").excluded
        assert (out.name, out.why) == ("first", "cooldown")
        assert re.search(r"(3000|29\d\d) s", out.told)
        await answered(router, way)
        assert failing.requests == 1


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_line_that_dies_before_the_first_chunk_is_passed_over(
    ops, provider, kind, way
) -> None:
    with BrokenLine(HEADERS) as failing, ops.track(project="p"):
        router = router_of(ops, provider, failing, kind)
        assert (await answered(router, way)).startswith("Hello")
        assert failing.requests == 1
    assert events(ops) == [("first", "error", 0), ("second", "ok", 1)]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("way", WAYS)
async def test_who_never_answers_is_passed_over_in_time(ops, provider, kind, way) -> None:
    with FailingProvider("hangs") as failing:
        router = router_of(ops, provider, failing, kind, timeout=0.3)
        assert (await answered(router, way)).startswith("Hello")


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_prompt_that_is_too_long_goes_to_a_larger_window_alone(
    ops, provider, kind, way
) -> None:
    with FailingProvider(400, TOO_LONG[kind]) as failing:
        router = router_of(ops, provider, failing, kind, max_input_tokens=50_000)
        assert (await answered(router, way)).startswith("Hello")
        assert router.decide("hello").excluded == ()  # it is well, and does not rest
        asked = len(provider.asked)
        smaller = router_of(ops, provider, failing, kind, max_input_tokens=200_000)
        refused = (openai.BadRequestError, anthropic.BadRequestError)
        with pytest.raises(refused, match=r"maximum context length|too long"):
            await answered(smaller, way)
    assert len(provider.asked) == asked


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (400, openai.BadRequestError),
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (400, anthropic.BadRequestError),
    ],
)
async def test_what_you_have_to_mend_is_raised(ops, provider, status, error, way) -> None:
    kind = error.__module__.partition(".")[0]
    asked = len(provider.asked)
    with FailingProvider(status) as failing:
        with pytest.raises(error):
            await answered(router_of(ops, provider, failing, kind), way)
        assert failing.requests == 1
    assert len(provider.asked) == asked


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_an_answer_that_breaks_off_is_not_begun_anew(ops, provider, kind, way: str) -> None:
    asked = len(provider.asked)
    with BrokenLine(BEGUN[kind]) as failing, ops.track(project="p"):
        router = router_of(ops, provider, failing, kind)
        # Anthropic's client lets its transport's error through.
        with pytest.raises(Exception, match=r"Connection error|peer closed connection"):
            await answered(router, way)
        assert failing.requests == 1
    assert len(provider.asked) == asked
    [told] = events(ops)
    assert told[:2] == ("first", "error")


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("watched", ["track", "handler", "both"])
async def test_one_answer_is_one_event(ops, provider, kind, way: str, watched: str) -> None:
    config = None if watched == "track" else {"callbacks": [ops.usage]}
    tracked = nullcontext() if watched == "handler" else ops.track(project="p")
    with FailingProvider(500) as failing, tracked:
        assert await answered(router_of(ops, provider, failing, kind, second=kind), way, config)
    assert events(ops) == [("first", "error", 0), ("second", "ok", 1)]
    tokens = provider.answered[-1].tokens
    sql = "select input_tokens, output_tokens, estimated, cost from llmops_events where cost > 0"
    with ops.database.begin(read_only=True) as connection:
        [told] = connection.exec_driver_sql(sql)
    assert tuple(told) == (tokens, 5, 0, (tokens + 5) * 5_000)  # five dollars a million

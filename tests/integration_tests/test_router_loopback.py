"""What providers' errors become of, through their real clients against servers that fail."""

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
from strict_provider import StrictProvider

from llmops_langchain import LLMOps, ModelChoice, ModelRouter, Target

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"])]

TOO_LONG = "This model's maximum context length is 10 tokens. context_length_exceeded"
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
    ops: LLMOps, provider: StrictProvider, failing: FailingProvider, kind: str, **options: Any
) -> ModelRouter:
    first = ModelChoice(
        client(kind, failing.url, "first"), input_per_million=1, output_per_million=1, **options
    )
    second = ModelChoice(
        client("openai", provider.url, "second"),
        input_per_million=5,
        output_per_million=5,
        max_input_tokens=100_000,
    )
    return ops.router(first, second, target=Target(quality=0.0))


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


def test_a_provider_says_how_long_it_wants_to_be_left_alone(ops, provider) -> None:
    with FailingProvider(429, headers={"retry-after": "77"}) as failing:
        router = router_of(ops, provider, failing, "openai")
        router.invoke("hello")
        [out] = router.decide("hello").excluded
        assert "77 s" in out.told


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("way", WAYS)
async def test_who_never_answers_is_passed_over_in_time(ops, provider, kind, way) -> None:
    with FailingProvider("hangs") as failing:
        router = router_of(ops, provider, failing, kind, timeout=0.3)
        assert (await answered(router, way)).startswith("Hello")


@pytest.mark.parametrize("way", WAYS)
async def test_a_prompt_that_is_too_long_goes_to_a_larger_window_alone(ops, provider, way) -> None:
    with FailingProvider(400, TOO_LONG) as failing:
        router = router_of(ops, provider, failing, "openai", max_input_tokens=50_000)
        assert (await answered(router, way)).startswith("Hello")
        smaller = router_of(ops, provider, failing, "openai", max_input_tokens=200_000)
        with pytest.raises(openai.BadRequestError, match="maximum context length"):
            await answered(smaller, way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (400, openai.BadRequestError),
        (401, anthropic.AuthenticationError),
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


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_an_answer_that_breaks_off_is_not_begun_anew(ops, provider, way: str) -> None:
    asked = len(provider.asked)
    with FailingProvider("breaks") as failing, ops.track(project="p"):
        router = router_of(ops, provider, failing, "openai")
        with pytest.raises(openai.APIConnectionError):
            await answered(router, way)
    assert len(provider.asked) == asked
    [told] = events(ops)
    assert told[:2] == ("first", "error")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("watched", ["track", "handler", "both"])
async def test_one_answer_is_one_event(ops, provider, way: str, watched: str) -> None:
    config = None if watched == "track" else {"callbacks": [ops.usage]}
    tracked = nullcontext() if watched == "handler" else ops.track(project="p")
    with FailingProvider(500) as failing, tracked:
        assert await answered(router_of(ops, provider, failing, "openai"), way, config)
    assert events(ops) == [("first", "error", 0), ("second", "ok", 1)]

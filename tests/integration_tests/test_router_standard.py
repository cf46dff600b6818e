"""LangChain's integration suite over routers of real clients, with all that `ChatOpenAI` can do."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import orjson
import pytest
from answering import obliging
from failing_provider import FailingProvider
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from routed_server import HEADERS, BrokenLine
from strict_provider import Asked, Call, StrictProvider
from typing_extensions import override

from llmops_langchain import ModelChoice, ModelRouter, Target

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    # `ChatOpenAI` says so of every document without a name, and the suite's has none.
    pytest.mark.filterwarnings("ignore:OpenAI may require a filename:UserWarning"),
]


def answered(asked: Asked) -> str | Call:
    """As told; in JSON mode the keys are those that the prompt quotes."""
    if asked.body.get("response_format") != {"type": "json_object"}:
        return obliging(asked)
    keys = re.findall(r"'(\w+)'", asked.messages[-1]["content"])
    return orjson.dumps(dict.fromkeys(keys, "text")).decode()


@pytest.fixture(scope="module")
def provider() -> Iterator[StrictProvider]:
    with StrictProvider(script=answered) as provider:
        yield provider


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite loads its picture, its page and its bird from the network: a few bytes will do."""
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, content=b"some bytes"))
    monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "tests")


def choice(url: str, name: str, price: int) -> ModelChoice:
    model = ChatOpenAI(
        model=name, base_url=f"{url}/v1", api_key="none", max_retries=0, stream_usage=True
    )
    return ModelChoice(model, input_per_million=price, output_per_million=price)


class Router(ChatModelIntegrationTests):
    """The first choice is where a subclass says; the second one answers.

    `supports_image_tool_message` and `supports_pdf_tool_message` stay false: OpenAI's chat API
    takes text alone from a tool.
    """

    chat_model_class = ModelRouter
    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_pdf_inputs = True
    supports_audio_inputs = True
    supports_anthropic_inputs = True
    model_override_value = "another"

    def failing(self) -> AbstractContextManager[FailingProvider | BrokenLine] | None:
        """Where the first choice is, if it fails."""

    @pytest.fixture(autouse=True)
    def servers(self, provider: StrictProvider) -> Iterator[None]:
        self._urls, asked = [provider.url, provider.url], len(provider.asked)
        failing = self.failing()
        if failing is None:
            yield
            return
        with failing as first:
            self._urls[0] = first.url
            yield
            assert bool(first.requests) == (len(provider.asked) > asked)

    @property
    @override
    def chat_model_params(self) -> dict[str, Any]:
        first, second = self._urls
        choices = [choice(first, "first", 1), choice(second, "second", 5)]
        return {"choices": choices, "target": Target(quality=0.0)}  # the cheaper one comes first


class TestNobodyFails(Router):
    """The first one answers."""


class TestFirstIsOverloaded(Router):
    """The first one says 429, always."""

    @override
    def failing(self) -> FailingProvider:
        return FailingProvider(429)


class TestFirstDiesBeforeItsFirstChunk(Router):
    """The first one sends headers, and its line goes dead."""

    @override
    def failing(self) -> BrokenLine:
        return BrokenLine(HEADERS)


del Router  # it is no suite of its own

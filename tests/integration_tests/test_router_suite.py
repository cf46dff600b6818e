"""LangChain's integration suite over a router of real clients: as it is, and while one fails."""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from answering import obliging
from failing_provider import FailingProvider, How
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from strict_provider import StrictProvider
from typing_extensions import override

from llmops_langchain import ModelChoice, ModelRouter, Target

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.fixture(scope="module")
def provider() -> Iterator[StrictProvider]:
    with StrictProvider(script=obliging) as provider:
        yield provider


def client(url: str, name: str) -> ChatOpenAI:
    return ChatOpenAI(
        model=name, base_url=f"{url}/v1", api_key="none", max_retries=0, stream_usage=True
    )


class Suite(ChatModelIntegrationTests):
    """The first choice does what a subclass says; the second one answers."""

    how: ClassVar[How | None] = None

    @pytest.fixture(autouse=True)
    def servers(self, provider: StrictProvider) -> Iterator[None]:
        self._provider, before = provider, len(provider.asked)
        with FailingProvider(self.how or 500) as self._failing:
            yield
            answered = len(provider.asked) > before
        if self.how is not None and answered:
            assert self._failing.requests  # who fails was asked, and somebody else answered

    @property
    @override
    def chat_model_class(self) -> type[BaseChatModel]:
        return ModelRouter

    @property
    @override
    def chat_model_params(self) -> dict[str, Any]:
        url = self._provider.url
        first = client(url if self.how is None else self._failing.url, "first")
        priced = {"input_per_million": 1, "output_per_million": 2}
        return {
            "choices": [
                ModelChoice(first, **priced),
                ModelChoice(client(url, "second"), input_per_million=5, output_per_million=9),
            ],
            "target": Target(quality=0.0),  # the cheaper one, however hard it looks
        }

    @property
    @override
    def model_override_value(self) -> str:
        return "another"  # images are left out: the suite would fetch them from the network

    @pytest.fixture
    @override
    def model(self, request: Any) -> BaseChatModel:
        extra = getattr(request, "param", None) or {}
        return ModelRouter(**{**self.standard_chat_model_params, **self.chat_model_params, **extra})


class TestAsItIs(Suite):
    """Both answer."""


class TestFirstIsOverloaded(Suite):
    """The first always says that it is asked too often."""

    how = 429


class TestFirstDies(Suite):
    """The line to the first goes dead before anything came."""

    how = "dies"


del Suite  # it is no suite of its own

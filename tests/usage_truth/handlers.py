"""The handlers under test, each attached as its users attach it, and read as they read it."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import uuid4

from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from sqlalchemy import select
from typing_extensions import override

from llmops_langchain.callbacks import track_embeddings
from llmops_langchain.ledger import Event
from llmops_langchain.ledger.event import from_row
from llmops_langchain.storage.schema import events
from usage_truth.bills import NOW
from usage_truth.run import Run

__all__ = ["HANDLERS", "Observations", "Ours", "Reading", "Watching", "langfuse_observations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a handler says was used; `None` where it has no notion of it."""

    input: int
    output: int
    cost: int | None = None
    """Nano-dollars."""
    paid: int | None = None
    """Calls that used tokens."""
    saved: int | None = None
    """Nano-dollars that hits would have cost."""
    estimated: bool = False
    """It says that tokens were counted by itself."""
    unpriced: bool = False
    """It says that a price is missing."""


class Watching:
    """A handler attached to one run by `config`, with nothing else changed."""

    def __init__(self, run: Run, stack: ExitStack) -> None:
        self.run = run
        self.config: RunnableConfig = {"callbacks": [self.attach(stack)]}
        self.explicit = self.config

    def attach(self, stack: ExitStack) -> BaseCallbackHandler:
        """The handler, ready for one run."""
        raise NotImplementedError

    def read(self) -> Reading:
        """What it found."""
        raise NotImplementedError

    def guarded(self, model: BaseChatModel) -> BaseChatModel:
        """The model as it is: nothing more can be seen of it."""
        return model

    def embedding(self, embeddings: Embeddings) -> Embeddings:
        """The embeddings as they are."""
        return embeddings


class Ours(Watching):
    """`ops.track(…)`, and where it says so `ops.guard` and `ops.track_embeddings`."""

    @override
    def attach(self, stack: ExitStack) -> BaseCallbackHandler:
        stack.enter_context(self.run.ops.track(project="truth"))
        return self.run.ops.usage

    def __init__(self, run: Run, stack: ExitStack) -> None:
        super().__init__(run, stack)
        self.config = {}

    @override
    def guarded(self, model: BaseChatModel) -> BaseChatModel:
        return self.run.ops.guard(model)

    @override
    def embedding(self, embeddings: Embeddings) -> Embeddings:
        ops = self.run.ops
        return track_embeddings(embeddings, ops.ledger, ops.prices, clock=lambda: NOW)

    @override
    def read(self) -> Reading:
        found = self.events()
        return Reading(
            input=sum(each.input_tokens for each in found),
            output=sum(each.output_tokens for each in found),
            cost=sum(each.cost for each in found),
            paid=sum(each.input_tokens + each.output_tokens > 0 for each in found),
            saved=sum(each.saved for each in found),
            estimated=any(each.estimated for each in found),
            unpriced=any(each.unpriced for each in found),
        )

    def events(self) -> list[Event]:
        """Everything recorded, in the order of its ids."""
        self.run.ops.flush()
        with self.run.ops.database.begin(read_only=True) as connection:
            rows = connection.execute(select(events).order_by(events.c.id)).mappings()
            return [from_row({**row}) for row in rows]


class Core(Watching):
    """`UsageMetadataCallbackHandler` of langchain-core: tokens by model, no cost."""

    @override
    def attach(self, stack: ExitStack) -> BaseCallbackHandler:
        self.handler = UsageMetadataCallbackHandler()
        return self.handler

    @override
    def read(self) -> Reading:
        found = self.handler.usage_metadata.values()
        return Reading(
            input=sum(each["input_tokens"] for each in found),
            output=sum(each["output_tokens"] for each in found),
        )


class Community(Watching):
    """`OpenAICallbackHandler` of langchain-community: tokens and dollars of OpenAI's models."""

    @override
    def attach(self, stack: ExitStack) -> BaseCallbackHandler:
        from langchain_community.callbacks.openai_info import OpenAICallbackHandler

        self.handler = OpenAICallbackHandler()
        return self.handler

    @override
    def read(self) -> Reading:
        found = self.handler
        return Reading(
            input=found.prompt_tokens,
            output=found.completion_tokens,
            cost=round(found.total_cost * 10**9),
        )


class Langfuse(Watching):
    """`CallbackHandler` of langfuse: the usage it would send; dollars are its server's work."""

    @override
    def attach(self, stack: ExitStack) -> BaseCallbackHandler:
        from langfuse.langchain import CallbackHandler

        self.observed = langfuse_observations()
        self.observed.forget()
        return CallbackHandler(public_key=self.observed.public_key)

    @override
    def read(self) -> Reading:
        sides = [_langfuse_sides(each) for each in self.observed.usages()]
        return Reading(input=sum(into for into, _ in sides), output=sum(out for _, out in sides))


HANDLERS: dict[str, type[Watching]] = {
    "ours": Ours,
    "core": Core,
    "community": Community,
    "langfuse": Langfuse,
}


class Observations:
    """A Langfuse client whose spans stay in memory; nothing is sent."""

    def __init__(self) -> None:
        from langfuse import Langfuse as Client
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        # Langfuse keeps one client for each key, also when it was shut down.
        self.public_key = f"pk-lf-{uuid4()}"
        self._spans, self._provider = InMemorySpanExporter(), TracerProvider()
        self._client = Client(
            public_key=self.public_key,
            secret_key="sk-lf-none",  # noqa: S106 - of nobody
            base_url="http://127.0.0.1:9",
            tracer_provider=self._provider,
            span_exporter=self._spans,
        )

    def forget(self) -> None:
        """Start anew."""
        self._client.flush()
        self._spans.clear()

    def spans(self) -> list[dict[str, Any]]:
        """The attributes of every span that ended, with its name."""
        self._client.flush()
        ended = self._spans.get_finished_spans()
        return [{"name": span.name, **(span.attributes or {})} for span in ended]

    def usages(self) -> list[dict[str, int]]:
        """The `usage_details` of every generation that has some."""
        told = (span.get("langfuse.observation.usage_details") for span in self.spans())
        return [json.loads(str(each)) for each in told if each]

    def close(self) -> None:
        """End its threads; the next run makes a new client."""
        self._client.shutdown()
        self._provider.shutdown()
        langfuse_observations.cache_clear()


@cache
def langfuse_observations() -> Observations:
    """The one client that all runs share."""
    return Observations()


def _langfuse_sides(usage: Mapping[str, int]) -> tuple[int, int]:
    """Input and output as Langfuse's server adds them up: by how the names begin.

    OpenAI's own blocks it takes apart itself. Anthropic's cached and written tokens have names that
    begin otherwise; they are counted as input here, which is kinder.
    """
    if "prompt_tokens" in usage:
        return usage["prompt_tokens"], usage["completion_tokens"]
    anthropic = ("cache_creation_input_tokens", "cache_read_input_tokens")
    into = (n for name, n in usage.items() if name.startswith("input") or name in anthropic)
    return sum(into), sum(n for name, n in usage.items() if name.startswith("output"))

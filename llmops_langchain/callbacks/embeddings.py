"""Embedders that say what they spend: a wrapper, because LangChain has no callbacks for them."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import run_in_executor
from typing_extensions import override

from llmops_langchain.callbacks.endings import bills_input, was_cut_off
from llmops_langchain.callbacks.spent import Cost, cost_of
from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.embeddings.base import LocalEmbeddings
from llmops_langchain.ledger import EMBEDDING, Event, Ledger, Scope, current_scope
from llmops_langchain.models import PriceBook, TokenUsage
from llmops_langchain.tokens import counter_for
from llmops_langchain.wrapping.scoping import attributed

__all__ = ["TrackedEmbeddings", "track_embeddings"]

logger = logging.getLogger(__name__)

_NAMES = ("model", "model_name", "model_id", "azure_deployment", "deployment", "deployment_name")

# The word of the class before `Embeddings`, where chat models of the house say another.
_PROVIDERS = {
    "azureopenai": "azure",
    "bedrock": "amazon_bedrock",
    "googlegenerativeai": "google_genai",
    "mistralai": "mistral",
    "vertexai": "google_vertexai",
}

_LOCAL = "local"

_QUICKLY_COUNTED = 20_000  # characters: about a millisecond


def track_embeddings(
    embeddings: Embeddings, ledger: Ledger, prices: PriceBook, *, clock: Clock = system_clock
) -> Embeddings:
    """The same embedder, each of whose calls is an event with its tokens and its price.

    Put a cache of vectors around it (`CacheBackedEmbeddings.from_bytes_store(tracked, …)`): a text
    found there is not embedded and costs nothing. Tracked once, it is not tracked again.

    Args:
        embeddings: Any LangChain embedder.
        ledger: Takes the events.
        prices: Knows what tokens cost. An embedder on this machine that is not of this package is
            `unpriced` until `prices.set(name, input_per_million=0, output_per_million=0)`.
        clock: Returns seconds since the Unix epoch.
    """
    if isinstance(embeddings, TrackedEmbeddings):
        return embeddings
    return TrackedEmbeddings(embeddings, ledger, prices, clock=clock)


class TrackedEmbeddings(Embeddings):
    """What `track_embeddings` returns; everything it does not know, the embedder itself answers.

    Nobody tells what embedding spent, so the tokens are counted here: exactly for OpenAI's models,
    whose vocabularies are public, and flagged `estimated` for all others.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        ledger: Ledger,
        prices: PriceBook,
        *,
        clock: Clock = system_clock,
    ) -> None:
        self.underlying_embeddings = embeddings
        """The embedder itself."""
        self._ledger, self._prices, self._clock = ledger, prices, clock
        self._model, self._provider = _model_of(embeddings), _provider_of(embeddings)

    @override
    def embed_documents(self, texts: list[str], *args: Any, **kwargs: Any) -> list[list[float]]:
        with self._watched(texts) as call:
            vectors = self.underlying_embeddings.embed_documents(texts, *args, **kwargs)
        self._record(call)
        return vectors

    @override
    def embed_query(self, text: str, *args: Any, **kwargs: Any) -> list[float]:
        with self._watched([text]) as call:
            vector = self.underlying_embeddings.embed_query(text, *args, **kwargs)
        self._record(call)
        return vector

    @override
    async def aembed_documents(
        self, texts: list[str], *args: Any, **kwargs: Any
    ) -> list[list[float]]:
        with self._watched(texts) as call:
            vectors = await self.underlying_embeddings.aembed_documents(texts, *args, **kwargs)
        await self._arecord(call)
        return vectors

    @override
    async def aembed_query(self, text: str, *args: Any, **kwargs: Any) -> list[float]:
        with self._watched([text]) as call:
            vector = await self.underlying_embeddings.aembed_query(text, *args, **kwargs)
        await self._arecord(call)
        return vector

    def __getattr__(self, name: str) -> Any:
        # Copying asks for names before there is an embedder to ask.
        if name.startswith("__") or "underlying_embeddings" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.underlying_embeddings, name)

    @contextmanager
    def _watched(self, texts: Sequence[str]) -> "Iterator[_Call]":
        call = _Call(texts=texts, scope=current_scope(), started=time.perf_counter())
        try:
            yield call
        except BaseException as error:
            call.latency = time.perf_counter() - call.started
            self._record(call, error)
            raise
        call.latency = time.perf_counter() - call.started

    async def _arecord(self, call: "_Call") -> None:
        """`_record`, in a worker thread where counting would hold up the loop."""
        if sum(map(len, call.texts)) > _QUICKLY_COUNTED:
            await run_in_executor(None, self._record, call)
        else:
            self._record(call)

    def _record(self, call: "_Call", error: BaseException | None = None) -> None:
        # Of a refused request nothing is billed.
        tokens = self._tokens(call.texts) if error is None or bills_input(error) else 0
        cost = self._cost(tokens)
        self._ledger.record(
            Event(
                name=EMBEDDING,
                ts=self._clock(),
                provider=self._provider,
                model=self._model,
                input_tokens=tokens,
                cost=cost.nano_dollars,
                price_version=cost.version,
                unpriced=cost.unpriced,
                latency=call.latency,
                status="error" if error else "ok",
                error_class=type(error).__name__ if error else None,
                estimated=tokens > 0 and (error is not None or self._is_estimate()),
                aborted=was_cut_off(error),
                **attributed(call.scope),
            )
        )

    def _tokens(self, texts: Sequence[str]) -> int:
        counter = counter_for(self._model or "")
        try:
            return sum(counter.text(text) for text in texts)
        except Exception as error:  # noqa: BLE001 - the vectors are there, and the caller wants them
            logger.warning("tokens could not be counted: %s", type(error).__name__)
            return 0

    def _is_estimate(self) -> bool:
        return counter_for(self._model or "").estimated

    def _cost(self, tokens: int) -> Cost:
        if self._provider == _LOCAL:
            return Cost(0, None, unpriced=False)
        usage = TokenUsage(input_tokens=tokens)
        return cost_of(self._prices, self._model, usage, self._provider, None)


@dataclass(slots=True, kw_only=True)
class _Call:
    texts: Sequence[str]
    scope: Scope
    started: float
    latency: float = 0.0


def _model_of(embeddings: Embeddings) -> str | None:
    """What the embedder was told to use; else the default of its class."""
    if isinstance(inner := getattr(embeddings, "underlying_embeddings", None), Embeddings):
        return _model_of(inner)
    values = {name: getattr(embeddings, name, None) for name in _NAMES}
    names = [name for name, value in values.items() if isinstance(value, str) and value]
    # Azure's class has OpenAI's default in `model` where only a deployment was named.
    told = getattr(embeddings, "model_fields_set", None) or ()
    name = next((name for name in names if name in told), next(iter(names), None))
    return name and values[name]


def _provider_of(embeddings: Embeddings) -> str | None:
    """Who serves it, in the word that chat models of the same house have as `ls_provider`."""
    if isinstance(inner := getattr(embeddings, "underlying_embeddings", None), Embeddings):
        return _provider_of(inner)
    if isinstance(embeddings, LocalEmbeddings):
        return _LOCAL
    kinds = (kind.__name__ for kind in type(embeddings).__mro__ if kind is not Embeddings)
    names = (
        name.removesuffix("Embeddings").lower() for name in kinds if name.endswith("Embeddings")
    )
    word = next((name for name in names if name), None)
    return word and _PROVIDERS.get(word, word)

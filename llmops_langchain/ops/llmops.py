"""The place where the parts meet: one database, one ledger, one price book for all of them."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, Self, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable

from llmops_langchain.analytics import Analytics
from llmops_langchain.cache import (
    CacheOptions,
    RedisStore,
    ResponseCache,
    SemanticPolicy,
    Sources,
    Store,
    cache_options,
    cached,
    store_for,
)
from llmops_langchain.callbacks import UsageCallbackHandler, attached
from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.graph import SqlNodeCache, trim_node
from llmops_langchain.ledger import Ledger, Scope, Share, track
from llmops_langchain.memory import ContextWindow, Strategy, recorder
from llmops_langchain.models import PriceBook
from llmops_langchain.settings import Settings
from llmops_langchain.storage import Database

__all__ = ["LLMOps"]

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=Runnable[Any, Any])

_SWITCH = "LLMOPS_DISABLED"


class LLMOps:
    """Every part over one database. Make one for the whole app; nothing is opened until used.

    Safe to share between threads, asyncio tasks and forked workers, and to keep at module level:
    what was recorded is flushed when the interpreter ends.

    Args:
        url: `"sqlite:///llmops.db"`, `"sqlite://"` (memory) or `"postgresql://…"`.
        settings: How the parts behave; by default `Settings.from_env()`.
        semantic: How the cache finds answers by meaning too; by default equal calls alone.
        clock: Returns seconds since the Unix epoch.

    Raises:
        ConfigurationError: If the URL or a setting cannot be honoured.
        MissingExtraError: If the driver of the database is not installed.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> with LLMOps("sqlite://") as ops:
        ...     model = ops.cached(FakeListChatModel(responses=["Paris"]))
        ...     with ops.track(project="quiz"):
        ...         answers = [model.invoke("Capital of France?").content for _ in range(2)]
        ...     ops.flush()
        ...     print(answers, ops.analytics.cost(project="quiz").cache_hits)
        ['Paris', 'Paris'] 1
    """

    def __init__(
        self,
        url: str = "sqlite:///llmops.db",
        settings: Settings | None = None,
        semantic: SemanticPolicy | None = None,
        *,
        clock: Clock = system_clock,
    ) -> None:
        self.settings = settings or Settings.from_env()
        if Settings.from_env({_SWITCH: os.environ.get(_SWITCH, "")}).disabled:
            self.settings = replace(self.settings, disabled=True)  # whatever the code says
        self._clock = clock
        self.database = Database(
            url,
            schema=self.settings.db_schema,
            auto_migrate=self.settings.auto_migrate,
            lock_timeout=self.settings.lock_timeout,
        )
        self.ledger = Ledger(
            self.database,
            durability=self.settings.durability,
            journal_dir=self.settings.journal_dir,
            disabled=self.settings.disabled,
        )
        self.prices = PriceBook(clock=clock)
        """What models cost; `prices.set(…)` for the ones you host or have a contract for."""
        # The price data takes a quarter of a second to load: now, not inside the first call.
        self.prices.rates("")
        self._may_write = bool(self.settings.encryption_key) or not self.settings.require_encryption
        if not self._may_write:
            logger.warning(
                "`require_encryption` is set and there is no `encryption_key`: "
                "answers are kept in this process' memory alone"
            )
        self._stores: list[Store] = []
        self.cache = self._response_cache(semantic)
        """For `set_llm_cache(ops.cache)`, where the code that makes the model cannot be touched."""
        self.node_cache = SqlNodeCache(
            self._store("nodes"),
            ttl=self.settings.cache_ttl,
            encryption_keys=self.settings.encryption_key,
            disabled=self.settings.disabled,
            clock=clock,
        )
        """For `graph.compile(cache=ops.node_cache)`: results of nodes that have a `CachePolicy`."""
        self.usage = UsageCallbackHandler(self.ledger, self.prices, clock=clock)
        """For `config={"callbacks": [ops.usage]}`, where `track` cannot be used."""
        self.analytics = Analytics(self.database, clock=clock)

    @contextmanager
    def track(
        self,
        *,
        workspace: str | None = None,
        project: str | None = None,
        task: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        thread: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Iterator[Scope]:
        """Attribute every model call inside to this scope, and record it.

        An inner `track` overrides what it names and inherits the rest. What no `track` names is
        filled from `config["metadata"]` (`workspace`, `project`, …, `thread_id`).

        Yields:
            The scope that is in force inside.
        """
        with ExitStack() as stack:
            scope = stack.enter_context(
                track(
                    workspace=workspace,
                    project=project,
                    task=task,
                    user=user,
                    agent=agent,
                    thread=thread,
                    tags=tags,
                )
            )
            if not self.settings.disabled:
                stack.enter_context(attached(self.usage))
            yield scope

    def cached(self, model: M) -> M:
        """A copy of `model`, of the same class, that answers from the cache where it can.

        Args:
            model: A chat model, or a binding around one (`model.bind_tools(…)`); or a text model.

        Raises:
            ConfigurationError: If there is no chat model to wrap.
        """
        return model if self.settings.disabled else cached(model, self.cache)

    def cache_options(
        self,
        *,
        ttl: float | None = None,
        bypass: bool | None = None,
        refresh: bool | None = None,
        tags: Collection[str] = (),
        share: Share | None = None,
        question: str | None = None,
        sources: Sources | None = None,
    ) -> AbstractContextManager[CacheOptions]:
        """Let every call inside use the cache like this; what is not given is inherited.

        Args:
            ttl: Seconds an answer kept inside lives; an older one is not served inside either.
                `float("inf")` keeps it until it is cleared.
            bypass: Neither look for an answer nor keep one.
            refresh: Ask the model, and keep its answer in place of the one that is there.
            tags: What the answers may be invalidated by: `ops.cache.invalidate(tag)`.
            share: Who may be given the answers: the `workspace`, one `project` or one `user`. A
                call whose scope does not name its project or user is then not cached.
            question: Which part of the prompt the user asks: the semantic tier compares it by
                meaning, and all around it to the letter.
            sources: Which texts of the prompt are given (texts, or LangChain's `Document`s): they
                are compared to the letter.

        Raises:
            ConfigurationError: If a value makes no sense.
        """
        return cache_options(
            ttl=ttl,
            bypass=bypass,
            refresh=refresh,
            tags=tags,
            share=share,
            question=question,
            sources=sources,
        )

    def context_window(
        self,
        model: str | BaseChatModel,
        max_tokens: int | None = None,
        strategy: str | Strategy = "sliding_window",
        *,
        tools: Sequence[Any] = (),
        output_reserve: int | None = None,
    ) -> ContextWindow:
        """A `ContextWindow` whose cuts are recorded, with the tokens they freed."""
        if self.settings.disabled:
            max_tokens, output_reserve = sys.maxsize, None
        record = recorder(self.ledger, self.prices, model, clock=self._clock)
        return ContextWindow(
            model, max_tokens, strategy, tools=tools, output_reserve=output_reserve, on_trim=record
        )

    def trim_node(
        self,
        window: ContextWindow,
        *,
        messages_key: str = "messages",
        output_key: str = "llm_input_messages",
    ) -> Callable[..., dict[str, Any]]:
        """A LangGraph node that cuts the state's messages for the model and leaves them whole."""
        return trim_node(window, messages_key=messages_key, output_key=output_key)

    def flush(self) -> None:
        """Bring everything recorded so far to the database.

        Raises:
            StorageError: If the database cannot take it; the events stay in the journal.
        """
        self.ledger.flush()

    async def aflush(self) -> None:
        """`flush` in a worker thread."""
        await asyncio.to_thread(self.flush)

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Flush when a web app shuts down: `FastAPI(lifespan=ops.lifespan)`."""
        try:
            yield
        finally:
            await self.aflush()

    def close(self) -> None:
        """Flush and close the database. If it is away, the journal keeps the events."""
        self.cache.close()  # a judge at work may still ask a model
        self.ledger.close()
        for store in self._stores:
            if isinstance(store, RedisStore):
                store.close()
        self.database.close()

    async def aclose(self) -> None:
        """`close` in a worker thread."""
        await asyncio.to_thread(self.close)

    def _response_cache(self, semantic: SemanticPolicy | None) -> ResponseCache:
        settings = self.settings
        return ResponseCache(
            self._store("answers"),
            ttl=settings.cache_ttl,
            max_items=settings.cache_max_items,
            share=settings.cache_share,
            wait=settings.cache_wait,
            encryption_keys=settings.encryption_key,
            prices=self.prices,
            semantic=semantic,
            rows=self.database if self._may_write else None,
            embeddings_dir=settings.embeddings_dir,
            disabled=settings.disabled,
            clock=self._clock,
        )

    def _store(self, space: str) -> Store:
        settings = self.settings
        store = store_for(
            self.database,
            url=settings.cache_url,
            space=space,
            max_bytes=settings.cache_max_bytes,
            may_write=self._may_write,
        )
        self._stores.append(store)
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

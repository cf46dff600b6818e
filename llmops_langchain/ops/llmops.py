"""The parts of one app, under one name."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
)
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable

from llmops_langchain.cache import (
    CacheOptions,
    SemanticPolicy,
    Sources,
    cache_options,
    cached,
)
from llmops_langchain.callbacks import (
    BudgetGate,
    Conventions,
    OnFull,
    OpenTelemetryExport,
    WhenFull,
    attached,
    guarded,
    track_embeddings,
)
from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import BudgetExceededError
from llmops_langchain.graph import budget_node
from llmops_langchain.ledger import Scope, Share, track
from llmops_langchain.ops.kept import Kept
from llmops_langchain.ops.learners import Learners
from llmops_langchain.ops.parts import made_of
from llmops_langchain.ops.routers import Routers
from llmops_langchain.ops.windows import Windows
from llmops_langchain.settings import Settings
from llmops_langchain.wrapping.named import chat_model

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from llmops_langchain.middleware import BudgetMiddleware, ExitBehavior

__all__ = ["LLMOps"]

M = TypeVar("M", bound=Runnable[Any, Any])

_SWITCH = "LLMOPS_DISABLED"


class LLMOps(Windows, Routers, Learners, Kept):
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
        self._parts = parts = made_of(url, self.settings, semantic, clock=clock)
        self.database, self.ledger = parts.database, parts.ledger
        self.prices = parts.prices
        """What models cost; `prices.set(…)` for the ones you host or have a contract for."""
        self.cache = parts.cache
        """For `set_llm_cache(ops.cache)`, where the code that makes the model cannot be touched."""
        self.node_cache = parts.node_cache
        """For `graph.compile(cache=ops.node_cache)`: results of nodes that have a `CachePolicy`."""
        self.usage = parts.usage
        """For `config={"callbacks": [ops.usage]}`, where `track` cannot be used."""
        self.contents = parts.contents
        """Prompts and answers, with `Settings(capture_content=True)`: `contents.read(run_id)`."""
        self.budgets = parts.budgets
        """What may be spent: `budgets.set(Budget(project="p", limit="20", period="month"))`."""
        self.chats = parts.chats
        """Chat histories: `chats.list(user=…)`, `export`, `delete`; `history(session)` for one."""
        self.learning = parts.learning
        """What finished runs taught: `learning.learn(…)`, `similar`, `predict_success`, ….
        """
        self.workspaces = parts.workspaces
        """Teams with roles, invitations, keys and an audit log: `workspaces.create(…)`, `require`.
        """
        self.analytics = parts.analytics
        """Metrics and reports: `track_metric(…)`, `cost(…)`, `performance(…)`, `quality(…)`, …."""

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
                self.prices.read_ahead()  # or the first event of an event loop would wait for it
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

    def guard(
        self,
        model: M,
        *,
        on_full: OnFull = "raise",
        timeout: float = 60.0,
        downgrade_to: BaseChatModel | str | None = None,
    ) -> M:
        """A copy of `model`, of the same class, that asks the budgets before each call.

        What the call may cost is set aside in every hard budget of its scope at once, and settled
        with what it did cost.

        Args:
            model: A chat model, or a binding around one; or a text model.
            on_full: With no room in a budget: `"raise"`, or `"wait"` until calls under way have
                cost less than was set aside for them.
            timeout: Seconds to wait at most.
            downgrade_to: A cheaper chat model to ask when there is no room for this one.

        Raises:
            ConfigurationError: If there is no model to wrap, or an argument makes no sense.
        """
        if self.settings.disabled:
            return model
        cheaper = None if downgrade_to is None else self.guard(chat_model(downgrade_to))
        full = WhenFull(action=on_full, timeout=timeout, instead=cheaper)
        return guarded(model, self._parts.gate, full)

    def wrap(
        self,
        model: M | str,
        *,
        on_full: OnFull = "raise",
        timeout: float = 60.0,
        downgrade_to: BaseChatModel | str | None = None,
    ) -> M:
        """`cached` and `guard` in the one right order: hits are free, the rest asks the budgets.

        Args:
            model: As for `cached`; or a name such as `"openai:gpt-5-mini"` (`[agents]`).
            on_full: As for `guard`.
            timeout: As for `guard`.
            downgrade_to: As for `guard`.

        Raises:
            ConfigurationError: If there is no model to wrap.
            MissingExtraError: If `model` is a name and LangChain is not installed.
        """
        made = cast("M", chat_model(model)) if isinstance(model, str) else model
        guarded_ = self.guard(made, on_full=on_full, timeout=timeout, downgrade_to=downgrade_to)
        return self.cached(guarded_)

    def budget_gate(self, *, on_full: OnFull = "raise", timeout: float = 60.0) -> BudgetGate:
        """A rate limiter that asks the budgets, for a model that cannot be wrapped.

        Args:
            on_full: As for `guard`.
            timeout: As for `guard`.

        Raises:
            ConfigurationError: If an argument makes no sense.
        """
        parts, full = self._parts, WhenFull(action=on_full, timeout=timeout)
        return BudgetGate(parts.gate, parts.reservations, parts.ledger, full=full)

    def budget_middleware(
        self,
        *,
        exit_behavior: "ExitBehavior" = "end",
        downgrade_to: BaseChatModel | str | None = None,
        message: str | Callable[[BudgetExceededError], str] | None = None,
    ) -> "BudgetMiddleware":
        """For `create_agent(…, middleware=[…])`: what an agent does when a budget has no room.

        Args:
            exit_behavior: `"end"` with a message, `"error"`, or `"downgrade"`.
            downgrade_to: The cheaper model of `"downgrade"`.
            message: What the agent says at its end, or makes it of the error.

        Raises:
            ConfigurationError: If the arguments do not fit each other.
            MissingExtraError: If LangChain is not installed (`[agents]`).
        """
        from llmops_langchain.middleware import BudgetMiddleware

        return BudgetMiddleware(
            self.guard, exit_behavior=exit_behavior, downgrade_to=downgrade_to, message=message
        )

    def budget_node(self, **options: Any) -> Callable[..., Any]:
        """A LangGraph node that writes what is left to the state; options as for `budget_node`."""
        counting = (lambda _: []) if self.settings.disabled else self.budgets.counting
        return budget_node(counting, **options)

    def track_embeddings(self, embeddings: Embeddings) -> Embeddings:
        """The same embedder, each of whose calls is recorded with its tokens and its price."""
        if self.settings.disabled:
            return embeddings
        return track_embeddings(embeddings, self.ledger, self.prices, clock=self._clock)

    def export_otel(
        self,
        tracer_provider: "TracerProvider | None" = None,
        meter_provider: "MeterProvider | None" = None,
        *,
        conventions: Conventions = "1.41",
        include_user: bool = False,
    ) -> None:
        """Send a span and metrics for each model call, embedding and tool run, never their text.

        Args:
            tracer_provider: Takes the spans; by default OpenTelemetry's global one.
            meter_provider: Takes the metrics; by default the global one.
            conventions: Whose names: OpenTelemetry's GenAI conventions by version.
            include_user: Let spans name the user.

        Raises:
            MissingExtraError: If OpenTelemetry is not installed (`[otel]`).
        """
        self.ledger.listen(
            OpenTelemetryExport(
                tracer_provider, meter_provider, conventions=conventions, include_user=include_user
            )
        )

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

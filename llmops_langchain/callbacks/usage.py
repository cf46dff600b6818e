"""One event for each call of a language model: whose it was, what it used, what it cost."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from decimal import Decimal
from typing import Any, SupportsIndex
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import Generation, LLMResult
from typing_extensions import override

from llmops_langchain.callbacks.call_event import call_event
from llmops_langchain.callbacks.reading import Answer, read_answer, read_part, read_unparsed
from llmops_langchain.callbacks.runs import Call, Runs, WatchedCall
from llmops_langchain.callbacks.spent import NOTHING
from llmops_langchain.callbacks.stated import Stated, stated_event
from llmops_langchain.callbacks.tools import ToolRuns
from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.ledger import Event, Ledger, Status
from llmops_langchain.models import PriceBook
from llmops_langchain.wrapping.scoping import scope_of

__all__ = ["UsageCallbackHandler"]

# The run of the innermost chat model that this context has seen begin.
_started: ContextVar[UUID | None] = ContextVar("llmops_started", default=None)

_DELTAS = ("text", "reasoning", "args")


Capture = Callable[[Event, Sequence[BaseMessage] | str, LLMResult | None], None]
"""Takes what was said in a call, with its event."""


class UsageCallbackHandler(BaseCallbackHandler):
    """Records an `Event` for each model call, with its tokens, its price and its scope.

    It runs inline, never raises into the user's call, and serves any number of threads and tasks.
    Cache hits cost nothing and show what they saved. Where a provider sends no usage, tokens are
    counted here and the event says `estimated`. A call is known by its `run_id` and counted once,
    also when the handler is attached twice. Runs of tools are events of their own, without text.

    Args:
        ledger: Takes the events.
        prices: Knows what tokens cost.
        capture: Takes prompts and answers too, where the app wants them kept.
        clock: Returns seconds since the Unix epoch.
        max_runs: Calls under way at once; where there are more, the oldest tenth is given up.
        ttl: Seconds after which a call whose end nothing told of is given up.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> from llmops_langchain import LLMOps
        >>> with LLMOps("sqlite://") as ops:
        ...     model = FakeListChatModel(responses=["Paris"])
        ...     answer = model.invoke("Capital of France?", config={"callbacks": [ops.usage]})
        ...     ops.flush()
        ...     print(ops.analytics.cost().calls)
        1
    """

    run_inline = True

    def __init__(
        self,
        ledger: Ledger,
        prices: PriceBook,
        *,
        capture: Capture | None = None,
        clock: Clock = system_clock,
        max_runs: int = 10_000,
        ttl: float = 3_600.0,
    ) -> None:
        self._ledger, self._prices, self._clock = ledger, prices, clock
        self._capture = capture
        self._calls: Runs[Call] = Runs(clock, most=max_runs, ttl=ttl)
        self._tools = ToolRuns(ledger, Runs(clock, most=max_runs, ttl=ttl), clock=clock)

    @property
    def orphans(self) -> int:
        """Calls that began and were given up, because nothing told of their end.

        Core tells of none when an `ainvoke` is cancelled; a guarded model does.
        """
        return self._calls.orphans

    def watches(self, run_id: UUID) -> bool:
        """Whether this call has begun and not ended."""
        return run_id in self._calls

    def prompt_of(self, run_id: UUID) -> WatchedCall | None:
        """What is known of a call under way; `None` if this handler watches no such call."""
        if (call := self._calls.get(run_id)) is None:
            return None
        return WatchedCall(call.prompt, call.scope, call.provider, call.model, call.settings)

    def started(self) -> UUID | None:
        """The run of the chat model that began last in this context, if it is still under way.

        A rate limiter, which is told nothing, learns by it whom it is asked for. Of a `generate`
        with several prompts, whose runs all begin first, this is the last one.
        """
        run_id = _started.get()
        return run_id if run_id is not None and run_id in self._calls else None

    def settles(
        self,
        run_id: UUID,
        reservation_id: UUID,
        *,
        model: str | None = None,
        provider: str | None = None,
        at_risk: int = 0,
    ) -> None:
        """Let the event of a call under way say which reservation it settles.

        Args:
            run_id: The call's.
            reservation_id: What was set aside for it.
            model: Who is asked in the end, if it may be another than began.
            provider: Likewise.
            at_risk: Nano-dollars that it counts at least if it is cut off: the provider goes on.
        """
        if (call := self._calls.get(run_id)) is not None:
            call.reservation_id, call.at_risk = reservation_id, at_risk
            call.model, call.provider = model or call.model, provider or call.provider

    def goes_on_as(self, run_id: UUID, other: UUID) -> bool:
        """Let the event of a call under way be another run's, whose attempt it was.

        Returns:
            Whether this handler has to be told of the end: nobody else tells it of that run.
        """
        call, whole = self._calls.end(run_id), self._calls.get(other)
        if call is None:
            return False
        if whole is None:
            self._calls.begin(other, replace(call, parent_run_id=None))
            return True
        whole.reservation_id, whole.at_risk = call.reservation_id, call.at_risk
        whole.model, whole.provider, whole.prices = call.model, call.provider, call.prices
        return False

    def attempted(
        self,
        attempt_id: UUID,
        run_id: UUID,
        error: BaseException | None,
        answer: LLMResult | None = None,
        *,
        metadata: Mapping[str, Any],
        latency: float,
    ) -> None:
        """Record a router's attempt that was not its last, where its run is watched.

        Args:
            attempt_id: Its own id.
            run_id: The router's run.
            error: How it failed, if it did.
            answer: What it answered, if that was not good enough.
            metadata: As core tells it of a model's run, and `llmops_prices` of its own.
            latency: Seconds until then.
        """
        whole = self._calls.get(run_id)
        if whole is None or attempt_id in self._calls or not self._calls.end_unseen(attempt_id):
            return  # a guarded attempt has told of itself, or will
        tried = replace(
            whole,
            model=metadata.get("ls_model_name"),
            provider=metadata.get("ls_provider"),
            prices=metadata.get("llmops_prices"),
            parent_run_id=run_id,
        )
        tried.started, tried.first_token = time.perf_counter() - latency, None
        tried.reservation_id, tried.at_risk = None, 0
        heard = None if answer is None else read_answer(answer)
        self._ledger.record(self._event(tried, attempt_id, heard, error))

    def counted(self, run_id: UUID) -> None:
        """Take a run as counted: its answer is that of an attempt which has an event of its own."""
        self._calls.end_unseen(run_id)

    def record(
        self,
        *,
        model: str,
        input_tokens: SupportsIndex = 0,
        output_tokens: SupportsIndex = 0,
        cached_tokens: SupportsIndex = 0,
        written_tokens: SupportsIndex = 0,
        reasoning_tokens: SupportsIndex = 0,
        cost: Decimal | float | str | None = None,
        provider: str | None = None,
        tier: str | None = None,
        ts: float | None = None,
        latency: float | None = None,
        run_id: UUID | None = None,
        status: Status = "ok",
        metadata: Mapping[str, Any] | None = None,
    ) -> Event:
        """Count a model call that was made elsewhere, for whomever `track` says.

        Args:
            model: Its name.
            input_tokens: All input, cached and written tokens included.
            output_tokens: All output, reasoning included.
            cached_tokens: Input read from the provider's prompt cache.
            written_tokens: Input written to it.
            reasoning_tokens: Output spent on thinking.
            cost: US dollars, if known; otherwise the price book says.
            provider: Who answered, where the model's name does not say.
            tier: Service tier that changes the price: `batch`, `fast`, `flex`, `priority`.
            ts: When it ended, UTC seconds since the Unix epoch; by default now.
            latency: Seconds it took.
            run_id: Equal ids are one call, counted once.
            status: `ok` or `error`.
            metadata: Fills what `track` left open, as `config["metadata"]` does.

        Returns:
            The event.

        Raises:
            ConfigurationError: If a count is no whole number, or a figure is negative or not
                finite.
        """
        tokens = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cached_tokens": cached_tokens,
            "written_tokens": written_tokens,
            "reasoning_tokens": reasoning_tokens,
        }
        ended = self._clock() if ts is None else ts
        stated = Stated(
            model, tokens, cost, provider, tier, ended, latency, run_id, status, metadata or {}
        )
        event = stated_event(stated, self._prices)
        if (call := self._calls.get(event.id)) is not None:
            event = replace(event, reservation_id=call.reservation_id)
        if self._calls.end_unseen(event.id):
            self._ledger.record(event)
        return event

    @property
    @override
    def ignore_chain(self) -> bool:
        return True

    @property
    @override
    def ignore_retriever(self) -> bool:
        return True

    @override
    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        prompt = messages[0] if messages else []
        self._start(prompt, run_id, parent_run_id, metadata or {}, told=kwargs)
        _started.set(run_id)

    @override
    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # Core hands the prompts of one batch the very same parameters.
        batch = kwargs.get("invocation_params") if kwargs.get("batch_size", 1) > 1 else None
        prompt = prompts[0] if prompts else ""
        self._start(prompt, run_id, parent_run_id, metadata or {}, told=kwargs, batch=batch)

    @override
    def on_llm_new_token(self, token: str, *, run_id: UUID, **kwargs: Any) -> None:  # type: ignore[override]  # `chunk` and the rest stand in kwargs
        call = self._calls.get(run_id)
        if call is not None and call.first_token is None:
            call.first_token = time.perf_counter()

    @override
    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        # Streams of core's v3 protocol send these and no `on_llm_new_token`.
        if event.get("event") == "content-block-delta" and (call := self._calls.get(run_id)):
            call.first_token = call.first_token or time.perf_counter()
            delta = event.get("delta") or {}
            arrived = next((text for key in _DELTAS if (text := delta.get(key))), "")
            call.streamed = call.streamed or []
            call.streamed.append(arrived if isinstance(arrived, str) else "")

    @override
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        if (call := self._calls.end(run_id)) is not None:
            answer = read_answer(response)
            if call.batch is not None:
                answer = self._of_batch(call, answer)
            self._record(self._event(call, run_id, answer), call.prompt, response)

    @override
    def on_llm_error(
        self,
        error: BaseException,
        *,
        run_id: UUID,
        response: LLMResult | None = None,
        **kwargs: Any,
    ) -> None:
        if (call := self._calls.end(run_id)) is not None:
            # A stream that began was paid for as far as it came.
            answer = read_part(response) or read_unparsed(error)
            if answer is None and call.streamed:
                answer = Answer(choices=[Generation(text="".join(call.streamed))])
            self._record(self._event(call, run_id, answer, error), call.prompt, response)

    @override
    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = (serialized or {}).get("name") or kwargs.get("name") or "unknown"
        self._tools.start(str(name), run_id, parent_run_id, metadata or {})

    @override
    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._tools.end(run_id, failed=getattr(output, "status", None) == "error")

    @override
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._tools.end(run_id, error=error)

    def _start(
        self,
        prompt: Sequence[BaseMessage] | str,
        run_id: UUID,
        parent_run_id: UUID | None,
        metadata: Mapping[str, Any],
        *,
        told: Mapping[str, Any],
        batch: object = None,
    ) -> None:
        call = Call(
            since=self._clock(),
            started=time.perf_counter(),
            scope=scope_of(metadata),
            provider=metadata.get("ls_provider"),
            model=metadata.get("ls_model_name"),
            parent_run_id=parent_run_id,
            prompt=prompt,
            settings=told.get("invocation_params") or {},
            batch=batch,
            prices=metadata.get("llmops_prices"),
        )
        self._calls.begin(run_id, call)

    def _record(
        self, event: Event, prompt: Sequence[BaseMessage] | str, result: LLMResult | None
    ) -> None:
        self._ledger.record(event)
        if self._capture is not None:
            self._capture(event, prompt, result)

    def _event(
        self, call: Call, run_id: UUID, answer: Answer | None, error: BaseException | None = None
    ) -> Event:
        return call_event(call, run_id, answer, error, prices=self._prices, ts=self._clock())

    def _of_batch(self, call: Call, answer: Answer) -> Answer:
        if call.counted:
            return answer if answer.usage is not None else Answer(usage=NOTHING, model=answer.model)
        if answer.usage is not None:
            for other in self._calls:
                other.counted = other.counted or other.batch is call.batch
        return answer

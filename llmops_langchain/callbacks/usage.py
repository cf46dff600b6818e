"""One event for each call of a language model: whose it was, what it used, what it cost."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.tracers.context import register_configure_hook
from typing_extensions import override

from llmops_langchain.callbacks.reading import Answer, read_answer, read_part
from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.ledger import LLM_CALL, Event, Ledger, Scope, current_scope, holding
from llmops_langchain.models import PriceBook, TokenUsage
from llmops_langchain.tokens import count_tokens

__all__ = ["UsageCallbackHandler", "attached"]

# A cancelled `ainvoke` fires nothing after its start: of what never ends, the oldest tenth is
# forgotten.
_MOST_RUNS = 10_000

_CANCELLED = (GeneratorExit, asyncio.CancelledError, KeyboardInterrupt)


@dataclass(slots=True)
class _Run:
    """What is known of a call between its start and its end."""

    started: float
    scope: Scope
    provider: str | None
    model: str | None
    parent_run_id: UUID | None
    prompt: Sequence[BaseMessage] | str
    first_token: float | None = None
    streamed: list[str] = field(default_factory=list)
    """Text that came as events of core's v3 streams, which leave no part when they break."""
    batch: object = None
    """Equal for text prompts that were sent together: the first answer has the usage of all."""
    counted: bool = False
    """The batch's usage stands in another event."""


class UsageCallbackHandler(BaseCallbackHandler):
    """Records an `Event` for each model call, with its tokens, its price and its scope.

    It runs inline, never raises into the user's call, and serves any number of threads and tasks.
    Cache hits cost nothing and show what they saved. Where a provider sends no usage, tokens are
    counted here and the event says `estimated`. A call is known by its `run_id` and counted once,
    also when the handler is attached twice.

    Args:
        ledger: Takes the events.
        prices: Knows what tokens cost.
        clock: Returns seconds since the Unix epoch.
    """

    run_inline = True

    def __init__(self, ledger: Ledger, prices: PriceBook, *, clock: Clock = system_clock) -> None:
        self._ledger, self._prices, self._clock = ledger, prices, clock
        self._runs: dict[UUID, _Run] = {}

    @property
    @override
    def ignore_chain(self) -> bool:
        return True

    @property
    @override
    def ignore_retriever(self) -> bool:
        return True

    @property
    @override
    def ignore_agent(self) -> bool:
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
        self._start(messages[0] if messages else [], run_id, parent_run_id, metadata or {})

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
        self._start(prompts[0] if prompts else "", run_id, parent_run_id, metadata or {})
        if kwargs.get("batch_size", 1) > 1:
            # Core hands the prompts of one batch the very same parameters.
            self._runs[run_id].batch = kwargs.get("invocation_params")

    @override
    def on_llm_new_token(self, token: str, *, run_id: UUID, **kwargs: Any) -> None:  # type: ignore[override]  # `chunk` and the rest stand in kwargs
        run = self._runs.get(run_id)
        if run is not None and run.first_token is None:
            run.first_token = time.perf_counter()

    @override
    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        # Streams of core's v3 protocol send these and no `on_llm_new_token`.
        if event.get("event") == "content-block-delta" and (run := self._runs.get(run_id)):
            run.first_token = run.first_token or time.perf_counter()
            run.streamed.append(event["delta"].get("text") or "")

    @override
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        if (run := self._runs.pop(run_id, None)) is not None:
            answer = read_answer(response)
            if run.batch is not None:
                answer = self._of_batch(run, answer)
            self._ledger.record(self._event(run, run_id, answer))

    @override
    def on_llm_error(
        self,
        error: BaseException,
        *,
        run_id: UUID,
        response: LLMResult | None = None,
        **kwargs: Any,
    ) -> None:
        if (run := self._runs.pop(run_id, None)) is not None:
            # A stream that began was paid for as far as it came; a refused call was not.
            answer = read_part(response)
            if answer is None and run.streamed:
                answer = Answer(text="".join(run.streamed))
            self._ledger.record(self._event(run, run_id, answer, error=error))

    def _start(
        self,
        prompt: Sequence[BaseMessage] | str,
        run_id: UUID,
        parent_run_id: UUID | None,
        metadata: Mapping[str, Any],
    ) -> None:
        if len(self._runs) >= _MOST_RUNS:
            # `list` of a dict is one step of the interpreter: no other thread comes in between.
            for oldest in list(self._runs)[: _MOST_RUNS // 10]:
                self._runs.pop(oldest, None)
        self._runs[run_id] = _Run(
            started=time.perf_counter(),
            scope=current_scope().filled_from(_with_agent(metadata)),
            provider=metadata.get("ls_provider"),
            model=metadata.get("ls_model_name"),
            parent_run_id=parent_run_id,
            prompt=prompt,
        )

    def _of_batch(self, run: _Run, answer: Answer) -> Answer:
        if answer.usage is None:
            return replace(answer, usage=TokenUsage(), text="") if run.counted else answer
        for other in tuple(self._runs.values()):
            other.counted = other.counted or other.batch is run.batch
        return answer

    def _event(
        self, run: _Run, run_id: UUID, answer: Answer | None, *, error: BaseException | None = None
    ) -> Event:
        model = (answer and answer.model) or run.model
        tier = answer.tier if answer else None
        cache_tier = answer.cache_tier if answer else None
        paid, estimated = _paid(run, answer, model)
        price = self._prices.price(model or "", paid, provider=run.provider, tier=tier)
        spent = TokenUsage() if cache_tier else paid
        amount = price.nano_dollars if price else 0
        ended = time.perf_counter()
        scope = run.scope
        return Event(
            id=run_id,
            name=LLM_CALL,
            ts=self._clock(),
            workspace=scope.workspace,
            project=scope.project,
            task=scope.task,
            user=scope.user,
            agent=scope.agent,
            thread=scope.thread,
            tags=scope.tags or None,
            provider=run.provider,
            model=model,
            tier=tier,
            run_id=run_id,
            parent_run_id=run.parent_run_id,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            cached_tokens=spent.cached_tokens,
            written_tokens=spent.written_tokens,
            reasoning_tokens=spent.reasoning_tokens,
            audio_tokens=spent.audio_input_tokens + spent.audio_output_tokens,
            cost=0 if cache_tier else amount,
            saved=amount if cache_tier else 0,
            price_version=price.version if price else None,
            latency=ended - run.started,
            time_to_first_token=run.first_token and run.first_token - run.started,
            status="error" if error else "ok",
            error_class=type(error).__name__ if error else None,
            cache_tier=cache_tier,
            estimated=estimated,
            unpriced=price is None and paid != TokenUsage(),
            aborted=isinstance(error, _CANCELLED),
        )


def _paid(run: _Run, answer: Answer | None, model: str | None) -> tuple[TokenUsage, bool]:
    """The tokens that were paid for (for a hit: at the time), and whether they are estimated."""
    if answer is None:
        return TokenUsage(), False
    if answer.usage is not None and (answer.usage.output_tokens or not answer.text):
        return answer.usage, False
    # A stream that broke off early may have told its input alone.
    usage = answer.usage or TokenUsage(input_tokens=count_tokens(run.prompt, model or ""))
    return replace(usage, output_tokens=count_tokens(answer.text, model or "")), True


def _with_agent(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """LangGraph's own words for who is calling, where the user said none.

    `langgraph_checkpoint_ns` is `team:<uuid>|writer:<uuid>` in nested graphs: `team/writer`.
    """
    if metadata.get("agent") is not None or metadata.get("agent_id") is not None:
        return metadata
    path = str(metadata.get("langgraph_checkpoint_ns") or "").split("|")
    agent = metadata.get("lc_agent_name") or "/".join(each.partition(":")[0] for each in path)
    return {**metadata, "agent": agent} if agent else metadata


# One hook for the life of the process: core keeps each registered hook for ever.
_attached: ContextVar[UsageCallbackHandler | None] = ContextVar("llmops_usage", default=None)
register_configure_hook(_attached, inheritable=True)


@contextmanager
def attached(handler: UsageCallbackHandler) -> Iterator[None]:
    """Add `handler` to every LangChain run that starts inside, in this task and its children."""
    with holding(_attached, handler):
        yield

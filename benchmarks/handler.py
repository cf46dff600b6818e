"""Cost that a usage handler adds to a model call, against the handlers of others.

Ours prices each call, keeps it in a journal and has it written to an SQLite file. Core's adds token
counts up in memory, community's dollars too; Langfuse's and OpenInference's make spans, which stay
on this machine here and are counted as they end. What a handler adds is the difference to the same
call without one, in turn with it and in a process of its own: threads and wrappers that one brings
would slow the others down. One that does nothing shows what LangChain spends on having any.

    python benchmarks/handler.py
"""

import asyncio
import gc
import logging
import multiprocessing
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import uuid4

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    BaseCallbackHandler,
    CallbackManagerForLLMRun,
    UsageMetadataCallbackHandler,
)
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult, LLMResult
from measuring import Claim, Timing, in_turn, print_claims, print_table, sized
from typing_extensions import override

from llmops_langchain import Ledger, LLMOps, UsageCallbackHandler

CALLS = sized(2_000, quick=20)
GATHERS = sized(60, quick=2)
AT_ONCE = 50
LASTING = sized(100_000, quick=4_000)
NONE, NOTHING, OURS = "no handler", "one that does nothing, inline", "`UsageCallbackHandler`"
CORE = "core `UsageMetadataCallbackHandler`"
SYNC, ALONE, TOGETHER = "sync", "async, one at a time", f"async, {AT_ONCE} at once"
GOALS = {SYNC: 40, ALONE: 50, TOGETHER: 50}
MOST_GROWTH = 0.5  # MB: a tenth of what the orphans of 90,000 calls would take

ASKED = "Capital of France?"
MODEL = "gpt-4o-2024-08-06"
USAGE = {"input_tokens": 1_200, "output_tokens": 300, "total_tokens": 1_500}


class InstantModel(BaseChatModel):
    """Answers at once and says what it used, as OpenAI's models do."""

    @property
    @override
    def _llm_type(self) -> str:
        return "instant"

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider="openai", ls_model_name=MODEL, ls_model_type="chat")

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[answered()])

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages, stop, **kwargs)


def answered() -> ChatGeneration:
    """An answer with its usage."""
    said = {"model_name": MODEL, "model_provider": "openai"}
    return ChatGeneration(message=AIMessage("Paris.", usage_metadata=USAGE, response_metadata=said))


class Counted(NamedTuple):
    """What a handler says was used."""

    input_tokens: int
    output_tokens: int


class Added(NamedTuple):
    """What a handler adds to a call, in µs."""

    without: float
    p50: float
    mean: float


def added(times: Mapping[str, Timing], name: str) -> Added:
    """By the difference to the same call without a handler, in the same process."""
    alone, with_it = times[NONE], times[name]
    return Added(alone.p50, with_it.p50 - alone.p50, with_it.mean - alone.mean)


class Handler(NamedTuple):
    """A handler, and how to read from it what it counted."""

    callbacks: list[BaseCallbackHandler]
    counted: Callable[[], Counted] | None = None


class DoesNothing(BaseCallbackHandler):
    """Is called inline, and is all."""

    run_inline = True
    ignore_chain = ignore_retriever = True

    @override
    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None: ...


def core() -> Handler:
    """LangChain's own: tokens by model."""
    handler = UsageMetadataCallbackHandler()

    def counted() -> Counted:
        usage = handler.usage_metadata[MODEL]
        return Counted(usage["input_tokens"], usage["output_tokens"])

    return Handler([handler], counted)


def community() -> Handler:
    """langchain-community's: tokens and dollars of OpenAI's models."""
    from langchain_community.callbacks.openai_info import OpenAICallbackHandler

    handler = OpenAICallbackHandler()
    return Handler([handler], lambda: Counted(handler.prompt_tokens, handler.completion_tokens))


class Spans:
    """Adds up the tokens that spans tell, and keeps none of them."""

    def __init__(self, *names: str) -> None:
        self._names, self._counts = names, [0, 0]

    def add(self, attributes: Mapping[str, Any]) -> None:
        """A span has ended."""
        for place, name in enumerate(self._names):
            self._counts[place] += attributes.get(name, 0)

    def counted(self) -> Counted:
        """All so far."""
        return Counted(*self._counts)


def langfuse(closing: ExitStack) -> Handler:
    """Langfuse's: a span for each call, handed to an exporter in batches by a thread."""
    import orjson
    from langfuse import Langfuse
    from langfuse.langchain import CallbackHandler
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    spans = Spans("input", "output")

    class Counting(SpanExporter):
        def export(self, ended: Sequence[ReadableSpan]) -> SpanExportResult:
            for span in ended:
                told = (span.attributes or {}).get("langfuse.observation.usage_details")
                spans.add(orjson.loads(str(told)) if told else {})
            return SpanExportResult.SUCCESS

    key = f"pk-lf-{uuid4()}"
    client = Langfuse(
        public_key=key,
        secret_key="of nobody",  # noqa: S106 - of nobody
        base_url="http://127.0.0.1:9",  # where nobody listens
        tracer_provider=TracerProvider(),
        span_exporter=Counting(),
    )
    closing.callback(client.shutdown)

    def counted() -> Counted:
        client.flush()
        return spans.counted()

    return Handler([CallbackHandler(public_key=key)], counted)


def openinference(closing: ExitStack) -> Handler:
    """OpenInference's (Phoenix): a span for each call."""
    from openinference.instrumentation import OITracer, TraceConfig
    from openinference.instrumentation.langchain._tracer import OpenInferenceTracer
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

    spans = Spans("llm.token_count.prompt", "llm.token_count.completion")

    class Counting(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            spans.add(span.attributes or {})

    provider = TracerProvider()
    provider.add_span_processor(Counting())
    closing.callback(provider.shutdown)
    tracer = OITracer(provider.get_tracer("benchmark"), config=TraceConfig())
    handler = OpenInferenceTracer(tracer, separate_trace_from_runtime_context=False)
    return Handler([handler], spans.counted)


def ours(ops: LLMOps, ledger: Ledger) -> Handler:
    """This package's: prices, a journal, a database."""

    def counted() -> Counted:
        ledger.flush()
        cost = ops.analytics.cost()
        assert cost.total > 0
        assert cost.unpriced_calls == 0
        return Counted(cost.input_tokens, cost.output_tokens)

    return Handler([UsageCallbackHandler(ledger, ops.prices)], counted)


PEERS: Mapping[str, Callable[[ExitStack], Handler]] = {
    NOTHING: lambda _: Handler([DoesNothing()]),
    CORE: lambda _: core(),
    "community `OpenAICallbackHandler`": lambda _: community(),
    "Langfuse `CallbackHandler`": langfuse,
    "OpenInference `OpenInferenceTracer`": openinference,
}


@dataclass
class Calls:
    """Calls of one model with the same handler attached, and how many there were."""

    handler: Handler
    loop: asyncio.AbstractEventLoop
    made: int = 0
    model: BaseChatModel = field(default_factory=InstantModel)

    def once(self, asked: str) -> None:
        """One `invoke`."""
        self.made += 1
        self.model.invoke(asked, {"callbacks": self.handler.callbacks})

    def once_async(self, asked: str) -> None:
        """One `ainvoke`; the way in and out of the loop falls out of the difference."""
        self.loop.run_until_complete(self._ask(asked))

    def many_async(self, asked: str) -> None:
        """As many at once as `AT_ONCE` says."""
        self.loop.run_until_complete(self._ask_many(asked))

    def check(self) -> None:
        """Every call was counted once, with its tokens."""
        if self.handler.counted is not None:
            told = self.handler.counted()
            assert told.input_tokens == self.made * USAGE["input_tokens"], self.handler
            assert told.output_tokens == self.made * USAGE["output_tokens"], self.handler

    async def _ask(self, asked: str) -> None:
        self.made += 1
        await self.model.ainvoke(asked, {"callbacks": self.handler.callbacks})

    async def _ask_many(self, asked: str) -> None:
        await asyncio.gather(*(self._ask(asked) for _ in range(AT_ONCE)))


def time_ways(calls: Mapping[str, Calls]) -> dict[str, dict[str, Timing]]:
    """The time of one call, by way of calling and then by handler."""
    ways = {
        SYNC: in_turn({name: each.once for name, each in calls.items()}, [ASKED] * CALLS),
        ALONE: in_turn({name: each.once_async for name, each in calls.items()}, [ASKED] * CALLS),
    }
    many = in_turn({name: each.many_async for name, each in calls.items()}, [ASKED] * GATHERS)
    return {**ways, TOGETHER: {name: each.per(AT_ONCE) for name, each in many.items()}}


class Lasting(NamedTuple):
    """What many calls left in memory, of which one in a hundred never ended."""

    calls: int
    orphans: int
    given_up: int
    growth: float
    """MB, between a tenth of the calls and all of them."""


def last(ops: LLMOps) -> Lasting:
    """Calls of ten hours, each with a prompt of its own, on a clock turned by hand."""
    now, began = [1_800_000_000.0], 0
    deaf = SimpleNamespace(record=lambda _event: None)
    handler = UsageCallbackHandler(deaf, ops.prices, clock=lambda: now[0])
    result = LLMResult(generations=[[answered()]])

    def ask(number: int) -> None:
        now[0] += 36_000 / LASTING
        prompt = [HumanMessage(f"{number:06} " * 700)]
        handler.on_chat_model_start({}, [prompt], run_id=(run_id := uuid4()))
        if number % 100:
            handler.on_llm_end(result, run_id=run_id)

    tracemalloc.start()
    for number in range(LASTING):
        ask(number)
        if number == LASTING // 10:
            gc.collect()
            began = tracemalloc.get_traced_memory()[0]
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - began
    tracemalloc.stop()
    return Lasting(LASTING, LASTING // 100, handler.orphans, grown / 2**20)


def timed(name: str) -> dict[str, dict[str, Timing]] | None:
    """Calls with this handler and without, checked before and after; `None`: not installed."""
    logging.disable(logging.ERROR)  # what peers say of a run's end is not ours to print
    with (
        TemporaryDirectory() as folder,
        LLMOps(f"sqlite:///{folder}/ours.db") as ops,
        # The writer rests: calls of a model that answers at once would compete with it for the
        # interpreter, thousands a second. What storing costs is the question of `ingest.py`.
        Ledger(ops.database, interval=3600, batch_size=10**9) as ledger,
        asyncio.Runner() as runner,
        ExitStack() as closing,
    ):
        try:
            handler = PEERS[name](closing) if name in PEERS else ours(ops, ledger)
        except ImportError:
            return None
        loop = runner.get_loop()
        calls = {NONE: Calls(Handler([]), loop), name: Calls(handler, loop)}
        for each in calls.values():
            for way in (each.once, each.once_async, each.many_async):
                way(ASKED)
            each.check()
        times = time_ways(calls)
        for each in calls.values():
            each.check()
    return times


def main() -> None:
    """Time each handler in a process of its own: none pays for what another left running."""
    spawned = multiprocessing.get_context("spawn")
    found: dict[str, dict[str, dict[str, Timing]]] = {}
    for name in (*PEERS, OURS):
        with ProcessPoolExecutor(1, mp_context=spawned) as process:
            if (times := process.submit(timed, name).result()) is not None:
                found[name] = times
    with LLMOps("sqlite://") as ops:
        lasting = last(ops)
    show(found, lasting)


def show(found: Mapping[str, Mapping[str, Mapping[str, Timing]]], lasting: Lasting) -> None:
    """Print what each handler adds; its mean has threads of its own and the collector in it."""
    rows, claims = [], []
    for way, goal in GOALS.items():
        by_name = {name: added(times[way], name) for name, times in found.items()}
        rows += [(way, name, *each, each.p50 / by_name[OURS].p50) for name, each in by_name.items()]
        claims.append(
            Claim(
                what=f"added to a call, {way} (core's own: {by_name[CORE].p50:.0f} µs)",
                against=NONE,
                result=by_name[OURS].p50,
                goal=goal,
                unit="µs",
                at_most=True,
            )
        )
    header = ("way", "handler", "call without, p50 µs", "added, p50 µs", "added, mean µs")
    print_table("Added to a model call", (*header, "times ours, p50"), rows)
    header = ("calls", "never ended", "given up after an hour", "grown since a tenth, MB")
    print_table("Memory over many calls", header, [lasting])
    growth = Claim(
        what=f"memory grown over {lasting.calls:,} calls, 1 % without an end",
        against="none at all",
        result=lasting.growth,
        goal=MOST_GROWTH,
        unit="MB",
        at_most=True,
    )
    print_claims([*claims, growth])


if __name__ == "__main__":
    main()

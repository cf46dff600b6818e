"""Cost that a usage handler adds to a model call, against LangChain's own handler.

Ours prices each call, keeps it in a journal and has it written to an SQLite file; core's adds
token counts up in memory. What a handler adds is the difference to the same call without one.

    python benchmarks/handler.py
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    BaseCallbackHandler,
    CallbackManagerForLLMRun,
    UsageMetadataCallbackHandler,
)
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from measuring import Claim, Timing, in_turn, print_claims, print_table, sized
from typing_extensions import override

from llmops_langchain import Ledger, LLMOps, UsageCallbackHandler

CALLS = sized(3_000, quick=20)
GATHERS = sized(100, quick=2)
AT_ONCE = 50
NONE, CORE, OURS = "no handler", "core `UsageMetadataCallbackHandler`", "`UsageCallbackHandler`"
SYNC, ALONE, TOGETHER = "sync", "async, one at a time", f"async, {AT_ONCE} at once"
GOALS = {SYNC: 40, ALONE: 50, TOGETHER: 50}

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
        said = {"model_name": MODEL, "model_provider": "openai"}
        message = AIMessage("Paris.", usage_metadata=USAGE, response_metadata=said)
        return ChatResult(generations=[ChatGeneration(message=message)])

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages, stop, **kwargs)


@dataclass
class Calls:
    """Calls of one model with the same handlers attached, and how many there were."""

    handlers: list[BaseCallbackHandler]
    loop: asyncio.AbstractEventLoop
    made: int = 0
    model: BaseChatModel = field(default_factory=InstantModel)

    def once(self, asked: str) -> None:
        """One `invoke`."""
        self.made += 1
        self.model.invoke(asked, {"callbacks": self.handlers})

    def once_async(self, asked: str) -> None:
        """One `ainvoke`; the way in and out of the loop falls out of the difference."""
        self.loop.run_until_complete(self._ask(asked))

    def many_async(self, asked: str) -> None:
        """As many at once as `AT_ONCE` says."""
        self.loop.run_until_complete(self._ask_many(asked))

    async def _ask(self, asked: str) -> None:
        self.made += 1
        await self.model.ainvoke(asked, {"callbacks": self.handlers})

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


def check(ops: LLMOps, ledger: Ledger, calls: Mapping[str, Calls]) -> None:
    """Both handlers counted every call once, with the same tokens; ours knows the price."""
    (core,) = calls[CORE].handlers
    assert isinstance(core, UsageMetadataCallbackHandler)
    counted = core.usage_metadata[MODEL]
    ledger.flush()
    cost = ops.analytics.cost()
    assert cost.calls == calls[OURS].made == calls[CORE].made
    assert cost.input_tokens == counted["input_tokens"] == cost.calls * USAGE["input_tokens"]
    assert cost.output_tokens == counted["output_tokens"] == cost.calls * USAGE["output_tokens"]
    assert cost.total > 0
    assert cost.unpriced_calls == 0


def main() -> None:
    """Check, time, and check again what was counted while timing."""
    with (
        TemporaryDirectory() as folder,
        LLMOps(f"sqlite:///{folder}/ours.db") as ops,
        # The writer rests: calls of a model that answers at once would compete with it for the
        # interpreter, thousands a second. What storing costs is the question of `ingest.py`.
        Ledger(ops.database, interval=3600, batch_size=10**9) as ledger,
        asyncio.Runner() as runner,
    ):
        handlers: dict[str, list[BaseCallbackHandler]] = {
            NONE: [],
            CORE: [UsageMetadataCallbackHandler()],
            OURS: [UsageCallbackHandler(ledger, ops.prices)],
        }
        calls = {name: Calls(each, runner.get_loop()) for name, each in handlers.items()}
        for each in calls.values():
            for way in (each.once, each.once_async, each.many_async):
                way(ASKED)
        check(ops, ledger, calls)
        times = time_ways(calls)
        check(ops, ledger, calls)
    show(times)


def show(times: Mapping[str, Mapping[str, Timing]]) -> None:
    """Print what each handler adds; its mean has the writer thread and the collector in it."""
    rows, claims = [], []
    for way, spent in times.items():
        alone, core, ours = (spent[name] for name in (NONE, CORE, OURS))
        for name, each in ((CORE, core), (OURS, ours)):
            added = each.p50 - alone.p50
            rows.append((way, name, alone.p50, added, each.mean - alone.mean))
        claims.append(
            Claim(
                what=f"added to a call, {way} (core's own: {core.p50 - alone.p50:.0f} µs)",
                against=NONE,
                result=ours.p50 - alone.p50,
                goal=GOALS[way],
                unit="µs",
                at_most=True,
            )
        )
    header = ("way", "handler", "call without, p50 µs", "added, p50 µs", "added, mean µs")
    print_table("Added to a model call", header, rows)
    print_claims(claims)


if __name__ == "__main__":
    main()

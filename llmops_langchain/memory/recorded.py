"""Turn each shortened prompt into an event: reports then say what trimming freed and saved."""

from collections.abc import Callable

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables.config import ensure_config

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.ledger import TRIM, Event, Ledger, current_scope
from llmops_langchain.memory.report import Trim
from llmops_langchain.models import PriceBook, TokenUsage
from llmops_langchain.tokens import model_name

__all__ = ["recorder"]


def recorder(
    ledger: Ledger,
    prices: PriceBook,
    model: str | BaseChatModel,
    *,
    clock: Clock = system_clock,
) -> Callable[[Trim], None]:
    """A function for `ContextWindow(on_trim=…)` that records each shortened prompt to `model`.

    Args:
        ledger: Takes the events.
        prices: Knows what the freed tokens would have cost as plain input.
        model: The model the prompt goes to, or its name.
        clock: Returns seconds since the Unix epoch.
    """
    name = model_name(model)

    def record(trim: Trim) -> None:
        scope = current_scope().filled_from(ensure_config().get("metadata") or {})
        freed = trim.freed_tokens
        price = prices.price(name, TokenUsage(input_tokens=freed))
        ledger.record(
            Event(
                name=TRIM,
                ts=clock(),
                workspace=scope.workspace,
                project=scope.project,
                task=scope.task,
                user=scope.user,
                agent=scope.agent,
                thread=scope.thread,
                tags=scope.tags or None,
                model=name or None,
                trimmed_tokens=freed,
                saved=price.nano_dollars if price else 0,
                price_version=price.version if price else None,
            )
        )

    return record

"""Turn cuts and warnings of a window into events, for reports of what was freed and saved."""

from collections.abc import Callable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables.config import ensure_config

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.ledger import CONTEXT_WARNING, TRIM, Event, Ledger, current_scope
from llmops_langchain.memory.report import Trim
from llmops_langchain.memory.window import ContextStatus
from llmops_langchain.models import PriceBook, TokenUsage
from llmops_langchain.tokens import model_name

__all__ = ["recorder", "warning_recorder"]


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
        freed = trim.freed_tokens
        price = prices.price(name, TokenUsage(input_tokens=freed))
        ledger.record(
            Event(
                name=TRIM,
                ts=clock(),
                **_whose(),
                model=name or None,
                trimmed_tokens=freed,
                saved=price.nano_dollars if price else 0,
                price_version=price.version if price else None,
            )
        )

    return record


def warning_recorder(
    ledger: Ledger, model: str | BaseChatModel, *, clock: Clock = system_clock
) -> Callable[[ContextStatus], None]:
    """A function for `ContextWindow(on_warning=…)` that records how full the window has become.

    Args:
        ledger: Takes the events.
        model: The model the prompt goes to, or its name.
        clock: Returns seconds since the Unix epoch.
    """
    name = model_name(model)

    def record(status: ContextStatus) -> None:
        whose = _whose()
        tags = {**(whose.pop("tags") or {}), "status": status.status}
        ledger.record(
            Event(
                name=CONTEXT_WARNING,
                ts=clock(),
                **whose,
                tags=tags,
                model=name or None,
                value=status.share,
                unit="share",
                estimated=status.estimated,
            )
        )

    return record


def _whose() -> dict[str, Any]:
    """The fields of an event that say whose prompt it is."""
    scope = current_scope().filled_from(ensure_config().get("metadata") or {})
    return {
        "workspace": scope.workspace,
        "project": scope.project,
        "task": scope.task,
        "user": scope.user,
        "agent": scope.agent,
        "thread": scope.thread,
        "tags": scope.tags or None,
    }

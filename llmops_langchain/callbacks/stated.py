"""An event for a call that was made elsewhere, out of what the caller says of it."""

from collections.abc import Mapping
from decimal import Decimal
from math import nan
from operator import index
from typing import Any, NamedTuple, SupportsIndex, get_args
from uuid import UUID

from llmops_langchain.callbacks.spent import Cost, cost_of
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger import LLM_CALL, Event, Status
from llmops_langchain.models import PriceBook, TokenUsage, nano_dollars
from llmops_langchain.storage.types import new_id
from llmops_langchain.wrapping.scoping import attributed, scope_of

__all__ = ["Stated", "stated_event"]

_MOST_TOKENS = 2**31 - 1  # what a column of counts holds
_MOST_NANO_DOLLARS = 2**63 - 1
_STATED = "stated by the caller"


class Stated(NamedTuple):
    """What a caller says of one call."""

    model: str
    tokens: Mapping[str, SupportsIndex]
    """Counts by the names of `TokenUsage`."""
    cost: Decimal | float | str | None
    provider: str | None
    tier: str | None
    ts: float
    latency: float | None
    run_id: UUID | None
    status: Status
    metadata: Mapping[str, Any]


def stated_event(stated: Stated, prices: PriceBook) -> Event:
    """The event of a call; a stated cost wins over the price book.

    Raises:
        ConfigurationError: If a figure is none, or is negative.
    """
    if stated.status not in get_args(Status):
        msg = f"`status` is 'ok' or 'error', got {stated.status!r}"
        raise ConfigurationError(msg)
    counts: dict[str, Any] = {name: _count(name, it) for name, it in stated.tokens.items()}
    usage = TokenUsage(**counts)
    if stated.cost is None:
        cost = cost_of(prices, stated.model, usage, stated.provider, stated.tier)
    else:
        cost = Cost(_amount(stated.cost), _STATED, unpriced=False)
    return Event(
        id=stated.run_id or new_id(),
        name=LLM_CALL,
        ts=_seconds("ts", stated.ts),
        provider=stated.provider,
        model=stated.model,
        tier=stated.tier,
        run_id=stated.run_id,
        cost=cost.nano_dollars,
        price_version=cost.version,
        unpriced=cost.unpriced,
        latency=None if stated.latency is None else _seconds("latency", stated.latency),
        status=stated.status,
        **counts,
        **attributed(scope_of(stated.metadata)),
    )


_YEAR_10_000 = 253_402_300_800.0


def _count(name: str, value: SupportsIndex) -> int:
    try:
        count = -1 if isinstance(value, bool) else index(value)
    except TypeError:
        count = -1
    if not 0 <= count <= _MOST_TOKENS:
        msg = f"`{name}` is a number of tokens, 0 or more, got {value!r}"
        raise ConfigurationError(msg)
    return count


def _amount(cost: Decimal | float | str) -> int:
    amount = nano_dollars(cost)
    if not 0 <= amount <= _MOST_NANO_DOLLARS:
        msg = f"`cost` is in US dollars and must not be negative, got {cost!r}"
        raise ConfigurationError(msg)
    return amount


def _seconds(name: str, value: float) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = nan
    if not 0 <= seconds < _YEAR_10_000:
        msg = f"`{name}` is in seconds, not negative and before the year 10,000, got {value!r}"
        raise ConfigurationError(msg)
    return seconds

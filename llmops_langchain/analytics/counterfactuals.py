"""What calls would have cost otherwise: worked out from the calls that were made."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from llmops_langchain.models import PriceBook, TokenUsage

__all__ = [
    "CallRow",
    "Counterfactual",
    "Offer",
    "Replayed",
    "other_model",
    "repeated_calls",
    "sent_elsewhere",
]


class CallRow(NamedTuple):
    """One call that was made and paid for."""

    ts: float
    workspace: str | None
    project: str | None
    agent: str | None
    provider: str | None
    model: str | None
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost: int
    """Nano-dollars."""
    cache_key: bytes | None
    """Equal for equal prompts."""
    routed: bool
    """Whether a router chose the model."""


class Replayed(NamedTuple):
    """Nano-dollars that would not have been spent."""

    saved: int
    low: int
    high: int
    calls: int
    """How many calls would have gone another way."""


Counterfactual = Callable[[Sequence[CallRow]], Replayed]
"""From calls to what another way would have saved."""


class Offer(NamedTuple):
    """A way of calling a model that would have cost less, which the app has already."""

    model: str
    """Whose calls would have cost less."""
    replay: Counterfactual
    why: str
    """What makes it believable."""


def sent_elsewhere(
    model: str, provider: str | None, *, share: float, low: float, high: float
) -> Counterfactual:
    """Calls of one model that no router chose would have been routed.

    Args:
        model: As its provider calls it.
        provider: Whose it is; `None` takes any.
        share: Of their dollars that would not have been spent.
        low: Of it, the low end.
        high: The high end.
    """

    def replay(calls: Sequence[CallRow]) -> Replayed:
        mine = [
            each
            for each in calls
            if not each.routed and each.model == model and provider in (None, each.provider)
        ]
        cost = sum(each.cost for each in mine)
        return Replayed(round(cost * share), round(cost * low), round(cost * high), len(mine))

    return replay


def repeated_calls(ttl: float) -> Counterfactual:
    """Equal prompts would have been answered from the cache.

    A prompt that was asked before in its workspace, less than `ttl` seconds after it was last paid
    for, is a hit. The low end takes those of one project alone, the high end those of any age.

    Args:
        ttl: Seconds that an answer stays.
    """

    def replay(calls: Sequence[CallRow]) -> Replayed:
        saved, number = _hits(calls, ttl, lambda call: (call.workspace, call.model))
        low, _ = _hits(calls, ttl, lambda call: (call.workspace, call.project, call.model))
        high, _ = _hits(calls, float("inf"), lambda call: (call.workspace, call.model))
        return Replayed(saved, low, high, number)

    return replay


def other_model(prices: PriceBook, model: str, provider: str | None) -> Counterfactual:
    """The calls would have been sent to another model, with the tokens they had.

    The low end takes half of it, as some answers would have to be asked for again; the high end
    all of it.

    Args:
        prices: What models cost.
        model: The other one.
        provider: Who serves it.
    """

    def replay(calls: Sequence[CallRow]) -> Replayed:
        rates = prices.rates(model, provider)
        if rates is None:
            return Replayed(0, 0, 0, 0)
        would = sum(
            rates.cost(
                TokenUsage(
                    input_tokens=call.input_tokens,
                    output_tokens=call.output_tokens,
                    cached_tokens=call.cached_tokens,
                )
            )
            for call in calls
        )
        saved = sum(call.cost for call in calls) - would
        return Replayed(saved, saved // 2, saved, len(calls))

    return replay


def _hits(
    calls: Iterable[CallRow], ttl: float, owner: Callable[[CallRow], object]
) -> tuple[int, int]:
    """What hits would have saved, and how many there were."""
    paid: dict[object, float] = defaultdict(lambda: -float("inf"))
    saved = number = 0
    for call in sorted(calls, key=lambda each: each.ts):
        if call.cache_key is None:
            continue
        asked = (owner(call), call.cache_key)
        if call.ts - paid[asked] < ttl:
            saved, number = saved + call.cost, number + 1
        else:
            paid[asked] = call.ts
    return saved, number

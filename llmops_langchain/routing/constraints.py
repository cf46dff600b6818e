"""Who may be asked: every rule that a model can break, as pure functions."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from llmops_langchain.models import dollars
from llmops_langchain.routing.choice import Ability, ModelChoice
from llmops_langchain.routing.decision import Exclusion, Why
from llmops_langchain.routing.request import Request

__all__ = ["Limits", "broken"]

_LACKS: dict[Ability, str] = {
    "tools": "it calls no tools",
    "structured_output": "it keeps to no schema",
    "images": "it reads no images",
    "audio": "it hears no sound",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What holds for every call of a router.

    Args:
        allowed_providers: Only these may be asked, in LangChain's words; `None`: all.
        allowed_regions: Only what runs there; a choice without a region is not known to.
        output_reserve: Tokens of a window that are left for the answer.
    """

    allowed_providers: Collection[str] | None = None
    allowed_regions: Collection[str] | None = None
    output_reserve: int = 0


def broken(
    choice: ModelChoice,
    request: Request,
    limits: Limits,
    *,
    input_tokens: int,
    latency: float | None,
    max_latency: float | None,
    rests_for: float,
    is_priced: bool,
    cost: int | None = None,
    room: int | None = None,
) -> Exclusion | None:
    """The first rule that a choice breaks; `None` if it may be asked.

    Args:
        choice: Who would be asked.
        request: What.
        limits: The router's.
        input_tokens: The request's, as this model counts them.
        latency: Seconds its answers took of late.
        max_latency: Seconds they may take.
        rests_for: Seconds until it is asked again after it failed.
        is_priced: Whether a price of it is known, or none is needed.
        cost: Nano-dollars that it is expected to cost.
        room: Nano-dollars that the caller's budgets have left; `None`: none of them bounds it.
    """
    rules = (
        _abilities(choice, request),
        _window(choice, input_tokens + limits.output_reserve),
        _places(choice, limits),
        _state(latency, max_latency, rests_for, is_priced=is_priced),
        _money(cost, room),
    )
    for rule in rules:
        for why, told in rule:
            return Exclusion(name=choice.name, why=why, told=told)
    return None


def _abilities(choice: ModelChoice, request: Request) -> Iterator[tuple[Why, str]]:
    return ((each, _LACKS[each]) for each in sorted(request.needs) if choice.can(each) is False)


def _window(choice: ModelChoice, needed: int) -> Iterator[tuple[Why, str]]:
    most = choice.max_input()
    if most is not None and needed > most:
        yield "context", f"the request needs {needed} tokens, its window has {most}"


def _places(choice: ModelChoice, limits: Limits) -> Iterator[tuple[Why, str]]:
    providers, regions = limits.allowed_providers, limits.allowed_regions
    if providers is not None and choice.provider_name not in providers:
        yield "provider", f"its provider is {choice.provider_name!r}"
    if regions is not None and choice.region not in regions:
        yield "region", f"its region is {choice.region!r}"


def _state(
    latency: float | None, max_latency: float | None, rests_for: float, *, is_priced: bool
) -> Iterator[tuple[Why, str]]:
    if rests_for > 0:
        yield "cooldown", f"it failed, and is asked again in {rests_for:.0f} s"
    if max_latency is not None and latency is not None and latency > max_latency:
        yield "latency", f"it took {latency:.1f} s of late, {max_latency:g} s are allowed"
    if not is_priced:
        yield "price", "no price of it is known: give the choice one, or `allow_unpriced=True`"


def _money(cost: int | None, room: int | None) -> Iterator[tuple[Why, str]]:
    if cost is not None and room is not None and cost > room:
        yield (
            "budget",
            f"it is expected to cost ${dollars(cost):.6f}, a budget has ${dollars(room):.6f} left",
        )

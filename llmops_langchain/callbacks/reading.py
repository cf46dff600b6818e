"""What a provider's answer says about its usage, in one record; pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.outputs import (
    ChatGenerationChunk,
    Generation,
    GenerationChunk,
    LLMResult,
)

from llmops_langchain.ledger import CacheTier
from llmops_langchain.models import TokenUsage, read_usage, service_tier
from llmops_langchain.models.told import read_token_usage

__all__ = ["Answer", "read_answer", "read_part", "read_unparsed"]

_NOTHING: Mapping[str, Any] = {}


@dataclass(slots=True, kw_only=True, eq=False)
class Answer:
    """What one `LLMResult` tells."""

    usage: TokenUsage | None = None
    """Tokens of the call that was paid for; `None` if the provider sent none."""
    says_how_long: bool = True
    """The usage says for how long the written tokens are kept, or there are none."""
    model: str | None = None
    """The name under which the provider answered."""
    tier: str | None = None
    """Service tier that changes the price."""
    cache_tier: CacheTier | None = None
    """Which cache answered, `None` if the model did."""
    route: Mapping[str, Any] = field(default_factory=dict)
    """Who answered of a router's choices: `model`, `provider`, and `prices` of its own."""
    choices: Sequence[Generation] = ()
    """The answer itself, to estimate from; several with `n > 1`."""


def read_answer(result: LLMResult) -> Answer:
    """The answer of one run. With `n > 1` every generation repeats the whole call's usage.

    It is read alike before core has merged `llm_output` into the message, and after.
    """
    choices = result.generations[0] if result.generations else []
    # Not by `isinstance` and `getattr`: on pydantic's classes each costs as much as the rest here.
    first = choices[0].__dict__ if choices else _NOTHING
    info, output = _mapping(first.get("generation_info")), _mapping(result.llm_output)
    message = first["message"].__dict__ if "message" in first else None
    said = info if message is None else _mapping(message.get("response_metadata"))
    told = message and message.get("usage_metadata")
    cache_tier: CacheTier | None = None
    if mark := said.get("llmops_cache"):
        # A hit of ours has the usage of the call that was paid for in its mark.
        told, cache_tier = mark["usage_metadata"], _tier_of(mark)
    usage, route = _mapping(told), _mapping(said.get("llmops_route"))
    if not mark and not output and "total_cost" in usage:
        # On a hit of any other cache, core adds a cost of 0 and has no output.
        cache_tier = "other"
    tier = service_tier(said, usage)
    if tier is None and (output or (info and message)):
        tier = service_tier(output, None) or service_tier(info, None)
    return Answer(
        usage=(read_usage(usage, tier) if usage else None) or _older_usage(output, said, info),
        says_how_long=not usage or _says_how_long(usage.get("input_token_details")),
        model=_name(said) or _name(output) or _name(info) or _name(route),
        tier=tier,
        cache_tier=cache_tier,
        choices=choices,
        route=route,
    )


def read_part(result: LLMResult | None) -> Answer | None:
    """What came of a call that failed; `None` if nothing did.

    A stream that began leaves a chunk; core's note of the provider's refusal is no chunk.
    """
    choices = result.generations[0] if result and result.generations else None
    began = choices and isinstance(choices[0], ChatGenerationChunk | GenerationChunk)
    return read_answer(result) if result and began else None


def read_unparsed(error: BaseException) -> Answer | None:
    """The usage of an answer that came whole and could not be parsed, as OpenAI's client tells it.

    Its `LengthFinishReasonError` has the `completion` that was paid for.
    """
    completion = getattr(error, "completion", None)
    told = getattr(completion, "usage", None)
    if told is None or not hasattr(told, "model_dump"):
        return None
    usage = read_token_usage(told.model_dump())
    name, tier = getattr(completion, "model", None), getattr(completion, "service_tier", None)
    if usage is None:
        return None
    return Answer(
        usage=usage,
        model=name if isinstance(name, str) else None,
        tier=service_tier({"service_tier": tier}, None),
    )


def _tier_of(mark: Mapping[str, Any]) -> CacheTier:
    return "semantic" if mark["tier"] == "semantic" else "exact"


def _says_how_long(details: object) -> bool:
    """Streams of Claude tell the sum alone."""
    if not details or not isinstance(details, Mapping) or not details.get("cache_creation"):
        return True
    return "ephemeral_1h_input_tokens" in details


def _older_usage(*places: Mapping[str, Any]) -> TokenUsage | None:
    """Usage as older models and text models tell it."""
    for place in places:
        for name in ("token_usage", "usage", "usage_metadata"):
            if (told := place.get(name)) and (usage := read_token_usage(told)):
                return usage
    return next((usage for place in places if (usage := read_token_usage(place))), None)


def _name(place: Mapping[str, Any]) -> str | None:
    name = place.get("model_name") or place.get("model")
    return name if isinstance(name, str) else None


def _mapping(value: object) -> Mapping[str, Any]:
    if type(value) is dict or isinstance(value, Mapping):
        return value
    return _NOTHING

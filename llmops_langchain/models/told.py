"""What providers' answers tell of usage, as token counts; whatever stands there, nothing raises."""

from collections.abc import Mapping
from typing import Any

from llmops_langchain.models.listed import TIERS
from llmops_langchain.models.usage import TokenUsage

__all__ = ["read_token_usage", "read_usage", "service_tier"]

# langchain-anthropic splits what was written by how long it is kept, and leaves the total at 0.
_ONE_HOUR = "ephemeral_1h_input_tokens"
_WRITTEN = ("cache_creation", "ephemeral_5m_input_tokens", _ONE_HOUR)

# What text models and older chat models call their totals.
_INPUT = (
    "prompt_tokens",
    "input_tokens",
    "prompt_token_count",
    "input_token_count",
    "prompt_eval_count",
)
_OUTPUT = (
    "completion_tokens",
    "output_tokens",
    "candidates_token_count",
    "generated_token_count",
    "eval_count",
)
_NONE: Mapping[str, Any] = {}


def read_usage(usage: Mapping[str, Any], tier: str | None) -> TokenUsage | None:
    """Return `usage_metadata` as counts, or `None` if it tells no tokens.

    A model that sends no usage has `{"total_cost": 0}` on a hit of core's path, some have zeros.

    Args:
        usage: LangChain's `UsageMetadata`.
        tier: The service tier, under whose name OpenAI puts some of the counts.
    """
    input_tokens = _count(usage.get("input_tokens"))
    output_tokens = _count(usage.get("output_tokens"))
    if not input_tokens and not output_tokens:
        return None
    into = usage.get("input_token_details")
    out = usage.get("output_token_details")
    if not into and not out:
        return TokenUsage(input_tokens=input_tokens, output_tokens=output_tokens)
    into, out = _mapping(into), _mapping(out)
    return TokenUsage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=_detail(into, "cache_read", tier),
        written_tokens=sum([_detail(into, name, tier) for name in _WRITTEN]),
        written_1h_tokens=_detail(into, _ONE_HOUR, tier),
        reasoning_tokens=_detail(out, "reasoning", tier),
        audio_input_tokens=_detail(into, "audio", tier),
        audio_output_tokens=_detail(out, "audio", tier),
    )


def read_token_usage(told: object) -> TokenUsage | None:
    """Return usage in a provider's own words as counts, or `None` if it tells no tokens.

    Args:
        told: What text models and older chat models leave in `llm_output["token_usage"]`, and
            OpenAI in a `completion`.
    """
    usage = _mapping(told)
    input_tokens, output_tokens = _first(usage, _INPUT), _first(usage, _OUTPUT)
    if not input_tokens and not output_tokens:
        return None
    into = _mapping(usage.get("prompt_tokens_details"))
    out = _mapping(usage.get("completion_tokens_details"))
    # Anthropic's own words: tokens of its cache are beside `input_tokens`, not in them.
    read = _count(usage.get("cache_read_input_tokens"))
    kept = _count(usage.get("cache_creation_input_tokens"))
    return TokenUsage(
        input_tokens=input_tokens + read + kept,
        output_tokens=output_tokens,
        cached_tokens=read or _count(into.get("cached_tokens")),
        written_tokens=kept or _count(into.get("cache_write_tokens")),
        reasoning_tokens=_count(out.get("reasoning_tokens")),
        audio_input_tokens=_count(into.get("audio_tokens")),
        audio_output_tokens=_count(out.get("audio_tokens")),
    )


def service_tier(said: Mapping[str, Any], usage: Mapping[str, Any] | None) -> str | None:
    """Return the service tier of an answer, if it changes the price.

    Args:
        said: The answer's `response_metadata`.
        usage: Its `usage_metadata`.
    """
    if (named := _tier(said.get("service_tier"))) is not None:
        return named
    details = usage.get("input_token_details") if usage else None
    if isinstance(details, Mapping):
        for tier in TIERS:
            if tier in details:
                return tier
    own = said.get("usage")  # Anthropic's: `speed` says which of its prices holds
    if not isinstance(own, dict):
        return None
    return _tier(own.get("speed")) or _tier(own.get("service_tier"))


def _tier(said: object) -> str | None:
    return said if isinstance(said, str) and said in TIERS else None


def _mapping(value: object) -> Mapping[str, Any]:
    if type(value) is dict or isinstance(value, Mapping):
        return value
    return _NONE


def _detail(details: Mapping[str, Any], name: str, tier: str | None) -> int:
    """A part of the tokens; OpenAI's service tiers put their name before it: `flex_cache_read`."""
    told = details.get(name)
    if not told and tier:
        told = details.get(f"{tier}_{name}")
    return _count(told) if told else 0


def _first(usage: Mapping[str, Any], names: tuple[str, ...]) -> int:
    return next((count for name in names if (count := _count(usage.get(name)))), 0)


def _count(value: Any) -> int:
    """A count out of whatever stands in its place: what is none counts as 0."""
    if type(value) is int:
        return max(0, value)
    try:
        return max(0, int(value))
    except (TypeError, ValueError, OverflowError):
        return 0

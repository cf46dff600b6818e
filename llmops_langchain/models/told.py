"""LangChain's usage metadata of one answer, as token counts."""

from collections.abc import Mapping
from typing import Any

from llmops_langchain.models.listed import TIERS
from llmops_langchain.models.usage import TokenUsage

__all__ = ["read_usage", "service_tier"]

# langchain-anthropic splits what was written by how long it is kept, and leaves the total at 0.
_ONE_HOUR = "ephemeral_1h_input_tokens"
_WRITTEN = ("cache_creation", "ephemeral_5m_input_tokens", _ONE_HOUR)


def read_usage(usage: Mapping[str, Any], tier: str | None) -> TokenUsage | None:
    """Return `usage_metadata` as counts, or `None` if it tells no tokens.

    Args:
        usage: LangChain's `UsageMetadata`.
        tier: The service tier, under whose name OpenAI puts some of the counts.
    """
    # A model that sends no usage has `{"total_cost": 0}` on a hit of core's path.
    if "input_tokens" not in usage:
        return None
    into: Mapping[str, Any] = usage.get("input_token_details") or {}
    out: Mapping[str, Any] = usage.get("output_token_details") or {}
    return TokenUsage(
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cached_tokens=_detail(into, "cache_read", tier),
        written_tokens=sum(_detail(into, name, tier) for name in _WRITTEN),
        written_1h_tokens=_detail(into, _ONE_HOUR, tier),
        reasoning_tokens=_detail(out, "reasoning", tier),
        audio_input_tokens=_detail(into, "audio", tier),
        audio_output_tokens=_detail(out, "audio", tier),
    )


def _detail(details: Mapping[str, Any], name: str, tier: str | None) -> int:
    """A part of the tokens; OpenAI's service tiers put their name before it: `flex_cache_read`."""
    return int(details.get(name) or (tier and details.get(f"{tier}_{name}")) or 0)


def service_tier(said: Mapping[str, Any], usage: Mapping[str, Any] | None) -> str | None:
    """Return the service tier of an answer, if it changes the price.

    Args:
        said: The answer's `response_metadata`.
        usage: Its `usage_metadata`.
    """
    named = said.get("service_tier")
    if named in TIERS:
        return str(named)
    details = (usage and usage.get("input_token_details")) or {}
    return next((tier for tier in sorted(TIERS) if tier in details), None)

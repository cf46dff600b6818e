"""What a provider's answer says about its usage, in one record; pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import AIMessage
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    Generation,
    GenerationChunk,
    LLMResult,
)

from llmops_langchain.ledger import CacheTier
from llmops_langchain.models import TokenUsage, read_usage, service_tier

__all__ = ["Answer", "read_answer", "read_part"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one `LLMResult` tells."""

    usage: TokenUsage | None = None
    """Tokens of the call that was paid for; `None` if the provider sent none."""
    model: str | None = None
    """The name under which the provider answered."""
    tier: str | None = None
    """Service tier that changes the price."""
    cache_tier: CacheTier | None = None
    """Which cache answered, `None` if the model did."""
    text: str
    """The answer's text, to estimate from."""


def read_answer(result: LLMResult) -> Answer:
    """The answer of one run. With `n > 1` every generation repeats the whole call's usage."""
    first = _first(result)
    message = first.message if isinstance(first, ChatGeneration) else None
    said = dict(message.response_metadata if message else (first and first.generation_info) or {})
    output = result.llm_output or {}
    metadata = _metadata(message, said)
    tier = service_tier(said, metadata)
    return Answer(
        usage=read_usage(metadata, tier) if metadata else _from_output(output or said),
        model=said.get("model_name") or said.get("model") or output.get("model_name") or None,
        tier=tier,
        cache_tier=_cache_tier(message, said, result),
        text="".join(each.text for each in result.generations[0]) if result.generations else "",
    )


def read_part(result: LLMResult | None) -> Answer | None:
    """What came of a call that failed; `None` if nothing did, and then nothing was paid.

    A stream that began leaves a chunk; core's note of the provider's refusal is no chunk.
    """
    first = _first(result) if result else None
    began = isinstance(first, ChatGenerationChunk | GenerationChunk)
    return read_answer(result) if result and began else None


def _first(result: LLMResult) -> Generation | None:
    found = result.generations[0][0] if result.generations and result.generations[0] else None
    return found if isinstance(found, Generation) else None


def _cache_tier(message: object, said: Mapping[str, Any], result: LLMResult) -> CacheTier | None:
    """Ours marks its hits; on a hit of any other, core adds a cost of 0 and has no output."""
    if mark := said.get("llmops_cache"):
        return "semantic" if mark["tier"] == "semantic" else "exact"
    usage = message.usage_metadata if isinstance(message, AIMessage) else None
    is_hit = usage is not None and "total_cost" in usage and not result.llm_output
    return "other" if is_hit else None


def _metadata(message: object, said: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Usage of the call that was paid for: a hit of ours has it in its mark."""
    if mark := said.get("llmops_cache"):
        return cast("Mapping[str, Any] | None", mark["usage_metadata"])
    return message.usage_metadata if isinstance(message, AIMessage) else None


def _from_output(output: Mapping[str, Any]) -> TokenUsage | None:
    """Usage as older models and text models tell it."""
    legacy = output.get("token_usage") or output.get("usage") or {}
    if isinstance(legacy, Mapping) and ("prompt_tokens" in legacy or "input_tokens" in legacy):
        return TokenUsage(
            input_tokens=int(legacy.get("prompt_tokens") or legacy.get("input_tokens") or 0),
            output_tokens=int(legacy.get("completion_tokens") or legacy.get("output_tokens") or 0),
        )
    return None

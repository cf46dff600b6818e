"""Whether an answer is whole: one that was cut short or filtered is not worth keeping."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.outputs import ChatGeneration, Generation

__all__ = ["are_whole"]

# Where providers say how an answer ended, and their words for "this answer is not whole".
_ENDINGS = ("done_reason", "finish_reason", "status", "stopReason", "stop_reason")
_UNFINISHED = frozenset(
    (
        "blocklist",
        "cancelled",
        "content_filter",
        "content_filtered",
        "error",
        "failed",
        "guardrail_intervened",
        "image_safety",
        "incomplete",
        "length",
        "malformed_function_call",
        "max_tokens",
        "model_context_window_exceeded",
        "prohibited_content",
        "recitation",
        "refusal",
        "safety",
        "spii",
    )
)


def are_whole(generations: Sequence[Generation]) -> bool:
    """Whether there are answers, and each says something and was not cut short."""
    return bool(generations) and all(_is_whole(each) for each in generations)


def _is_whole(generation: Generation) -> bool:
    info = dict(generation.generation_info or {})
    if not isinstance(generation, ChatGeneration):
        return bool(generation.text) and not _is_unfinished(info)
    message = generation.message
    has_content = any(map(_says_something, _blocks(message.content)))
    return (has_content or bool(getattr(message, "tool_calls", None))) and not _is_unfinished(
        {**info, **message.response_metadata}
    )


def _is_unfinished(info: Mapping[str, Any]) -> bool:
    return any(str(info.get(name)).lower() in _UNFINISHED for name in _ENDINGS)


def _blocks(content: str | list[Any]) -> list[Any]:
    return [content] if isinstance(content, str) else content


def _says_something(block: str | dict[str, Any]) -> bool:
    if isinstance(block, str):
        return bool(block)
    return block.get("type") != "text" or bool(block.get("text"))

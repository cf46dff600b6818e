"""Whether an answer is whole: one that was cut short, filtered or refused is not worth keeping."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, Generation

__all__ = ["are_whole"]

# Where providers say how an answer ended, and their words for "this answer is not whole". Words
# that are in no list are taken for whole: a provider nobody knows here can be cached too.
_ENDINGS = ("done_reason", "finish_reason", "status", "stopReason", "stop_reason")
_UNFINISHED = frozenset(
    (
        # OpenAI, also `status` of the Responses API, and servers that speak like it
        "abort",
        "aborted",
        "cancelled",
        "content_filter",
        "error",
        "failed",
        "in_progress",
        "incomplete",
        "insufficient_system_resource",  # DeepSeek
        "length",
        "network_error",  # Z.ai, as is the next
        "sensitive",
        "queued",
        "timeout",
        # Anthropic
        "compaction",
        "max_tokens",
        "model_context_window_exceeded",
        "pause_turn",  # a turn of server tools that goes on in the next request
        "refusal",
        # Bedrock
        "content_filtered",
        "guardrail_intervened",
        "malformed_model_output",
        "malformed_tool_use",
        # Gemini and Vertex AI
        "blocklist",
        "finish_reason_unspecified",
        "image_other",
        "image_prohibited_content",
        "image_recitation",
        "image_safety",
        "language",
        "malformed_function_call",
        "malformed_response",
        "missing_thought_signature",
        "model_armor",
        "no_image",
        "other",
        "prohibited_content",
        "recitation",
        "safety",
        "spii",
        "too_many_tool_calls",
        "unexpected_tool_call",
        # Mistral, Cohere, watsonx
        "error_limit",
        "error_toxic",
        "model_length",
        "not_finished",
        "time_limit",
        "token_limit",
        "user_cancel",
    )
)

# Blocks that say nothing to the user: thoughts, and tool calls, which stand in `tool_calls` too.
_SILENT = frozenset(
    (
        "function_call",
        "input_json_delta",
        "invalid_tool_call",
        "reasoning",
        "reasoning_content",
        "redacted_thinking",
        "thinking",
        "tool_call",
        "tool_call_chunk",
        "tool_use",
    )
)


def are_whole(generations: Sequence[Generation]) -> bool:
    """Whether there are answers, and each says something and was neither cut short nor refused."""
    return bool(generations) and all(_is_whole(each) for each in generations)


def _is_whole(generation: Generation) -> bool:
    if _is_unfinished(generation.generation_info or {}):
        return False
    if not isinstance(generation, ChatGeneration):
        return not _is_blank(generation.text)
    message = generation.message
    if _is_unfinished(message.response_metadata) or _is_refused(message):
        return False
    if isinstance(message, AIMessage) and (message.invalid_tool_calls or message.tool_calls):
        # Kept, a call that nobody can make would fail again and again.
        return not message.invalid_tool_calls
    return any(map(_says_something, _blocks(message)))


def _is_unfinished(told: Mapping[str, Any]) -> bool:
    return bool(told.get("incomplete_details")) or any(
        # Enums of Google's clients are written as `FinishReason.SAFETY`.
        str(told[name]).rpartition(".")[2].lower() in _UNFINISHED
        for name in _ENDINGS
        if told.get(name)
    )


def _is_refused(message: BaseMessage) -> bool:
    return bool(message.additional_kwargs.get("refusal")) or any(
        isinstance(block, dict) and "refusal" in (block.get("type"), _foreign_type(block))
        for block in _blocks(message)
    )


def _foreign_type(block: Mapping[str, Any]) -> Any:
    """The provider's own type, where LangChain's standard blocks wrap what they do not know."""
    value = block.get("value")
    return value.get("type") if isinstance(value, dict) else None


def _blocks(message: BaseMessage) -> list[Any]:
    return [message.content] if isinstance(message.content, str) else message.content


def _says_something(block: str | dict[str, Any]) -> bool:
    if isinstance(block, str):
        return not _is_blank(block)
    if block.get("type") in _SILENT or _foreign_type(block) in _SILENT:
        return False
    return block.get("type") != "text" or not _is_blank(block.get("text") or "")


def _is_blank(text: str) -> bool:
    return not text or text.isspace()

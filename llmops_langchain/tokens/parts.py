"""What a message or a tool consists of, for counting: texts, and tokens of a flat amount."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

__all__ = [
    "AUDIO_TOKENS",
    "FILE_TOKENS",
    "IMAGE_TOKENS",
    "LOW_DETAIL_IMAGE_TOKENS",
    "MESSAGE_TOKENS",
    "VIDEO_TOKENS",
    "Tool",
    "has_calls",
    "message_parts",
    "tool_text",
]

Tool = Mapping[str, Any] | type | Callable[..., Any] | BaseTool
"""Whatever `bind_tools` takes."""

MESSAGE_TOKENS = 4
"""OpenAI's chat format: three tokens around each message and one for its role."""
LOW_DETAIL_IMAGE_TOKENS = 85
"""An image sent with `detail="low"`, of whatever size."""
IMAGE_TOKENS = 765
"""Any other image: 1024 x 1024 pixels in OpenAI's tiles, 85 + 4 x 170."""
AUDIO_TOKENS = 1_000
"""A sound, whatever its length: a stated guess, about half a minute of speech."""
VIDEO_TOKENS = 8_000
"""A film, whatever its length: a stated guess, about half a minute."""
FILE_TOKENS = 2_000
"""A document that is not plain text, whatever its length: a stated guess, about a page."""

_NAME_TOKENS = 1
_CALL_TOKENS = 3
_RESULT_TOKENS = 3

_FLAT = {
    "audio": AUDIO_TOKENS,
    "document": FILE_TOKENS,
    "file": FILE_TOKENS,
    "image": IMAGE_TOKENS,
    "image_url": IMAGE_TOKENS,
    "input_audio": AUDIO_TOKENS,
    "input_file": FILE_TOKENS,
    "input_image": IMAGE_TOKENS,
    "media": FILE_TOKENS,
    "video": VIDEO_TOKENS,
}
_TEXT_KEYS = {
    "input_text": "text",
    "output_text": "text",
    "reasoning": "reasoning",
    "refusal": "refusal",
    "text": "text",
    "text-plain": "text",
    "thinking": "thinking",
}
_COUNTED_AS_CALLS = frozenset(
    {"function_call", "input_json_delta", "invalid_tool_call", "tool_call", "tool_use"}
)
"""Blocks that stand in `tool_calls` a second time."""

_Parts = tuple[list[str], int]


def has_calls(message: BaseMessage) -> bool:
    """Return whether the model asked for tools in this message."""
    # Not `getattr(…, None)`: a missing attribute costs a pydantic model 1.7 µs.
    fields = message.__dict__
    return bool(fields.get("tool_calls") or fields.get("invalid_tool_calls"))


def message_parts(message: BaseMessage) -> _Parts:
    """Return the texts of a message and the tokens to add to theirs."""
    texts, flat = _content_parts(message.content)
    flat += MESSAGE_TOKENS
    if message.name:
        texts.append(message.name)
        flat += _NAME_TOKENS
    if message.type == "tool":
        flat += _RESULT_TOKENS
    if has_calls(message):
        fields = message.__dict__
        calls = [*fields["tool_calls"], *fields["invalid_tool_calls"]]
        texts += [text for call in calls for text in (call["name"] or "", _json(call["args"]))]
        flat += _CALL_TOKENS * len(calls)
    return texts, flat


def tool_text(tool: Tool) -> str:
    """Return a tool's schema as JSON; providers render it in formats of their own."""
    return _json(tool if isinstance(tool, Mapping) else convert_to_openai_tool(tool))


def _content_parts(content: str | Sequence[Any]) -> _Parts:
    if isinstance(content, str):
        return [content], 0
    blocks = [_block_parts(block) for block in content]
    return [text for texts, _ in blocks for text in texts], sum(flat for _, flat in blocks)


def _block_parts(block: str | dict[str, Any]) -> _Parts:
    if isinstance(block, str):
        return [block], 0
    kind = block.get("type", "")
    if kind in _TEXT_KEYS:
        return [str(block.get(_TEXT_KEYS[kind]) or "")], 0
    if kind in _FLAT:
        return [], LOW_DETAIL_IMAGE_TOKENS if _is_low_detail(block) else _FLAT[kind]
    if kind in _COUNTED_AS_CALLS:
        return [], 0
    if kind == "tool_result":
        return _content_parts(block.get("content") or "")
    return [_json(block)], 0


def _is_low_detail(block: dict[str, Any]) -> bool:
    image = block.get("image_url")
    return (image if isinstance(image, dict) else block).get("detail") == "low"


def _json(value: object) -> str:
    """Write JSON as the OpenAI client does; a string is the JSON that a model wrote."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)

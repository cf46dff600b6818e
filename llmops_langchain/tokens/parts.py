"""What a message consists of, for counting: texts, and tokens of a flat amount."""

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage

from llmops_langchain.tokens.media import (
    VIDEO_TOKENS,
    Media,
    document_tokens,
    image_tokens,
    mime_type,
    payload,
    sound_tokens,
    text_in,
)

__all__ = ["MESSAGE_TOKENS", "RESULT_TOKENS", "as_json", "message_parts"]

MESSAGE_TOKENS = 4
"""OpenAI's chat format: three tokens around each message and one for its role."""
RESULT_TOKENS = 3
"""The name of the call that a tool's result answers."""

_NAME_TOKENS = 1
_CALL_TOKENS = 3

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
    {"function_call", "input_json_delta", "invalid_tool_call", "tool_call", "tool_call_chunk"}
    | {"tool_use"}
)
"""Blocks that stand in `tool_calls` a second time."""

_NOT_READ = frozenset({"cache_control", "citations", "extras", "id", "index", "signature"})
"""Keys of a block that the model is not shown."""
_ENCRYPTED = frozenset({"encrypted_content", "encrypted_index"})
_CHARACTERS_A_TOKEN = 16 / 3
"""Of what is encrypted: about four bytes a token, in base64."""

_Parts = tuple[list[str], int]
_Reader = Callable[[dict[str, Any], Media], _Parts]


def message_parts(message: BaseMessage, media: Media) -> _Parts:
    """Return the texts of a message and the tokens to add to theirs."""
    fields = message.__dict__
    texts, flat = _content_parts(fields["content"], media)
    flat += MESSAGE_TOKENS
    if name := fields.get("name"):
        texts.append(name)
        flat += _NAME_TOKENS
    if isinstance(message, ToolMessage):
        flat += RESULT_TOKENS
    calls = [*(fields.get("tool_calls") or ()), *(fields.get("invalid_tool_calls") or ())]
    texts += [text for call in calls for text in (call["name"] or "", as_json(call["args"]))]
    return texts, flat + _CALL_TOKENS * len(calls)


def as_json(value: object) -> str:
    """Write JSON as the OpenAI client does; a string is the JSON that a model wrote."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _content_parts(content: str | Sequence[Any], media: Media) -> _Parts:
    if isinstance(content, str):
        return [content], 0
    blocks = [_block_parts(block, media) for block in content]
    return [text for texts, _ in blocks for text in texts], sum(flat for _, flat in blocks)


def _block_parts(block: str | dict[str, Any], media: Media) -> _Parts:
    if isinstance(block, str):
        return [block], 0
    # Bedrock names a block by its only key.
    kind = block.get("type") or next(iter(block), "")
    if kind in _TEXT_KEYS:
        hidden = block.get("encrypted_content") or ""
        return [*_text_of(block, _TEXT_KEYS[kind])], int(len(hidden) / _CHARACTERS_A_TOKEN)
    if kind in _COUNTED_AS_CALLS:
        return [], 0
    return _READERS.get(kind, _anything)(block, media)


def _text_of(block: dict[str, Any], key: str) -> list[str]:
    """Return a block's text; of OpenAI's reasoning its summary."""
    summary = block.get("summary")
    parts = summary if isinstance(summary, list) else []
    found = [part["text"] for part in parts if isinstance(part, dict) and "text" in part]
    return [str(block.get(key) or ""), *found]


def _image(block: dict[str, Any], media: Media) -> _Parts:
    return [], image_tokens(block, media)


def _sound(block: dict[str, Any], media: Media) -> _Parts:
    return [], sound_tokens(block, media)


def _film(_: dict[str, Any], __: Media) -> _Parts:
    return [], VIDEO_TOKENS


def _file(block: dict[str, Any], media: Media) -> _Parts:
    """Count a file as what it is: some providers have one kind of block for all."""
    source = block.get("source")
    if isinstance(source, dict) and isinstance(source.get("content"), str | list):
        return _content_parts(source["content"], media)
    said, found = mime_type(block), payload(block)
    if isinstance(source, dict) and source.get("type") == "text":
        return [str(source.get("data") or "")], 0
    if said.startswith("text/") and found is not None:
        return [text_in(found)], 0
    reader = _BY_MIME_TYPE.get(said.partition("/")[0])
    return ([], document_tokens(block, media)) if reader is None else reader(block, media)


def _result(block: dict[str, Any], media: Media) -> _Parts:
    return _content_parts(block.get("content") or "", media)


def _hidden(block: dict[str, Any], _: Media) -> _Parts:
    return [], int(len(str(block.get("data") or "")) / _CHARACTERS_A_TOKEN)


def _anything(block: dict[str, Any], _: Media) -> _Parts:
    """Count a block of an unknown kind, a server's tool say, as the JSON that a model may see."""
    shown, hidden = _shown(block)
    return [as_json(shown)], int(hidden / _CHARACTERS_A_TOKEN)


def _shown(value: Any) -> tuple[Any, int]:
    """Return a block without what the model is not shown, and how many characters are encrypted."""
    if isinstance(value, dict):
        read = {k: _shown(v) for k, v in value.items() if k not in _NOT_READ | _ENCRYPTED}
        hidden = sum(len(str(value[key])) for key in _ENCRYPTED & value.keys())
        return {k: v for k, (v, _) in read.items()}, hidden + sum(n for _, n in read.values())
    if isinstance(value, list):
        items = [_shown(item) for item in value]
        return [item for item, _ in items], sum(n for _, n in items)
    return value, 0


_BY_MIME_TYPE: Mapping[str, _Reader] = MappingProxyType(
    {"audio": _sound, "image": _image, "video": _film}
)
_READERS: Mapping[str, _Reader] = MappingProxyType(
    {
        "audio": _sound,
        "document": _file,
        "file": _file,
        "image": _image,
        "image_url": _image,
        "input_audio": _sound,
        "input_file": _file,
        "input_image": _image,
        "media": _file,
        "redacted_thinking": _hidden,
        "search_result": _result,
        "tool_result": _result,
        "video": _film,
    }
)

"""Answers as bytes and back: an explicit format, read without importing what the bytes name.

One byte says how the rest is packed, the rest is JSON: `[kind, text or message, info]` for each
answer. Messages are found in a table of LangChain's own classes, so a foreign row can build nothing
else; what does not fit raises, and the cache counts it as a miss.
"""

from collections.abc import Sequence
from typing import Any

import orjson
import zstandard
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, Generation
from pydantic import BaseModel

__all__ = ["decode", "encode"]

_PLAIN, _ZSTD = b"\x01", b"\x02"
_WORTH_PACKING = 1024  # bytes; below, zstd saves little and costs as much as decoding the JSON

_MESSAGES: dict[str, type[BaseMessage]] = {
    "ai": AIMessage,
    "human": HumanMessage,
    "system": SystemMessage,
    "tool": ToolMessage,
    "function": FunctionMessage,
    "chat": ChatMessage,
}


def encode(generations: Sequence[Generation]) -> bytes:
    """The answers as bytes, packed with zstd where it pays.

    Raises:
        TypeError: If an answer holds what JSON cannot.
    """
    packed = orjson.dumps([_fields(each) for each in generations], default=_plain)
    if len(packed) < _WORTH_PACKING:
        return _PLAIN + packed
    return _ZSTD + zstandard.ZstdCompressor().compress(packed)


def decode(value: bytes) -> list[Generation]:
    """The answers of `encode`, as new objects that nobody else holds.

    Raises:
        ValueError: If the bytes are of another format, or damaged.
    """
    try:
        answers = [_generation(*each) for each in orjson.loads(_unpacked(value))]
    except (zstandard.ZstdError, AttributeError, KeyError, MemoryError, TypeError) as error:
        msg = "the stored answer is damaged"
        raise ValueError(msg) from error
    if not answers:
        msg = "there is no answer in it"
        raise ValueError(msg)
    return answers


def _unpacked(value: bytes) -> bytes:
    packing, body = value[:1], value[1:]
    if packing == _ZSTD:
        return zstandard.ZstdDecompressor().decompress(body)
    if packing != _PLAIN:
        msg = f"no answer begins with {packing!r}"
        raise ValueError(msg)
    return body


def _fields(generation: Generation) -> list[Any]:
    if not isinstance(generation, ChatGeneration):
        return ["text", generation.text, generation.generation_info]
    # `ChatGeneration.model_dump` drops `usage_metadata` and `tool_calls`: dump the message.
    fields = generation.message.model_dump(exclude_defaults=True)
    fields["content"] = generation.message.content
    for name in ("chunk_position", "tool_call_chunks"):  # of streams: a kept answer is whole
        fields.pop(name, None)
    kind = generation.message.type.removesuffix("MessageChunk").lower()
    if kind not in _MESSAGES:
        msg = f"a message of type {generation.message.type!r} cannot be stored"
        raise TypeError(msg)
    return [kind, fields, generation.generation_info]


def _generation(kind: str, body: Any, info: dict[str, Any] | None) -> Generation:
    if kind == "text":
        return Generation(text=body, generation_info=info)
    body.pop("type", None)
    return ChatGeneration(message=_MESSAGES[kind](**body), generation_info=info)


def _plain(value: object) -> Any:
    """What JSON does not know: OpenAI's structured answers carry a pydantic object."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    msg = f"{type(value).__name__!r} is not JSON"
    raise TypeError(msg)

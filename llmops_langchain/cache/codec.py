"""Answers as bytes and back: an explicit format, read without importing what the bytes name.

The bytes are JSON: `[cost, answers]`, and `[kind, text or message, info]` for each answer. Messages
are found in a table of LangChain's own classes, so a foreign row can build nothing else; what does
not fit raises, and the cache counts it as a miss.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
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
from uuid_utils import uuid7

__all__ = ["EXACT", "Hit", "decode", "decode_hit", "encode"]

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_MESSAGES: dict[str, type[BaseMessage]] = {
    "ai": AIMessage,
    "human": HumanMessage,
    "system": SystemMessage,
    "tool": ToolMessage,
    "function": FunctionMessage,
    "chat": ChatMessage,
}

# A message with nothing in it, in JSON: reading it gives each new message lists of its own.
_BLANK = orjson.dumps(AIMessage("").model_dump())
_FIELDS = frozenset(AIMessage.model_fields)

EXACT = {"tier": "exact"}
"""The mark of a hit that was found by its key."""

_NO_USAGE = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
_RAW_USAGE = ("token_usage", "usage")
"""Where providers' own form of the same numbers stands, which some handlers read first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A kept answer as it is served."""

    generations: list[Generation]
    """New objects, which nobody else holds."""
    input_tokens: int
    """Tokens that were read when the answer was paid for; 0 if nobody counted."""
    output_tokens: int
    """Tokens that were written then."""
    cost: int
    """What it cost then (nano-dollars)."""


def encode(generations: Sequence[Generation], *, cost: int = 0) -> bytes:
    """The answers as bytes.

    Args:
        generations: What the model said.
        cost: What it cost (nano-dollars).

    Raises:
        TypeError: If an answer holds what JSON cannot.
    """
    return orjson.dumps([cost, [_fields(each) for each in generations]], default=_plain)


def decode(body: bytes) -> list[Generation]:
    """The answers of `encode`, as new objects that nobody else holds.

    Raises:
        ValueError: If the bytes are of another format, or damaged.
    """
    return _read(body, lambda _cost, answers: [_generation(*each) for each in answers])


def decode_hit(body: bytes, *, age: float, found: Mapping[str, Any] = EXACT) -> Hit:
    """The answers of `encode` as they are served: nothing to bill, and marked as a hit.

    A message has a fresh id (one that keeps its id would replace the earlier answer of its thread
    in LangGraph), usage of zeros, and says in `response_metadata["llmops_cache"]` where it is from.
    Messages are not validated again: the bytes must be those that `encode` wrote, which is what the
    checksum of a row promises.

    Args:
        body: What `encode` gave.
        age: Seconds since the answer was given.
        found: What its mark tells of how it was found, its `tier` at least.

    Raises:
        ValueError: If the bytes are of another format, or damaged.
    """
    return _read(body, lambda cost, answers: _hit(cost, answers, {**found, "age": age}))


def _read(body: bytes, build: Callable[[int, list[Any]], T]) -> T:
    try:
        cost, answers = orjson.loads(body)
        if not answers:
            msg = "there is no answer in it"
            raise ValueError(msg)
        return build(cost, answers)
    except (AttributeError, KeyError, TypeError) as error:
        msg = "the stored answer is damaged"
        raise ValueError(msg) from error


def _generation(kind: str, body: Any, info: dict[str, Any] | None) -> Generation:
    if kind == "text":
        return Generation(text=body, generation_info=info)
    return ChatGeneration(message=_MESSAGES[kind](**body), generation_info=info)


def _hit(cost: int, answers: list[Any], mark: Mapping[str, Any]) -> Hit:
    kind, first, _ = answers[0]
    usage = (first.get("usage_metadata") if kind == "ai" else None) or {}
    return Hit(
        input_tokens=usage.get("input_tokens", 0),
        output_tokens=usage.get("output_tokens", 0),
        cost=cost,
        generations=[_served(mark, *each) for each in answers],
    )


def _served(
    mark: Mapping[str, Any], kind: str, body: Any, info: dict[str, Any] | None
) -> Generation:
    if info:
        _drop_raw_usage(info)
    if kind != "ai":
        # An exact hit of a text is what was kept: core compares it so.
        told = info if mark["tier"] == "exact" else {**(info or {}), "llmops_cache": {**mark}}
        return _generation(kind, body, told)
    told = body.setdefault("response_metadata", {})
    _drop_raw_usage(told)
    usage = body.get("usage_metadata")
    told["llmops_cache"] = {**mark, "usage_metadata": usage}
    body["usage_metadata"] = _NO_USAGE.copy()
    # Not `storage.types.new_id`: text is wanted, and the detour over an object takes 1.3 µs.
    body["id"] = f"lc_run--{uuid7()}"
    return _chat_generation(_ai_message(body), info)


def _drop_raw_usage(told: dict[str, Any]) -> None:
    for name in _RAW_USAGE:
        told.pop(name, None)


def _ai_message(fields: dict[str, Any]) -> AIMessage:
    """What `AIMessage(**fields)` gives for the fields of a message that was one before."""
    if not isinstance(fields["content"], str | list):
        msg = "a message has text or blocks"
        raise TypeError(msg)
    given = set(fields)
    values = orjson.loads(_BLANK)
    values.update(fields)
    extra = {name: values.pop(name) for name in given - _FIELDS}
    return _restored(AIMessage, values, given, extra)


def _chat_generation(message: AIMessage, info: dict[str, Any] | None) -> ChatGeneration:
    if not isinstance(message.content, str):
        return ChatGeneration(message=message, generation_info=info)
    values = {
        "text": message.content,
        "generation_info": info,
        "type": "ChatGeneration",
        "message": message,
    }
    return _restored(ChatGeneration, values, {"text", "generation_info", "message"}, None)


def _restored(
    model: type[M], values: dict[str, Any], given: set[str], extra: dict[str, Any] | None
) -> M:
    """The object with these values, as `pickle` makes it again: what was checked once is not twice.

    `model_construct` does the same forty times slower, as it looks at every field.
    """
    made = model.__new__(model)
    made.__setstate__(
        {
            "__dict__": values,
            "__pydantic_fields_set__": given,
            "__pydantic_extra__": extra,
            "__pydantic_private__": None,
        }
    )
    return made


def _fields(generation: Generation) -> list[Any]:
    if not isinstance(generation, ChatGeneration):
        return ["text", generation.text, generation.generation_info]
    # `ChatGeneration.model_dump` drops `usage_metadata` and `tool_calls`: dump the message.
    fields = generation.message.model_dump(exclude_defaults=True)
    fields["content"] = generation.message.content
    if extra := generation.message.additional_kwargs:
        fields["additional_kwargs"] = extra  # pydantic would write objects in it without aliases
    # The last two are of streams: a kept answer is whole.
    for name in ("type", "chunk_position", "tool_call_chunks"):
        fields.pop(name, None)
    kind = generation.message.type.removesuffix("MessageChunk").lower()
    if kind not in _MESSAGES:
        msg = f"a message of type {generation.message.type!r} cannot be stored"
        raise TypeError(msg)
    _check_arguments(fields.get("tool_calls"))
    return [kind, fields, generation.generation_info]


def _check_arguments(tool_calls: list[Any] | None) -> None:
    """A tool must be called with what the model said: JSON turns NaN and infinity into null.

    Raises:
        TypeError: If an argument would come back as another.
    """
    if tool_calls and orjson.loads(orjson.dumps(tool_calls, default=_plain)) != tool_calls:
        msg = "the arguments of a tool call cannot be written as JSON"
        raise TypeError(msg)


def _plain(value: object) -> Any:
    """What JSON does not know: OpenAI's structured answers carry a pydantic object."""
    if isinstance(value, BaseModel):
        plain = value.model_dump(by_alias=True)
        with suppress(ValueError):  # a parser makes the object again, just like this
            if type(value)(**plain) == value:
                return plain
    msg = f"{type(value).__name__!r} is not JSON"
    raise TypeError(msg)

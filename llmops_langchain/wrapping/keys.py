"""The one key of a model call: equal for two calls exactly if they must get the same answer.

What changes an answer is in it (messages, model, parameters, tools, schema, tenant); what does not
is left out (ids, token counts of earlier turns, time-outs, credentials), so that a conversation
that is repeated with other ids is recognised.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, singledispatch
from typing import Any

import orjson
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from pydantic import BaseModel, SecretStr, TypeAdapter
from pydantic.errors import PydanticUserError

from llmops_langchain.wrapping.swap import is_swapped, layers_of

__all__ = ["call_key", "digest", "private_settings", "without_call_ids"]

# Fields of chat models that do not change an answer: transport, credentials, bookkeeping.
_SILENT = frozenset(
    (
        "async_client",
        "cache",
        "callback_manager",
        "callbacks",
        "client",
        "custom_get_token_ids",
        "disable_streaming",
        "http_async_client",
        "http_client",
        "http_socket_options",
        "i",  # LangChain's fake models count their answers in it
        "include_response_headers",
        "max_retries",
        "metadata",
        "name",
        "profile",
        "rate_limiter",
        "request_timeout",
        "root_async_client",
        "root_client",
        "stream_chunk_timeout",
        "stream_usage",
        "streaming",
        "tags",
        "timeout",
        "verbose",
    )
)


# What makes an answer depend on a conversation that the provider keeps.
_KEPT_BY_PROVIDER = frozenset(("container", "conversation", "previous_response_id"))


def call_key(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    /,
    *,
    scope: str = "",
    settled: bytes = b"",
    **parameters: Any,
) -> bytes:
    """32 bytes that name a call.

    Args:
        model: The model that would be asked.
        messages: What it would be asked.
        scope: Whose answer it is: two scopes never share one.
        settled: `private_settings(model)` from before its first call.
        parameters: What goes with the call: `stop`, tools, a schema, a temperature.

    Raises:
        TypeError: If a part cannot be written down, or the answer depends on what the provider
            keeps; such a call has no key.
    """
    if _depends_on_provider(model, parameters):
        msg = "the answer depends on a conversation that the provider keeps"
        raise TypeError(msg)
    order: dict[str | None, int] = {}
    given = {name: value for name, value in parameters.items() if value is not None}
    said = [_plain_message(message, order) for message in messages]
    parts = ("call/1", scope, _identity(model), given, said)
    return digest((settled, *map(_json, parts)))


def private_settings(model: BaseChatModel) -> bytes:
    """What a model keeps in pydantic's private attributes and can be written down.

    A model may have settings there that `_identifying_params` does not tell, and counters or
    clients too: taken once, before the first call, it tells models apart and does not change.
    """
    private = model.__pydantic_private__ or {}
    written = {name: _written(value) for name, value in private.items()}
    return _json({name: value for name, value in written.items() if value is not None})


def _written(value: object) -> str | None:
    try:
        return _json(value).decode()
    except TypeError:
        return None


def _depends_on_provider(model: BaseChatModel, parameters: Mapping[str, Any]) -> bool:
    told = {**(vars(model).get("model_kwargs") or {}), **parameters}
    return bool(
        vars(model).get("use_previous_response_id")
        or any(told.get(name) is not None for name in _KEPT_BY_PROVIDER)
    )


def digest(parts: Iterable[bytes]) -> bytes:
    """SHA-256 over parts with their lengths, so that text moved between parts is another key."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.digest()


def _plain_message(message: BaseMessage, order: dict[str | None, int]) -> tuple[Any, ...]:
    """What the model reads of a message; tool calls are named by their order, not by their ids."""
    extra = message.additional_kwargs
    if isinstance(message, AIMessage):
        calls = [
            (order.setdefault(call["id"], len(order)), call["name"], call["args"])
            for call in message.tool_calls
        ]
        # OpenAI's raw form of the same calls, and fields it leaves empty.
        rest = {
            key: value
            for key, value in extra.items()
            if value is not None and not (calls and key == "tool_calls")
        }
        broken = [(call["name"], call["args"]) for call in message.invalid_tool_calls]
        return ("ai", without_call_ids(message.content), message.name, calls, broken, rest)
    if isinstance(message, ToolMessage):
        answered = order.get(message.tool_call_id)
        return ("tool", message.content, message.name, answered, message.status, extra)
    role = vars(message).get("role")  # `getattr` would search pydantic's extras for it
    return (message.type.removesuffix("MessageChunk"), message.content, message.name, role, extra)


def without_call_ids(content: str | Sequence[Any]) -> str | list[Any]:
    """An answer's content without the ids of its blocks and of the tool calls they repeat."""
    if isinstance(content, str):
        return content
    return [
        {key: value for key, value in block.items() if key not in ("id", "call_id")}
        if isinstance(block, Mapping)
        else block
        for block in content
    ]


def _identity(model: BaseChatModel) -> dict[str, Any]:
    """Class and settings. A model that keeps them in private names has `_identifying_params`."""
    given = vars(model)
    fields = {name: given[name] for name in _speaking(type(model)) if given.get(name) is not None}
    said = model._identifying_params  # noqa: SLF001 - LangChain's own way to tell models apart
    own = {name: value for name, value in said.items() if _speaks(name)}
    return {"class": _class_name(type(model)), "fields": fields, "own": own}


@lru_cache(maxsize=256)
def _speaking(model_class: type[BaseChatModel]) -> tuple[str, ...]:
    fields = model_class.model_fields.items()
    return tuple(name for name, field in fields if _speaks(name) and not field.exclude)


def _speaks(name: str) -> bool:
    """Whether a setting may change an answer; who pays, and how that is proved, does not."""
    return name not in _SILENT and not name.endswith(("api_key", "token_provider"))


@lru_cache(maxsize=256)
def _class_name(model_class: type[BaseChatModel]) -> str:
    """The name of the class under our layers."""
    ours = layers_of(model_class)
    base = next(each for each in model_class.__mro__ if each not in ours and not is_swapped(each))
    return f"{base.__module__}.{base.__qualname__}"


def _json(value: object) -> bytes:
    return orjson.dumps(
        value, default=_plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    )


@singledispatch
def _plain(value: object) -> Any:
    """What JSON does not know, in a plain form; what has none has no key."""
    msg = f"{type(value).__name__!r} has no plain form"
    raise TypeError(msg)


@_plain.register
def _(value: SecretStr) -> None:  # noqa: ARG001 - who pays does not change the answer
    return None


@_plain.register
def _(value: BaseChatModel) -> dict[str, Any]:
    return _identity(value)


@_plain.register
def _(value: BaseModel) -> list[Any]:
    return [type(value).__qualname__, value.model_dump()]


@_plain.register
def _(value: type) -> dict[str, Any]:
    """The schema, so that an edited class is another one."""
    try:
        return TypeAdapter(value).json_schema()
    except PydanticUserError as error:
        msg = f"{value.__qualname__!r} has no schema"
        raise TypeError(msg) from error


@_plain.register(set)
@_plain.register(frozenset)
def _(value: set[Any]) -> list[Any]:
    return sorted(value)


@_plain.register
def _(value: bytes) -> str:
    return value.hex()


@_plain.register
def _(value: Mapping) -> dict[Any, Any]:  # type: ignore[type-arg]  # dispatch knows plain classes only
    return dict(value)

"""The parts of a model call, and their one key: equal exactly if the answer must be the same.

What changes an answer is in them (messages, model, parameters, tools, schema, tenant); what does
not is left out (ids, token counts of earlier turns, time-outs, credentials). A call whose answer
depends on what the provider keeps or runs has none.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.messages import BaseMessage

from llmops_langchain.wrapping.canonical import canonical, plain
from llmops_langchain.wrapping.conversation import conversation_parts, text_parts
from llmops_langchain.wrapping.hosted import refuse_hosted
from llmops_langchain.wrapping.parameters import (
    SILENT_FIELDS,
    cleared,
    parameter_parts,
    speaks,
    telling,
)
from llmops_langchain.wrapping.parts import CallParts
from llmops_langchain.wrapping.swap import below_layers

__all__ = ["call_parts", "private_settings"]


def call_parts(
    model: BaseChatModel | BaseLLM,
    messages: Sequence[BaseMessage] | str,
    /,
    *,
    scope: str = "",
    settled: bytes = b"",
    **parameters: Any,
) -> CallParts:
    """What names a call.

    Args:
        model: The model that would be asked.
        messages: What it would be asked; a text model is asked a text.
        scope: Whose answer it is: two scopes never share one.
        settled: `private_settings(model)` from before its first call.
        parameters: What goes with the call: `stop`, tools, a schema, a temperature.

    Raises:
        TypeError: If a part cannot be written down, or the answer depends on what the provider
            keeps or runs; such a call has no key.
    """
    told = telling(parameters)
    refuse_hosted(told)
    tools, schema, rest = parameter_parts(told)
    system, history, question = _conversation(messages)
    return CallParts(
        scope=scope.encode("utf-8", "surrogatepass"),
        model=canonical(_identity(model)) + settled,
        parameters=rest,
        tools=tools,
        schema=schema,
        system=system,
        history=history,
        question=question,
    )


def _conversation(messages: Sequence[BaseMessage] | str) -> tuple[bytes, bytes, bytes]:
    if isinstance(messages, str):
        return text_parts(messages)
    return conversation_parts([message.__dict__ for message in messages])


def private_settings(model: BaseChatModel | BaseLLM) -> bytes:
    """What a model keeps in pydantic's private attributes and can be written down.

    A model may have settings there that `_identifying_params` does not tell, and counters or
    clients too: taken once, before the first call, it tells models apart and does not change.
    """
    private = model.__pydantic_private__ or {}
    written = {name: _written(value) for name, value in private.items() if name != "_llmops"}
    return canonical({name: value for name, value in written.items() if value is not None})


def _written(value: object) -> str | None:
    try:
        return canonical(value).decode()
    except TypeError:
        return None


_CLIENTS = ("async_client", "client")


@plain.register(BaseChatModel)
@plain.register(BaseLLM)
def _identity(model: BaseChatModel | BaseLLM) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Class and settings. A model that keeps them in private names has `_identifying_params`."""
    given = vars(model)
    names = _speaking(type(model))
    fields = cleared({name: given[name] for name in names if given.get(name) is not None})
    own = telling(model._identifying_params, SILENT_FIELDS)  # noqa: SLF001 - LangChain's own way to tell models apart
    refuse_hosted(fields)
    refuse_hosted(own)
    return _class_name(type(model)), fields, own


@lru_cache(maxsize=256)
def _speaking(model_class: type[BaseChatModel | BaseLLM]) -> tuple[str, ...]:
    fields = model_class.model_fields.items()
    return tuple(
        name
        for name, field in fields
        if speaks(name)
        and not field.exclude
        and (name not in SILENT_FIELDS or (name in _CLIENTS and _is_own(model_class, name)))
    )


def _is_own(model_class: type[BaseChatModel | BaseLLM], name: str) -> bool:
    """Whether a field was declared outside of LangChain's packages.

    There a client is made of the model's other settings. A class of the user's may be told apart
    by its client alone: then that must be written down, or the call has no key.
    """
    declared = next(
        each for each in model_class.__mro__ if name in vars(each).get("__annotations__", ())
    )
    return not declared.__module__.startswith("langchain")


@lru_cache(maxsize=256)
def _class_name(model_class: type[BaseChatModel | BaseLLM]) -> str:
    """The name of the class under our layers."""
    base = below_layers(model_class)
    return f"{base.__module__}.{base.__qualname__}"

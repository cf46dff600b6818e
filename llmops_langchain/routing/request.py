"""What a router sees of a call: its text, its size, and what it needs of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from numpy.typing import NDArray

from llmops_langchain.routing.choice import Ability
from llmops_langchain.routing.features import features_of
from llmops_langchain.tokens import count_tokens

__all__ = ["ROUTE", "Before", "Request", "request_of"]

ROUTE = "llmops_route"
"""Key of `response_metadata`: who answered, and after how many attempts."""

_SCHEMAS = ("response_format", "output_config")
_IMAGES, _SOUNDS = frozenset(("image", "image_url")), frozenset(("audio", "input_audio"))


class Before(NamedTuple):
    """An earlier answer of a router in the same conversation."""

    choice: str
    tokens: int
    """Of the conversation up to it: what its provider may have in its prompt cache."""
    at: float
    """When, UTC seconds since the Unix epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A call that is to be routed."""

    messages: Sequence[BaseMessage]
    tools: Sequence[Any]
    needs: frozenset[Ability]
    text: str
    """What is asked: the last thing a person said."""
    features: NDArray[np.float64]
    """`features_of` the text."""
    form: str = ""
    """The schema of its answer and whatever else goes with the call, in some words."""
    before: "Before | None" = None
    """Who answered last in this conversation, as far as its messages tell."""

    def digest(self) -> bytes:
        """The same for the same request: its messages, tools and schema."""
        said = (
            f"{each.type}{each.content}{getattr(each, 'tool_calls', '')}" for each in self.messages
        )
        told = "\0".join((*said, *map(_name, self.tools), self.form))
        return blake2b(told.encode(errors="replace"), digest_size=16).digest()

    def input_tokens(self, model: str) -> int:
        """Its tokens as this model counts them."""
        return count_tokens(self.messages, model, self.tools)


def request_of(
    messages: Sequence[BaseMessage], kwargs: Mapping[str, Any], tools: Sequence[Any] = ()
) -> Request:
    """What a call needs, by its messages and what goes with it."""
    bound = [*tools, *(kwargs.get("tools") or ())]
    needs: set[Ability] = {"tools"} if bound else set()
    if any(kwargs.get(name) for name in _SCHEMAS):
        needs.add("structured_output")
    kinds = {block.get("type") for message in messages for block in _blocks(message)}
    needs |= {"images"} if kinds & _IMAGES else set()
    needs |= {"audio"} if kinds & _SOUNDS else set()
    text = _asked(messages)
    return Request(
        messages=messages,
        tools=bound,
        needs=frozenset(needs),
        text=text,
        features=features_of(text),
        form=str(sorted((name, str(each)) for name, each in kwargs.items() if name != "tools")),
        before=_before(messages),
    )


def _name(tool: Any) -> str:
    named = tool.get("function", tool) if isinstance(tool, Mapping) else None
    told = getattr(tool, "name", getattr(tool, "__name__", tool)) if named is None else named
    return str(told)


def _before(messages: Sequence[BaseMessage]) -> Before | None:
    answers = (each for each in reversed(messages) if isinstance(each, AIMessage))
    if (last := next(answers, None)) is None:
        return None
    mark = last.response_metadata.get(ROUTE)
    if not isinstance(mark, Mapping) or not isinstance(mark.get("choice"), str):
        return None
    told = last.usage_metadata
    tokens = told["input_tokens"] + told["output_tokens"] if told else 0
    at = mark.get("at")
    return Before(mark["choice"], tokens, float(at) if isinstance(at, int | float) else 0.0)


def _asked(messages: Sequence[BaseMessage]) -> str:
    people = (message for message in reversed(messages) if isinstance(message, HumanMessage))
    message = next(people, messages[-1] if messages else None)
    return "" if message is None else message.text


def _blocks(message: BaseMessage) -> list[Mapping[str, Any]]:
    content = message.content
    return [] if isinstance(content, str) else [each for each in content if isinstance(each, dict)]

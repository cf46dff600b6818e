"""What a router sees of a call: its text, its size, and what it needs of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.messages import BaseMessage, HumanMessage
from numpy.typing import NDArray

from llmops_langchain.routing.choice import Ability
from llmops_langchain.routing.features import features_of
from llmops_langchain.tokens import count_tokens

__all__ = ["Request", "request_of"]

_SCHEMAS = ("response_format", "output_config")
_IMAGES, _SOUNDS = frozenset(("image", "image_url")), frozenset(("audio", "input_audio"))


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
    )


def _asked(messages: Sequence[BaseMessage]) -> str:
    people = (message for message in reversed(messages) if isinstance(message, HumanMessage))
    message = next(people, messages[-1] if messages else None)
    return "" if message is None else message.text


def _blocks(message: BaseMessage) -> list[Mapping[str, Any]]:
    content = message.content
    return [] if isinstance(content, str) else [each for each in content if isinstance(each, dict)]

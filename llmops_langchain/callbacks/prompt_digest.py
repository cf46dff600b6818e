"""What tells equal prompts from others, without the prompt."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from langchain_core.messages import AIMessage, BaseMessage

__all__ = ["prompt_digest"]

_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def prompt_digest(prompt: Sequence[BaseMessage] | str, settings: Mapping[str, Any]) -> bytes | None:
    """16 bytes that are equal for equal prompts with equal parameters.

    Two of which one would be answered from a cache have the same; parameters that cannot be written
    down make a call unlike all others. It is made while the prompt is at hand, as no prompt is
    held longer than its call.

    Args:
        prompt: What the model is asked.
        settings: The parameters of the call.

    Returns:
        `None` if the prompt cannot be written down.
    """
    said: Any = prompt if isinstance(prompt, str) else [_said(each) for each in prompt]
    try:
        text = orjson.dumps((said, settings), default=str, option=_SORTED)
    except Exception:  # noqa: BLE001 - a lone surrogate, or an object of the caller's that fails
        return None
    return hashlib.blake2b(text, digest_size=16).digest()


def _said(message: BaseMessage) -> tuple[object, ...]:
    # To ask another kind of message for tool calls would take longer than all the rest.
    calls = message.tool_calls if isinstance(message, AIMessage) else None
    return message.type, message.content, calls

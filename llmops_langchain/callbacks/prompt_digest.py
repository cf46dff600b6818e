"""What tells equal prompts from others, without the prompt."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from langchain_core.messages import BaseMessage

__all__ = ["prompt_digest"]

_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def prompt_digest(prompt: Sequence[BaseMessage] | str, settings: Mapping[str, Any]) -> bytes | None:
    """16 bytes that are equal for equal prompts with equal parameters.

    Two of which one would be answered from a cache have the same; parameters that cannot be written
    down make a call unlike all others.

    Args:
        prompt: What the model is asked.
        settings: The parameters of the call.

    Returns:
        `None` if the prompt cannot be written down.
    """
    if isinstance(prompt, str):
        said: Any = prompt
    else:
        said = [(each.type, each.content, getattr(each, "tool_calls", None)) for each in prompt]
    try:
        text = orjson.dumps((said, settings), default=str, option=_SORTED)
    except TypeError:  # a lone surrogate, or a number over 64 bits
        return None
    return hashlib.blake2b(text, digest_size=16).digest()

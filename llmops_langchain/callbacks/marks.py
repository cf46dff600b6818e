"""For how long a prompt asks its provider to keep it: Claude's `cache_control` marks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

__all__ = ["is_marked", "kept_for_an_hour"]


def kept_for_an_hour(prompt: Sequence[BaseMessage] | str, settings: Mapping[str, Any]) -> bool:
    """Whether every mark of a request says an hour: then all that was written is kept so long.

    A stream of Claude tells what was written to the cache and not for how long, and an hour costs
    more (2 instead of 1.25 times the input). With marks of both kinds nobody can tell.

    Args:
        prompt: What was asked.
        settings: The parameters of the call; tools, and the whole request, may be marked too.
    """
    marks = list(_marks(prompt, settings))
    return bool(marks) and all(mark.get("ttl") == "1h" for mark in marks)


def is_marked(prompt: Sequence[BaseMessage] | str, settings: Mapping[str, Any]) -> bool:
    """Whether a part of a request is to be written to the provider's cache; arguments as above."""
    return next(_marks(prompt, settings), None) is not None


def _marks(
    prompt: Sequence[BaseMessage] | str, settings: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    blocks = [settings, *_blocks(settings.get("tools"))]
    if not isinstance(prompt, str):
        blocks += [block for message in prompt for block in _blocks(message.content)]
    for block in blocks:
        if isinstance(mark := block.get("cache_control"), Mapping):
            yield mark


def _blocks(parts: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(parts, Iterable) and not isinstance(parts, str):
        yield from (part for part in parts if isinstance(part, Mapping))

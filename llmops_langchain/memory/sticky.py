"""A cut that stays where it is while a chat grows, so that the prompt's prefix stays the same.

Providers give a discount on a prompt that begins like the last one. A cut to the brim would move
with every message; this one comes at `CRITICAL` of the window, goes down to `TARGET`, and then
only adds messages until `CRITICAL` is reached again.

Nothing is remembered: the cuts are replayed over the history, which gives the same prompt in every
process. With the previous prompt at hand only what came after it is looked at, to the same effect
(a newest step that was too large to be in that prompt is taken for a new one, and cut again).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from operator import is_

from langchain_core.messages import BaseMessage, ToolMessage

from llmops_langchain.errors import ContextWindowError
from llmops_langchain.memory.strategies import Room, Strategy
from llmops_langchain.memory.validity import CLEARED_NOTE, cleared, leading_systems, role, valid

__all__ = ["CRITICAL", "TARGET", "carried", "sticky"]

CRITICAL = 0.85
"""Share of the window at which a cut comes."""

TARGET = 0.60
"""Share of the window that a cut leaves filled."""

_WIDER = 0.80
"""What a cut leaves where system prompt, tools and question alone pass `TARGET`."""


def sticky(
    history: Sequence[BaseMessage],
    previous: Sequence[BaseMessage],
    strategy: Strategy,
    room: Room,
) -> tuple[list[BaseMessage], bool]:
    """Return the prompt for a history, and whether its cut has moved just now.

    Args:
        history: All messages of the conversation.
        previous: The prompt of the turn before; empty to replay all cuts.
        strategy: How to cut.
        room: What the messages may use.

    Raises:
        ContextWindowError: If system messages and current question do not fit.
    """
    prompt, seen = carried(previous, history)
    used = room.cost(prompt)
    for message in history[seen:]:
        # A model is called before each AI message: there the cut was decided.
        if role(message) == "ai" and _critical(used, room):
            with suppress(ContextWindowError):  # that call was refused; this one need not be
                prompt = _reduced(prompt, strategy, room)
                used = room.cost(prompt)
        prompt.append(message)
        used += room.count(message)
    moved = _critical(used, room)
    if moved:
        before, prompt = prompt, _reduced(prompt, strategy, room)
        moved = not _same(before, prompt)
    return prompt if _same(prompt, history) else valid(prompt), moved


def carried(
    previous: Sequence[BaseMessage], history: Sequence[BaseMessage]
) -> tuple[list[BaseMessage], int]:
    """Return what of a history was in the previous prompt, and the index where new ones start.

    Messages are known again by their `id`. If one of the previous prompt is gone, because the
    history was rewritten, the answer is an empty prompt and index 0.
    """
    head = leading_systems(history)
    kept: list[BaseMessage] = []
    start, at = 0, len(history)
    for old in reversed(previous[leading_systems(previous) :]):
        at = next((i for i in range(at - 1, head - 1, -1) if _is(history[i], old)), -1)
        if at < 0:
            return [], 0
        kept.append(_as_before(history[at], old))
        start = start or at + 1
    return ([*history[:head], *reversed(kept)], start) if kept else ([], 0)


def _critical(used: int, room: Room) -> bool:
    return room.taken + used >= CRITICAL * room.max_tokens


def _reduced(prompt: Sequence[BaseMessage], strategy: Strategy, room: Room) -> list[BaseMessage]:
    """Return the prompt cut to `TARGET`, or to what is possible above it."""
    for share in (TARGET, _WIDER):
        with suppress(ContextWindowError):
            smaller = replace(room, max_tokens=int(share * room.max_tokens))
            return list(strategy(prompt, smaller))
    return list(prompt if room.holds(prompt) else strategy(prompt, room))


def _is(message: BaseMessage, old: BaseMessage) -> bool:
    return message is old or (message.id is not None and message.id == old.id)


def _as_before(message: BaseMessage, old: BaseMessage) -> BaseMessage:
    if isinstance(message, ToolMessage) and old.content == CLEARED_NOTE:
        return cleared(message)
    return message


def _same(some: Sequence[BaseMessage], others: Sequence[BaseMessage]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))

"""Keep how a conversation began, besides its newest turns."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from langchain_core.messages import BaseMessage

from llmops_langchain.errors import ContextWindowError
from llmops_langchain.memory.strategies import Room, sliding_window
from llmops_langchain.memory.validity import Turn, current_question, leading_systems, role, turns

__all__ = ["important_first", "turn_at"]

_SHARE = 0.5
"""Share of the free room that the first turn may take: a pasted book would leave no other turn."""


def important_first(history: Sequence[BaseMessage], room: Room) -> list[BaseMessage]:
    """Keep system messages, the first turn and the newest turns.

    The first question often says what a conversation is about. Its turn stays, whole, if it fits
    into half of the room that the current turn leaves; otherwise this is `sliding_window`.

    Raises:
        ContextWindowError: If system messages and current question alone do not fit.
    """
    head, asked = leading_systems(history), current_question(history)
    start = _next_question(history, head)
    if start == asked or asked is None:
        return sliding_window(history, room)
    stop = _next_question(history, start + 1)
    first = turn_at(history, start, stop)
    cost = room.cost(first)
    needed = room.cost(sliding_window([*history[:head], *history[asked:]], room))
    if cost <= _SHARE * (room.free - needed):
        smaller = replace(room, max_tokens=room.max_tokens - cost)
        with suppress(ContextWindowError):  # what is pinned may need that room
            newest = sliding_window([*history[:head], *history[stop:]], smaller)
            return [*newest[:head], *first, *newest[head:]]
    return sliding_window(history, room)


def turn_at(history: Sequence[BaseMessage], start: int, stop: int) -> Turn:
    """Return the turn from one question, at `start`, to the next, at `stop`; what is valid of it.

    The next one must be there: only the calls of the very last turn may still be open.
    """
    newest_first = turns(history[start : stop + 1], 0)
    next(newest_first)
    return next(newest_first)


def _next_question(history: Sequence[BaseMessage], start: int) -> int:
    found = (at for at in range(start, len(history)) if role(history[at]) == "human")
    return next(found, len(history))

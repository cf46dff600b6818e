"""A cut that stays where it is while a chat grows, so that the prompt's prefix stays the same.

Providers give a discount on a prompt that begins like the last one. A cut to the brim would move
with every message; this one comes at `CRITICAL` of the window, goes down to `TARGET`, and then
only adds messages until `CRITICAL` is reached again.

Nothing is remembered: the cuts are replayed over the history, which gives the same prompt in every
process. With the previous prompt at hand only what came after it is looked at, to the same effect
(a newest step that was too large to be in that prompt is taken for a new one, and cut again).

A strategy that picks what a question is about would find no more in what its last cut left. It is
asked again with each question, about the whole history, and its cut stays until the next question,
or until tool results fill the window: prompts then begin alike within a turn only.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from operator import is_
from typing import Any, NamedTuple

from langchain_core.messages import (
    BaseMessage,
    ToolMessage,
    message_to_dict,
    messages_from_dict,
)

from llmops_langchain.errors import ContextWindowError
from llmops_langchain.memory.marks import Marks
from llmops_langchain.memory.strategies import CutPostponedError, Room, Strategy
from llmops_langchain.memory.validity import (
    CLEARED_NOTE,
    cleared,
    current_question,
    is_summary,
    leading_systems,
    role,
    valid,
)

__all__ = ["Cut", "Previous", "Sticky", "as_cut", "carried", "sticky"]

Cut = Mapping[str, Any]
"""What a state keeps of a prompt, in plain values: the `ids` of its messages, which tool outputs
gave way to a note (`noted`), the messages that are not in the history as they are (`made`), and the
tokens of the whole history (`total`)."""

Previous = Sequence[BaseMessage] | Cut
"""The messages of the prompt before, or its cut."""

_MARKS = Marks()


class Sticky(NamedTuple):
    """A prompt, and how it came about."""

    messages: list[BaseMessage]
    moved: bool
    """Its cut has moved just now."""
    before: int = 0
    """Tokens of the messages without that move; 0 where nobody counted them."""
    carried: int = 0
    """Tokens of what was there of the previous prompt; 0 if nothing was."""
    total: int | None = None
    """Tokens of the whole history, where that is known without counting all of it."""


def sticky(
    history: Sequence[BaseMessage],
    previous: Previous,
    strategy: Strategy,
    room: Room,
    marks: Marks = _MARKS,
    *,
    reselects: bool = False,
) -> Sticky:
    """Return the prompt for a history, and whether its cut has moved just now.

    Args:
        history: All messages of the conversation.
        previous: The prompt of the turn before; empty to replay all cuts.
        strategy: How to cut.
        room: What the messages may use.
        marks: When to cut, and how far down.
        reselects: A new question cuts the whole history anew, if that is too long; between two
            questions the cut stays. Otherwise what one cut took away is gone for the next.

    Raises:
        ContextWindowError: If system messages and current question do not fit.
    """
    prompt, seen = carried(previous, history)
    used = known = room.cost(prompt)
    total = _told_total(previous, history, seen, room)
    asked = current_question(history) if reselects else None
    was_cut = len(prompt) < seen
    if asked is not None and asked >= seen:
        prompt, seen = list(history[: asked + 1]), asked + 1
        used = _cost(prompt, room)
    for at, message in enumerate(history[seen:], seen):
        # A model is called before each AI message: there the cut was decided.
        if role(message) == "ai" and marks.reached(used, prompt, room):
            with suppress(ContextWindowError):  # that call was refused; this one need not be
                so_far = history[:at]
                whole = replace(room, history=so_far)
                prompt = _reduced(so_far if reselects else prompt, strategy, whole, marks)
                used = room.cost(prompt)
        prompt.append(message)
        used += room.count(message)
    moved = marks.reached(used, prompt, room)
    if moved:
        before, whole = prompt, replace(room, history=history)
        prompt = _reduced(history if reselects else prompt, strategy, whole, marks)
        moved = not _same(before, prompt)
    if reselects and was_cut:
        used = room.cost(prompt)  # the history was too long before: that is no news
    kept = prompt if _same(prompt, history) else valid(prompt)
    return Sticky(kept, moved, used, known, total)


def carried(previous: Previous, history: Sequence[BaseMessage]) -> tuple[list[BaseMessage], int]:
    """Return what of a history was in the previous prompt, and the index where new ones start.

    Messages are known again by their `id`; a summary is none of the history and is carried along.
    If one of the previous prompt is gone, because the history was rewritten, the answer is an
    empty prompt and index 0.
    """
    before = _told(previous) if isinstance(previous, Mapping) else previous
    head = leading_systems(history)
    kept: list[BaseMessage] = []
    start, at = 0, len(history)
    for old in reversed(before[leading_systems(before) :]):
        if is_summary(old):
            kept.append(old)
            continue
        at = next((i for i in range(at - 1, head - 1, -1) if _is(history[i], old)), -1)
        if at < 0:
            return [], 0
        kept.append(_as_before(history[at], old))
        start = start or at + 1
    return ([*history[:head], *reversed(kept)], start) if start else ([], 0)


def as_cut(messages: Sequence[BaseMessage], history: Sequence[BaseMessage]) -> Cut:
    """Return what a state may keep of a prompt; empty if a message of it has no `id`."""
    known = set(map(id, history))
    talk = messages[leading_systems(messages) :]
    changed = [m for m in talk if id(m) not in known]
    if any(m.id is None for m in talk if not is_summary(m)):
        return {}
    return {
        "ids": [None if is_summary(m) and id(m) not in known else m.id for m in talk],
        "noted": [m.id for m in changed if _is_noted(m)],
        "made": [message_to_dict(m) for m in changed if not _is_noted(m)],
    }


def _told_total(
    previous: Previous, history: Sequence[BaseMessage], seen: int, room: Room
) -> int | None:
    """Tokens of the whole history, if the cut says those of what was seen."""
    known: int | None = 0
    if seen:
        known = previous.get("total") if isinstance(previous, Mapping) else None
    return None if known is None else known + sum(map(room.count, history[seen:]))


def _cost(messages: Sequence[BaseMessage], room: Room) -> int:
    """Their tokens; where they do not fit, more than there are."""
    used = 0
    for message in reversed(messages):
        used += room.count(message)
        if used > room.free:
            break
    return used


def _told(cut: Cut) -> Sequence[BaseMessage]:
    """Return the previous prompt as far as its cut tells of it."""
    noted = set(cut.get("noted") or ())
    made = messages_from_dict(list(cut.get("made") or ()))
    summaries = [m for m in made if is_summary(m)]
    changed = {m.id: m for m in made if not is_summary(m)}
    told: list[BaseMessage] = []
    for each in cut.get("ids") or ():
        if each is None:
            told.append(summaries.pop(0))
        elif each in noted:
            told.append(ToolMessage(CLEARED_NOTE, id=each, tool_call_id=""))
        else:
            told.append(changed.get(each) or _Known(content="", type="known", id=each))
    return told


class _Known(BaseMessage):
    """Stands for a message of the history that was in the prompt as it is."""


def _reduced(
    prompt: Sequence[BaseMessage], strategy: Strategy, room: Room, marks: Marks
) -> list[BaseMessage]:
    """Return the prompt cut to its target, or to what is possible above it."""
    for smaller in marks.targets(prompt, room):
        try:
            return list(strategy(prompt, smaller))
        except CutPostponedError:
            return list(prompt)
        except ContextWindowError:
            continue
    return list(prompt if room.holds(prompt) else strategy(prompt, room))


def _is(message: BaseMessage, old: BaseMessage) -> bool:
    return message is old or (message.id is not None and message.id == old.id)


def _as_before(message: BaseMessage, old: BaseMessage) -> BaseMessage:
    if isinstance(message, ToolMessage) and old.content == CLEARED_NOTE:
        return cleared(message)
    is_changed = message is not old and "llmops_cut" in old.response_metadata
    return old if is_changed else message


def _is_noted(message: BaseMessage) -> bool:
    return isinstance(message, ToolMessage) and message.content == CLEARED_NOTE


def _same(some: Sequence[BaseMessage], others: Sequence[BaseMessage]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))

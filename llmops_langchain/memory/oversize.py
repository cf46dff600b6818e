"""A message that alone is too large for its window, cut in the middle."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from llmops_langchain.memory.strategies import Room
from llmops_langchain.memory.validity import must_stay, role

__all__ = ["CUT", "cut_in_the_middle", "shortened"]

CUT = "llmops_cut"
"""Key of `response_metadata` under which a shortened copy says how many tokens it lost."""

_NOTE = "\n[… {:,} tokens removed …]\n"
_HEAD = 0.6
"""Share of what stays that is taken from the beginning."""

_FOR_STEPS = 0.25
"""Share of the room that is left to the tool steps behind a question that has to be cut."""

_LEAST = 16
"""Tokens below which nothing readable is left of a text."""


def shortened(history: Sequence[BaseMessage], room: Room) -> list[BaseMessage]:
    """Return a history whose largest message that has to stay is cut so that all of them fit.

    System messages are never cut: what an app tells its model is not to be guessed at. What does
    not fit even so comes back as it was.
    """
    needed = must_stay(history, room.pinned) if room.pinned else must_stay(history, _never)
    may_be_cut = [m for m in needed if role(m) != "system"]
    over = room.cost(needed) - room.free
    if over <= 0 or not may_be_cut:
        return list(history)
    if needed[-1] is not history[-1]:
        # Steps follow the question: without room for them the model would ask for them again.
        over += int(_FOR_STEPS * room.free)
    largest = max(may_be_cut, key=room.count)
    cut = cut_in_the_middle(largest, room.count(largest) - over, room.count)
    return [cut if message is largest else message for message in history]


def cut_in_the_middle(
    message: BaseMessage, tokens: int, count: Callable[[BaseMessage], int]
) -> BaseMessage:
    """Return a copy of at most `tokens` tokens: its longest text without the middle.

    The message itself comes back if it is small enough, or cannot become so.

    Args:
        message: Keeps its id, its tool calls, and what else is in it.
        tokens: How many it may have.
        count: Tokens of a message.
    """
    whole = count(message)
    text = _longest_text(message)
    if whole <= tokens or tokens < _LEAST or not text:
        return message
    kept, low, high = None, 0, len(text)
    while low < high:  # the most characters with which it is small enough
        middle = (low + high + 1) // 2
        copy = _with_text(message, text, _without_middle(text, middle, whole - tokens), whole)
        if count(copy) <= tokens:
            kept, low = copy, middle
        else:
            high = middle - 1
    if kept is None:
        return message
    kept.response_metadata[CUT] = whole - count(kept)
    return kept


def _never(_: BaseMessage) -> bool:
    return False


def _without_middle(text: str, characters: int, lost: int) -> str:
    head = int(_HEAD * characters)
    tail = characters - head
    return text[:head] + _NOTE.format(lost) + (text[-tail:] if tail else "")


def _longest_text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return max(map(_text_of, message.content), key=len, default="")


def _text_of(block: str | dict[Any, Any]) -> str:
    if isinstance(block, str):
        return block
    text = block.get("text")
    return text if isinstance(text, str) else ""


def _with_text(message: BaseMessage, old: str, new: str, whole: int) -> BaseMessage:
    """A copy with another text in the place of one; what lists and dicts it has are its own."""
    content: Any = new
    if not isinstance(message.content, str):
        at = next(i for i, block in enumerate(message.content) if _text_of(block) == old)
        block = message.content[at]
        content = list(message.content)
        content[at] = new if isinstance(block, str) else {**block, "text": new}
    said = {**message.response_metadata, CUT: whole}
    return message.model_copy(update={"content": content, "response_metadata": said})

"""What a cut took away and why, worked out when it is asked for."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any, Literal

from langchain_core.messages import BaseMessage, ToolMessage, convert_to_messages
from langchain_core.messages.utils import MessageLikeRepresentation

from llmops_langchain.memory.oversize import CUT
from llmops_langchain.memory.sticky import Cut, Previous, as_cut, carried
from llmops_langchain.memory.validity import CLEARED_NOTE, is_summary, leading_systems, turns

__all__ = ["Reason", "Trim", "Why"]

Why = Literal["turn", "step", "output", "cut", "summarised", "refused"]
"""`turn`: it left with its whole turn. `step`: it left, the question of its turn stays.
`output`: the message stays, its content gave way to a note. `cut`: the message stays, the middle
of its text left. `summarised`: it left, and a summary says what was in it. `refused`: no provider
accepts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a message left, or left its content behind."""

    index: int
    """Its place in the history."""
    message: BaseMessage
    """The message as it was."""
    why: Why


@dataclass(frozen=True, kw_only=True, eq=False)
class Trim:
    """A history cut to its window.

    All but `messages` is worked out when first read, from the history itself: it may have grown
    since then, but read this before anything else is done to it.
    """

    messages: list[BaseMessage]
    """What to send."""
    moved: bool
    """Whether the cut was made or moved for this prompt; a cut that is kept goes on saving."""
    history: Sequence[MessageLikeRepresentation] = field(repr=False)
    """What was given."""
    length: int
    """How many messages that were."""
    count: Callable[[BaseMessage], int] = field(repr=False)
    """Tokens of one message."""
    total: int | None = field(default=None, repr=False)
    """Tokens of the history, where they are known without counting all of it."""
    previous: Previous = field(default=(), repr=False)
    """The prompt before, as far as it was given."""

    @cached_property
    def reasons(self) -> tuple[Reason, ...]:
        """Why each message left or changed, in the order of the history."""
        return tuple(_reasons(self._given, self.messages))

    @cached_property
    def removed(self) -> tuple[BaseMessage, ...]:
        """The messages that left, in the order of the history."""
        return tuple(each.message for each in self.reasons if each.why not in ("output", "cut"))

    @cached_property
    def freed_tokens(self) -> int:
        """Tokens that the history needed and the messages do not."""
        whole = sum(map(self.count, self._given)) if self.total is None else self.total
        return whole - sum(map(self.count, self.messages))

    @cached_property
    def lost_prefix_tokens(self) -> int:
        """Tokens of the prompt before with which this one does not begin, 0 where none was given.

        A provider's prompt cache has them, and serves them no more:
        `memory.prompt_cache.lost_discount` says what that costs.
        """
        before, _ = carried(self.previous, self._given)
        pairs = zip(before, self.messages, strict=False)
        shared = sum(1 for _ in takewhile(lambda pair: _is_same(*pair), pairs))
        return sum(map(self.count, before[shared:]))

    @cached_property
    def cut(self) -> Cut:
        """What a state may keep of `messages` in plain values, for `trim_sticky(previous=…)`.

        Empty if a message has no `id`: the cuts are then made again, to the same effect.
        """
        kept = as_cut(self.messages, self._given)
        return kept if not kept or self.total is None else {**kept, "total": self.total}

    def to_dict(self) -> dict[str, Any]:
        """The report in plain values, without a text of the history: for a UI or a log."""
        return {
            "messages": len(self.messages),
            "removed": len(self.removed),
            "freed_tokens": self.freed_tokens,
            "lost_prefix_tokens": self.lost_prefix_tokens,
            "moved": self.moved,
            "reasons": [
                {
                    "index": each.index,
                    "id": each.message.id,
                    "why": each.why,
                    "tokens": self.count(each.message),
                }
                for each in self.reasons
            ],
        }

    @cached_property
    def _given(self) -> list[BaseMessage]:
        return convert_to_messages(self.history[: self.length])


def _is_same(one: BaseMessage, other: BaseMessage) -> bool:
    is_copy = one.id is not None and one.id == other.id and one.content == other.content
    return one is other or is_copy


def _reasons(history: Sequence[BaseMessage], messages: Sequence[BaseMessage]) -> list[Reason]:
    left = _left(history, messages)
    outputs = _cleared_outputs(left, messages)
    cut = {m.id for m in messages if CUT in m.response_metadata}
    is_summed_up = any(map(is_summary, messages))
    whys: dict[int, Why] = {}
    kept = set(map(id, messages))
    for turn in turns(history, leading_systems(history)):
        gone: Why = "summarised" if is_summed_up else "turn"
        why: Why = "step" if any(id(m) in kept for m in turn) else gone
        whys.update((id(m), why) for m in turn)
    return [
        Reason(index=i, message=m, why=_why(i, m, outputs, cut) or whys.get(id(m), "refused"))
        for i, m in left
    ]


def _why(
    at: int, message: BaseMessage, outputs: Collection[int], cut: Collection[str | None]
) -> Why | None:
    if at in outputs:
        return "output"
    return "cut" if message.id is not None and message.id in cut else None


def _left(
    history: Sequence[BaseMessage], messages: Sequence[BaseMessage]
) -> list[tuple[int, BaseMessage]]:
    """Return what of a history is not sent; of one object said twice the newer one is sent."""
    kept = Counter(map(id, messages))
    left = []
    for at in range(len(history) - 1, -1, -1):
        if kept[id(history[at])]:
            kept[id(history[at])] -= 1
        else:
            left.append((at, history[at]))
    return left[::-1]


def _cleared_outputs(
    left: Sequence[tuple[int, BaseMessage]], messages: Sequence[BaseMessage]
) -> set[int]:
    """Return the indices of the tool results that are still sent, as copies with a note inside."""
    copies = [m for m in messages if isinstance(m, ToolMessage) and m.content == CLEARED_NOTE]
    found = set()
    for at, old in reversed(left):
        if copies and isinstance(old, ToolMessage) and old.tool_call_id == copies[-1].tool_call_id:
            copies.pop()
            found.add(at)
    return found

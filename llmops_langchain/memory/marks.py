"""When a history is cut and how far down, in LangChain's words: `("fraction", 0.85)`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal, cast, get_args

from langchain_core.messages import BaseMessage

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.memory.prompt_cache import EarlyCut
from llmops_langchain.memory.strategies import Room
from llmops_langchain.memory.validity import leading_systems

__all__ = ["CRITICAL", "TARGET", "WARNING", "ContextSize", "Marks", "Status", "marks", "status_of"]

WARNING = 0.75
"""Share of the window from which its status is `warning`."""

CRITICAL = 0.85
"""Share of the window at which a cut comes."""

TARGET = 0.60
"""Share of the window that a cut leaves filled."""

_WIDER = 0.80
"""What a cut leaves where system prompt, tools and question alone pass what it should leave."""

Kind = Literal["fraction", "tokens", "messages"]

ContextSize = tuple[Kind, float]
"""`("fraction", 0.85)` of the window, `("tokens", 4000)` or `("messages", 50)`."""

Status = Literal["ok", "warning", "critical"]


def status_of(share: float) -> Status:
    """How full a window is of which this share is used."""
    return "critical" if share >= CRITICAL else "warning" if share >= WARNING else "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """When a prompt is cut, and what the cut leaves."""

    trigger: tuple[ContextSize, ...] = (("fraction", CRITICAL),)
    """Any of them is enough."""
    keep: ContextSize = ("fraction", TARGET)
    early: EarlyCut | None = None
    """Cut earlier where that pays."""

    def reached(self, used: int, prompt: Sequence[BaseMessage], room: Room) -> bool:
        """Whether a prompt whose messages have so many tokens is to be cut."""
        used += room.taken
        is_past = any(_is_past(each, used, len(prompt), room) for each in self.trigger)
        if is_past or used > room.max_tokens:
            return True
        return self.early is not None and self._pays(self.early, used, prompt, room)

    def _pays(self, early: EarlyCut, used: int, prompt: Sequence[BaseMessage], room: Room) -> bool:
        """Whether it costs less to cut now than to wait until it is needed."""
        earliest = WARNING * room.max_tokens
        latest = min((_tokens(each, room) for each in self.trigger), default=room.max_tokens)
        after = int(_tokens(self.keep, room))
        if not max(earliest, after) <= used < latest <= room.max_tokens:
            return False
        head = leading_systems(prompt)
        prefix = room.taken + room.cost(prompt[:head])
        # A call adds an answer and what follows it, a question or a tool's result.
        growth = max(1, used - prefix) / max(1, (len(prompt) - head) / 2)
        return early.pays(earliest, latest=latest, after=after, prefix=prefix, growth=growth)

    def targets(self, prompt: Sequence[BaseMessage], room: Room) -> list[Room]:
        """The rooms to cut a prompt to: the first in which it can be done is taken."""
        kind, amount = self.keep
        tokens = int(_tokens(self.keep, room))
        if kind == "messages":
            head = leading_systems(prompt)
            newest = prompt[max(head, len(prompt) - int(amount)) :]
            tokens = room.taken + room.cost(prompt[:head]) + room.cost(newest)
        wanted = [
            each for each in (tokens, int(_WIDER * room.max_tokens)) if each <= room.max_tokens
        ]
        is_optional = room.holds(prompt)
        return [replace(room, max_tokens=each, optional=is_optional) for each in wanted]


def marks(
    trigger: ContextSize | Sequence[ContextSize], keep: ContextSize, early: EarlyCut | None = None
) -> Marks:
    """Check what a caller gave.

    Raises:
        ConfigurationError: If a size is none, or a cut would leave what triggers it.
    """
    given = (trigger,) if _is_size(trigger) else tuple(trigger)
    sizes = [_checked(each, "trigger") for each in given]
    if not sizes:
        msg = "`trigger` needs a size, such as `('fraction', 0.85)`"
        raise ConfigurationError(msg)
    left = _checked(keep, "keep")
    for kind, amount in sizes:
        if kind == left[0] and left[1] >= amount:
            msg = f"`keep` ({left[1]:g}) must be below `trigger` ({amount:g}), or each turn cuts"
            raise ConfigurationError(msg)
    return Marks(trigger=tuple(sizes), keep=left, early=early)


def _is_size(given: object) -> bool:
    return isinstance(given, tuple) and bool(given) and isinstance(given[0], str)


def _checked(given: object, name: str) -> ContextSize:
    try:
        kind, amount = cast("ContextSize", given)
        is_size = kind in get_args(Kind) and isfinite(amount) and amount > 0
        is_size = is_size and (amount <= 1 or kind != "fraction")
    except (TypeError, ValueError):
        is_size = False
    if not is_size:
        msg = f"`{name}` is ('fraction', 0 to 1), ('tokens', n) or ('messages', n), got {given!r}"
        raise ConfigurationError(msg)
    return kind, amount


def _is_past(size: ContextSize, used: int, length: int, room: Room) -> bool:
    kind, amount = size
    return length >= amount if kind == "messages" else used >= _tokens(size, room)


def _tokens(size: ContextSize, room: Room) -> float:
    """The tokens of a size; of one in messages, all there are."""
    kind, amount = size
    if kind == "fraction":
        return amount * room.max_tokens
    return amount if kind == "tokens" else room.max_tokens

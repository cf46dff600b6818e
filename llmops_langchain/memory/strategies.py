"""How a history is cut to the room it has: pure functions, chosen from a table by name."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import tee

from langchain_core.messages import BaseMessage, ToolMessage

from llmops_langchain.errors import ContextWindowError
from llmops_langchain.memory.validity import (
    Step,
    Turn,
    asks,
    cleared,
    flat,
    leading_systems,
    pinned,
    steps,
    turns,
    valid,
)

__all__ = ["CutPostponedError", "Room", "Strategy", "checked", "pinned_parts", "sliding_window"]

_MISSES = 64
"""Earlier turns that do not fit before the search for one that does ends."""

_FULL = 0.99
"""Share of the room that ends the search too. Together they leave less than 3 % unused in real
conversations from 2,000 tokens on, and read little beyond what they keep."""


class CutPostponedError(ContextWindowError):
    """A strategy cannot cut well just now, and need not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What the messages of a request may use."""

    max_tokens: int
    """Tokens of the whole request."""
    taken: int
    """Tokens of it that are no messages: tool schemas and the provider's overhead."""
    count: Callable[[BaseMessage], int]
    """Tokens of one message."""
    least: int = 0
    """Tokens that any message takes."""
    pinned: Callable[[BaseMessage], bool] | None = None
    """Which messages no cut takes away; `None`: there are none."""
    history: Sequence[BaseMessage] | None = None
    """The conversation, where what is cut is the prompt that was made of it before."""
    optional: bool = False
    """The messages could also stay for now: a strategy may raise `CutPostponedError`."""

    @property
    def free(self) -> int:
        """Tokens for the messages; negative if the tools alone are too large."""
        return self.max_tokens - self.taken

    def cost(self, messages: Sequence[BaseMessage]) -> int:
        """Return the tokens of some messages."""
        return sum(map(self.count, messages))

    def holds(self, messages: Sequence[BaseMessage]) -> bool:
        """Whether all messages fit; counts from the end, and no further than needed."""
        free = self.free
        if len(messages) * self.least > free:
            return False
        for message in reversed(messages):
            free -= self.count(message)
            if free < 0:
                return False
        return free >= 0

    def too_small(self, needed: int) -> ContextWindowError:
        """Return the error for messages that need more tokens than there are."""
        return ContextWindowError(needed_tokens=self.taken + needed, max_tokens=self.max_tokens)


Strategy = Callable[[Sequence[BaseMessage], Room], Sequence[BaseMessage]]
"""Takes a history that does not fit and the room there is; returns the messages to send."""


def sliding_window(history: Sequence[BaseMessage], room: Room) -> list[BaseMessage]:
    """Keep the newest turns.

    System messages and the current question stay in any case, then as much of the current turn
    as fits, then earlier turns, newest first and whole. An earlier turn that does not fit is
    reduced to question, answers and the newest of its tool steps for which there is room; one
    that does not fit even so is left out.
    Only what is kept is read, not the whole history.

    Raises:
        ContextWindowError: If system messages and current question alone do not fit.
    """
    head = leading_systems(history)
    systems, newest_first = history[:head], turns(history, head)
    newest, held = next(newest_first, []), dict[int, Turn]()
    if room.pinned is not None:
        newest_first, all_of_them = tee(newest_first)
        held = pinned_parts(all_of_them, room.pinned)
    taken = room.cost(systems) + sum(map(room.cost, held.values()))
    kept = _current(newest, room, taken)
    if not (kept or systems):
        raise room.too_small(room.cost(history))
    free = room.free - taken - room.cost(kept)
    earlier = _earlier(newest_first, room, free, held) if asks(kept) else []
    return flat([systems, *earlier, kept])


def checked(strategy: Strategy) -> Strategy:
    """Return a strategy whose results are valid and fit, whatever the given one returns."""

    def cut(history: Sequence[BaseMessage], room: Room) -> Sequence[BaseMessage]:
        picked = list(strategy(list(history), room))
        kept = valid(pinned(picked, history, room.pinned or _never))
        return kept if kept and room.holds(kept) else sliding_window(kept or history, room)

    for name in ("blocks", "reselects"):
        if getattr(strategy, name, False):
            setattr(cut, name, True)
    return cut


def _current(turn: Turn, room: Room, used: int) -> list[BaseMessage]:
    """Return the current turn, or what of it fits beside `used` tokens."""
    question = turn[:1] if asks(turn) else []
    free = room.free - used - room.cost(question)
    if free < 0:
        raise room.too_small(room.free - free)
    if room.cost(turn) <= room.free - used:
        return list(turn)
    found = steps(turn[len(question) :])
    kept = _newest_steps(found, room, free) if room.pinned is None else _held(found, room, free)
    if not (kept or question):
        raise room.too_small(used + room.cost(_noted(found[-1], room)))
    return [*question, *kept]


def _newest_steps(found: list[Step], room: Room, free: int) -> list[BaseMessage]:
    """Return the newest steps that fit with outputs cleared, and the outputs there is room for.

    Outputs come back newest first, and one that is too large does not stop older ones: a single
    oversize output is cleared alone, and what the model has just asked for is the last to go.
    """
    kept: list[BaseMessage] = []
    whole: list[BaseMessage] = []
    for step in reversed(found):
        noted = _noted(step, room)
        free -= room.cost(noted)
        if free < 0:
            free += room.cost(noted)
            break
        kept[:0], whole[:0] = noted, step
    for at in range(len(kept) - 1, -1, -1):
        extra = room.count(whole[at]) - room.count(kept[at])
        if extra <= free:
            kept[at] = whole[at]
            free -= extra
    return kept


def _held(found: list[Step], room: Room, free: int) -> list[BaseMessage]:
    """Return the pinned steps, and the newest of the others that fit beside them."""
    stays = room.pinned or _never
    held = [at for at, step in enumerate(found) if any(map(stays, step))]
    free -= sum(room.cost(found[at]) for at in held)
    if free < 0:
        raise room.too_small(room.free - free)
    others = [step for at, step in enumerate(found) if at not in held]
    newest = _newest_steps(others, room, free)
    # By the message that opens a step: it is never a copy.
    opening = {id(step[0]): at for at, step in enumerate(found)}
    parts = {at: found[at] for at in held}
    for message in newest:
        if id(message) in opening:
            at = opening[id(message)]
            parts[at] = []
        parts[at].append(message)
    return flat([parts[at] for at in sorted(parts)])


def _noted(step: Step, room: Room) -> Step:
    """Return a step with a note for every tool output that is larger than the note."""
    notes = [cleared(m) if isinstance(m, ToolMessage) else m for m in step]
    return [
        note if room.count(note) < room.count(m) else m for m, note in zip(step, notes, strict=True)
    ]


def pinned_parts(
    newest_first: Iterable[Turn], stays: Callable[[BaseMessage], bool]
) -> dict[int, Turn]:
    """Return what must stay of some turns, by their place: pinned steps, with their question."""
    found: dict[int, Turn] = {}
    for at, turn in enumerate(newest_first):
        # What stands before the first question cannot open a prompt.
        if asks(turn) and any(map(stays, turn)):
            held = [step for step in steps(turn[1:]) if any(map(stays, step))]
            found[at] = [turn[0], *flat(held)]
    return found


def _earlier(
    newest_first: Iterable[Turn], room: Room, free: int, held: Mapping[int, Turn]
) -> list[Turn]:
    """Return the newest earlier turns that fit, oldest first; of all of them what is `held`."""
    kept: list[Turn] = []
    misses, enough, last = 0, (1 - _FULL) * room.free, max(held, default=-1)
    for at, turn in enumerate(newest_first):
        part = held.get(at, [])
        taken = room.cost(part) if part else 0
        is_full = misses >= _MISSES or free < enough
        found, cost = turn, 0 if is_full else room.cost(turn)
        if is_full or cost > free + taken or not asks(turn):
            found = [] if is_full or part else _reduced(turn, room, free)
            cost = room.cost(found)
            if not found or cost > free:
                found, cost, misses = part, taken, misses + 1
        free -= cost - taken
        if found:
            kept.append(found)
        if at >= last and (misses >= _MISSES or free < enough):
            break
    return kept[::-1]


def _reduced(turn: Turn, room: Room, free: int) -> Turn:
    """Return question, answers and what tool steps fit; nothing without an answer or tool steps."""
    found = steps(turn)
    plain = [step for step in found if len(step) == 1]
    if not 1 < len(plain) < len(found):
        return []
    if not asks(turn):
        return []
    free -= sum(map(room.cost, plain))
    kept: list[Step] = []
    for step in reversed(found):
        cost = room.cost(step) if len(step) > 1 else 0
        if cost <= free:
            kept.append(step)
            free -= cost
    return flat(kept[::-1])


def _never(_: BaseMessage) -> bool:
    return False

"""What leaves a window is folded into a running summary, by the user's own model."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage

from llmops_langchain.errors import ConfigurationError, ContextWindowError
from llmops_langchain.memory.marks import TARGET, ContextSize, marks
from llmops_langchain.memory.oversize import CUT, cut_in_the_middle
from llmops_langchain.memory.strategies import CutPostponedError, Room, sliding_window
from llmops_langchain.memory.summary_marks import INTRODUCED, NOTHING, Summary, digests, read, told
from llmops_langchain.memory.summary_writer import Order, SummaryWriter
from llmops_langchain.memory.transcripts import PROMPT
from llmops_langchain.memory.validity import (
    CLEARED_NOTE,
    current_question,
    is_summary,
    leading_systems,
    must_stay,
    role,
)

__all__ = ["Summarize"]

_SHARE, _MOST = 0.2, 4_000
"""Share of the room that a summary may take where it has no number of its own, and how much that is
at most: what it does not use is not given to the turns."""

_LEAST = 32
"""Tokens below which a summary says nothing: half of them are its first line and a note."""


class Summarize:
    """A strategy that keeps the newest turns, and of all before them a running summary.

    The summary is one message after the system messages. What leaves is added to it by the model,
    each message once; with room for several turns to come, so that most turns ask no model. What
    the model says is cut to `max_summary_tokens`. Of a turn that alone is too long, an agent's
    with many steps, the question and the newest steps stay. Pinned messages stay too, and are not
    summed up.

    Where the model fails, is late or says nothing, the last summary stays and the cut is a plain
    one; what should have been in the summary is added by the next cut, as long as it is in the
    history.

    Safe to share between threads: equal summaries are asked for once, and 1,000 are remembered by
    a digest of what they stand for. In an async app it runs in a thread. Wrap the model
    (`ops.wrap(model)`) to have its calls counted, cached and budgeted: their events have the tag
    `lc_source: summarization`.

    Args:
        model: Writes the summaries: a small one will do. Without it: the model that the window was
            given.
        max_summary_tokens: What a summary may have, at least 32; by default a fifth of the window,
            and at most 4,000. Never more than an eighth of what the model can read.
        prompt: What the model is told to do, in place of ours.
        keep: What a cut leaves, the summary included, where the window itself says nothing of it:
            `trim_sticky`, the middleware and the node go by the window's `keep`.
        timeout: Seconds to wait for a new summary. One that comes later is there for the next cut.

    Raises:
        ConfigurationError: If the model is a name, or a number makes no sense.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> from langchain_core.messages import AIMessage
        >>> from llmops_langchain.memory import ContextWindow
        >>> small = FakeListChatModel(responses=["They talked about ferns."])
        >>> window = ContextWindow("gpt-4o", max_tokens=200, strategy=Summarize(small))
        >>> talk = [HumanMessage("How do I water my fern? " * 30), AIMessage("Weekly. " * 10)]
        >>> print(window.invoke([*talk, HumanMessage("And in winter?")])[0].content)
        Summary of the conversation so far:
        <BLANKLINE>
        They talked about ferns.
    """

    blocks = True
    """It may wait for the model."""

    def __init__(
        self,
        model: BaseChatModel | str | None = None,
        *,
        max_summary_tokens: int | None = None,
        prompt: str = PROMPT,
        keep: ContextSize = ("fraction", TARGET),
        timeout: float | None = None,
    ) -> None:
        if max_summary_tokens is not None and max_summary_tokens < _LEAST:
            msg = f"`max_summary_tokens` must be {_LEAST} or more, got {max_summary_tokens!r}"
            raise ConfigurationError(msg)
        if timeout is not None and not timeout > 0:
            msg = f"`timeout` is in seconds and must be positive, got {timeout!r}"
            raise ConfigurationError(msg)
        self._most, self._prompt, self._keep, self._timeout = (
            max_summary_tokens,
            prompt,
            keep,
            timeout,
        )
        self._marks = marks(("fraction", 1.0), keep)
        self._writer = None if model is None else SummaryWriter(_asked(model), prompt, timeout)

    def of(self, model: BaseChatModel | str) -> "Summarize":
        """Return the same strategy by this model, or this one if it has a model.

        Raises:
            ConfigurationError: If the model is a name.
        """
        if self._writer is not None:
            return self
        return Summarize(
            model,
            max_summary_tokens=self._most,
            prompt=self._prompt,
            keep=self._keep,
            timeout=self._timeout,
        )

    def __call__(self, history: Sequence[BaseMessage], room: Room) -> list[BaseMessage]:
        """Return system messages, the summary and the newest turns, in the room there is.

        Raises:
            ContextWindowError: If system messages, the current question and what is pinned do not
                fit.
        """
        if self._writer is None:
            msg = "a summary needs a model: `Summarize(model)`, or give it to a window of a model"
            raise ConfigurationError(msg)
        talk = _Talk(history, room)
        known, covered = talk.furthest(self._writer)
        target = self._target(talk, room)
        share = max(_LEAST, min(_MOST, int(_SHARE * target.free)))
        most = min(self._most or share, target.free // 2, self._writer.most)
        if talk.fits(known, covered, most):
            return talk.with_summary(known, covered)
        at = talk.parted(covered, target.free - most)
        if at > covered and most >= _LEAST:
            known, covered = talk.more(self._writer, known, covered, at=at, most=most)
            if covered < at and room.optional and not talk.fits(known, covered, most):
                raise CutPostponedError(
                    needed_tokens=room.cost(history), max_tokens=room.max_tokens
                )
        return talk.fitted(known, covered, most)

    def _target(self, talk: "_Talk", room: Room) -> Room:
        """What a cut is to leave: a new summary comes when it has grown to the whole room."""
        if room.optional or talk.is_growing:
            return room
        return next(iter(self._marks.targets(talk.whole, room)), room)


class _Talk:
    """What a cut is made of.

    A place is an index in what stands behind the system messages, and behind the summary that the
    history itself begins with, if it does. What is covered, stands before it and is in a summary.

    Args:
        history: The messages to be cut: a prompt, where the room says what it is the prompt of.
        room: What they may use.
    """

    def __init__(self, history: Sequence[BaseMessage], room: Room) -> None:
        whole = room.history
        self.is_growing = whole is not None
        self.whole = history if whole is None else whole
        self._room, self._before = room, _summary_of(history) if self.is_growing else None
        head = leading_systems(self.whole)
        self._systems, self._given = list(self.whole[:head]), list(self.whole[head:])
        self._base, self._held = NOTHING, 0
        if found := _summary_of(self.whole):
            (self._base, self._held), self._given = found, self._given[1:]
        self._digests = list(digests(self._base.digest, self._given[self._held :]))
        changed = {m.id: m for m in history if m.id is not None and _is_changed(m)}
        self._messages = [changed.get(m.id or "", m) for m in self._given]
        self._needed = _needed(self._messages, room)
        self._least = room.cost(self._systems) + room.cost(list(self._needed.values()))

    def furthest(self, writer: SummaryWriter) -> tuple[Summary, int]:
        """The summary that covers the most, and to which place."""
        known, at = writer.remembered(self._digests)
        if self._before is not None:
            place = self._place(self._before[0])
            known, at = (self._before[0], place) if place > at else (known, at)
        return (known, self._held + at) if at else (self._base, self._held)

    def fits(self, summary: Summary, covered: int, most: int) -> bool:
        """Whether all that is not covered has room beside a summary."""
        if not summary.text or self._room.count(told(summary)) > max(most, _LEAST):
            return False
        return self._room.holds(self.with_summary(summary, covered))

    def with_summary(self, summary: Summary, covered: int) -> list[BaseMessage]:
        """System messages, the summary, and what is not covered or has to stay all the same."""
        held = self._staying(covered)
        return [*self._systems, told(summary, len(held)), *held, *self._messages[covered:]]

    def parted(self, covered: int, free: int) -> int:
        """The place where the newest turns begin that have room; of the current one, the steps.

        Args:
            covered: The earliest place.
            free: Tokens for all messages.
        """
        free -= self._least
        asked, at = current_question(self._messages), None
        for place in range(len(self._messages) - 1, covered - 1, -1):
            message = self._messages[place]
            if place not in self._needed:
                free -= self._room.count(message)
            if at is not None and free < 0:
                break
            is_step = asked is None or place > asked
            if role(message) == "human" or (is_step and role(message) != "tool"):
                at = place
            elif place == covered:
                at = covered
        return covered if at is None else at

    def more(
        self, writer: SummaryWriter, known: Summary, covered: int, *, at: int, most: int
    ) -> tuple[Summary, int]:
        """The summary that covers what stands before a place, as far as the model makes it."""
        stays, count = self._room.pinned, self._room.count
        order = Order(
            known,
            self._given[covered:at],
            self._digests[covered - self._held : at - self._held],
            silent=lambda message: stays is not None and stays(message),
            most=most,
            shorten=lambda text: _shortened(text, most, count),
        )
        made = writer.written(order)
        reached = self._place(made)
        return (made, self._held + reached) if reached else (known, covered)

    def fitted(self, summary: Summary, covered: int, most: int) -> list[BaseMessage]:
        """The summary, as far as there is room for it, and the newest turns beside it.

        In a room for one of them it is the newest step that stays: without it a model would call
        its tools again.
        """
        room, held = self._room, self._staying(covered)
        newest = [*held, *self._messages[covered:]]
        text = _shortened(summary.text, min(most, room.free - self._least), room.count)
        if not text:
            return sliding_window([*self._systems, *newest], room)
        # The summary is the question of a turn that it covers in part.
        message = told(summary._replace(text=text), len(held))
        stays = room.pinned or (lambda _: False)
        pinned = replace(room, pinned=lambda it: it is message or stays(it))
        with suppress(ContextWindowError):
            kept = sliding_window([*self._systems, message, *newest], pinned)
            if _ending(kept) == _ending(newest):
                return kept
        return sliding_window([*self._systems, *newest], room)

    def _staying(self, covered: int) -> list[BaseMessage]:
        """What is covered and has to stay all the same."""
        return [message for place, message in self._needed.items() if place < covered]

    def _place(self, summary: Summary) -> int:
        """How many messages behind those held a summary covers; 0 if it is of another talk."""
        try:
            return self._digests.index(summary.digest) + 1
        except ValueError:
            return 0


def _summary_of(history: Sequence[BaseMessage]) -> tuple[Summary, int] | None:
    head = leading_systems(history)
    is_there = head < len(history) and is_summary(history[head])
    return read(history[head]) if is_there else None


def _is_changed(message: BaseMessage) -> bool:
    """Whether a prompt has less of a message than its history."""
    return message.content == CLEARED_NOTE or CUT in message.response_metadata


def _ending(messages: Sequence[BaseMessage]) -> str:
    return role(messages[-1]) if messages else ""


def _needed(talk: Sequence[BaseMessage], room: Room) -> dict[int, BaseMessage]:
    """What has to stay, by its place: the current question, and what is pinned."""
    if room.pinned is None:
        asked = current_question(talk)
        return {} if asked is None else {asked: talk[asked]}
    places = {id(message): place for place, message in enumerate(talk)}
    found = must_stay(talk, room.pinned)
    return {places[id(m)]: m for m in found if role(m) != "system"}


def _shortened(text: str, most: int, count: Callable[[BaseMessage], int]) -> str:
    """A summary's text of which its message has so many tokens; empty if that is too few."""
    if not text or most < _LEAST:
        return ""
    cut = cut_in_the_middle(HumanMessage(INTRODUCED + text), most, count)
    return cut.text.removeprefix(INTRODUCED) if count(cut) <= most else ""


def _asked(model: BaseChatModel | str) -> BaseChatModel:
    if isinstance(model, str):
        msg = (
            f"a summary needs a model that can be asked, not the name {model!r}: give the "
            "window a model object, or `strategy=Summarize(model)`"
        )
        raise ConfigurationError(msg)
    return model

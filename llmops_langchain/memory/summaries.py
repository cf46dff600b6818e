"""What leaves a window is folded into a running summary, by the user's own model."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as TooLate
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b
from typing import NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ContextThreadPoolExecutor

from llmops_langchain.errors import ConfigurationError, ContextWindowError
from llmops_langchain.memory.oversize import cut_in_the_middle
from llmops_langchain.memory.strategies import CutPostponedError, Room, sliding_window
from llmops_langchain.memory.transcripts import INSTRUCTIONS, asked_for, parts_of
from llmops_langchain.memory.validity import (
    SUMMARY,
    Turn,
    asks,
    is_summary,
    leading_systems,
)
from llmops_langchain.models import context_limits
from llmops_langchain.tokens import counter_for, model_name

__all__ = ["Summarize"]

_TARGET = 0.6
"""Share of the room that a new summary leaves filled: the next one comes when it is full again."""

_SHARE = 0.2
"""Share of the room that a summary may take, where it has no number of its own."""

_REMEMBERED = 1_000
"""Summaries that are kept in mind."""

_INTRODUCED = "Summary of the conversation so far:\n\n"

_CONFIG: RunnableConfig = {
    # The first is how LangChain's own summaries are marked, the other keeps a graph that streams
    # messages from streaming this one into the user's answer.
    "metadata": {"lc_source": "summarization"},
    "tags": ["nostream", "llmops:summary"],
}

_logger = logging.getLogger(__name__)


class _Known(NamedTuple):
    """A summary, and what it stands for."""

    text: str
    digest: bytes
    """Of every message that is in it, in their order."""
    messages: int
    """How many those are."""


_NOTHING = _Known("", b"", 0)


class Summarize:
    """A strategy that keeps the newest turns, and of all before them a running summary.

    The summary is one message after the system messages. What leaves is added to it by the model,
    each message once; with room for several turns to come, so that most turns ask no model. What
    the model says is cut to `max_summary_tokens`.

    Where the model fails, or says nothing, the last summary stays, and what should have been
    added waits in the prompt as long as it fits. Then the cut is a plain one.

    Safe to share between threads: equal summaries are asked for once. In an async app it runs in
    a thread. Wrap the model (`ops.wrap(model)`) to have its calls counted, cached and budgeted.

    Args:
        model: Writes the summaries: a small one will do.
        max_summary_tokens: What a summary may have; by default a fifth of the window.
        instructions: What the model is told to do, in place of ours.
        timeout: Seconds to wait for the model.

    Raises:
        ConfigurationError: If the model is a name, or a number makes no sense.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> from langchain_core.messages import AIMessage
        >>> from llmops_langchain.memory import ContextWindow
        >>> small = FakeListChatModel(responses=["They talked about ferns."])
        >>> window = ContextWindow("gpt-4o", max_tokens=120, strategy=Summarize(small))
        >>> talk = [HumanMessage("How do I water my fern? " * 20), AIMessage("Weekly. " * 10)]
        >>> print(window.invoke([*talk, HumanMessage("And in winter?")])[0].content)
        Summary of the conversation so far:
        <BLANKLINE>
        They talked about ferns.
    """

    blocks = True

    def __init__(
        self,
        model: BaseChatModel | str,
        *,
        max_summary_tokens: int | None = None,
        instructions: str = INSTRUCTIONS,
        timeout: float | None = None,
    ) -> None:
        if isinstance(model, str):
            msg = (
                f"a summary needs a model that can be asked, not the name {model!r}: give the "
                "window a model object, or `strategy=Summarize(model)`"
            )
            raise ConfigurationError(msg)
        for name, value in (("max_summary_tokens", max_summary_tokens), ("timeout", timeout)):
            if value is not None and not value > 0:
                msg = f"`{name}` must be positive, got {value!r}"
                raise ConfigurationError(msg)
        self._model, self._most = model, max_summary_tokens
        self._instructions, self._timeout = instructions, timeout
        self._part = _part_of(model)
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._changing, self._asking = threading.Lock(), dict[bytes, threading.Lock]()
        self._logged: set[str] = set()

    def __call__(self, history: Sequence[BaseMessage], room: Room) -> list[BaseMessage]:
        """Return system messages, the summary and the newest turns, in the room there is."""
        head = leading_systems(history)
        systems, talk = list(history[:head]), list(history[head:])
        before = _NOTHING
        if talk and is_summary(talk[0]):
            before, talk = _read(talk[0]), talk[1:]
        known, rest = self._furthest(before, talk)
        if known.text and room.holds([*systems, _message(known), *rest]):
            return [*systems, _message(known), *rest]
        most = self._most or int(_SHARE * room.free)
        left, newest = _parted(rest, replace(room, max_tokens=_after_summary(systems, room, most)))
        summary = self._with_more(known, left, most, room) if left else known
        if summary is None:
            if room.optional:
                raise CutPostponedError(
                    needed_tokens=room.cost(history), max_tokens=room.max_tokens
                )
            summary, newest = known, rest
        return _fitted(systems, summary, newest, room)

    def _furthest(
        self, before: _Known, talk: Sequence[BaseMessage]
    ) -> tuple[_Known, Sequence[BaseMessage]]:
        """The summary that stands for the most of these messages, and those it does not."""
        best, at, digest = before, 0, before.digest
        with self._changing:
            if not self._known:
                return before, talk
            for place, message in enumerate(talk, start=1):
                digest = _digest(digest, message)
                if (known := self._known.get(digest)) is not None:
                    best, at = known, place
                    self._known.move_to_end(digest)
        return best, talk[at:]

    def _with_more(
        self, known: _Known, left: Sequence[BaseMessage], most: int, room: Room
    ) -> _Known | None:
        """The summary with more messages in it; `None` if the model makes none."""
        digest = known.digest
        for message in left:
            digest = _digest(digest, message)
        with self._alone(digest):
            with self._changing:
                if (there := self._known.get(digest)) is not None:
                    return there
            text = self._asked(known.text, [m for m in left if not _stays(m, room)], most, room)
            if not text:
                return None
            made = _Known(text, digest, known.messages + len(left))
            with self._changing:
                self._known[digest] = made
                while len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
            return made

    def _asked(self, text: str, left: Sequence[BaseMessage], most: int, room: Room) -> str:
        """The model's summary, no longer than it may be; empty if it makes none."""
        try:
            for part in parts_of(left, counter_for(self._model).text, self._part):
                said = self._said(asked_for(self._instructions, text, part, most))
                if not said:
                    self._failed("said nothing")
                    return ""
                text = said
        except Exception as error:  # noqa: BLE001 - help that fails leaves the plain cut
            self._failed(type(error).__name__)
            return ""
        return _shortened(text, most, room.count)

    def _said(self, asked: list[BaseMessage]) -> str:
        if self._timeout is None:
            answer = self._model.invoke(asked, _CONFIG)
        else:
            # Not by `with`: nobody waits for a model that is late.
            pool = ContextThreadPoolExecutor(1)
            try:
                waiting = pool.submit(self._model.invoke, asked, _CONFIG)
                answer = waiting.result(self._timeout)
            except TooLate:
                msg = f"no summary within {self._timeout:g} seconds"
                raise TimeoutError(msg) from None
            finally:
                pool.shutdown(wait=False)
        return "" if answer.tool_calls else answer.text.strip()

    def _failed(self, why: str) -> None:
        if why not in self._logged:
            self._logged.add(why)
            _logger.warning("no summary was made (%s); the last one stays", why)

    @contextmanager
    def _alone(self, digest: bytes) -> Iterator[None]:
        """One thread at a time for each summary: the others find it when it is there."""
        with self._changing:
            lock = self._asking.setdefault(digest, threading.Lock())
        with lock:
            yield
        with self._changing:
            self._asking.pop(digest, None)


def _part_of(model: BaseChatModel) -> int:
    """Tokens of a conversation that are read at once: the rest is for the answer and more."""
    limits = context_limits(model_name(model), profile=getattr(model, "profile", None))
    return limits.max_input_tokens // 2


def _message(known: _Known) -> HumanMessage:
    about = {"digest": known.digest.hex(), "messages": known.messages}
    return HumanMessage(_INTRODUCED + known.text, additional_kwargs={SUMMARY: about})


def _read(message: BaseMessage) -> _Known:
    about = message.additional_kwargs[SUMMARY]
    text = message.text.removeprefix(_INTRODUCED)
    return _Known(text, bytes.fromhex(about["digest"]), about["messages"])


def _digest(before: bytes, message: BaseMessage) -> bytes:
    """A digest of a message and all before it; a history that was rewritten has another."""
    said = f"{message.type}\0{message.content!r}\0{getattr(message, 'tool_calls', '')!r}"
    return blake2b(said.encode("utf-8", "replace"), key=before[:32], digest_size=32).digest()


def _stays(message: BaseMessage, room: Room) -> bool:
    return room.pinned is not None and room.pinned(message)


def _after_summary(systems: Sequence[BaseMessage], room: Room, most: int) -> int:
    """What the newest turns may use, as the size of a whole request."""
    target = room.max_tokens if room.optional else int(_TARGET * room.max_tokens)
    return target - room.cost(systems) - most


def _parted(
    talk: Sequence[BaseMessage], room: Room
) -> tuple[Sequence[BaseMessage], Sequence[BaseMessage]]:
    """Return what leaves, and the newest turns that fit; the newest of all stays in any case."""
    free, at = room.free, len(talk)
    for turn in _turns(talk):
        free -= room.cost(turn)
        if free < 0 and at < len(talk):
            break
        at -= len(turn)
    return talk[:at], talk[at:]


def _turns(talk: Sequence[BaseMessage]) -> Iterator[Turn]:
    """The turns of a talk as they are, newest first, with what no provider accepts."""
    stop = len(talk)
    for at in range(len(talk) - 1, -1, -1):
        if at == 0 or asks(talk[at : at + 1]):
            yield talk[at:stop]
            stop = at


def _fitted(
    systems: Sequence[BaseMessage], summary: _Known, newest: Sequence[BaseMessage], room: Room
) -> list[BaseMessage]:
    if not summary.text:
        return sliding_window([*systems, *newest], room)
    told = _message(summary)
    try:
        rest = sliding_window(
            [*systems, *newest], replace(room, max_tokens=room.max_tokens - room.count(told))
        )
    except ContextWindowError:
        return sliding_window([*systems, *newest], room)
    head = leading_systems(rest)
    return [*rest[:head], told, *rest[head:]]


def _shortened(text: str, most: int, count: Callable[[BaseMessage], int]) -> str:
    whole = HumanMessage(_INTRODUCED + text)
    cut = cut_in_the_middle(whole, most, count)
    return cut.text.removeprefix(_INTRODUCED)

"""Keep what the current question is about, wherever in the conversation it was said."""

import logging
from collections.abc import Sequence
from functools import partial

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.messages import BaseMessage
from numpy.typing import NDArray

from llmops_langchain.embeddings import unit
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.memory.important import turn_at
from llmops_langchain.memory.strategies import Room, sliding_window
from llmops_langchain.memory.turn_index import Ranking, TurnIndexes, Turns, said
from llmops_langchain.memory.validity import (
    Step,
    Turn,
    current_question,
    flat,
    leading_systems,
    steps,
    turns,
)

__all__ = ["Relevant"]

_MISSES = 64
"""Turns that do not fit before the search for one that does ends."""

_FULL = 0.99
"""Share of the room that ends the search too."""

_logger = logging.getLogger(__name__)


class Relevant:
    """A strategy that keeps the turns which the current question is about.

    System messages and the current turn stay as in `sliding_window`. Of the room that is left a
    share goes to the newest turns (the last one stays in any case if it fits), and the rest to
    those that share most with the question, whole and in the order of the conversation. They are
    found by their words (BM25 in which the messages around count too), by a second question made
    of the words that the best of them share, and, with `embeddings`, by their meaning as well.

    Each question selects anew from all that was said, so a provider's prompt cache serves system
    messages only, and what came since the question where a cut stays, as in `trim_sticky`: there
    `Trim.lost_prefix_tokens` says what that loses.

    Each conversation has an index that a new turn only adds to; one that was rewritten is read
    again from where it changed. A message of some 20 words takes about 0.4 kB in it (its text is
    not kept), and 4 bytes for each dimension of a vector. Safe to share between threads.

    Args:
        embeddings: Any LangChain embeddings. They are asked once for each message; an error in
            them is logged once a class, and the words decide alone.
        recency: Share of the room for the newest turns, 0 to 1.
        max_messages: How many messages are indexed at once, in all conversations; those not used
            for longest are read again when they go on.
        ranking: What decides on the order of the turns.

    Raises:
        ConfigurationError: If `recency` is no share, or `max_messages` is not positive.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage
        >>> from llmops_langchain.memory import ContextWindow
        >>> chat = [HumanMessage("My cat is called Miso."), AIMessage("A lovely name!")]
        >>> for day in range(20):
        ...     chat += [HumanMessage(f"Shall I water plant {day}?"), AIMessage("Yes, weekly.")]
        >>> chat.append(HumanMessage("What is my cat called?"))
        >>> window = ContextWindow("gpt-4o", 100, strategy=Relevant())
        >>> window.invoke(chat)[0].content
        'My cat is called Miso.'
    """

    sound = True
    """Its results are valid and fit as they are."""

    reselects = True
    """What one question is not about the next may be."""

    def __init__(
        self,
        embeddings: Embeddings | None = None,
        *,
        recency: float = 0.1,
        max_messages: int = 50_000,
        ranking: Ranking = Ranking(),  # noqa: B008 - it cannot change
    ) -> None:
        if not 0 <= recency <= 1:
            msg = f"`recency` is a share from 0 to 1, got {recency!r}"
            raise ConfigurationError(msg)
        if max_messages < 1:
            msg = f"`max_messages` must be positive, got {max_messages!r}"
            raise ConfigurationError(msg)
        self._embeddings, self._recency = embeddings, recency
        self._indexes = TurnIndexes(ranking, max_messages)
        self._logged: set[str] = set()
        self.blocks = embeddings is not None
        """Whether a call may wait for a model."""

    def __call__(self, history: Sequence[BaseMessage], room: Room) -> list[BaseMessage]:
        """Return what to keep of a history.

        Raises:
            ContextWindowError: If system messages, pinned messages and current question alone do
                not fit.
        """
        head, asked = leading_systems(history), current_question(history)
        if asked is None:
            return sliding_window(history, room)
        earlier = history[head:asked]
        ranked = self._ranked(earlier, said(history[asked]))
        held = _held(earlier, ranked.starts, room)
        needed = [m for at in held for m in earlier[slice(*ranked.starts[at : at + 2])]]
        kept = sliding_window([*history[:head], *needed, *history[asked:]], room)
        current, *pinned = turns(kept, head)
        picked = _Picked(history[head : asked + 1], ranked, room, room.free - room.cost(kept))
        picked.hold(held, pinned)
        picked.newest(self._recency * picked.free)
        picked.best()
        return flat([kept[:head], *picked.in_order(), current])

    def _ranked(self, earlier: Sequence[BaseMessage], question: str) -> Turns:
        if self._embeddings is not None:
            try:
                embed = partial(_embedded, self._embeddings)
                return self._indexes.turns(earlier, question, embed)
            except Exception as error:  # noqa: BLE001 - help that fails never costs the answer
                self._tell(type(error).__name__)
        return self._indexes.turns(earlier, question)

    def _tell(self, name: str) -> None:
        if name not in self._logged:
            self._logged.add(name)
            _logger.warning("the embeddings raised %s; turns are found by their words alone", name)


class _Picked:
    """Turns of a conversation as they are picked, and the room that is left."""

    def __init__(
        self, messages: Sequence[BaseMessage], ranked: Turns, room: Room, free: int
    ) -> None:
        self._messages, self._ranked, self._room, self.free = messages, ranked, room, free
        self._enough = (1 - _FULL) * room.free
        self.turns: dict[int, Turn] = {}

    def hold(self, places: Sequence[int], pinned: Sequence[Turn]) -> None:
        """Take what is pinned of the turns at these places, given newest first."""
        rest = [*pinned][::-1]
        for at in reversed(places):
            if rest and rest[-1][0] is self._messages[self._ranked.starts[at]]:
                self.turns[at] = rest.pop()

    def newest(self, share: float) -> None:
        """Take the last turn, and those before it for which a share of the room is enough."""
        left, last = self.free - share, len(self._ranked.best) - 1
        for at in range(last, -1, -1):
            allowed = self.free if at == last else self.free - left
            if at not in self.turns and not self._take(at, allowed):
                break

    def best(self) -> None:
        """Take the best turns that fit, until the room is full or hardly any fits."""
        misses = 0
        for at in self._ranked.best:
            if misses == _MISSES or self.free < self._enough:
                break
            if at not in self.turns:
                misses += not self._take(at, self.free)

    def in_order(self) -> list[Turn]:
        """The turns in the order of the conversation."""
        return [self.turns[at] for at in sorted(self.turns)]

    def _take(self, at: int, free: float) -> bool:
        start, stop = self._ranked.starts[at : at + 2]
        turn = turn_at(self._messages, start, stop)
        cost = self._room.cost(turn)
        if cost > free:
            turn = self._reduced(turn, slice(start, stop), free)
            cost = self._room.cost(turn)
        if cost > free or not turn:
            return False
        self.turns[at] = turn
        self.free -= cost
        return True

    def _reduced(self, turn: Turn, where: slice, free: float) -> Turn:
        """Return question, answers and the best tool steps; nothing without an answer or steps."""
        found = steps(turn)
        plain = [step for step in found if len(step) == 1]
        if not 1 < len(plain) < len(found):
            return []
        free -= sum(map(self._room.cost, plain))
        if free < 0:
            return []
        scores = self._ranked.scores[where].tolist()
        score = dict(zip(map(id, self._messages[where]), scores, strict=True))
        kept: dict[int, Step] = {}
        for at in sorted(range(len(found)), key=lambda at: -max(score[id(m)] for m in found[at])):
            cost = self._room.cost(found[at]) if len(found[at]) > 1 else 0
            if cost <= free:
                kept[at] = found[at]
                free -= cost
        return flat(kept[at] for at in sorted(kept))


def _held(earlier: Sequence[BaseMessage], starts: Sequence[int], room: Room) -> list[int]:
    """Return the turns in which something is pinned."""
    if room.pinned is None:
        return []
    places = [at for at, message in enumerate(earlier) if room.pinned(message)]
    found = np.searchsorted(starts[:-1], places, side="right") - 1
    return sorted({at for at in found.tolist() if at >= 0})


def _embedded(embeddings: Embeddings, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return unit vectors of a question and of what was said."""
    # Some providers refuse a text of nothing.
    question, *others = [text if text.strip() else "-" for text in texts]
    documents = embeddings.embed_documents(others) if others else []
    return unit([embeddings.embed_query(question), *documents])

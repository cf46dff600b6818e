"""Which turns of a conversation have to do with a question; kept from turn to turn."""

import json
import threading
from array import array
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage
from numpy.typing import NDArray

from llmops_langchain.memory.validity import role
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.text.bm25 import Bm25, terms_of

__all__ = ["Ranking", "TurnIndex", "TurnIndexes", "Turns", "said"]

_REACH = 4
"""Messages on either side whose words count: two exchanges."""

_HOP_TEXTS, _HOP_TERMS = 20, 20
"""How many of the best messages make the second question, and of how many words."""

_MOST = 256
"""Conversations that are indexed: to find the one that goes on, all of them are asked."""

Embed = Callable[[list[str]], NDArray[np.float32]]
"""Returns unit vectors of texts: `float32`, shape `(n, dim)`."""

_kind_and_content = attrgetter("type", "content")


class Ranking(NamedTuple):
    """What decides on the order of the turns.

    The values are round ones near the best for four of the five conversations of LoCoMo (Maharana
    et al., 2024), whichever four: `benchmarks/evidence.py` chooses on four and reports the fifth.
    """

    decay: float = 0.6
    """What the words of the next message count, those of the one after it squared, and so on."""
    hop: float = 0.2
    """What the best word of the second question counts; 0: there is no second question."""
    meaning: float = 0.5
    """What the cosine counts, both in units of their standard deviation; needs embeddings."""

    @property
    def reach(self) -> tuple[float, ...]:
        """What the words of neighbours count, the nearest first."""
        return tuple(self.decay**distance for distance in range(1, _REACH + 1))


class Turns(NamedTuple):
    """The turns of a conversation, ranked."""

    starts: list[int]
    """Where each turn begins, and where the last one ends."""
    best: list[int]
    """All turns, the best first; of equal ones the newest."""
    scores: NDArray[np.float32]
    """Of each message: `float32`, shape `(n,)`."""


class TurnIndex:
    """The words, and perhaps the vectors, of one conversation's messages, in order.

    Not safe to share between threads.
    """

    def __init__(self, ranking: Ranking) -> None:
        self._ranking = ranking
        self._marks = array("q")  # of each message: by which it is known again
        self._starts = array("I")
        self._texts = Bm25(ranking.reach)
        self._vectors = np.empty((0, 0), np.float32)  # the first rows are in use
        self.embedded = 0
        """How many of the first messages have vectors."""

    def __len__(self) -> int:
        return len(self._marks)

    def in_common(self, marks: NDArray[np.int64]) -> int:
        """How many messages this conversation begins with that another one begins with."""
        length = min(len(self), len(marks))
        if not length or self._marks[0] != marks[0]:
            return 0
        other = np.frombuffer(self._marks, np.int64)[:length] != marks[:length]
        return int(other.argmax()) if other.any() else length

    def follow(self, messages: Sequence[BaseMessage], marks: NDArray[np.int64]) -> None:
        """Take over a conversation: what it shares with this one stays, the rest is read."""
        kept = self.in_common(marks)
        self._cut(kept)
        for at in range(kept, len(messages)):
            if role(messages[at]) == "human":
                self._starts.append(at)
            self._texts.add(terms_of(said(messages[at])))
        self._marks.frombytes(marks[kept:].tobytes())

    def embed(self, start: int, vectors: NDArray[np.float32]) -> None:
        """Take over the unit vectors of the messages from `start` on, unless they are here."""
        end = start + len(vectors)
        if start != self.embedded or end > len(self):
            return
        if end > len(self._vectors):
            rows = np.empty((max(end, 2 * len(self._vectors)), vectors.shape[1]), np.float32)
            if start:
                rows[:start] = self._vectors[:start]
            self._vectors = rows
        self._vectors[start:end] = vectors
        self.embedded = end

    def turns(self, question: str, vector: NDArray[np.float32] | None = None) -> Turns:
        """The turns, ranked for a question.

        Args:
            question: What is asked. If it has no word of its own, as in `And why?`, the question
                before it is asked again.
            vector: Its unit vector; it is compared with those of the messages if they all have one.
        """
        scores = self._scores(terms_of(question))
        if vector is not None and self.embedded == len(self):
            cosines = self._texts.spread(self._vectors[: len(self)] @ vector)
            scores = _standard(scores) + self._ranking.meaning * _standard(cosines)
        starts = [*self._starts, len(self)]
        best = np.maximum.reduceat(scores, starts[:-1]) if self._starts else scores[:0]
        newest_first = np.argsort(-best[::-1], kind="stable")
        return Turns(starts, (len(best) - 1 - newest_first).tolist(), scores)

    def _scores(self, question: Sequence[str]) -> NDArray[np.float32]:
        if not question and self._starts:
            question = self._texts.terms(self._starts[-1])
        scores = self._texts.scores(dict.fromkeys(question, 1.0))
        if not self._ranking.hop:
            return scores
        telling = self._texts.telling(scores, _HOP_TEXTS, _HOP_TERMS)
        return scores + self._texts.scores(
            {term: self._ranking.hop * w for term, w in telling.items() if term not in question}
        )

    def _cut(self, length: int) -> None:
        if length == len(self):
            return
        self._texts.cut(length)
        del self._marks[length:]
        while self._starts and self._starts[-1] >= length:
            self._starts.pop()
        self.embedded = min(self.embedded, length)


class TurnIndexes:
    """The indexes of the conversations used last, found by what they begin with.

    Safe to share between threads.

    Args:
        ranking: Decides on the order of the turns.
        max_messages: How many messages all of them hold; the conversation that was not used for
            longest goes first, the one in use stays.
    """

    def __init__(self, ranking: Ranking, max_messages: int) -> None:
        self._ranking, self._max_messages = ranking, max_messages
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Begin anew in a child, which may have been forked in the middle of a change."""
        self._lock = threading.Lock()
        self._indexes: list[TurnIndex] = []  # least recently used first

    def __len__(self) -> int:
        return sum(map(len, self._indexes))

    def turns(
        self, messages: Sequence[BaseMessage], question: str, embed: Embed | None = None
    ) -> Turns:
        """The turns of a conversation, ranked for a question.

        Args:
            messages: The conversation.
            question: What is asked.
            embed: Asked for the vectors of the question and of messages that have none yet; it
                may take its time, other threads go on meanwhile.
        """
        marks = _marks(messages)
        if embed is None:
            with self._lock:
                return self._index_of(messages, marks).turns(question)
        with self._lock:
            embedded = self._index_of(messages, marks).embedded
        vectors = embed([question, *map(said, messages[embedded:])])
        with self._lock:
            index = self._index_of(messages, marks)
            index.embed(embedded, vectors[1:])
            return index.turns(question, vectors[0])

    def _index_of(self, messages: Sequence[BaseMessage], marks: NDArray[np.int64]) -> TurnIndex:
        found = self._known(marks)
        if found is None:
            found = TurnIndex(self._ranking)
        else:
            self._indexes.remove(found)
        found.follow(messages, marks)
        self._indexes.append(found)
        while len(self._indexes) > 1 and self._is_full():
            self._indexes.pop(0)
        return found

    def _is_full(self) -> bool:
        return len(self._indexes) > _MOST or len(self) > self._max_messages

    def _known(self, marks: NDArray[np.int64]) -> TurnIndex | None:
        """The index of the conversation that these messages continue, or nearly so."""
        best, most = None, 0
        for index in reversed(self._indexes):
            common = index.in_common(marks)
            # One that shares but a greeting is another conversation.
            if common > most and common >= len(index) / 2:
                best, most = index, common
        return best


def said(message: BaseMessage) -> str:
    """The text of a message: what it says, who says it, and what it asks of tools."""
    content = message.content
    texts = [content if isinstance(content, str) else str(message.text)]
    if message.name:
        texts.append(message.name)
    if isinstance(message, AIMessage):
        texts += [f"{call['name']} {json.dumps(call['args'])}" for call in message.tool_calls]
    return " ".join(texts) if len(texts) > 1 else texts[0]


def _marks(messages: Sequence[BaseMessage]) -> NDArray[np.int64]:
    """Numbers that differ where the messages do: `int64`, shape `(n,)`."""
    try:
        marks = map(hash, map(_kind_and_content, messages))
        return np.fromiter(marks, np.int64, len(messages))
    except TypeError:  # content in blocks
        return np.fromiter((hash((m.type, said(m))) for m in messages), np.int64, len(messages))


def _standard(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Numbers in units of their standard deviation, around 0."""
    spread = float(values.std())
    return (values - values.mean()) / spread if spread else np.zeros_like(values)

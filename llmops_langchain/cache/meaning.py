"""Known questions by meaning: their vectors, their index, and the verifier's word on a pair."""

import threading
from collections import OrderedDict

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from llmops_langchain.cache.asked import Asked
from llmops_langchain.cache.match import Candidate
from llmops_langchain.cache.semantic_index import SemanticIndex
from llmops_langchain.cache.verifier import Verifier
from llmops_langchain.embeddings import unit

__all__ = ["Meaning"]

_NEIGHBOURS = 5
"""Known questions that the verifier looks at: the nearest is not always the one."""

_AGREED = 0.05
"""Share of wrong pairs at which the verifier takes two answers to say the same."""

_REMEMBERED = 512
"""Vectors kept of questions asked last: the answer to one arrives after its lookup."""

_RENEWED_AT_ONCE = 32
"""Questions of another embedder that are embedded anew at a time."""


class Meaning:
    """Finds known questions and learns new ones; threads may share it.

    Args:
        embeddings: Makes the vectors.
        index: Where the questions are.
        verifier: Judges a pair of questions.
    """

    def __init__(self, embeddings: Embeddings, index: SemanticIndex, verifier: Verifier) -> None:
        self._embeddings, self.index, self._verifier = embeddings, index, verifier
        self._vectors: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def candidates(self, asked: Asked, *, now: float, own: bytes) -> list[Candidate]:
        """Known questions worth a look, the likeliest first.

        Args:
            asked: The question.
            now: Epoch seconds.
            own: Key of the call itself, whose own answer is no candidate.
        """
        near = self.index.nearest(asked.scope, self._vector(asked.question), k=_NEIGHBOURS, now=now)
        found = []
        for key, question, cosine in near:
            if key == own:
                continue
            verdict = self._verifier.verdict(asked.question, question, cosine)
            if verdict.score >= self._verifier.floor:
                found.append(Candidate(key, question, verdict.score, cosine, verdict.reasons))
        return sorted(found, key=lambda each: each.score, reverse=True)

    def learn(self, asked: Asked, key: bytes, *, now: float, expires_at: float | None) -> None:
        """Remember that `key` is the answer to this question."""
        vector = self._vector(asked.question)
        self.index.add(asked.scope, key, asked.question, vector, now=now, expires_at=expires_at)

    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """Unit vectors, one row a text."""
        return unit(self._embeddings.embed_documents(texts))

    def compare(self, one: str, other: str) -> tuple[float, float]:
        """The verifier's score of two texts, and the score from which they say the same."""
        first, second = self.embed([one, other])
        score = self._verifier.verdict(one, other, float(first @ second)).score
        return score, self._verifier.threshold(_AGREED)

    def renew(self, *, now: float) -> int:
        """Embed some questions anew that are known by another embedder's vectors; how many."""
        rows = self.index.outdated(_RENEWED_AT_ONCE)
        if rows:
            vectors = self.embed([row.question for row in rows])
            for row, vector in zip(rows, vectors, strict=True):
                self.index.add(
                    row.scope, row.key, row.question, vector, now=now, expires_at=row.expires_at
                )
        return len(rows)

    def _vector(self, question: str) -> NDArray[np.float32]:
        with self._lock:
            if (known := self._vectors.get(question)) is not None:
                self._vectors.move_to_end(question)
                return known
        # As all others: some embedders have another space for what they call a query.
        vector: NDArray[np.float32] = self.embed([question])[0]
        with self._lock:
            self._vectors[question] = vector
            if len(self._vectors) > _REMEMBERED:
                self._vectors.popitem(last=False)
        return vector

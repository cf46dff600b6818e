"""Whether one answer serves two questions: a small learned model over what their words say."""

import json
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from math import exp
from typing import Any, NamedTuple, Self

import numpy as np
from langchain_core.embeddings import Embeddings

from llmops_langchain.embeddings import (
    HashedEmbeddings,
    MiniLMEmbeddings,
    WordLlamaEmbeddings,
    unit,
)
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.text import FEATURES, comparable, compare, question_of

__all__ = ["WEIGHTS", "Scale", "Verdict", "Verifier", "shipped_verifier"]

WEIGHTS: Traversable = files("llmops_langchain.cache").joinpath("verifier_weights.json")
"""What `benchmarks/train_verifier.py` writes, with the data it is from."""

_NEVER = 1.01
"""A threshold that no score reaches."""

_EQUAL = 1.0
"""The score of one question in two spellings; no other pair reaches it."""

_HIGHEST = 1.0 - 1e-9

_UNDERSTOOD = 0.5
"""Rank correlation with MiniLM on the anchor pairs below which an embedder knows no meaning."""

_NOT_COMPARABLE = "not comparable"


class Verdict(NamedTuple):
    """What the verifier says of two questions."""

    score: float
    """Probability, 0 to 1, that one answer serves both; of pairs like those it was trained on."""
    reasons: tuple[str, ...]
    """What tells the two apart, in fixed phrases; never a word of a question."""


class Scale(NamedTuple):
    """A monotone map from the cosines of one embedder to those of MiniLM."""

    theirs: tuple[float, ...]
    minilm: tuple[float, ...]
    agreement: float
    """Rank correlation of the two embedders on the anchor pairs (Spearman, 1904)."""

    @classmethod
    def measured(cls, embeddings: Embeddings, anchors: list[dict[str, Any]]) -> Self:
        """Embed the anchor pairs, in one call, and lay their quantiles on MiniLM's."""
        texts = [text for anchor in anchors for text in (anchor["a"], anchor["b"])]
        vectors = unit(embeddings.embed_documents(texts))
        theirs = np.clip((vectors[::2] * vectors[1::2]).sum(axis=1, dtype=np.float64), -1.0, 1.0)
        minilm = np.array([anchor["minilm"] for anchor in anchors])
        return cls(
            (-1.0, *np.sort(theirs).tolist(), 1.0),
            (-1.0, *np.sort(minilm).tolist(), 1.0),
            _rank_correlation(theirs, minilm),
        )

    def to(self, cosine: float) -> float:
        """MiniLM's cosine of a pair to which the other embedder gives this one."""
        return float(np.interp(cosine, self.theirs, self.minilm))


class Verifier:
    """Judges pairs of questions: a logistic regression over 24 features of their words.

    The same pair always gets the same verdict, whichever question comes first. Threads may share
    it. Only English questions of at most 64 words are compared; of any other text nothing passes
    but the same text up to case, punctuation and politeness.

    Args:
        weights: Weights, bias, floor and thresholds of one family of embedders.
        version: Names the weights.
        scale: Maps the embedder's cosines to those that the weights were trained on.

    Raises:
        ConfigurationError: If the weights are for other features.
    """

    def __init__(
        self, weights: dict[str, Any], *, version: str, scale: Scale | None = None
    ) -> None:
        if len(weights["weights"]) != len(FEATURES):
            msg = f"weights of version {version!r} are for other features than {FEATURES!r}"
            raise ConfigurationError(msg)
        self.version = version
        """Names the weights; recorded with what is learnt about their scores."""
        self.floor = float(weights["floor"])
        """A pair with a lower score is never worth a look."""
        self._weights = tuple(map(float, weights["weights"]))
        self._bias = float(weights["bias"])
        self._thresholds = [(float(error), float(score)) for error, score in weights["thresholds"]]
        self._scale = scale

    def verdict(self, question: str, known: str, cosine: float) -> Verdict:
        """The probability that the answer to `known` serves `question`, and what speaks against.

        Args:
            question: What is asked.
            known: What was asked before.
            cosine: Of their vectors, by the embedder that the verifier was made for.

        Example:
            >>> from llmops_langchain.embeddings import HashedEmbeddings
            >>> verifier = shipped_verifier(HashedEmbeddings())
            >>> verifier.verdict("Are dogs allowed?", "Are dogs not allowed?", 0.8).reasons
            ('one is negated',)
        """
        a, b = question_of(question), question_of(known)
        if question == known or (a.normal and a.normal == b.normal):
            return Verdict(_EQUAL, ())
        if not comparable(a, b):
            return Verdict(0.0, (_NOT_COMPARABLE,))
        features = compare(a, b, self._trained(cosine))
        total = sum(map(float.__mul__, self._weights, features), self._bias)
        return Verdict(min(_HIGHEST, _logistic(total)), features.reasons)

    def threshold(self, max_error: float) -> float:
        """The score from which on at most this share of the served was wrong in cross-validation.

        Counted were rewordings and traps, near repeats left out; `max_error` runs from 0 to 1.
        1.01, which serves nothing, where no score was good enough. It is a figure of the pairs it
        was trained on and no promise for other traffic.
        """
        reached = [score for error, score in self._thresholds if error <= max_error]
        return min(reached, default=_NEVER)

    def _trained(self, cosine: float) -> float:
        """The cosine on the scale of the training; of a vector that is no number the lowest."""
        if not -1.0 <= cosine <= 1.0:
            cosine = max(-1.0, min(1.0, cosine)) if cosine == cosine else -1.0  # noqa: PLR0124 - nan
        return cosine if self._scale is None else self._scale.to(cosine)


def shipped_verifier(embeddings: Embeddings) -> Verifier:
    """The verifier with the weights for these embeddings.

    There are weights for the embedders of this package. For any other one 40 pairs of short texts
    are embedded, in one call of `embed_documents`, to learn the scale of its cosines. An embedder
    whose order of those pairs has little to do with their meaning gets thresholds that only the
    same question in another spelling reaches.

    Args:
        embeddings: Makes the vectors whose cosines the verifier will be given. A wrapper with
            `underlying_embeddings`, as LangChain's `CacheBackedEmbeddings`, counts as what it
            wraps.
    """
    shipped = _shipped()
    families, version = shipped["families"], shipped["version"]
    name = _family(embeddings)
    if name != "generic":
        return Verifier(families[name], version=f"{version}-{name}")
    scale = Scale.measured(embeddings, shipped["anchors"])
    weights = families[name]
    if scale.agreement < _UNDERSTOOD:
        weights = weights | {"thresholds": [[0.0, _EQUAL]]}
    return Verifier(weights, version=f"{version}-{name}", scale=scale)


def _family(embeddings: Embeddings) -> str:
    inner = getattr(embeddings, "underlying_embeddings", embeddings)
    kinds = {
        MiniLMEmbeddings: "minilm",
        WordLlamaEmbeddings: "wordllama",
        HashedEmbeddings: "hashed",
    }
    return next((name for kind, name in kinds.items() if isinstance(inner, kind)), "generic")


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Between -1 and 1; 0 if either is constant."""
    first, second = (each.argsort().argsort().astype(np.float64) for each in (a, b))
    if np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _logistic(log_odds: float) -> float:
    return 1.0 / (1.0 + exp(-max(-700.0, min(700.0, log_odds))))


@cache
def _shipped() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(WEIGHTS.read_text("utf-8"))
    return data

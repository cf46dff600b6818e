"""A growing list of texts, ranked by the words they share with a question."""

import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from math import log

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.text.function_words import FUNCTION

__all__ = ["Bm25", "terms_of"]

_K1, _B = 1.2, 0.75
"""How soon a repeated word stops to count, and how much a long text is held against it; the usual
values (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009)."""

_MOST_TERMS = 32
"""Terms of a question that are looked up: the rarest; a pasted file is no better for more."""

_LONGEST = 20_000
"""Characters of a text that are read; what a tool returned may be a whole book."""

_STEM, _SHORTEST = 6, 3
"""Letters by which a word is known, and what is left of one without its ending. Shorter stems
found a little more in conversations, but take `config` and `confirm` for one word."""

_ENDINGS = (("sses", "ss"), ("ss", "ss"), ("ies", "y"), ("ing", ""), ("ed", ""), ("s", ""))
_DOUBLED = re.compile(r"([bdgmnprt])\1$")

# Chinese, Japanese, Korean, and the scripts of South-East Asia that put no space between words.
_UNSPACED = "\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_UNSPACED += "\uf900-\ufaff\U00020000-\U0003ffff"
# Vowel signs and accents that are written as characters of their own: no letters to `re`.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0dff"
_WORD = re.compile(rf"[{_UNSPACED}]+|(?:[^\W_{_UNSPACED}]|[{_MARKS}])+")
_PACKED = 255
"""The largest count of a term in a text that is kept: beyond a few it makes no difference."""


class Bm25:
    """Ranks texts by Okapi BM25, where a text also has a share in the words around it.

    In a conversation the answer seldom repeats the words of its question. So the words of the
    neighbours count as a text's own, the less the farther away they stand, before repeated ones
    saturate: a place where all words of a question come together wins over one that repeats one.

    Not safe to share between threads. Adding costs what is added; a search compares a few arrays
    of one number a text.

    Args:
        reach: What a word counts in the texts next to its own, in those after them, and so on,
            on either side; 0 to 1.

    Example:
        >>> texts = Bm25(reach=(0.5,))
        >>> for text in ("Where is the piano?", "In Bergen.", "I like tea."):
        ...     texts.add(terms_of(text))
        >>> [round(float(score), 2) for score in texts.scores({"piano": 1.0})]
        [1.02, 0.57, 0.0]
    """

    def __init__(self, reach: Sequence[float] = ()) -> None:
        self._reach = tuple(reach)
        self._terms: list[tuple[str, ...]] = []
        self._lengths = array("I")
        self._postings: dict[str, array[int]] = {}  # of each term: text << 8 | count

    def __len__(self) -> int:
        return len(self._terms)

    def add(self, terms: Sequence[str]) -> None:
        """Append a text, as its terms."""
        place = len(self._terms) << 8
        for term, count in Counter(terms).items():
            posting = self._postings.get(term)
            if posting is None:
                posting = self._postings[term] = array("I")
            posting.append(place | min(count, _PACKED))
        self._terms.append(tuple(terms))
        self._lengths.append(len(terms))

    def cut(self, length: int) -> None:
        """Forget all texts but the first `length`."""
        while len(self._terms) > length:
            self._lengths.pop()
            for term in set(self._terms.pop()):
                self._postings[term].pop()
                if not self._postings[term]:
                    del self._postings[term]

    def terms(self, text: int) -> tuple[str, ...]:
        """The terms of a text, by its place."""
        return self._terms[text]

    def scores(self, weights: Mapping[str, float]) -> NDArray[np.float32]:
        """The score of every text: `float32`, shape `(len(self),)`; 0 where no word is shared.

        Args:
            weights: The terms that are looked for, and what each counts.
        """
        known = [term for term in weights if term in self._postings]
        known = sorted(known, key=self._rarity, reverse=True)[:_MOST_TERMS]
        if not known:
            return np.zeros(len(self), np.float32)
        counts = np.zeros((len(known), len(self)), np.float32)
        for row, term in zip(counts, known, strict=True):
            packed = np.frombuffer(self._postings[term], np.uint32)
            row[packed >> 8] = packed & _PACKED
        counts = self.spread(counts)
        lengths = self.spread(np.array(self._lengths, np.float32))
        counts /= counts + _K1 * (1 - _B + _B * lengths / lengths.mean())
        importance = [weights[term] * self._rarity(term) * (_K1 + 1) for term in known]
        found: NDArray[np.float32] = np.asarray(importance, np.float32) @ counts
        return found

    def spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Each number with its share of those around it, along the last axis."""
        found = values.copy()
        for distance, share in enumerate(self._reach[: len(self) - 1], start=1):
            found[..., distance:] += share * values[..., :-distance]
            found[..., :-distance] += share * values[..., distance:]
        return found

    def telling(self, scores: NDArray[np.float32], texts: int, most: int) -> dict[str, float]:
        """The terms that the best texts share and others have not, with weights of at most 1.

        Args:
            scores: What `scores` returned.
            texts: How many of the best texts are looked at.
            most: How many terms are returned at most.
        """
        best = np.argsort(-scores, kind="stable")[:texts].tolist()
        found: dict[str, float] = {}
        for text in (text for text in best if scores[text] > 0):
            for term in set(self._terms[text]):
                # A term that stands nowhere else leads nowhere.
                if len(self._postings[term]) > 1:
                    weight = float(scores[text]) * self._rarity(term)
                    found[term] = found.get(term, 0.0) + weight
        top = sorted(found.items(), key=lambda each: (-each[1], each[0]))[:most]
        return {term: weight / top[0][1] for term, weight in top}

    def _rarity(self, term: str) -> float:
        """The inverse document frequency, in the form that is never negative."""
        having = len(self._postings[term])
        return log(1 + (len(self) - having + 0.5) / (having + 0.5))


def terms_of(text: str) -> list[str]:
    """The words of a text in the form they are compared in; English function words are dropped.

    English endings go; of a longer word only its beginning counts, which serves other languages
    too. Scripts without spaces between words are read as pairs of characters.

    Example:
        >>> terms_of("Why was the delivery delayed? 東京都")
        ['delive', 'delay', '東京', '京都']
    """
    text = text[:_LONGEST].lower()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    found: list[str] = []
    for word in _WORD.findall(text):
        if word[0].isascii() or not _is_unspaced(word[0]):
            if term := _term(word):
                found.append(term)
        else:
            found += map("".join, pairwise(word)) if len(word) > 1 else [word]
    return found


@lru_cache(512)
def _is_unspaced(character: str) -> bool:
    return re.match(f"[{_UNSPACED}]", character) is not None


@lru_cache(32_768)
def _term(word: str) -> str:
    """What a word is compared by; nothing for one that says nothing."""
    if word in FUNCTION or (len(word) == 1 and word.isascii() and word.isalpha()):
        return ""
    # A number or a code is not the like of one that begins as it does.
    return _without_ending(word)[:_STEM] if word.isalpha() else word[:64]


def _without_ending(word: str) -> str:
    for ending, put in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) + len(put) >= _SHORTEST:
            word = word[: -len(ending)] + put
            break
    if len(word) > _SHORTEST:
        word = _DOUBLED.sub(r"\1", word.removesuffix("e"))
    return word

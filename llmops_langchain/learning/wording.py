"""A growing list of tasks, ranked by the words and names they share with another task.

BM25 over two fields (Robertson, Zaragoza and Taylor, 2004): the first line of a task says in short
what the rest says at length. Pairs of neighbouring words count as words of their own, and a name
such as `readTimeout` is known as a whole and by its parts.
"""

import html
import re
from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.text.bm25 import terms_of

__all__ = ["WordIndex", "plain"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Places = NDArray[np.uint32]

_K1, _B = 1.2, 0.75
"""How soon a repeated word stops to count, and how much a long task is held against it; the usual
values (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009)."""

_FIRST_LINE, _PAIR = 3.0, 0.5
"""What a word of the first line and a pair of words count, against a word of the rest. On
the issues of `benchmarks/learning_similar.py` from 2 to 5 and from 0.3 to 1 change little."""

_ASKED = 3.0
"""How soon a word that is asked for repeatedly stops to count more."""

_MOST = 48
"""Words and pairs that are looked up: those that tell the most; from 32 to 64 little changes."""

_LONGEST_LINE, _LONGEST, _MOST_ASKED = 300, 20_000, 100
"""Characters of a first line and of a task that are read, and words of either part that are asked
for: of a pasted file the beginning tells what it is about."""

_MARKUP = re.compile(r"</?[a-zA-Z][^<>]{0,500}>|\{(?:html|code|noformat|quote)[^{}\n]{0,80}\}")
_NAME = re.compile(r"\b\w*(?:[a-z][A-Z\d]|[A-Z]{2}[a-z]|[A-Z]\d|\d[A-Za-z]|[^\W_]_)\w*", re.ASCII)
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_ONE = np.uint32(1)
_END = 0  # the word behind each line: no pair reaches over it


class WordIndex:
    """Says of each task that was added how much of another's wording it has.

    Not safe to share between threads. Adding costs what is added; a search reads where the words
    that are asked for stand, and one number a task.

    Example:
        >>> tasks = WordIndex()
        >>> tasks.add("Export invoices as PDF")
        >>> tasks.add("Login fails after the session expired")
        >>> [round(float(each), 2) for each in tasks.scores("Export invoices as PDF")]
        [1.0, 0.0]
    """

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._places: list[array[int]] = [array("I")]  # of each word, in the sequence
        self._having = [0]  # how many tasks have it
        self._sequence = array("I")  # all words of all tasks
        self._task = array("I")  # whose they are
        self._second = array("I")  # of each task: where its second line begins
        self._lengths = array("f")

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, text: str) -> None:
        """Append a task."""
        task, lines = len(self), _lines(text)
        for line, terms in enumerate(lines):
            if line:
                self._second.append(len(self._sequence))
            for term in terms:
                code = self._codes.setdefault(term, len(self._places))
                if code == len(self._places):
                    self._places.append(array("I"))
                    self._having.append(0)
                self._places[code].append(len(self._sequence))
                self._sequence.append(code)
            self._sequence.append(_END)
        self._task.extend([task] * (len(self._sequence) - len(self._task)))
        for term in {*lines[0], *lines[1]}:
            self._having[self._codes[term]] += 1
        self._lengths.append(sum(_counted(lines).values()))

    def scores(self, text: str) -> Floats:
        """How much of a text's wording each task has: `float32`, shape `(len(self),)`.

        From 0, where no word is shared, to 1 for the same text. Words count by their rarity among
        the tasks, also those that none has.
        """
        asked = _counted([terms[:_MOST_ASKED] for terms in _lines(text)])
        if not len(self) or not asked:
            return np.zeros(len(self), np.float32)
        lengths = np.frombuffer(self._lengths, np.float32)
        mean = float(lengths.mean()) or 1.0
        held_against = _K1 * (1 - _B + _B * lengths / mean)
        own = _K1 * (1 - _B + _B * sum(asked.values()) / mean)
        codes = [tuple(self._codes.get(word, _END) for word in words) for words in asked]
        pairs = self._entries(self._standing(codes), _PAIR)
        counts, having = np.array(list(asked.values())), self._numbers(codes, pairs)
        weights = np.log1p((len(self) - having + 0.5) / (having + 0.5))
        weights *= counts * (_ASKED + 1) / (counts + _ASKED)
        order = np.argsort(-weights, kind="stable")
        perfect = float((weights * counts / (counts + own))[order[:_MOST]].sum())
        looked_up = order[having[order] > 0][:_MOST]
        single = (at for at in looked_up.tolist() if len(codes[at]) == 1)
        words = self._entries({at: self._of(codes[at][0]) for at in single}, 1.0)
        used = np.zeros(len(codes))
        used[looked_up] = weights[looked_up] / perfect
        found = sum(each.shares(used, held_against) for each in (words, pairs))
        return np.minimum(found, 1.0).astype(np.float32)

    def _of(self, code: int) -> Places:
        return np.frombuffer(self._places[code], np.uint32)

    def _standing(self, codes: list[tuple[int, ...]]) -> dict[int, Places]:
        """Where the pairs stand: the places of their first words."""
        sequence = np.frombuffer(self._sequence, np.uint32)
        found = {}
        for at, pair in enumerate(codes):
            if len(pair) > 1 and _END not in pair:
                first, last = self._of(pair[0]), self._of(pair[1])
                if len(first) <= len(last):
                    # Behind every word there is another one, or the end of its line.
                    found[at] = first[sequence[first + _ONE] == pair[1]]
                else:
                    before = last[last > 0] - _ONE
                    found[at] = before[sequence[before] == pair[0]]
        return found

    def _numbers(self, codes: list[tuple[int, ...]], pairs: "_Entries") -> Doubles:
        """How many tasks have each word or pair."""
        having = np.bincount(pairs.terms, minlength=len(codes)).astype(np.float64)
        for at, words in enumerate(codes):
            if len(words) == 1:
                having[at] = self._having[words[0]]
        return having

    def _entries(self, standing: dict[int, Places], weight: float) -> "_Entries":
        places = np.concatenate([np.empty(0, np.uint32), *standing.values()])
        terms = np.repeat(list(standing), [len(each) for each in standing.values()]).astype(np.intp)
        tasks = np.frombuffer(self._task, np.uint32)[places]
        second = np.frombuffer(self._second, np.uint32)[tasks]
        new = np.ones(len(places), bool)
        new[1:] = (tasks[1:] != tasks[:-1]) | (terms[1:] != terms[:-1])
        (starts,) = np.nonzero(new)
        counts = np.where(places < second, _FIRST_LINE, 1.0) * weight
        summed = np.add.reduceat(counts, starts) if len(starts) else counts
        return _Entries(terms[starts], tasks[starts], summed)


class _Entries(NamedTuple):
    """What stands where: each task of each word, or pair, once."""

    terms: NDArray[np.intp]
    tasks: Places
    counts: Doubles

    def shares(self, weights: Doubles, held_against: Floats) -> Doubles:
        """What each task gets for them."""
        against = held_against[self.tasks]
        values = weights[self.terms] * self.counts / (self.counts + against)
        found = np.bincount(self.tasks, weights=values, minlength=len(held_against))
        return np.asarray(found, np.float64)


def plain(text: str) -> str:
    """A text without the tags of HTML and Jira around its words.

    Example:
        >>> plain("<p>Wrong &amp; slow</p> {code:java}x = 1{code}").split()
        ['Wrong', '&', 'slow', 'x', '=', '1']
    """
    text = html.unescape(text[:_LONGEST]) if "&" in text[:_LONGEST] else text[:_LONGEST]
    return _MARKUP.sub(" ", text) if "<" in text or "{" in text else text


def _lines(text: str) -> tuple[list[str], list[str]]:
    """The words of the first line and those of the rest."""
    first, _, rest = plain(text).strip().partition("\n")
    return _words(first[:_LONGEST_LINE]), _words(f"{first[_LONGEST_LINE:]} {rest}")


def _words(line: str) -> list[str]:
    """Words as they are compared; before the parts of a name stands the name."""
    found, end = list[str](), 0
    for name in _NAME.finditer(line):
        found += terms_of(line[end : name.start()])
        # No word of a text ends in `=`.
        found += [f"{name.group().lower()[:64]}=", *terms_of(" ".join(_PART.findall(name.group())))]
        end = name.end()
    return found + terms_of(line[end:])


def _counted(lines: Sequence[list[str]]) -> dict[tuple[str, ...], float]:
    """How much each word and each pair counts in the first line and the rest."""
    counted: dict[tuple[str, ...], float] = {}
    for weight, terms in zip((_FIRST_LINE, 1.0), lines, strict=True):
        for term in terms:
            counted[(term,)] = counted.get((term,), 0.0) + weight
        for pair in pairwise(terms):
            counted[pair] = counted.get(pair, 0.0) + weight * _PAIR
    return counted

"""Literal phrases found in a text, however they are inflected, spelled apart or together."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, Generic, NamedTuple, TypeVar

from llmops_langchain.text.lexicon import known, lemma

__all__ = ["Hit", "Phrases", "Token", "stem", "tokens_of", "words_of"]

T = TypeVar("T")

_WORD = re.compile(r"[^\W_]+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z]+")
"""What a name in code is put together from: `EmailDialog`, `OAuth2`."""

_GLUE = re.compile(r"[\s_\-\u00ad\u2010\u2011'\u2019]*")
_WIDEST_GLUE = 3
"""Characters between two words of a phrase: a hyphen, or spaces."""

_STOP = re.compile(r"[.!?;\n](?=\s|$)")
_ENDINGS = ("ing", "ed")
_SHORTEST = 5
"""Letters of a word whose ending is cut off without a dictionary: of `browsing`, not of `king`."""

_WORDS = 32_768


class Token(NamedTuple):
    """A word, or a part of a name in code."""

    word: str
    """In lower case."""
    stem: str
    start: int
    end: int
    joined: bool
    """Nothing but a hyphen or blanks stands between it and the one before."""
    sentence: int
    """Which sentence it is in, from 0."""
    whole: tuple[str, int]
    """At the start of a name in code: the stem of the name, and how many tokens it has."""


@lru_cache(_WORDS)
def stem(word: str) -> str:
    """What all forms of a word have in common; words that are in no dictionary have it too.

    Example:
        >>> stem("browsing") == stem("browse"), stem("paid"), stem("logins")
        (True, 'pay', 'login')
    """
    # `feed` is no form of `fee`.
    base = word if word.endswith("eed") else lemma(word)
    if len(base) < _SHORTEST or known(base):
        return base
    for ending in _ENDINGS:
        if base.endswith(ending) and len(base) - len(ending) >= _SHORTEST - 1:
            base = base.removesuffix(ending)
    return base.removesuffix("e")


def words_of(phrase: str) -> tuple[str, ...]:
    """The words of a phrase, in lower case."""
    return tuple(found.group().lower() for found in _WORD.finditer(phrase))


def tokens_of(text: str) -> list[Token]:
    """The words of a text in their order, in one pass.

    Example:
        >>> [token.word for token in tokens_of("Add an EmailDialog, really-fast")]
        ['add', 'an', 'email', 'dialog', 'really', 'fast']
    """
    tokens, before, sentence = list[Token](), 0, 0
    stops = [found.start() for found in _STOP.finditer(text)]
    for found in _WORD.finditer(text):
        start = found.start()
        while sentence < len(stops) and stops[sentence] < start:
            sentence += 1
        joined = start - before <= _WIDEST_GLUE and bool(_GLUE.fullmatch(text, before, start))
        tokens += _parts(found.group(), start, joined=joined, sentence=sentence)
        before = found.end()
    return tokens


def _parts(word: str, start: int, *, joined: bool, sentence: int) -> Iterator[Token]:
    # `APIs` is one word, not `AP` and `Is`.
    acronym = word.endswith("s") and word[:-1].isupper()
    lower = word[:-1].lower() if acronym else word.lower()
    if acronym or word in (lower, word.upper(), word.title()) or not word.isascii():
        base = stem(lower)
        yield Token(lower, base, start, start + len(word), joined, sentence, (base, 1))
        return
    parts = list(_PART.finditer(word))
    for number, part in enumerate(parts):
        name = part.group().lower()
        base = stem(name)
        yield Token(
            name,
            base,
            start + part.start(),
            start + part.end(),
            joined or number > 0,
            sentence,
            (base, 1) if number else (stem(lower), len(parts)),
        )


@dataclass(frozen=True, slots=True)
class Hit(Generic[T]):
    """A phrase that was found."""

    value: T
    """What the phrase was filed under."""
    first: int
    """Number of its first token."""
    last: int
    """Number of the token behind it."""


class Phrases(Generic[T]):
    """Finds many phrases at once, in time that grows with the text alone.

    A phrase of two words is also found with a hyphen, in one word, and in a name in code.
    Punctuation in a phrase means nothing; nothing in it is a regular expression.

    Args:
        phrases: Each with what it is filed under.

    Example:
        >>> found = Phrases([("log in", "authentication")]).hits(tokens_of("A Log-in, or login?"))
        >>> [(hit.first, hit.last) for hit in found]
        [(1, 3), (4, 5)]
    """

    def __init__(self, phrases: Iterable[tuple[str, T]]) -> None:
        self._root: dict[Any, Any] = {}
        for phrase, value in phrases:
            words = words_of(phrase)
            forms = {tuple(map(stem, words)), (stem("".join(words)),)}
            for form in sorted(forms):
                self._file(form, value)

    def _file(self, stems: Sequence[str], value: T) -> None:
        node = self._root
        for each in stems:
            node = node.setdefault(each, {})
        values = node.setdefault(None, [])
        if value not in values:
            values.append(value)

    def hits(self, tokens: Sequence[Token]) -> list[Hit[T]]:
        """Every place where a phrase stands, in the order of their beginnings."""
        found, root = list[Hit[T]](), self._root
        for first, token in enumerate(tokens):
            if token.stem in root or token.whole[0] in root:
                found += self._from(tokens, first)
        return found

    def _from(self, tokens: Sequence[Token], first: int) -> Iterator[Hit[T]]:
        """Phrases that begin at a token; names in code are read in parts and as a whole."""
        paths = [(self._root, first)]
        while paths:
            node, at = paths.pop()
            for value in node.get(None, ()):
                yield Hit(value, first, at)
            if at >= len(tokens) or not (at == first or tokens[at].joined):
                continue
            token = tokens[at]
            for base, length in {(token.stem, 1), token.whole}:
                if base in node:
                    paths.append((node[base], at + length))


def longest(hits: Iterable[Hit[T]]) -> list[Hit[T]]:
    """Of hits that share words the longest, from the left."""
    kept, behind = list[Hit[T]](), 0
    ordered = sorted(hits, key=lambda hit: (hit.first, -hit.last))
    for _, group in groupby(ordered, key=lambda hit: hit.first):
        hit = next(group)
        if hit.first >= behind:
            kept.append(hit)
            behind = hit.last
    return kept

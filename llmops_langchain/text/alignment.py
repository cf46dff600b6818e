"""Which words of one question answer to which words of the other."""

from collections.abc import Callable
from typing import NamedTuple

from llmops_langchain.text.edits import edits
from llmops_langchain.text.lexicon import SPELLINGS, known, opposed, synonyms
from llmops_langchain.text.question import Question, Term

__all__ = ["Alignment", "align", "initials"]

_DIGITS = dict(zip("0123456789", "zotffssent", strict=True))
"""First letters of their names: 2FA is two-factor authentication."""


_CODE = range(2, 6)
"""Lengths of what may be initials."""

_COMPOUND = 5
"""Letters that a word of two has at least."""

_SHORT, _MIDDLE = 4, 7
"""Words from so many letters on may be misspelt in one, and in two letters."""

_STEM = 4
"""Letters that forms of one word share at least, and 7 of 10 or, if there are more, 6 of 10."""
_STEM_SHARE, _LONG_STEM_SHARE = 0.7, 0.6
_LONGEST_ENDINGS = (3, 5)
"""Letters of the ending of the shorter and of the longer form."""


class Alignment(NamedTuple):
    """Terms of two questions, paired where they mean the same."""

    equal: list[tuple[Term, Term]]
    """The same word, or a misspelling of it."""
    akin: list[tuple[Term, Term]]
    """Another form, or a synonym."""
    spelled: tuple[list[Term], list[Term]]
    """Terms of either that the other writes as several words: initials, or a compound."""
    left: tuple[list[Term], list[Term]]
    """What has no counterpart in the other."""


def align(a: Question, b: Question) -> Alignment:
    """Pair the terms of two questions, the surest pairs first."""
    left, right = list(a.terms), list(b.terms)
    # First those with the same part, or one word that stands twice would be paired crosswise.
    equal = _paired(left, right, lambda x, y: x.role == y.role and _same(x, y))
    equal += _paired(left, right, lambda x, y: x.role == y.role and _misspelt(x, y))
    equal += _paired(left, right, _same)
    spelled = _spelled(left, b, right), _spelled(right, a, left)
    spelled[0].extend(_in_codes(left, a, b))
    spelled[1].extend(_in_codes(right, b, a))
    equal += _paired(left, right, _misspelt)
    akin = _paired(left, right, _one_stem)
    akin += _paired(left, right, _one_meaning)
    return Alignment(equal, akin, spelled, (left, right))


def initials(code: str, words: tuple[str, ...]) -> range | None:
    """Where words follow each other whose first letters make the code, if they do anywhere."""
    letters = [_DIGITS.get(sign, sign) for sign in code]
    for start in range(len(words) - len(letters) + 1):
        found = words[start : start + len(letters)]
        if all(word[0] == letter for word, letter in zip(found, letters, strict=True)):
            return range(start, start + len(letters))
    return None


def _paired(
    left: list[Term], right: list[Term], same: Callable[[Term, Term], bool]
) -> list[tuple[Term, Term]]:
    """Take pairs out of both lists; each term once."""
    pairs = []
    for term in tuple(left) if right else ():
        other = next((other for other in right if same(term, other)), None)
        if other is not None:
            pairs.append((term, other))
            left.remove(term)
            right.remove(other)
    return pairs


def _spelled(mine: list[Term], other: Question, theirs: list[Term]) -> list[Term]:
    """Take terms that the other question writes as several words, and those words."""
    found = []
    for term in tuple(mine):
        places = _compound(term.text, other.words)
        if places is None and len(term.text) in _CODE and not known(term.text):
            places = initials(term.text, other.words)
        if places is not None:
            found.append(term)
            mine.remove(term)
            theirs[:] = [each for each in theirs if each.place not in places]
    return found


def _in_codes(mine: list[Term], question: Question, other: Question) -> list[Term]:
    """Take terms whose initials are in a code of the other: `two-factor authentication`, `2FA`."""
    found = []
    for code in other.quantities.codes:
        places = initials(code, question.words) or ()
        found += [term for term in mine if term.place in places]
    mine[:] = [term for term in mine if term not in found]
    return found


def _compound(word: str, words: tuple[str, ...]) -> range | None:
    """Where two words follow each other that make this one: `key word`."""
    for start in range(len(words) - 1 if len(word) >= _COMPOUND else 0):
        if word.startswith(words[start]) and words[start] + words[start + 1] == word:
            return range(start, start + 2)
    return None


def _same(a: Term, b: Term) -> bool:
    return a.lemma == b.lemma or a.text == b.text


def _misspelt(a: Term, b: Term) -> bool:
    """Whether one is a misspelling of the other, or its spelling overseas.

    Two words that are both known are different words: Austria is not Australia.
    """
    one, other = a.text, b.text
    if one[0] != other[0] or not (one.isalpha() and other.isalpha()):
        return False
    if any(one.replace(*pair) == other.replace(*pair) for pair in SPELLINGS):
        return True
    allowed = _edits_allowed(one, other)
    return allowed > 0 and edits(one, other, allowed) <= allowed


def _edits_allowed(a: str, b: str) -> int:
    """How many letters may differ: fewer in short words, and where neither word is known."""
    shorter, longer = sorted((len(a), len(b)))
    if known(a) and known(b):
        return 0
    if not known(a) and not known(b):
        return int(shorter >= _MIDDLE)
    return int(shorter >= _SHORT) + int(longer >= _MIDDLE and shorter >= _SHORT)


def _one_stem(a: Term, b: Term) -> bool:
    """Whether they look like forms of one word (`formation`, `form`) and no name is among them."""
    if a.name or b.name:
        return False
    one, other = sorted((a.lemma, b.lemma), key=len)
    common = next(
        (at for at, pair in enumerate(zip(one, other, strict=False)) if len({*pair}) > 1), len(one)
    )
    share = _LONG_STEM_SHARE if common > _STEM else _STEM_SHARE
    return (
        common >= max(_STEM, share * len(other))
        and len(one) - common <= _LONGEST_ENDINGS[0]
        and len(other) - common <= _LONGEST_ENDINGS[1]
        and not opposed(a.text, b.text)
    )


def _one_meaning(a: Term, b: Term) -> bool:
    return synonyms(a.text, b.text) and not opposed(a.text, b.text)

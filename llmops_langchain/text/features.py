"""What two questions have in common, and what tells them apart, as numbers."""

from itertools import pairwise
from typing import NamedTuple

from llmops_langchain.text.alignment import Alignment, align
from llmops_langchain.text.conflicts import TELLING, Conflicts, conflicts, numbers_apart
from llmops_langchain.text.function_words import (
    DIRECTIONS,
    EMPTY,
    FREE,
    MOODS,
    QUESTION_WORDS,
    WHETHER,
)
from llmops_langchain.text.lexicon import names_person, names_thing
from llmops_langchain.text.question import Question, Term

__all__ = ["FEATURES", "Comparison", "compare"]

_NEAR = 0.85
"""Cosine at which one replaced word says neither yes nor no."""

_NEARLY_ALL = 0.95
"""Share of the same words from which on two questions are one but for its typing; and the cosine
that such a pair has at least, for a misspelt word has a vector of its own."""

_SOME = 0.2
"""Share of the same words that makes a place out of what stands between them."""

_REPLACED = 2
"""Words that may stand in one place."""


class Comparison(NamedTuple):
    """Two questions beside each other. Apart from cosines and shares, 1 is yes and 0 no."""

    cosine: float
    """Of the two embedded questions; at least .95 if they are equal to the word."""
    cosine_of_new: float
    """The cosine times the share of words that are not the same."""
    covered: float
    """Share of the words of content that have a counterpart, by weight; of the worse question."""
    shared: float
    """Share of all words that both have (Dice, 1945)."""
    equal: float
    """Nothing is left over and nothing tells them apart."""
    slot_cosine: float
    """If one or two words are replaced: the cosine less .85, halved for two."""
    slot_verb: float
    """What is replaced are verbs."""
    slot_thing: float
    """What is replaced are things, places or people."""
    synonyms: float
    """Words with a synonym on the other side, at most 2."""
    opposite: float
    """A word has its opposite on the other side."""
    opposite_covered: float
    """The same, times the share of words with a counterpart."""
    negated_covered: float
    """One of them is negated, times the share of words with a counterpart."""
    turned: float
    """A particle is turned round: in and out, before and after."""
    number: float
    """Each has a number or code that the other has not, or in the same words other signs."""
    number_shared: float
    """The same, times the share of words that are the same."""
    number_missing: float
    """One has a number or code, the other has none for it."""
    date: float
    """Each has a day, month or part of the day that the other has not."""
    unit: float
    """Each has a unit that the other has not."""
    name: float
    """Each has a name that the other has not."""
    name_missing: float
    """One has a name, the other has none for it."""
    swapped: float
    """Two things have changed places."""
    direction: float
    """A word behind `to` stands behind `from` in the other."""
    person: float
    """One speaks of a person that the other does not speak of."""
    kind_shared: float
    """They ask for different things, times the share of words that are the same."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """What tells the two apart, in fixed phrases."""
        found = [phrase for field, phrase in _REASONS.items() if getattr(self, field) > 0]
        if self.covered < 1.0:
            found.append("other words")
        return tuple(dict.fromkeys(found))


FEATURES: tuple[str, ...] = Comparison._fields

_REASONS = {
    "opposite": "opposite words",
    "negated_covered": "one is negated",
    "turned": "another direction",
    "number": "another number or sign",
    "number_missing": "a number is missing",
    "date": "another day or time",
    "unit": "another unit",
    "name": "another name",
    "name_missing": "a name is missing",
    "swapped": "words changed places",
    "direction": "words changed places",
    "person": "another person",
    "kind_shared": "something else is asked",
}


def compare(a: Question, b: Question, cosine: float) -> Comparison:
    """The features of two questions; the same whichever comes first.

    Args:
        a: A question.
        b: Another.
        cosine: Of their vectors, -1 to 1.

    Example:
        >>> from llmops_langchain.text import question_of
        >>> a, b = question_of("Is a child free?"), question_of("Is a dog free?")
        >>> compare(a, b, 0.7).reasons
        ('another person', 'other words')
    """
    if b.normal < a.normal:
        a, b = b, a
    pairs = align(a, b)
    left = _untold(pairs.left[0]), _untold(pairs.left[1])
    same = min(_share(a, pairs, 0), _share(b, pairs, 1)) if a.terms and b.terms else _dice(a, b)
    covered = min(_covered(a, left[0]), _covered(b, left[1]))
    apart = conflicts(a, b, pairs, same)
    equal = not (left[0] or left[1]) and _is_equal(a, b, pairs, apart)
    return Comparison(
        cosine=max(cosine, _NEARLY_ALL) if equal and not pairs.akin else cosine,
        cosine_of_new=cosine * (1.0 - same),
        covered=covered,
        shared=_dice(a, b),
        equal=float(equal),
        **_slot(left, same, cosine),
        synonyms=float(min(_REPLACED, len(pairs.akin))),
        opposite=float(apart.opposite),
        opposite_covered=apart.opposite * covered,
        negated_covered=apart.negated * covered,
        turned=float(apart.turned),
        number=float(apart.number),
        number_shared=apart.number * same,
        number_missing=float(apart.number_missing),
        date=float(apart.date),
        unit=float(apart.unit),
        name=float(_any_name(left[0]) and _any_name(left[1])),
        name_missing=float(_any_name(left[0]) != _any_name(left[1])),
        swapped=float(apart.swapped),
        direction=float(apart.direction),
        person=float(any(names_person(term.text) for side in left for term in side)),
        kind_shared=apart.kind * same,
    )


def _untold(terms: list[Term]) -> list[Term]:
    """Terms left over, but for those that only frame a question."""
    return [term for term in terms if not term.frame]


def _any_name(terms: list[Term]) -> bool:
    return any(term.name for term in terms)


def _total(question: Question) -> float:
    return sum(term.weight for term in question.terms) or 1.0


def _share(question: Question, pairs: Alignment, side: int) -> float:
    """Share of the question's terms that are the same in the other, by weight."""
    same = [pair[side] for pair in pairs.equal] + pairs.spelled[side]
    return sum(term.weight for term in same) / _total(question)


def _covered(question: Question, left: list[Term]) -> float:
    return 1.0 - sum(term.weight for term in left) / _total(question)


def _dice(a: Question, b: Question) -> float:
    first, second = set(a.words), set(b.words)
    return 2.0 * len(first & second) / max(1, len(first) + len(second))


def _slot(left: tuple[list[Term], list[Term]], same: float, cosine: float) -> dict[str, float]:
    """What is to be said if one or two words stand in the place of one or two others."""
    found = {"slot_cosine": 0.0, "slot_verb": 0.0, "slot_thing": 0.0}
    if same > _SOME and all(1 <= len(side) <= _REPLACED for side in left):
        whole = 1.0 if len(left[0]) == len(left[1]) == 1 else 0.5
        found["slot_cosine"] = whole * (cosine - _NEAR)
        if all(any(term.verb for term in side) for side in left):
            found["slot_verb"] = whole
        if all(any(names_thing(term.text) for term in side) for side in left):
            found["slot_thing"] = whole
    return found


def _is_equal(a: Question, b: Question, pairs: Alignment, apart: Conflicts) -> bool:
    """Whether, with nothing left over, nothing else tells the two apart."""
    if any(apart) or a.signs != b.signs or sum(map(len, pairs.left)) > 1:
        return False
    if not (pairs.equal or pairs.akin or pairs.spelled[0] or pairs.spelled[1]):
        return False
    if any(numbers_apart(a, b)) or not _same_small(a, b):
        return False
    return _same_kind(a, b, pairs) and _same_order(a, b, pairs)


def _same_kind(a: Question, b: Question, pairs: Alignment) -> bool:
    """Whether they ask for one thing, though with another question word if that is plain."""
    same_word = a.small & QUESTION_WORDS == b.small & QUESTION_WORDS
    if a.kind == b.kind:
        return same_word or a.kind in TELLING
    return same_word and "thing" in (a.kind, b.kind) and not any(pairs.left)


def _same_order(a: Question, b: Question, pairs: Alignment) -> bool:
    """Whether the same words stand in one order, but for a phrase put in front.

    Or a small word tells of the change: `school place`, `place at a school`.
    """
    if not (a.small ^ b.small).isdisjoint(DIRECTIONS):
        return True
    found = sorted((x.place, y.place) for x, y in pairs.equal)
    places = [place for _, place in found]
    turns = sum(one > other for one, other in pairwise([*places, *places[:1]]))
    return turns <= 1


def _same_small(a: Question, b: Question) -> bool:
    """Whether the small words that only one of them has make no difference."""
    only_a, only_b = a.small - b.small - QUESTION_WORDS, b.small - a.small - QUESTION_WORDS
    if not only_a | only_b <= FREE or (only_a - EMPTY and only_b - EMPTY):
        return False
    # `how do I` is `how can I`, but `can I` is not `should I`.
    asking = [question.small & WHETHER for question in (a, b)]
    return a.kind != "whether" or all(
        bool(asking[0] & verbs) == bool(asking[1] & verbs) for verbs in MOODS
    )

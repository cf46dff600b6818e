"""What two questions have in common, and what tells them apart, as numbers."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from llmops_langchain.text.alignment import Alignment, align, initials
from llmops_langchain.text.function_words import PARTICLES, QUESTION_WORDS
from llmops_langchain.text.lexicon import names_person, names_thing, opposed
from llmops_langchain.text.quantities import Number, unmatched
from llmops_langchain.text.question import Question, Term
from llmops_langchain.text.tables import listed

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

_ALIKE = 0.8
"""Share of the same words above which questions are hardly a rewording of each other."""

_TELLING = frozenset(listed("time duration frequency amount count place person reason manner"))
_DEGREES = frozenset(listed("most least more less few fewer"))
_NOT_FREE = _DEGREES | frozenset(
    listed("all each every both any none only same other another never always last first")
)
_ARTICLES = frozenset(("a", "an", "the"))
_TURNED = frozenset(
    map(
        frozenset,
        (
            ("in", "out"),
            ("on", "off"),
            ("up", "down"),
            ("over", "under"),
            ("above", "below"),
            ("before", "after"),
            ("until", "after"),
            ("until", "from"),
            ("until", "since"),
            ("out", "back"),
        ),
    )
)


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
    opposite_shared: float
    """The same, times the share of words that are the same."""
    negated_shared: float
    """One of them is negated, times the share of words that are the same."""
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
        return tuple(phrase for field, phrase in _REASONS.items() if getattr(self, field) > 0)


FEATURES: tuple[str, ...] = Comparison._fields

_REASONS = {
    "opposite": "opposite words",
    "negated_shared": "one is negated",
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
        ('another person',)
    """
    if b.normal < a.normal:
        a, b = b, a
    pairs = align(a, b)
    left = _untold(pairs.left[0]), _untold(pairs.left[1])
    same = min(_share(a, pairs, 0), _share(b, pairs, 1)) if a.terms and b.terms else _dice(a, b)
    conflicts = _conflicts(a, b, pairs, same)
    equal = not (left[0] or left[1]) and _is_equal(a, b, pairs, conflicts)
    return Comparison(
        cosine=max(cosine, _NEARLY_ALL) if equal and same > _NEARLY_ALL else cosine,
        cosine_of_new=cosine * (1.0 - same),
        covered=min(_covered(a, left[0]), _covered(b, left[1])),
        shared=_dice(a, b),
        equal=float(equal),
        **_slot(left, same, cosine),
        synonyms=float(min(_REPLACED, len(pairs.akin))),
        opposite=conflicts["opposite"],
        opposite_shared=conflicts["opposite"] * same,
        negated_shared=conflicts["negated"] * same,
        turned=conflicts["turned"],
        number=conflicts["number"],
        number_shared=conflicts["number"] * same,
        number_missing=conflicts["number_missing"],
        date=conflicts["date"],
        unit=conflicts["unit"],
        name=float(_any_name(left[0]) and _any_name(left[1])),
        name_missing=float(_any_name(left[0]) != _any_name(left[1])),
        swapped=conflicts["swapped"],
        direction=conflicts["direction"],
        person=float(any(names_person(term.text) for side in left for term in side)),
        kind_shared=conflicts["kind"] * same,
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


def _conflicts(a: Question, b: Question, pairs: Alignment, same: float) -> dict[str, float]:
    """What keeps one answer from serving both; each 0 or 1."""
    numbers = _numbers(a, b)
    codes = _codes(a, b)
    dates = unmatched(a.quantities.calendar, b.quantities.calendar)
    units = unmatched(a.quantities.units, b.quantities.units)
    signs = a.signs != b.signs and same > _ALIKE  # other words may say it without signs
    found = {
        "opposite": _opposite(a, b, pairs),
        "negated": a.negations % 2 != b.negations % 2,
        "turned": _turned(a, b),
        "number": _both(numbers) or _both(codes) or signs,
        "number_missing": _one(numbers) or _one(codes),
        "date": _both(dates),
        "unit": _both(units),
        "swapped": _exchanged(pairs.equal) or _shuffled(a, b),
        "direction": any({x.role, y.role} == {"to", "from"} for x, y in pairs.equal),
        "kind": a.kind != b.kind and a.kind in _TELLING and b.kind in _TELLING,
    }
    return {name: float(holds) for name, holds in found.items()}


def _both(sides: tuple[Sequence[object], Sequence[object]]) -> bool:
    return bool(sides[0] and sides[1])


def _one(sides: tuple[Sequence[object], Sequence[object]]) -> bool:
    return bool(sides[0]) != bool(sides[1])


def _is_equal(a: Question, b: Question, pairs: Alignment, conflicts: dict[str, float]) -> bool:
    """Whether, with nothing left over, nothing else tells the two apart."""
    if any(conflicts.values()) or a.signs != b.signs or max(map(len, pairs.left)) > 1:
        return False
    if not (pairs.equal or pairs.akin or pairs.spelled[0] or pairs.spelled[1]):
        return False
    differing = a.small ^ b.small
    if not differing.isdisjoint(_NOT_FREE):
        return False
    asked = a.small & QUESTION_WORDS
    if asked and asked == b.small & QUESTION_WORDS:
        return True  # their kinds differ at most by a misspelt word
    return a.kind == b.kind and (not asked or a.kind in _TELLING)


def _opposite(a: Question, b: Question, pairs: Alignment) -> bool:
    left, right = ([term.text for term in side] for side in pairs.left)
    if any(opposed(one, other) for one in left for other in right):
        return True
    return any(
        opposed(degree, word)
        for one, other in ((a, b), (b, a))
        for degree in one.small & _DEGREES
        for word in other.words
    )


def _turned(a: Question, b: Question) -> bool:
    left, right = (a.small - b.small) & PARTICLES, (b.small - a.small) & PARTICLES
    return any(frozenset((one, other)) in _TURNED for one in left for other in right)


def _numbers(a: Question, b: Question) -> tuple[list[Number], list[Number]]:
    """Numbers of each that the other lacks; a bare number goes with any of the same value."""
    left, right = unmatched(a.quantities.numbers, b.quantities.numbers)
    for one in tuple(left):
        for other in tuple(right):
            bare = one.kind in ("", "one") or other.kind in ("", "one")
            if bare and one.written == other.written and one in left and other in right:
                left.remove(one)
                right.remove(other)
    if left and right:
        return left, right
    return _counted(left), _counted(right)


def _counted(numbers: list[Number]) -> list[Number]:
    """Without what may stand for no number at all: `the one I bought`, `in dollars`."""
    return [number for number in numbers if number.kind not in ("one", "currency")]


def _codes(a: Question, b: Question) -> tuple[list[str], list[str]]:
    """Codes of each that the other lacks, and does not write out."""
    left, right = unmatched(a.quantities.codes, b.quantities.codes)
    return (
        [code for code in left if initials(code, b.words) is None],
        [code for code in right if initials(code, a.words) is None],
    )


def _exchanged(equal: list[tuple[Term, Term]]) -> bool:
    """Whether two words have each other's part: `gold for silver`, `silver for gold`."""
    return any(
        x.role != other_x.role
        and x.role == other_y.role
        and y.role == other_x.role
        and (x.place - other_x.place) * (y.place - other_y.place) < 0
        for (x, y), (other_x, other_y) in combinations(equal, 2)
    )


def _shuffled(a: Question, b: Question) -> bool:
    """Whether the same words stand in another order, and not only a phrase in front."""
    codes, others = a.quantities.codes, b.quantities.codes
    if codes != others and sorted(codes) == sorted(others):
        return True
    left = [word for word in a.words if word not in _ARTICLES]
    right = [word for word in b.words if word not in _ARTICLES]
    if left == right or sorted(left) != sorted(right):
        return False
    return not any(left[at:] + left[:at] == right for at in range(1, len(left)))

"""What keeps one answer from serving two questions, whatever else they share."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

from llmops_langchain.text.alignment import Alignment, initials
from llmops_langchain.text.function_words import PARTICLES
from llmops_langchain.text.lexicon import opposed
from llmops_langchain.text.quantities import Number, unmatched
from llmops_langchain.text.question import Question, Term
from llmops_langchain.text.tables import listed

__all__ = ["TELLING", "Conflicts", "conflicts", "numbers_apart"]

_ALIKE = 0.8
"""Share of the same words above which questions are hardly a rewording of each other."""

TELLING = frozenset(listed("time duration frequency amount count place person reason manner"))
"""Kinds of question whose answers cannot be the same."""

_DEGREES = frozenset(listed("most least more less few fewer"))
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


class Conflicts(NamedTuple):
    """Each is whether it holds; what they mean is said beside the features that come of them."""

    opposite: bool
    negated: bool
    turned: bool
    number: bool
    number_missing: bool
    date: bool
    date_missing: bool
    unit: bool
    swapped: bool
    direction: bool
    kind: bool


def conflicts(a: Question, b: Question, pairs: Alignment, same: float) -> Conflicts:
    """What tells two questions apart.

    Args:
        a: A question.
        b: Another.
        pairs: Their words in pairs.
        same: Share of the words that are the same, 0 to 1.
    """
    numbers = numbers_apart(a, b)
    if not all(numbers):
        numbers = _counted(numbers[0]), _counted(numbers[1])
    codes = _codes(a, b)
    dates = unmatched(a.quantities.calendar, b.quantities.calendar)
    units = unmatched(a.quantities.units, b.quantities.units)
    signs = a.signs != b.signs and same > _ALIKE  # other words may say it without signs
    return Conflicts(
        opposite=_opposite(a, b, pairs),
        negated=a.negations % 2 != b.negations % 2,
        turned=_turned(a, b),
        number=_both(numbers) or _both(codes) or signs,
        number_missing=_one(numbers) or _one(codes),
        date=_both(dates),
        date_missing=_one(_later(dates)) or _one(units),
        unit=_both(units),
        swapped=_exchanged(pairs.equal) or _shuffled(a, b),
        direction=any({x.role, y.role} == {"to", "from"} for x, y in pairs.equal),
        kind=a.kind != b.kind and a.kind in TELLING and b.kind in TELLING,
    )


def _both(sides: tuple[Sequence[object], Sequence[object]]) -> bool:
    return bool(sides[0] and sides[1])


def _one(sides: tuple[Sequence[object], Sequence[object]]) -> bool:
    return bool(sides[0]) != bool(sides[1])


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


def _later(dates: tuple[list[str], list[str]]) -> tuple[list[str], list[str]]:
    """Without today, which is meant where nothing is said."""
    left, right = ([date for date in side if date != "today"] for side in dates)
    return left, right


def numbers_apart(a: Question, b: Question) -> tuple[list[Number], list[Number]]:
    """Numbers of each that the other lacks; a bare number goes with any of the same value."""
    left, right = unmatched(a.quantities.numbers, b.quantities.numbers)
    for one in tuple(left):
        for other in tuple(right):
            bare = one.kind in ("", "one") or other.kind in ("", "one")
            if bare and one.written == other.written and one in left and other in right:
                left.remove(one)
                right.remove(other)
    return _unspelled(left, a, b), _unspelled(right, b, a)


def _unspelled(numbers: list[Number], mine: Question, other: Question) -> list[Number]:
    """Without those that a code of the other holds: `two-factor authentication` is `2FA`."""
    held = {
        float(sign)
        for code in other.quantities.codes
        if initials(code, mine.words) is not None
        for sign in code
        if sign.isdecimal()
    }
    return [number for number in numbers if number.written not in held]


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

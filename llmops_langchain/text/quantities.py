"""Numbers, times and dates of a text, in one form whatever their spelling."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from llmops_langchain.text.tables import by_word, listed
from llmops_langchain.text.words import Word

__all__ = ["COUNTED", "Number", "Quantities", "quantities_of", "unmatched"]

_Item = TypeVar("_Item")

_ONES = listed(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen"""
)
_TENS = listed("twenty thirty forty fifty sixty seventy eighty ninety")
_ORDINALS = listed("first second third fourth fifth sixth seventh eighth ninth tenth")
_VALUES = {
    **{word: float(value) for value, word in enumerate(_ONES)},
    **{word: 10.0 * value for value, word in enumerate(_TENS, start=2)},
    "twice": 2.0,
    "dozen": 12.0,
}
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "k": 1e3, "bn": 1e9}
_MONEY = by_word(
    {
        "gbp": "£ gbp pound pounds quid",
        "usd": "$ usd dollar dollars bucks",
        "eur": "€ eur euro euros",
        "jpy": "¥ jpy yen",
    }
)
_MEASURES = {
    "time": {
        1e-3: "ms millisecond milliseconds",
        1.0: "s sec secs second seconds",
        60.0: "min mins minute minutes",
        3600.0: "h hr hrs hour hours hourly",
        86400.0: "day days daily",
        604800.0: "week weeks weekly",
        2629800.0: "month months monthly",
        7889400.0: "quarter quarterly",
        31557600.0: "year years yr yrs yearly annual annually",
    },
    "mass": {
        1e-3: "mg milligram milligrams",
        1.0: "g gram grams gramme grammes",
        1e3: "kg kgs kilo kilos kilogram kilograms",
        1e6: "tonne tonnes",
        28.35: "oz ounce ounces",
        453.6: "lb lbs",
    },
    "volume": {
        1e-3: "ml milliliter milliliters millilitre millilitres",
        1.0: "l liter liters litre litres",
    },
    "length": {
        1e-3: "mm millimeter millimeters millimetre millimetres",
        1e-2: "cm centimeter centimeters centimetre centimetres",
        1.0: "m meter meters metre metres",
        1e3: "km kms kilometer kilometers kilometre kilometres",
        0.0254: "inch inches",
        0.3048: "ft foot feet",
        1609.3: "mi mile miles",
    },
    "bytes": {
        1e3: "kb kilobyte kilobytes",
        1e6: "mb megabyte megabytes",
        1e9: "gb gigabyte gigabytes gig gigs",
        1e12: "tb terabyte terabytes",
    },
    "watts": {1.0: "w watt watts", 1e3: "kw kwh"},
    "%": {1.0: "% percent pct"},
}
_UNITS = {
    name: (kind, factor)
    for kind, table in _MEASURES.items()
    for name, factor in by_word(table).items()
}
_LETTERS = frozenset(listed("ms s h hr g kg mg oz lb ml l mm cm m km ft mi kb mb gb tb w kw wk yr"))
_ALONE = {
    name: f"{kind} {factor:g}"
    for name, (kind, factor) in _UNITS.items()
    if kind != "%" and name not in _LETTERS
} | dict.fromkeys(("night", "nights", "overnight"), "night")
"""Units that mean something without a number, as in `per week`."""

_WEEK = listed("monday tuesday wednesday thursday friday saturday sunday")
_MONTHS = listed("january february april june july august september october november december")
_CALENDAR = {
    **{name + ending: name for name in _WEEK for ending in ("", "s")},
    **{name[:3]: name for name in _WEEK if name[:3] not in ("sun", "sat", "wed")},
    **{name: name for name in _MONTHS},
    **{name[:3]: name for name in _MONTHS if name[:3] not in ("jan", "dec")},
    **{name: name for name in listed("tomorrow yesterday spring summer autumn winter easter")},
    **by_word(
        {
            "today": "today tonight",
            "weekday": "weekday weekdays",
            "weekend": "weekend weekends",
            "morning": "morning mornings",
            "afternoon": "afternoon afternoons",
            "evening": "evening evenings",
            "christmas": "christmas",
        }
    ),
}
_MONTH_OR_VERB = frozenset(("may", "march"))
_BEFORE_MONTH = frozenset(listed("in of by since until till for from last next this"))
_CLOCK = {"noon": 720.0, "midday": 720.0, "midnight": 0.0}

COUNTED = frozenset(
    word
    for word in (*_VALUES, *_ORDINALS, *_SCALES, *_MONEY, *_UNITS, *_CALENDAR, *_ALONE)
    if word.isalpha()
)
"""Words that numbers, units and dates are made of."""


class Number(NamedTuple):
    """A value with its kind; equal measures are equal: 1,500 kg and 1.5 tonnes."""

    kind: str
    """A measure, a currency, `ordinal`, `clock`, `version` or, for a bare number, empty."""
    value: float | str
    """In the base unit of the kind; minutes for `clock`, text for `version`."""
    written: float | str
    """As it stood in the text."""


class Quantities(NamedTuple):
    """What a text counts, measures and dates; sorted, so that equal ones are equal."""

    numbers: tuple[Number, ...]
    calendar: tuple[str, ...]
    """Weekdays, months, seasons, parts of the day, today and its neighbours."""
    units: tuple[str, ...]
    """Units without a number: `per week`, `in miles`."""
    codes: tuple[str, ...]
    """Letters and digits in one word, as `P60` and `S3`, in the order of the text."""
    used: frozenset[int]
    """Positions of the words that all these are made of."""


def quantities_of(words: Sequence[Word]) -> Quantities:
    """The numbers, dates, units and codes among the words.

    Example:
        >>> from llmops_langchain.text.words import words_of
        >>> found = quantities_of(words_of("Two kilos by 3pm on Friday, form P60"))
        >>> [(number.kind, number.value) for number in found.numbers]
        [('clock', 900.0), ('mass', 2000.0)]
        >>> found.calendar, found.codes
        (('friday',), ('p60',))
    """
    scan = _Scan(words)
    while scan.at < len(words):
        scan.step()
    return Quantities(
        tuple(sorted(scan.numbers, key=str)),
        tuple(sorted(_whole_weeks(scan.calendar))),
        tuple(sorted(scan.units)),
        tuple(scan.codes),
        frozenset(scan.used),
    )


def unmatched(a: Iterable[_Item], b: Iterable[_Item]) -> tuple[list[_Item], list[_Item]]:
    """What each of two collections has that the other has not, or not as often."""
    left, right = Counter(a), Counter(b)
    return list((left - right).elements()), list((right - left).elements())


def _whole_weeks(calendar: set[str]) -> set[str]:
    """Monday to Friday are the weekdays, Saturday and Sunday the weekend."""
    named = calendar & set(_WEEK)
    if {"monday", "friday"} <= named <= set(_WEEK[:5]):
        return calendar - named | {"weekday"}
    if named == set(_WEEK[5:]):
        return calendar - named | {"weekend"}
    return calendar


class _Scan:
    """Reads words from left to right; each step takes at least one."""

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = words
        self._texts = [word.text for word in words]
        self.at = 0
        self.numbers: list[Number] = []
        self.calendar: set[str] = set()
        self.units: set[str] = set()
        self.codes: list[str] = []
        self.used: set[int] = set()

    def step(self) -> None:
        """Take what begins here; a word that is nothing of ours is passed over."""
        start, text = self.at, self._texts[self.at]
        if text[0].isdecimal() or text in _VALUES or text == "half":
            self._number()
        elif text in _MONEY:
            self._currency()
        elif not (self._code() or self._ordinal() or self._date()):
            self.at += 1
            return
        self.used.update(range(start, self.at))

    def _text(self, ahead: int = 0) -> str:
        """The word that many places on, or nothing."""
        at = self.at + ahead
        return self._texts[at] if 0 <= at < len(self._texts) else ""

    def _glued(self, ahead: int = 0) -> bool:
        at = self.at + ahead
        return at < len(self._words) and self._words[at].glued

    def _add(self, kind: str, value: float | str, written: float | str | None = None) -> None:
        self.numbers.append(Number(kind, value, value if written is None else written))

    def _code(self) -> bool:
        """`p60`, `s3`: letters, and digits right behind them."""
        if not (self._glued(1) and self._text(1).isdecimal() and self._text().isalpha()):
            return False
        self.codes.append(self._text() + self._text(1))
        self.at += 2
        return True

    def _ordinal(self) -> bool:
        text = self._text()
        # `a second suitcase`, but `every second` and `two seconds`
        if text not in _ORDINALS or (
            text == "second" and self._text(-1) not in ("a", "the", "my", "our")
        ):
            return False
        self._add("ordinal", float(_ORDINALS.index(text) + 1))
        self.at += 1
        return True

    def _date(self) -> bool:
        text, before = self._text(), self._text(-1)
        month = text in _MONTH_OR_VERB and (
            before in _BEFORE_MONTH or before[:1].isdecimal() or self._text(1)[:1].isdecimal()
        )
        if text in _CALENDAR or month:
            self.calendar.add(_CALENDAR.get(text, text))
        elif text in _ALONE:
            self.units.add(_ALONE[text])
        elif text in _CLOCK:
            self._add("clock", _CLOCK[text])
        else:
            return False
        self.at += 1
        return True

    def _currency(self) -> None:
        """`£50`; a currency without an amount is something to talk about (`to GBP`)."""
        currency = _MONEY[self._text()]
        self.at += 1
        if self._glued() and self._text()[:1].isdecimal():
            value = self._value()
            self._add(currency, value)
        else:
            self._add("currency", currency)

    def _number(self) -> None:
        if self._text() == "half":
            self._half()
            return
        text = self._text()
        if ":" in text:
            hours, minutes = text.split(":")
            self.at += 1
            self._clock(60.0 * float(hours) + float(minutes))
            return
        value = self._value()
        if isinstance(value, str):
            self._add("version", value)
        elif not self._with_unit(value, text):
            # `one` is mostly no number: `the one I bought`
            self._add("one" if text == "one" else "", value)

    def _value(self) -> float | str:
        """The value of the digits or number words here; a version, as 1.2.3, stays text."""
        text = self._text()
        self.at += 1
        if text[0].isdecimal():
            digits = text.replace(",", "")
            if digits.count(".") > 1:
                return digits
            value = float(digits)
        else:
            value = _VALUES[text]
            if text in _TENS and self._text() in _ONES[1:10]:
                value += _VALUES[self._text()]
                self.at += 1
        while self._text() in _SCALES:
            value *= _SCALES[self._text()]
            self.at += 1
        return value

    def _with_unit(self, value: float, text: str) -> bool:
        """Take what belongs to the number just read: `pm`, `th`, `kg`, `dollars`."""
        unit = self._text()
        if unit in ("am", "pm"):
            self._clock(60.0 * value)
            return True
        if self._glued() and unit in ("st", "nd", "rd", "th"):
            self._add("ordinal", value)
        elif unit in _MONEY:
            self._add(_MONEY[unit], value)
        elif unit in _UNITS:
            kind, factor = _UNITS[unit]
            self._add(kind, round(value * factor, 4), value)
        elif self._glued() and unit.isalpha():
            self.codes.append(text + unit)
        else:
            return False
        self.at += 1
        return True

    def _clock(self, minutes: float) -> None:
        """A time of day; `am` or `pm` may follow."""
        if self._text() in ("am", "pm"):
            minutes = minutes % 720 + (720 if self._text() == "pm" else 0)
            self.at += 1
        self._add("clock", minutes)

    def _half(self) -> None:
        """`half four` and `half past four` are 4:30, `half an hour` thirty minutes."""
        self.at += 1
        ahead = 1 if self._text() == "past" else 0
        if self._text(ahead) in _VALUES:
            self.at += ahead + 1
            self._add("clock", 60.0 * _VALUES[self._text(-1)] + 30.0)
        elif self._text() in ("a", "an") and self._text(1) in _UNITS:
            kind, factor = _UNITS[self._text(1)]
            self.at += 2
            self._add(kind, factor / 2, 0.5)
        else:
            self._add("", 0.5)

"""Numbers, times and dates: one form for many spellings, and another one for another value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain.text.quantities import Quantities, quantities_of, unmatched
from llmops_langchain.text.words import words_of


def read(text: str) -> Quantities:
    return quantities_of(words_of(text))


def told(text: str) -> tuple:
    found = read(text)
    values = [(number.kind, number.value) for number in found.numbers]
    return values, found.calendar, found.units, found.codes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("two kilos", "2 kg"),
        ("2000 grams", "2kg"),
        ("£50", "50 pounds"),
        ("$1,000", "1000 dollars"),
        ("2 thousand euros", "€2k"),
        ("3pm", "15:00"),
        ("half past four", "half four"),
        ("half an hour", "30 minutes"),
        ("noon", "12pm"),
        ("midnight", "12am"),
        ("twenty five", "25"),
        ("the 3rd", "the third"),
        ("a second try", "a 2nd try"),
        ("24 hours", "1 day"),
        ("15 percent", "15%"),
        ("on Sundays", "on a Sunday"),
        ("Monday to Friday", "weekdays"),
        ("saturdays and sundays", "at weekends"),
        ("tonight", "today"),
        ("per week", "weekly"),
        ("a year", "annually"),
        ("16 GB", "16 gigabytes"),
    ],
)
def test_spellings_of_one_quantity_are_equal(one, other) -> None:
    assert told(one) == told(other)
    assert read(one).used


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2 kg", "2 g"),
        ("2pm", "2am"),
        ("9:15", "9:45"),
        ("£50", "$50"),
        ("1.2.3", "1.2.4"),
        ("the 3rd", "3"),
        ("15 minutes", "15 hours"),
        ("on Monday", "on Tuesday"),
        ("weekdays", "weekends"),
        ("in May", "in June"),
        ("per week", "per month"),
        ("in miles", "in kilometres"),
        ("P60", "P45"),
        ("s3", "s4"),
        ("half", "one"),
    ],
)
def test_other_quantities_differ(one, other) -> None:
    assert told(one) != told(other)


def test_may_is_a_month_only_where_one_is_expected() -> None:
    assert read("May I come in May?").calendar == ("may",)
    assert read("may 5 be enough").calendar == ("may",)
    assert read("you may march on").calendar == ()


def test_a_currency_without_an_amount_is_no_amount() -> None:
    assert [number.kind for number in read("convert 100 USD to GBP").numbers] == ["currency", "usd"]


def test_seconds_and_the_second_are_told_apart() -> None:
    assert told("10 seconds")[0] == [("time", 10.0)]
    assert told("my second bag")[0] == [("ordinal", 2.0)]


def test_codes_keep_their_order() -> None:
    assert read("PS5 games on a PS4").codes == ("ps5", "ps4")


def test_what_two_collections_do_not_share_counts_how_often() -> None:
    assert unmatched([1, 1, 2], [1, 3]) == ([1, 2], [3])


@given(st.text(alphabet="0123456789.,:/%£$ abcdehkmprst½²٣", max_size=40))
def test_odd_numbers_are_read_without_an_error(text) -> None:
    words = words_of(text)
    assert read(text).used <= set(range(len(words)))

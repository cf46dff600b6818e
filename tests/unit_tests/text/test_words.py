"""Texts as words: what is typed in many ways is read in one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain.text.words import signs_of, words_of


def texts(text: str) -> list[str]:
    return [word.text for word in words_of(text)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What's the fee?", "what is the fee"),
        ("I don\u2019t know", "i do not know"),
        ("we won't; you can't", "we will not you cannot"),
        ("whats the price", "What is the price"),
        ("self\u2011employed", "self-employed"),
        ("They're late, I'm not", "they are late i am not"),
        ("“Open” it", '"open" it'),
    ],
)
def test_spellings_of_one_text_are_the_same_words(one, other) -> None:
    assert texts(one) == texts(other)


def test_names_of_languages_keep_their_signs() -> None:
    assert texts("C++ or C#, and .NET?") == ["c++", "or", "c#", "and", "net"]


def test_numbers_stay_whole() -> None:
    assert texts("1,250.50 at 9:15, v1.2.3") == ["1,250.50", "at", "9:15", "v", "1.2.3"]


def test_an_owner_is_told_from_a_short_form() -> None:
    owners = {
        word.text for word in words_of("What's my sister's and my parents' rule") if word.owner
    }
    assert owners == {"sister", "parents"}


def test_words_that_are_talked_about_are_marked() -> None:
    marked = [word.text for word in words_of('Is "who" or HAVING right in SQL?') if word.marked]
    assert marked == ["who", "having", "sql"]
    assert not any(word.marked for word in words_of("IS THIS RIGHT?"))


@pytest.mark.parametrize(
    ("text", "signs"),
    [
        ("a == b", "=="),
        ("solve -x = 5", "-="),
        ("git reset --hard", "--"),
        ("5 - 3", "-"),
        ("well-known, 3-5 days - or so", ""),
        ("€5 or 5 %?", ""),
        ("fine \U0001f642", "\U0001f642"),
    ],
)
def test_signs_with_a_meaning_are_kept_and_punctuation_is_not(text, signs) -> None:
    assert signs_of(text) == signs


@given(st.text())
def test_any_text_has_words_in_lower_case_without_gaps(text) -> None:
    for word in words_of(text):
        assert word.text
        assert not any(sign.isspace() for sign in word.text)

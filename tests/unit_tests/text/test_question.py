"""Questions taken apart: politeness goes, what is asked stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain.text import comparable, question_of


@pytest.mark.parametrize(
    "text",
    [
        "How do I renew my card?",
        "how do i renew my card",
        "HOW DO I RENEW MY CARD??",
        "Hi team, how do I renew my card please?",
        "Quick question, how do I renew my card? Many thanks",
        "Just wondering, how do I renew my card? Thanks in advance!",
        "um so how do I  renew my card",
        "Sorry to bother you but how do I renew my card",
    ],
)
def test_politeness_case_and_punctuation_leave_one_normal_form(text) -> None:
    assert question_of(text).normal == "how do i renew my card"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5 - 3", "5 3"),
        ("solve -x = 2", "solve x = 2"),
        ("is it fine \U0001f642", "is it fine \U0001f621"),
        ("C++", "C#"),
        ("हिन्दी", "हनद"),
        ("10²", "102"),
        ("Я иду?", "я иду"),
    ],
)
def test_other_texts_have_other_normal_forms(one, other) -> None:
    assert question_of(one).normal != question_of(other).normal


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("How long does it take?", "duration"),
        ("How often does it run?", "frequency"),
        ("When does it open?", "time"),
        ("What does it cost?", "amount"),
        ("How many are there?", "count"),
        ("Where is it?", "place"),
        ("Who is it?", "person"),
        ("Why is it red?", "reason"),
        ("What is the diffrence?", "difference"),
        ("How do I do it?", "manner"),
        ("Is it red?", "whether"),
        ("Which one is it?", "thing"),
        ("Translate it.", ""),
    ],
)
def test_what_is_asked_for(text, kind) -> None:
    assert question_of(text).kind == kind


def test_phrases_of_two_words_are_one() -> None:
    phrases = "How do I turn off the lamp, log in and set up the printer?"
    assert [term.lemma for term in question_of(phrases).terms] == [
        "disable",
        "lamp",
        "login",
        "create",
        "printer",
    ]


def test_names_are_capitals_inside_a_sentence() -> None:
    def names(text: str) -> list[str]:
        return [term.text for term in question_of(text).terms if term.name]

    assert names("Trains from Leeds to York") == ["leeds", "york"]
    assert names("Trains From Leeds To York") == []


def test_words_stand_in_their_direction() -> None:
    terms = question_of("How to get from Leeds to York").terms
    assert [(term.text, term.role) for term in terms] == [("leeds", "from"), ("york", "to")]


@pytest.mark.parametrize(
    "text",
    [
        "Wie kann ich mein Passwort ändern?",
        "comment annuler ma commande",
        "¿Cómo puedo cancelar mi pedido?",
        "как изменить пароль",
        "パスワードを変更するには",
        "كيف أغير كلمة المرور",
        "",
        "???",
        "word " * 65,
    ],
    ids=["German", "French", "Spanish", "Russian", "Japanese", "Arabic", "empty", "signs", "long"],
)
def test_other_languages_and_long_texts_are_not_compared(text) -> None:
    question = question_of(text)
    assert not comparable(question, question)


@pytest.mark.parametrize(
    "text",
    [
        "How do I reset my password?",
        "please summarise clause 7",
        "convert 100 USD to GBP",
        "is metformin 500 mg a lot",
        "Opening hours of the museum in Łódź-Północ?".replace("ź", "z"),
    ],
)
def test_english_questions_are_compared(text) -> None:
    question = question_of(text)
    assert comparable(question, question)


@given(st.text())
def test_any_text_is_taken_apart(text) -> None:
    question = question_of(text)
    assert question_of(text) is question
    assert all(0.2 <= term.weight <= 1.0 for term in question.terms)

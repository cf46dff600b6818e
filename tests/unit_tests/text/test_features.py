"""What two questions have in common and what tells them apart."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain.text import FEATURES, Comparison, compare, question_of
from llmops_langchain.text.edits import edits
from llmops_langchain.text.tables import listed

WORDS = """how do i can you my the not from to Leeds York 5 2kg £50 3pm monday lock unlock card
cards price cost allowed banned teh adress == "who" P60 before after quokka"""
QUESTIONS = st.lists(st.sampled_from(listed(WORDS)), max_size=12).map(" ".join)


def compared(one: str, other: str, cosine: float = 0.9) -> Comparison:
    return compare(question_of(one), question_of(other), cosine)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I renew my card?", "How can I renew a card?"),
        ("How do I renew my passport?", "how do i renew my pasport"),
        ("How do I change my email adress?", "How do I change my email address?"),
        ("Where can I park near the town hall?", "Near the town hall, where can I park?"),
        ("When does the term start?", "When does the term begin?"),
        ("What is the deadline for applications?", "What is the application deadline?"),
        ("How do I turn on two-factor authentication?", "how do i enable 2FA"),
        ("What colour is the key word?", "What color is the keyword?"),
        ("Is the table for two free?", "Is the table for 2 free?"),
        ("Do you deliver on weekends?", "Do you deliver on saturdays and sundays?"),
    ],
)
def test_the_same_in_other_spelling_or_order_is_equal(one, other) -> None:
    assert compared(one, other).equal == 1.0
    assert compared(one, other).reasons == ()


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ("Do I need a visa?", "Do I not need a visa?", "one is negated"),
        ("Is it safe?", "Is it unsafe?", "opposite words"),
        ("Are dogs allowed inside?", "Are dogs banned inside?", "opposite words"),
        ("Who won in 2014?", "Who won in 2018?", "another number or sign"),
        ("Is form P60 late?", "Is form P45 late?", "another number or sign"),
        ("Solve x = 5 for me", "Solve -x = 5 for me", "another number or sign"),
        ("Can I return it within 30 days?", "Can I return it?", "a number is missing"),
        ("Is the shop open on Monday?", "Is the shop open on Friday?", "another day or time"),
        ("How much is it per week?", "How much is it per month?", "another unit"),
        ("Trains from Leeds to York", "Trains from York to Leeds", "words changed places"),
        ("Does a PS5 disc fit a PS4?", "Does a PS4 disc fit a PS5?", "words changed places"),
        ("Is the branch in Camden open?", "Is the branch in Brixton open?", "another name"),
        ("Is the branch in Camden open?", "Is the branch open?", "a name is missing"),
        ("Can I eat before surgery?", "Can I eat after surgery?", "another direction"),
        ("How do I opt in to emails?", "How do I opt out of emails?", "opposite words"),
        ("Can I work abroad?", "Can my landlord work abroad?", "another person"),
        ("When should I prune roses?", "How should I prune roses?", "something else is asked"),
        ("How do I cook rice?", "How do I cook quinoa?", "other words"),
    ],
)
def test_what_tells_two_apart_is_named(one, other, reason) -> None:
    found = compared(one, other)
    assert reason in found.reasons
    assert found.equal == 0.0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Can I eat after surgery?", "Can I eat during surgery?"),
        ("Should I take it at night?", "Can I take it at night?"),
        ("How do I pay?", "How much do I pay?"),
        ("What's my phone number?", "What's your phone number?"),
        ("Is the pool open tomorrow?", "Is the pool open?"),
        ("Who is the president?", "Who was the president?"),
        ("What is the best way to learn guitar?", "What is the best guitar to learn?"),
        ("Can I cancel all orders?", "Can I cancel orders?"),
        ('When do I use "who"?', 'When do I use "whom"?'),
        ("What does WHERE do in SQL?", "What does HAVING do in SQL?"),
    ],
)
def test_small_words_and_order_can_keep_two_from_being_equal(one, other) -> None:
    assert compared(one, other).equal == 0.0


def test_known_words_are_no_misspellings_of_each_other() -> None:
    found = compared("What is the capital of Australia?", "What is the capital of Austria?")
    assert found.covered < 1.0


def test_a_replaced_word_is_seen_with_the_cosine() -> None:
    found = compared("How do I order a card?", "How do I request a card?", 0.95)
    assert found.slot_cosine == pytest.approx(0.10)
    assert found.slot_verb == 1.0


@given(QUESTIONS, QUESTIONS, st.floats(-1.0, 1.0))
def test_features_are_finite_and_the_same_whichever_comes_first(one, other, cosine) -> None:
    found = compared(one, other, cosine)
    assert found == compared(other, one, cosine)
    assert all(map(math.isfinite, found))
    assert len(found) == len(FEATURES)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_two_texts_are_compared(one, other) -> None:
    found = compared(one, other)
    assert 0.0 <= found.shared <= 1.0
    assert -1e-9 <= found.covered <= 1.0


@given(st.text("abc", max_size=6), st.text("abc", max_size=6), st.integers(1, 3))
def test_edits_are_a_distance_up_to_the_most(one, other, most) -> None:
    assert edits(one, other, most) == edits(other, one, most)
    assert (edits(one, other, most) == 0) == (one == other)
    assert edits(one, other, most) <= most + 1

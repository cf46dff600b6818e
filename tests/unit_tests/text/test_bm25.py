"""Texts that share the rare words of a question come first, in any language."""

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain.text.bm25 import Bm25, terms_of


def index(*texts: str, reach: tuple[float, ...] = ()) -> Bm25:
    made = Bm25(reach)
    for text in texts:
        made.add(terms_of(text))
    return made


def weights(question: str) -> dict[str, float]:
    return dict.fromkeys(terms_of(question), 1.0)


def test_a_score_is_what_the_formula_says() -> None:
    texts = index("piano piano tea", "piano", "tea coffee")
    # Robertson and Zaragoza 2009, with k1 1.2 and b 0.75; the mean length is 2.
    rarity = log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    first = rarity * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 3 / 2))
    second = rarity * 1 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 1 / 2))
    assert texts.scores(weights("piano")) == pytest.approx([first, second, 0.0], rel=1e-5)


def test_a_rare_word_counts_more_than_a_common_one() -> None:
    texts = index("piano tea", "piano milk", "piano salt", "violin tea")
    assert texts.scores(weights("piano violin")).argmax() == 3


def test_words_of_neighbours_count_the_less_the_farther_away() -> None:
    texts = index("tea", "piano", "milk", "salt", reach=(0.5, 0.25))
    scores = texts.scores(weights("piano"))
    assert scores[1] > scores[2] > scores[3] > 0


def test_a_place_where_all_words_come_together_wins_over_a_repeated_one() -> None:
    texts = index(*["piano piano"], *["x"] * 5, "piano", "Bergen", *["y"] * 5, reach=(0.5,))
    assert texts.scores(weights("piano in Bergen")).argmax() in (6, 7)


def test_what_is_shared_by_the_best_texts_is_told_without_what_leads_nowhere() -> None:
    texts = index("Anna bought the piano", "Anna paid in May", "Tom sleeps", "Tom cooks")
    told = texts.telling(texts.scores(weights("piano")), 1, 5)
    assert told == {"anna": 1.0}


def test_texts_can_be_forgotten_from_the_end() -> None:
    longer = index("piano tea", "violin", "piano salt")
    longer.cut(1)
    longer.add(terms_of("milk"))
    other = index("piano tea", "milk")
    assert len(longer) == 2
    for question in ("piano", "violin", "salt milk"):
        assert longer.scores(weights(question)).tolist() == other.scores(weights(question)).tolist()


def test_without_texts_or_shared_words_nothing_scores() -> None:
    assert index().scores(weights("piano")).shape == (0,)
    assert index(reach=(0.5,)).spread(np.zeros(0, np.float32)).shape == (0,)
    assert not index("tea").scores(weights("piano")).any()
    assert index("tea").telling(np.zeros(1, np.float32), 5, 5) == {}


def test_many_repetitions_do_not_overflow() -> None:
    texts = index("piano " * 1000, "piano")
    assert np.isfinite(texts.scores(weights("piano"))).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("deliveries", "delivery"),
        ("stopped", "stopping"),
        ("baking", "bake"),
        ("bosses", "boss"),
        ("Caroline's", "caroline"),
        ("Versicherung", "versichert"),
        ("\uff23\uff21\uff26\uff25\u0301", "café"),
        ("доставка", "доставку"),
        ("हिन्दी", "हिन्दी"),
    ],
)
def test_forms_of_a_word_are_one(one, other) -> None:
    assert terms_of(one) == terms_of(other) != []


@pytest.mark.parametrize(
    ("one", "other"), [("config", "console"), ("10005", "10006"), ("x86_64", "x86_32")]
)
def test_other_words_and_numbers_are_others(one, other) -> None:
    assert terms_of(one) != terms_of(other)


def test_scripts_without_spaces_are_pairs_of_characters() -> None:
    assert terms_of("東京都で会う") == ["東京", "京都", "都で", "で会", "会う"]
    assert terms_of("茶") == ["茶"]
    assert set(terms_of("서울에서")) & set(terms_of("서울은"))


def test_function_words_and_single_letters_say_nothing() -> None:
    assert terms_of("What is it that you do? a b C") == []


def test_of_a_book_the_beginning_is_read() -> None:
    assert len(terms_of("tea " * 100_000)) == 5_000


@given(st.text())
def test_any_text_will_do(text) -> None:
    texts = index(text, "tea")
    assert np.isfinite(texts.scores(weights(text))).all()


@given(st.lists(st.sampled_from(["abc", "def", "ghi"])), st.integers(0, 5))
def test_adding_and_forgetting_leaves_no_trace(words, kept) -> None:
    texts = index(*words)
    texts.cut(kept)
    again = index(*words[:kept])
    assert texts.scores(weights("abc def")).tolist() == again.scores(weights("abc def")).tolist()

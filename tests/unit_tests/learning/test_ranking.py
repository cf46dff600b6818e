"""What is alike scores near 1, what is not near 0, whatever else was learnt."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from llmops_langchain.embeddings import HashedEmbeddings, unit
from llmops_langchain.learning.ranking import fused
from llmops_langchain.learning.wording import WordIndex, plain

shares = st.floats(0.0, 1.0)
texts = st.lists(st.text(max_size=60), min_size=1, max_size=12)


def index_of(*tasks: str) -> WordIndex:
    index = WordIndex()
    for task in tasks:
        index.add(task)
    return index


@given(shares, shares, st.floats(0.0, 1e6), shares, shares)
def test_more_of_anything_never_scores_less(
    dense: float, words: float, age: float, stack: float, more: float
) -> None:
    def score(dense: float, words: float, age: float, stack: float) -> float:
        found = fused(*([dense], [words], [age], [stack]))
        return float(found[0])

    least = score(dense, words, age, stack)
    assert 0.0 <= least <= 1.0
    assert score(max(dense, more), words, age, stack) >= least
    assert score(dense, max(words, more), age, stack) >= least
    assert score(dense, words, age, max(stack, more)) >= least
    assert score(dense, words, age * more, stack) >= least


def test_a_score_does_not_depend_on_the_other_candidates() -> None:
    dense, words, ages = np.array([0.9, 0.2, 0.1]), np.array([0.5, 0.1, 0.0]), np.arange(3)
    alone = [fused(dense[[at]], words[[at]], ages[[at]], None)[0] for at in range(3)]
    assert fused(dense, words, ages, None).tolist() == alone


def test_without_vectors_words_count_in_their_place() -> None:
    words = np.array([1.0, 0.0])
    same, other = fused(None, words, np.zeros(2), None)
    assert same > 0.99
    assert other < 0.1


def test_age_alone_makes_nothing_unlike() -> None:
    same = np.ones(1)
    assert fused(same, same, np.array([1e9]), None)[0] > 0.99


@pytest.mark.parametrize("others", [0, 1, 10, 200])
def test_a_paraphrase_scores_high_and_an_unrelated_task_low(others: int) -> None:
    tasks = [
        "Add a login page with OAuth for customers",
        "Migrate the billing tables to PostgreSQL",
        *(f"Chapter {number} of the cook book about soup" for number in range(others)),
    ]
    asked, embeddings = "Add login by OAuth for customers", HashedEmbeddings()
    vectors = unit(np.array(embeddings.embed_documents([*tasks, asked])))
    scores = fused(
        vectors[:-1] @ vectors[-1], index_of(*tasks).scores(asked), np.zeros(len(tasks)), None
    )
    assert scores[0] > 0.8
    assert scores[1] < 0.2


@given(texts, st.text(max_size=60))
def test_shares_lie_between_0_and_1_one_a_task(tasks: list[str], asked: str) -> None:
    scores = index_of(*tasks).scores(asked)
    assert scores.shape == (len(tasks),)
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()


@given(texts)
def test_the_same_text_has_all_of_its_wording(tasks: list[str]) -> None:
    index = index_of(*tasks, "reset the password")
    assert index.scores("reset the password")[-1] == pytest.approx(1.0)


@given(st.lists(st.sampled_from(["login", "a b c", "export pdf\nnow", "Ünï cöde"]), min_size=1))
def test_adding_one_by_one_is_adding_all(tasks: list[str]) -> None:
    grown = WordIndex()
    for task in tasks:
        grown.add(task)
        grown.scores(task)  # a search in between leaves no trace
    assert grown.scores("export login").tolist() == index_of(*tasks).scores("export login").tolist()


def test_an_empty_index_and_an_empty_question_find_nothing() -> None:
    assert WordIndex().scores("anything").shape == (0,)
    assert index_of("a task", "", "\n").scores("").tolist() == [0.0, 0.0, 0.0]


def test_a_word_of_the_first_line_counts_more() -> None:
    index = index_of("timeout\nof the cache", "cache\nwith a timeout", "something else")
    first, second, none = index.scores("timeout")
    assert first > second > none == 0


def test_words_side_by_side_count_more_than_apart() -> None:
    index = index_of("read timeout seen", "timeout seen read", "another task")
    together, apart, _ = index.scores("read timeout")
    assert together > apart


def test_a_name_is_known_as_a_whole_and_by_its_parts() -> None:
    index = index_of("set readTimeout", "a timeout to read", "write more tests")
    whole, parts, none = index.scores("readTimeout is ignored")
    assert whole > parts > none == 0


def test_markup_is_no_wording() -> None:
    assert plain("{code:java}<b>x</b>{code}").split() == ["x"]
    index = index_of("<div><p>Slow</p></div>", "another")
    assert index.scores("<div><p>Other</p></div>").tolist() == [0.0, 0.0]


def test_a_pasted_book_is_read_in_part() -> None:
    book = "chapter one " * 100_000
    assert index_of(book, "another").scores(book)[0] == pytest.approx(1.0, abs=0.2)

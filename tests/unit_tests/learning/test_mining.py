"""Groups of tasks that no pattern explains are proposed, the same every time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from llmops_langchain import ConfigurationError
from llmops_langchain.learning.mining import Candidate, mined
from llmops_langchain.learning.patterns import Patterns

KINDS = ("draw maps of rivers", "tune the piano strings", "bake bread with yeast")


def tasks_and_vectors(each: int = 20) -> tuple[list[str], NDArray[np.float32]]:
    """Three kinds of tasks, each around a direction of its own."""
    rng = np.random.default_rng(1)
    tasks = [f"Please {kind} number {row}" for kind in KINDS for row in range(each)]
    middles = np.repeat(np.eye(8)[: len(KINDS)], each, axis=0)
    return tasks, (middles + 0.1 * rng.normal(size=middles.shape)).astype(np.float32)


def groups(*, explained: int = 0, smallest: int = 5, most: int = 10) -> list[Candidate]:
    tasks, vectors = tasks_and_vectors()
    flags = [row < explained for row in range(len(tasks))]
    return mined(tasks, vectors, flags, smallest=smallest, most=most)


def test_each_kind_is_a_group_with_its_words() -> None:
    found = groups()
    assert [each.size for each in found] == [20, 20, 20]
    assert [{"draw", "maps", "rivers"} <= set(each.words) for each in found] == [True, False, False]
    assert "please" not in {word for each in found for word in each.words}


def test_examples_are_rows_of_the_group() -> None:
    for number, each in enumerate(groups()):
        assert {row // 20 for row in each.examples} == {number}


def test_explained_tasks_are_in_no_group() -> None:
    assert [set(each.words) & {"maps"} for each in groups(explained=20)] == [set(), set()]


def test_small_groups_are_left_out() -> None:
    assert groups(smallest=21) == []


def test_no_more_are_returned_than_asked_for() -> None:
    assert len(groups(most=2)) == 2


def test_the_same_tasks_give_the_same_groups() -> None:
    assert groups() == groups()


def test_a_candidate_can_be_accepted() -> None:
    first = groups()[0]
    more = Patterns.default().extended({first.name: {"phrases": list(first.words)}})
    assert first.name in {each.name for each in more.found_in("Some maps")}


def test_of_very_many_tasks_a_sample_is_read() -> None:
    tasks, vectors = tasks_and_vectors(each=3_000)
    found = mined(tasks, vectors, [False] * len(tasks))
    assert all(abs(each.size - 3_000) < 300 for each in found)
    assert len(found) == 3


def test_nothing_comes_of_nothing() -> None:
    assert mined([], np.zeros((0, 4), np.float32), []) == []
    assert mined(["", ""] * 9, np.zeros((18, 4), np.float32), [False] * 18) == []


@settings(max_examples=30)
@given(st.lists(st.text(), max_size=30), st.integers(0, 5))
def test_any_tasks_are_grouped(tasks: list[str], seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(len(tasks), 3))
    for each in mined(tasks, vectors, [False] * len(tasks), smallest=2):
        assert 2 <= each.size <= len(tasks)
        assert set(each.examples) <= set(range(len(tasks)))
        Patterns.default().extended({each.name: {"phrases": list(each.words)}})


@pytest.mark.parametrize(
    ("vectors", "explained", "smallest"),
    [((1, 2), 2, 2), ((2, 2), 1, 2), ((2,), 2, 2), ((2, 2), 2, 1)],
)
def test_arguments_that_do_not_fit_are_refused(
    vectors: tuple[int, ...], explained: int, smallest: int
) -> None:
    with pytest.raises(ConfigurationError):
        mined(["a", "b"], np.ones(vectors), [False] * explained, smallest=smallest)

"""A prediction stays a probability, follows the evidence and covers the truth as often as said."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain.learning.success import Cases, SuccessEstimate, success_of

Run = tuple[float, int, int, float, float]

RUNS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0]),
        st.integers(0, 4),
        st.integers(0, 2),
        st.floats(0, 1),
        st.floats(0, 1),
    ),
    max_size=30,
)
ASKED = st.sampled_from([None, -1, 0, 1])


def cases(runs: list[Run], asked: int | None = None) -> Cases:
    """Task 0 is the asked one."""
    columns = np.array(runs, np.float64).reshape(-1, 5).T
    same = columns[1] == 0
    return Cases(
        outcomes=columns[0],
        weights=np.ones(len(runs)),
        similarity=np.where(same, 1.0, columns[3]),
        same_task=same,
        stack=columns[4],
        tasks=columns[1].astype(np.int64),
        configurations=columns[2].astype(np.int64),
        asked_configuration=asked,
    )


def same_task(successes: int, failures: int) -> SuccessEstimate:
    outcomes = [1.0] * successes + [0.0] * failures
    return success_of(cases([(outcome, 0, 0, 1.0, 1.0) for outcome in outcomes]))


@given(RUNS, ASKED)
def test_the_probability_lies_within_its_interval(runs: list[Run], asked: int | None) -> None:
    found = success_of(cases(runs, asked))
    assert 0 <= found.low <= found.probability <= found.high <= 1
    assert 0 <= found.base_rate <= 1


@given(RUNS, ASKED, st.integers(0, 2))
def test_one_more_success_of_the_task_never_lowers_it(
    runs: list[Run], asked: int | None, by: int
) -> None:
    before = success_of(cases(runs, asked)).probability
    after = success_of(cases([*runs, (1.0, 0, by, 1.0, 1.0)], asked)).probability
    assert after >= before - 1e-9


@given(RUNS, ASKED, st.integers(0, 2))
def test_one_more_failure_of_the_task_never_raises_it(
    runs: list[Run], asked: int | None, by: int
) -> None:
    before = success_of(cases(runs, asked)).probability
    after = success_of(cases([*runs, (0.0, 0, by, 1.0, 1.0)], asked)).probability
    assert after <= before + 1e-9


@given(RUNS, ASKED, st.randoms(use_true_random=False))
def test_the_order_of_runs_does_not_matter(runs: list[Run], asked: int | None, random) -> None:
    shuffled = random.sample(runs, len(runs))
    first, second = success_of(cases(runs, asked)), success_of(cases(shuffled, asked))
    assert first.probability == pytest.approx(second.probability, abs=1e-9)
    assert first.high == pytest.approx(second.high, abs=1e-9)


@given(RUNS, ASKED)
def test_a_weight_of_two_is_as_good_as_two_equal_runs(runs: list[Run], asked: int | None) -> None:
    once = cases(runs, asked)
    heavy = success_of(replace(once, weights=once.weights * 2))
    twice = success_of(cases(runs * 2, asked))
    assert heavy.probability == pytest.approx(twice.probability, abs=1e-9)


def test_nothing_known_may_be_anything() -> None:
    found = success_of(cases([]))
    assert found.probability == pytest.approx(0.5)
    assert found.high - found.low > 0.8
    assert not found.known
    assert not len(found.evidence)


def test_unlike_tasks_say_no_more_than_the_base_rate() -> None:
    found = success_of(cases([(at % 4 > 0, at, 0, 0.0, 1.0) for at in range(1, 201)]))
    assert found.probability == pytest.approx(0.75, abs=0.02)
    assert not found.known


def test_the_interval_narrows_with_evidence() -> None:
    widths = [(found.high - found.low) for found in (same_task(n, n) for n in (1, 4, 16, 64))]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.2


def test_many_runs_of_the_task_settle_it() -> None:
    assert same_task(90, 10).probability == pytest.approx(0.9, abs=0.03)


def test_similar_tasks_count_more_than_others() -> None:
    alike = [(1.0, at, 0, 0.9, 1.0) for at in range(1, 11)]
    others = [(0.0, at, 0, 0.0, 1.0) for at in range(11, 21)]
    found = success_of(cases(alike + others))
    assert found.probability > 0.55
    assert set(found.evidence.tolist()) == set(range(10))


def test_a_runner_of_easy_tasks_is_not_called_strong() -> None:
    """Runner 1 only met tasks at which everybody succeeds, runner 0 met the hard ones as well."""
    easy = [(1.0, at, by, 0.0, 1.0) for at in (1, 2, 3) for by in (0, 1, 2) for _ in range(5)]
    hard = [(float(by == 0), 4, by, 0.0, 1.0) for by in (0, 2) for _ in range(5)]
    strong, untried = (success_of(cases(easy + hard, by)).probability for by in (0, 1))
    assert strong > untried


def test_a_named_runner_is_told_from_an_unknown_one() -> None:
    runs = [(float(by == 0), at, by, 0.0, 1.0) for at in range(1, 31) for by in (0, 1)]
    good, bad, unknown = (success_of(cases(runs, by)).probability for by in (0, 1, -1))
    assert bad < unknown < good


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(7)
    covered = []
    for _ in range(400):
        ease, strength = rng.normal(0.3, 1.3, 40), rng.normal(0, 0.6, 4)
        tasks, by = rng.integers(0, 40, 150), rng.integers(0, 4, 150)
        chances = 1 / (1 + np.exp(-ease[tasks] - strength[by]))
        outcomes = rng.random(150) < chances
        rows = zip(outcomes, tasks, by, np.zeros(150), np.ones(150), strict=True)
        found = success_of(cases([*rows], 0))
        covered.append(found.low <= 1 / (1 + np.exp(-ease[0] - strength[0])) <= found.high)
    assert 0.86 <= np.mean(covered) <= 0.97

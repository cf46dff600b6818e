"""What separates successes from failures is found, and chance is not taken for it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.learning.contrasts import Contrast, Runs, contrasts

FLAGS = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 5)), min_size=1)


def found_in(
    features: dict[str, NDArray[np.bool_]],
    outcomes: NDArray[np.float64],
    tasks: NDArray[np.int64],
    false_share: float = 0.1,
) -> tuple[Contrast[str], ...]:
    runs = Runs(outcomes=outcomes, weights=np.ones(len(outcomes)), tasks=tasks)
    return contrasts(features, runs, false_share=false_share)


def chance(rng: np.random.Generator, number: int) -> dict[str, NDArray[np.bool_]]:
    return {f"noise {at}": rng.random(number) < 0.5 for at in range(5)}


@given(FLAGS)
def test_figures_keep_their_bounds(runs: list[tuple[bool, bool, int]]) -> None:
    outcomes, flags, tasks = (np.array(each) for each in zip(*runs, strict=True))
    for each in found_in({"a": flags}, outcomes * 1.0, tasks, false_share=1.0):
        assert -1 <= each.low <= each.effect <= each.high <= 1
        assert 0 <= each.without_rate <= 1
        assert each.effect == pytest.approx(each.with_rate - each.without_rate)
        assert each.n_with + each.n_without == len(runs)
        assert set(each.rows_with) == set(np.flatnonzero(flags))
        assert set(each.rows_without) == set(np.flatnonzero(~flags))


@given(FLAGS)
def test_the_opposite_feature_has_the_opposite_effect(runs: list[tuple[bool, bool, int]]) -> None:
    outcomes, flags, tasks = (np.array(each) for each in zip(*runs, strict=True))
    both = {"a": flags, "not a": ~flags}
    found = found_in(both, outcomes * 1.0, tasks, false_share=1.0)
    effects = {each.feature: each.effect for each in found}
    assert effects.get("a", 0.0) == pytest.approx(-effects.get("not a", 0.0), abs=0.02)


def test_a_planted_effect_is_found_in_forty_runs() -> None:
    """17 of 20 succeed with it, 9 of 20 without."""
    outcomes = np.array([1.0] * 17 + [0.0] * 3 + [1.0] * 9 + [0.0] * 11)
    features = {"planted": np.arange(40) < 20, **chance(np.random.default_rng(0), 40)}
    found = found_in(features, outcomes, np.arange(40))
    assert found[0].feature == "planted"
    assert 0.15 < found[0].effect < 0.4
    assert found[0].low > 0
    assert outcomes[found[0].rows_with[0]] == 1
    assert outcomes[found[0].rows_without[0]] == 0


def test_where_there_is_no_effect_hardly_anything_is_found() -> None:
    rng = np.random.default_rng(1)
    false = 0
    for _ in range(300):
        tasks = rng.integers(0, 20, 80)
        ease = rng.normal(0, 1, 20)
        outcomes = (rng.random(80) < 1 / (1 + np.exp(-ease[tasks]))).astype(np.float64)
        false += bool(found_in(chance(rng, 80), outcomes, tasks))
    assert false / 300 <= 0.12


def test_easy_tasks_do_not_make_a_feature_good() -> None:
    """Half of the tasks always succeed, and the feature is used there more often than elsewhere."""
    rng, false = np.random.default_rng(2), 0
    for _ in range(200):
        tasks = rng.integers(0, 10, 100)
        easy = tasks < 5
        outcomes = (rng.random(100) < np.where(easy, 0.9, 0.2)).astype(np.float64)
        flags = rng.random(100) < np.where(easy, 0.65, 0.35)
        false += bool(found_in({"a": flags}, outcomes, tasks))
    assert false / 200 <= 0.2


def test_few_runs_on_a_side_say_nothing() -> None:
    flags = np.arange(40) < 4
    assert not found_in({"a": flags}, flags * 1.0, np.arange(40), false_share=1.0)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_its_bounds_is_refused(share: float) -> None:
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        found_in({}, np.ones(1), np.zeros(1, np.int64), false_share=share)

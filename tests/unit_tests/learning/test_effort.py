"""An effort is the median of similar rows, between bounds that hold what they promise."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.learning.effort import effort_of, effort_weights

rows = st.lists(st.tuples(st.floats(0.0, 1e9), st.floats(1e-6, 1e6)), min_size=1, max_size=40).map(
    lambda each: np.array(each).T
)


@given(rows)
def test_the_value_is_one_of_the_rows_and_lies_between_the_bounds(rows: np.ndarray) -> None:
    found = effort_of(*rows)
    assert found.known
    assert found.value in rows[0]
    assert 0.0 <= found.low <= found.value <= found.high
    assert 1.0 - 1e-9 <= found.n_effective <= len(rows[0]) + 1e-9


@given(rows, st.floats(1e-3, 1e3))
def test_only_the_ratios_of_weights_matter(rows: np.ndarray, factor: float) -> None:
    values, weights = np.round(rows[0]), np.ones(len(rows[0]))
    one, other = effort_of(values, weights), effort_of(values, weights * factor)
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=30), st.sampled_from([0.5, 4.0, 1024.0]))
def test_the_unit_makes_no_difference(values: list[float], factor: float) -> None:
    some, weights = np.array(values), np.ones(len(values))
    one, other = effort_of(some, weights), effort_of(some * factor, weights)
    assert (other.low, other.value, other.high) == pytest.approx(
        (one.low * factor, one.value * factor, one.high * factor)
    )


@given(rows)
def test_a_higher_level_is_never_narrower(rows: np.ndarray) -> None:
    narrow, wide = effort_of(*rows, level=0.5), effort_of(*rows, level=0.95)
    assert wide.low <= narrow.low * (1 + 1e-9)
    assert wide.high >= narrow.high * (1 - 1e-9)


def test_few_rows_make_a_wide_interval() -> None:
    few, many = (effort_of(np.full(number, 10.0), np.ones(number)) for number in (2, 500))
    assert few.high / few.low > 4
    assert many.high / many.low < 1.1


def test_without_evidence_nothing_is_known() -> None:
    for values, weights in (([], []), ([3.0], [0.0]), ([np.nan], [1.0])):
        found = effort_of(np.array(values), np.array(weights))
        assert not found.known
        assert np.isnan(found.value)
        assert found.n_effective == 0


def test_an_interval_holds_its_share_of_skewed_values() -> None:
    rng, held = np.random.default_rng(0), []
    for number in (5, 10, 30, 100) * 100:
        values = rng.lognormal(3.0, 0.8, number + 1)
        found = effort_of(values[1:], np.ones(number))
        held.append(found.low <= values[0] <= found.high)
    assert 0.86 <= np.mean(held) <= 0.96


def test_free_runs_are_expected_to_be_free() -> None:
    found = effort_of(np.zeros(50), np.ones(50))
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_more_similar_or_newer_row_never_counts_less(
    one: float, other: float, age: float, older: float
) -> None:
    similar, new = sorted((one, other)), sorted((age, older))
    by_likeness = effort_weights(np.array(similar), np.array([age, age]))
    by_age = effort_weights(np.array([one, one]), np.array(new))
    assert by_likeness[0] <= by_likeness[1]
    assert by_age[0] >= by_age[1] > 0


def test_similar_rows_decide() -> None:
    values = np.array([1.0] * 20 + [50.0] * 5)
    weights = effort_weights(np.array([0.05] * 20 + [0.95] * 5), np.zeros(25))
    assert effort_of(values, weights).value == 50.0


@pytest.mark.parametrize("level", [0.0, 1.0, float("nan")])
def test_a_level_is_a_share(level: float) -> None:
    with pytest.raises(ConfigurationError, match="`level`"):
        effort_of(np.ones(3), np.ones(3), level=level)

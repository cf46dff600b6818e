"""Ridge and logistic regression: what the formulas promise, on data made up for it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.fits import Linear, fit_logistic, fit_ridge


def made_up(seed: int, rows: int = 60, columns: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Rows of different scales, and labels that depend on them with noise."""
    random = np.random.default_rng(seed)
    table = random.normal(size=(rows, columns)) * [1.0, 10.0, 0.1, 100.0][:columns] + 3.0
    chances = 1.0 / (1.0 + np.exp(-(table[:, 0] - 3.0 + 0.1 * (table[:, 1] - 3.0))))
    return table, (random.random(rows) < chances).astype(float)


def loss(model: Linear, rows: np.ndarray, labels: np.ndarray, l2: float) -> float:
    """What the logistic fit is to make smallest."""
    sums = model.values(rows)
    entropy = np.logaddexp(0.0, sums) - labels * sums
    return float(entropy.sum() + 0.5 * l2 * ((model.weights * rows.std(axis=0)) ** 2).sum())


def test_without_penalty_ridge_finds_a_straight_line() -> None:
    rows, _ = made_up(0)
    model = fit_ridge(rows, rows @ [1.0, -2.0, 3.0, 0.5] + 7.0, l2=0.0)
    assert np.allclose(model.weights, [1.0, -2.0, 3.0, 0.5])
    assert model.bias == pytest.approx(7.0)


def test_ridge_equals_the_closed_form_on_standardised_columns() -> None:
    rows, targets = made_up(1)
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    expected = np.linalg.solve(
        scaled.T @ scaled + 5.0 * np.eye(4), scaled.T @ (targets - targets.mean())
    )
    assert np.allclose(fit_ridge(rows, targets, l2=5.0).weights * rows.std(axis=0), expected)


@pytest.mark.parametrize("column", range(5))
@pytest.mark.parametrize("step", [-1e-3, 1e-3])
def test_no_neighbour_of_a_logistic_fit_is_better(column, step) -> None:
    rows, labels = made_up(2)
    best = fit_logistic(rows, labels, l2=1.0)
    moved = np.append(best.weights, best.bias)
    moved[column] += step / (rows.std(axis=0)[column] if column < 4 else 1.0)
    neighbour = Linear(moved[:4], float(moved[4]))
    assert loss(neighbour, rows, labels, 1.0) > loss(best, rows, labels, 1.0)


@pytest.mark.parametrize("fit", [fit_ridge, fit_logistic])
def test_units_of_a_column_make_no_difference(fit) -> None:
    rows, labels = made_up(3)
    inches = rows * [1.0, 1.0, 39.37, 1.0] + [0.0, 5.0, 0.0, 0.0]
    assert np.allclose(
        fit(rows, labels, l2=2.0).values(rows), fit(inches, labels, l2=2.0).values(inches)
    )


@pytest.mark.parametrize("fit", [fit_ridge, fit_logistic])
def test_a_row_without_weight_does_not_count(fit) -> None:
    rows, labels = made_up(4)
    weights = np.r_[np.ones(59), 0.0]
    changed = labels.copy()
    changed[-1] = 1.0 - changed[-1]
    one = fit(rows, labels, l2=1.0, sample_weights=weights)
    other = fit(rows, changed, l2=1.0, sample_weights=weights)
    assert np.allclose(one.values(rows), other.values(rows))


@pytest.mark.parametrize("fit", [fit_ridge, fit_logistic])
def test_a_larger_penalty_draws_weights_to_zero(fit) -> None:
    rows, labels = made_up(5)
    sizes = [np.abs(fit(rows, labels, l2=l2).weights).sum() for l2 in (0.1, 10.0, 1e6)]
    assert sizes[0] > sizes[1] > sizes[2]
    assert sizes[2] < 1e-3


def test_classes_that_a_line_separates_end_in_finite_weights() -> None:
    model = fit_logistic([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1], l2=0.01)
    assert np.isfinite(model.weights).all()
    assert (model.probabilities([[0.0], [3.0]]) > 0.5).tolist() == [False, True]


@pytest.mark.parametrize("fit", [fit_ridge, fit_logistic])
def test_constant_and_doubled_columns_are_harmless(fit) -> None:
    rows, labels = made_up(6)
    wide = np.column_stack([rows, np.full(len(rows), 4.0), rows[:, 0]])
    model = fit(wide, labels, l2=0.5)
    assert model.weights[4] == pytest.approx(0.0, abs=1e-12)
    assert model.weights[0] == pytest.approx(model.weights[5])


def test_a_fit_survives_json() -> None:
    rows, labels = made_up(7)
    model = fit_logistic(rows, labels, l2=1.0)
    read = Linear.from_dict(json.loads(json.dumps(model.as_dict())))
    assert (read.values(rows) == model.values(rows)).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3))
def test_probabilities_are_probabilities(seed, l2) -> None:
    rows, labels = made_up(seed)
    chances = fit_logistic(rows, labels, l2=l2).probabilities(rows * 1e6)
    assert ((chances >= 0.0) & (chances <= 1.0)).all()


@pytest.mark.parametrize(
    ("rows", "labels", "l2"),
    [
        ([[1.0], [2.0]], [1.0], 1.0),
        ([1.0, 2.0], [1.0, 0.0], 1.0),
        (np.empty((0, 2)), [], 1.0),
        ([[1.0], [float("nan")]], [1.0, 0.0], 1.0),
        ([[1.0], [2.0]], [1.0, 0.0], -1.0),
    ],
    ids=["too few targets", "no table", "no rows", "not finite", "negative penalty"],
)
@pytest.mark.parametrize("fit", [fit_ridge, fit_logistic])
def test_what_cannot_be_fitted_is_refused(fit, rows, labels, l2) -> None:
    with pytest.raises(ConfigurationError):
        fit(rows, labels, l2=l2)


def test_a_label_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        fit_logistic([[1.0], [2.0]], [0.0, 2.0], l2=1.0)

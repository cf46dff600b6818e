"""Rows of length 1 in the direction they had, or a `ValueError`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from llmops_langchain.embeddings import unit

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NO_VECTORS = {
    "not a number": [[1.0, float("nan")]],
    "infinite": [[1.0, float("inf")]],
    "ragged": [[1.0, 2.0], [1.0]],
    "a row of zeros": [[1.0, 2.0], [0.0, 0.0]],
    "rows without numbers": [[], []],
    "one vector": [1.0, 2.0],
    "one number": 1.0,
    "nothing": None,
    "a text": "1.0",
    "texts": [["1.0", "2.0"]],
    "objects": [[object()]],
    "truths": [[True, False]],
    "complex": [[1j]],
    "too deep": [[[1.0]]],
}


@pytest.mark.parametrize("vectors", NO_VECTORS.values(), ids=NO_VECTORS)
def test_what_has_no_direction_is_refused(vectors) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - numpy words some of them
        unit(vectors)


@given(rows=arrays(np.float64, array_shapes(min_dims=2, max_dims=2), elements=FINITE))
def test_rows_have_length_one_and_their_direction(rows) -> None:
    rows = rows[np.any(rows, axis=1)]
    units = unit(rows)
    assert units.dtype == np.float32
    assert units.shape == rows.shape
    assert np.allclose(np.linalg.norm(units, axis=1), 1, atol=1e-6)
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    along = rows / largest
    assert np.allclose(units * np.linalg.norm(along, axis=1, keepdims=True), along, atol=1e-5)


def test_whole_numbers_will_do() -> None:
    assert unit([[3, 4]])[0] == pytest.approx([0.6, 0.8])


def test_no_rows_are_no_vectors() -> None:
    assert unit([]).shape == (0, 0)
    assert unit(np.empty((0, 3))).shape == (0, 3)


def test_what_was_given_is_left_alone() -> None:
    given_rows = np.array([[3.0, 4.0]])
    unit(given_rows)
    assert given_rows.tolist() == [[3.0, 4.0]]

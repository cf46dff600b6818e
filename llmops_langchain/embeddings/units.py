"""Vectors of length 1, for which a dot product is the cosine."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["unit"]


def unit(vectors: ArrayLike) -> NDArray[np.float32]:
    """Each vector scaled to length 1: `float32`, shape `(n, d)`.

    Args:
        vectors: `n` rows of `d` real numbers, for instance what `embed_documents` returned. No
            rows give an array of shape `(0, 0)`, or `(0, d)` where `d` is known.

    Raises:
        ValueError: If `vectors` are not rows of equal length, a row holds something else than
            finite real numbers, or a row has no direction: it is all zeros, or empty.

    Example:
        >>> unit([[3, 4], [0, -2]]).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, -1.0]]
    """
    rows = _rows(vectors)
    if not np.isfinite(rows).all():
        msg = "vectors must hold finite numbers"
        raise ValueError(msg)
    # Of squares of very large or small numbers nothing would be left.
    largest = np.abs(rows).max(axis=1, initial=0.0, keepdims=True)
    if not largest.all():
        msg = "a vector of zeros has no direction"
        raise ValueError(msg)
    rows = rows / largest
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _rows(vectors: ArrayLike) -> NDArray[np.float64]:
    given = np.asarray(vectors)  # raises ValueError for rows of different lengths
    if given.shape == (0,):
        given = given.reshape(0, 0)
    if given.ndim != 2 or given.dtype.kind not in "fiu":  # noqa: PLR2004 - rows and columns
        msg = f"vectors must be rows of real numbers, got shape {given.shape} of {given.dtype}"
        raise ValueError(msg)
    return given.astype(np.float64)

"""A prompt as a router learns from it: a vector and a few numbers, which do not tell the text."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.routing.features import FEATURES

__all__ = ["Seen", "packed", "unpacked"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A prompt as the learner sees it."""

    vector: NDArray[np.float64]
    """Unit length."""
    features: NDArray[np.float64]
    """`features_of` the text."""


def packed(seen: Seen) -> bytes:
    """Its bytes: 4 for each feature, 2 for each dimension of the vector."""
    return seen.features.astype("<f4").tobytes() + seen.vector.astype("<f2").tobytes()


def unpacked(body: bytes) -> Seen:
    """What was packed.

    Raises:
        ValueError: If the bytes are not of this form.
    """
    cut = 4 * len(FEATURES)
    if len(body) < cut:
        msg = f"{len(body)} bytes are no prompt: its features alone have {cut}"
        raise ValueError(msg)
    vector = np.frombuffer(body[cut:], "<f2").astype(np.float64)
    length = float(np.linalg.norm(vector))
    features = np.frombuffer(body[:cut], "<f4").astype(np.float64)
    return Seen(vector / length if length else vector, features)

"""What was learnt and what was assumed before, as one expectation."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["blended"]

Floats = NDArray[np.float64]

_LEVEL = 10.0
"""Outcomes of a model that weigh as much as the prior, of how good it is on the whole."""

_SHAPE = 100.0
"""Likewise, of what it is good at: that is harder to tell than how good it is."""

T = TypeVar("T", float, Floats)


def blended(  # noqa: PLR0917 - one row of a table each
    learnt: T, base: T, numbers: T, prior: T, usual: T, trust: T
) -> tuple[T, T]:
    """Expected quality, and how much of what tells prompts apart was learnt; of equal shapes.

    Args:
        learnt: Quality by what was learnt.
        base: The model's mean, as learnt.
        numbers: Outcomes of the model.
        prior: Quality before anything was learnt.
        usual: The same on average over the prompts that were learnt from.
        trust: How near the prompt is to those, 0 to 1: away from them the prior tells.
    """
    level = numbers / (numbers + _LEVEL)
    shape = trust * numbers / (numbers + _SHAPE)
    mean = level * base + (1 - level) * usual
    tells = shape * (learnt - base) + (1 - shape) * (prior - usual)
    return np.clip(mean + tells, 0.0, 1.0), shape

"""What separates runs that succeeded from runs that failed, and how sure that is.

Each feature is held against its absence. Runs of one task are compared among themselves as far as
tasks differ (a random-effects regression: outcomes minus a share of their task's mean), so that a
feature is not praised for the easy tasks it met. Looking at many features finds something by
chance; so only those pass for which, by Benjamini and Hochberg (1995), about one in ten would be
false. What passes is shrunk towards no effect.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from math import erfc, sqrt
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.errors import ConfigurationError

__all__ = ["Contrast", "Runs", "contrasts"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
F = TypeVar("F", bound=Hashable)

_FEWEST = 5
"""Runs that must be on either side."""

_PRIOR = 0.25
"""Deviation of effects that are worth a look; what is found is shrunk by it towards 0."""

_ALIKE, _ALIKE_WORTH = 0.2, 20.0
"""How much runs of one task agree, before any was repeated, and how many pairs that is worth."""

_DEVIATIONS = 1.6449
"""Of a normal distribution, to either side: 90 % lie between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast(Generic[F]):
    """How runs with a feature went beside those without it."""

    feature: F
    with_rate: float
    """The share that is expected to succeed with it, tasks being equal; 0 to 1."""
    without_rate: float
    """Likewise without it."""
    effect: float
    """By how much the rates differ, shrunk towards 0; above 0 if the feature goes with success."""
    low: float
    """With `high` the bounds of the 90 % interval of the effect."""
    high: float
    q_value: float
    """The share of false findings, if this and all that are surer are believed."""
    n_with: int
    n_without: int
    rows_with: NDArray[np.intp]
    """Runs with it, those that show the effect first."""
    rows_without: NDArray[np.intp]
    """Runs without it, those that show the effect first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Similar runs, and how they went: `n` of them."""

    outcomes: Floats
    """1 for a success, 0 for a failure, shape `(n,)`."""
    weights: Floats
    """How much each counts, above 0 to 1, shape `(n,)`."""
    tasks: NDArray[np.int64]
    """A code of its task, 0 and up, shape `(n,)`."""

    @property
    def base(self) -> float:
        """The share of successes, shrunk a little to one half."""
        return (float(self.weights @ self.outcomes) + 1.0) / (float(self.weights.sum()) + 2.0)


@dataclass(frozen=True, slots=True)
class _Measured(Generic[F]):
    """A difference, before it is known whether it passes."""

    feature: F
    flags: Flags
    effect: float
    error: float

    @property
    def chance(self) -> float:
        """How often as large a difference comes of nothing."""
        return erfc(abs(self.effect) / self.error / sqrt(2.0))


def contrasts(
    features: Mapping[F, Flags], runs: Runs, *, false_share: float = 0.1
) -> tuple[Contrast[F], ...]:
    """The features that separate successes from failures, the largest effect first.

    Args:
        features: Whether each run has it, shape `(n,)`, by name.
        runs: How they went.
        false_share: How many of the findings may be false, 0 to 1; 1 returns all that have enough
            runs on both sides.

    Raises:
        ConfigurationError: If `false_share` lies outside 0 to 1.

    Example:
        >>> import numpy as np
        >>> outcomes = np.array([1.0, 0.0] * 20)
        >>> runs = Runs(outcomes=outcomes, weights=np.ones(40), tasks=np.arange(40))
        >>> features = {"ran the tests": outcomes > 0, "was early": np.arange(40) < 20}
        >>> (found,) = contrasts(features, runs)
        >>> found.feature, found.effect > 0.5, found.n_with
        ('ran the tests', True, 20)
    """
    if not 0.0 <= false_share <= 1.0:
        msg = f"`false_share` must lie between 0 and 1, got {false_share!r}"
        raise ConfigurationError(msg)
    levels = _levels(runs)
    measured = [
        _measured(name, np.asarray(flags, np.bool_), runs, levels)
        for name, flags in features.items()
        if min(_counts(flags)) >= _FEWEST
    ]
    doubts = _q_values([each.chance for each in measured])
    found = [
        _contrast(each, doubt, runs)
        for each, doubt in zip(measured, doubts, strict=True)
        if doubt <= false_share
    ]
    return tuple(sorted(found, key=lambda each: (-abs(each.effect), each.feature)))


def _counts(flags: Flags) -> tuple[int, int]:
    have = int(np.count_nonzero(flags))
    return have, len(flags) - have


def _levels(runs: Runs) -> Floats:
    """Which share of its task's mean is taken off each task's runs: all, were all alike."""
    number = np.bincount(runs.tasks, runs.weights)
    gaps = runs.weights * (runs.outcomes - runs.base)
    pairs = np.maximum(number**2 - np.bincount(runs.tasks, runs.weights**2), 0.0)
    products = np.bincount(runs.tasks, gaps) ** 2 - np.bincount(runs.tasks, gaps**2)
    # A task with many runs has very many pairs, but it is one task: it counts by its runs.
    share = np.divide(1.0, np.maximum(number - 1.0, 1.0))
    noise = runs.base * (1.0 - runs.base)
    agreed = _ALIKE * _ALIKE_WORTH + float((share * products).sum()) / noise
    alike = min(0.9, max(0.0, agreed / (_ALIKE_WORTH + float((share * pairs).sum()))))
    levels: Floats = 1.0 - np.sqrt((1.0 - alike) / (1.0 - alike + number * alike))
    return np.where(pairs > 0.0, levels, 0.0)


def _measured(feature: F, flags: Flags, runs: Runs, levels: Floats) -> _Measured[F]:
    """Regress what is left of outcomes on what is left of the feature."""
    shown = _left(flags.astype(np.float64), runs, levels)
    ones = _left(np.ones(len(flags)), runs, levels)
    outcomes = _left(runs.outcomes - runs.base, runs, levels)
    # Without the part of the feature that the intercept explains.
    scaled = runs.weights * ones
    shown -= ones * (float(scaled @ shown) / float(scaled @ ones))
    spread = float(runs.weights @ shown**2)
    # Two runs on either side that went as usual (Agresti and Caffo, 2000): nothing is certain.
    worth = spread + _agresti(flags, runs)
    effect = float(runs.weights @ (shown * outcomes)) / worth
    noise = outcomes - float(scaled @ outcomes) / float(scaled @ ones) * ones
    variance = (float(runs.weights @ noise**2) + 0.5) / float(runs.weights.sum())
    return _Measured(feature, flags, effect, sqrt(variance / worth))


def _agresti(flags: Flags, runs: Runs) -> float:
    """What one more run on either side adds to the spread of the feature, at its share of runs."""
    share = float(runs.weights @ flags) / float(runs.weights.sum())
    return 2.0 * share * (1.0 - share)


def _left(values: Floats, runs: Runs, levels: Floats) -> Floats:
    """Values without their task's share of the mean."""
    number = np.bincount(runs.tasks, runs.weights)
    means = np.bincount(runs.tasks, runs.weights * values) / np.maximum(number, 1e-12)
    left: Floats = values - (levels * means)[runs.tasks]
    return left


def _q_values(chances: list[float]) -> list[float]:
    """Benjamini and Hochberg's, in the order given."""
    order = sorted(range(len(chances)), key=lambda at: chances[at], reverse=True)
    found, least = [1.0] * len(chances), 1.0
    for rank, at in zip(range(len(chances), 0, -1), order, strict=True):
        least = min(least, chances[at] * len(chances) / rank)
        found[at] = least
    return found


def _contrast(measured: _Measured[F], q_value: float, runs: Runs) -> Contrast[F]:
    kept = _PRIOR**2 / (_PRIOR**2 + measured.error**2)
    effect, margin = measured.effect * kept, _DEVIATIONS * measured.error * sqrt(kept)
    base, flags = runs.base, measured.flags
    share = float(runs.weights @ flags) / float(runs.weights.sum())
    rates = np.clip([base + effect * (1.0 - share), base - effect * share], 0.0, 1.0).tolist()
    have, lack = _counts(flags)
    order = np.argsort(-runs.outcomes if effect > 0 else runs.outcomes, kind="stable")
    return Contrast(
        feature=measured.feature,
        with_rate=rates[0],
        without_rate=rates[1],
        effect=rates[0] - rates[1],
        low=max(-1.0, min(effect - margin, rates[0] - rates[1])),
        high=min(1.0, max(effect + margin, rates[0] - rates[1])),
        q_value=q_value,
        n_with=have,
        n_without=lack,
        rows_with=order[flags[order]],
        rows_without=order[::-1][~flags[order[::-1]]],
    )

"""How likely a task is to succeed, what may go wrong, and what it will take."""

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.learning.columns import highest
from llmops_langchain.learning.effort import effort_of, effort_weights
from llmops_langchain.learning.filters import Filter
from llmops_langchain.learning.mirror import Asked, Evidence, Mirror
from llmops_langchain.learning.searching import similarity
from llmops_langchain.learning.success import Cases, success_of

__all__ = ["By", "Estimate", "Prediction", "Risk", "estimated", "predicted"]

Floats = NDArray[np.float64]

_SHOWN = 10
"""Runs that are named as evidence."""

_LOOKED_AT, _LIKE = 50, 0.2
"""Failures that are looked at for risks: the most similar, and how similar at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """A way in which similar runs failed."""

    category: str
    """As `learn(failure=…)` named it."""
    share: float
    """Of the similar runs, how many failed like this: 0 to 1, weighted by similarity."""
    evidence: tuple[UUID, ...]
    """Experiences that show it, the most similar first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """How likely a run is to succeed."""

    probability: float
    """0 to 1."""
    low: float
    """With `high` the bounds of the 90 % interval."""
    high: float
    base_rate: float
    """The share of all runs that succeeded, whatever they were for."""
    n_effective: float
    """How many runs the evidence is worth; similar ones count in part."""
    evidence: tuple[UUID, ...] = ()
    """The experiences it rests on most, the most telling first."""
    risks: tuple[Risk, ...] = ()
    """How similar runs failed, the likeliest first."""
    known: bool = True
    """`False`: nothing that was learnt says more than the base rate does."""

    @property
    def confidence(self) -> float:
        """0 if anything may be, towards 1 the narrower the interval is."""
        return 1.0 - (self.high - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run will take of one metric."""

    metric: str
    value: float
    """The median of similar runs, in the metric's unit; NaN if nothing is known."""
    low: float
    """With `high` the bounds of the 90 % interval."""
    high: float
    n_effective: float
    """How many runs the evidence is worth."""
    evidence: tuple[UUID, ...] = ()
    """The experiences it rests on most."""
    known: bool = True
    """`False`: no run has this metric."""


class By(NamedTuple):
    """Who is to do it."""

    model: str | None = None
    agent: str | None = None


def predicted(mirror: Mirror, asked: Asked, by: By, filter_: Filter) -> Prediction:
    """How likely it is that what is asked succeeds.

    Args:
        mirror: What was learnt.
        asked: The task and its stack.
        by: Who is to do it, as far as that is known.
        filter_: Which runs it may rest on.
    """
    (places,) = np.nonzero(mirror.fitting(filter_))
    evidence = mirror.evidence(asked)
    configurations, code = _configurations(mirror, by)
    likeness = _alike(evidence)[places]
    success = np.asarray(mirror.column("success"), np.float64)[places]
    found = success_of(
        Cases(
            outcomes=success,
            weights=np.ones(len(places)),
            similarity=likeness,
            same_task=evidence.same_task[places],
            stack=_stack(evidence)[places],
            tasks=mirror.column("task")[places],
            configurations=configurations[places],
            asked_configuration=code,
        )
    )
    return Prediction(
        probability=found.probability,
        low=found.low,
        high=found.high,
        base_rate=found.base_rate,
        n_effective=found.n_effective,
        evidence=tuple(mirror.ids[places[each]] for each in found.evidence[:_SHOWN]),
        risks=_risks(mirror, places, likeness, success),
        known=found.known,
    )


def estimated(mirror: Mirror, asked: Asked, metric: str, filter_: Filter) -> Estimate:
    """What a run will take of one metric.

    Args:
        mirror: What was learnt.
        asked: The task and its stack.
        metric: A name that runs have among their `metrics`.
        filter_: Which runs it may rest on.
    """
    places, values = mirror.metrics.of(metric)
    fits = mirror.fitting(filter_)[places]
    places, values = places[fits], values[fits]
    evidence, ages = mirror.evidence(asked), mirror.ages()[places]
    # How many are newer among those that have the metric.
    ranks = np.argsort(np.argsort(ages, kind="stable"), kind="stable").astype(np.float64)
    weights = effort_weights(similarity(evidence)[places], ranks)
    found = effort_of(values, weights)
    best = highest(weights, _SHOWN)
    return Estimate(
        metric=metric,
        value=found.value,
        low=found.low,
        high=found.high,
        n_effective=found.n_effective,
        evidence=tuple(mirror.ids[places[each]] for each in best),
        known=found.known,
    )


def _alike(evidence: Evidence) -> Floats:
    """The cosine of the tasks, which `success_of` was measured with; words without vectors."""
    if evidence.dense is None:
        return similarity(evidence)
    cosines = np.clip(evidence.dense, 0.0, 1.0).astype(np.float64)
    return np.where(evidence.same_task, 1.0, cosines)


def _stack(evidence: Evidence) -> Floats:
    return np.ones(len(evidence.words)) if evidence.stack is None else evidence.stack


def _configurations(mirror: Mirror, by: By) -> tuple[NDArray[np.int64], int | None]:
    """A code of who did each run, and that of who is asked about: -1 if he never ran."""
    if by.model is not None and by.agent is not None:
        return mirror.column("configuration"), mirror.names["configuration"].known(tuple(by))
    if by.model is not None:
        return mirror.column("model"), mirror.names["model"].known(by.model)
    if by.agent is not None:
        return mirror.column("agent"), mirror.names["agent"].known(by.agent)
    return mirror.column("configuration"), None


def _risks(
    mirror: Mirror, places: NDArray[np.intp], likeness: Floats, success: Floats
) -> tuple[Risk, ...]:
    near = highest(likeness, _LOOKED_AT)
    near = near[likeness[near] >= _LIKE]
    failures = mirror.column("failure")[places[near]]
    total = float(likeness[near].sum())
    shares: dict[str, float] = {}
    shown: dict[str, list[UUID]] = {}
    for each, code in zip(near.tolist(), failures.tolist(), strict=True):
        category = mirror.names["failure"].names[code]
        if category is not None and not success[each]:
            shares[category] = shares.get(category, 0.0) + float(likeness[each]) / total
            shown.setdefault(category, []).append(mirror.ids[places[each]])
    ranked = sorted(shares.items(), key=lambda each: (-each[1], each[0]))
    return tuple(
        Risk(category=name, share=share, evidence=tuple(shown[name][:_SHOWN]))
        for name, share in ranked
    )

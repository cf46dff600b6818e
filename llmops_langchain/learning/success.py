"""How likely a run is to succeed, from past runs: general evidence first, narrower after it.

What is not known is the log-odds of the asked task. A prior around the base rate is narrowed by
runs with the same stack, then by similar tasks, then by runs of the same task, and last by runs of
the same task by the same configuration. At each level outcomes count for what they say of it: how
much tasks differ (learnt from repeated ones) and how strong who ran them is (`strengths.py`). The
beliefs are tables over a grid, so that nothing is approximated by a bell curve: one more success of
the asked task never lowers the probability.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.learning.beliefs import Belief, shifts
from llmops_langchain.learning.strengths import Strengths, strengths_of

__all__ = ["Cases", "SuccessEstimate", "success_of"]

Floats = NDArray[np.float64]

_STACK, _SIMILAR, _OWN = 0.5, 0.5, 0.4
"""How far stacks, similar tasks and configurations on one task lie apart: variances of log-odds."""

_KNOWN = 1.0
"""Runs that the evidence must be worth, so that it is called known."""


_SHOWN = 50
"""Rows that are named as evidence at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """The past runs that a prediction may rest on: `n` of them."""

    outcomes: Floats
    """1 for a success, 0 for a failure, or a share for merged runs, shape `(n,)`."""
    weights: Floats
    """How much each counts, above 0, shape `(n,)`: 2 is as good as two equal runs."""
    similarity: Floats
    """Of its task to the asked one, 0 to 1, shape `(n,)`."""
    same_task: NDArray[np.bool_]
    """Whether it is the asked task itself, shape `(n,)`."""
    stack: Floats
    """How far its stack and the asked one overlap, 0 to 1, shape `(n,)`; 1 if none was asked."""
    tasks: NDArray[np.int64]
    """A code of its task, 0 and up, shape `(n,)`."""
    configurations: NDArray[np.int64]
    """A code of the model and the agent that ran it, 0 and up, shape `(n,)`."""
    asked_configuration: int | None = None
    """The code of who is to do it: -1 if he never ran, `None` if nobody was named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessEstimate:
    """How likely a run is to succeed, and what that rests on."""

    probability: float
    """0 to 1."""
    low: float
    """With `high` the bounds within which the true rate lies at the level asked for."""
    high: float
    base_rate: float
    """The share of all runs that succeeded, 0.5 if there were none."""
    n_effective: float
    """How many runs the evidence on this task is worth; similar ones count in part."""
    evidence: NDArray[np.intp]
    """Rows of the cases, the most telling first, each with some similarity."""
    known: bool
    """`False`: no past run says more than the base rate does."""


def success_of(cases: Cases, *, level: float = 0.9) -> SuccessEstimate:
    """How likely the asked task is to succeed.

    Args:
        cases: What happened before.
        level: How often the true rate should lie between `low` and `high`.

    Example:
        >>> import numpy as np
        >>> cases = Cases(
        ...     outcomes=np.array([1.0, 1.0, 1.0, 0.0]),
        ...     weights=np.ones(4),
        ...     similarity=np.array([1.0, 1.0, 1.0, 0.1]),
        ...     same_task=np.array([True, True, True, False]),
        ...     stack=np.ones(4),
        ...     tasks=np.array([0, 0, 0, 1]),
        ...     configurations=np.array([0, 0, 0, 0]),
        ... )
        >>> found = success_of(cases)
        >>> 0.7 < found.probability < 0.9, found.known
        (True, True)
    """
    strengths = _strengths(cases)
    near = _nearness(cases)
    belief = _narrowed(cases, strengths, near)
    probability, low, high = belief.read(_runners(cases, strengths), level)
    telling = np.where(cases.same_task, cases.weights, near)
    effective = float(telling.sum())
    return SuccessEstimate(
        probability=probability,
        low=low,
        high=high,
        base_rate=_base_rate(cases),
        n_effective=effective,
        evidence=_most_telling(telling),
        known=effective >= _KNOWN,
    )


def _strengths(cases: Cases) -> Strengths:
    """Of runs of other tasks: those of the asked one speak for themselves."""
    codes = max(int(cases.configurations.max(initial=-1)), cases.asked_configuration or 0, 0) + 1
    return strengths_of(
        cases.outcomes,
        np.where(cases.same_task, 0.0, cases.weights),
        cases.tasks,
        cases.configurations,
        codes=codes,
    )


def _base_rate(cases: Cases) -> float:
    total = float(cases.weights.sum())
    return float(cases.weights @ cases.outcomes) / total if total else 0.5


def _nearness(cases: Cases) -> Floats:
    """How many runs of the asked task each run of another one is worth."""
    squared = np.clip(cases.similarity, 0.0, 1.0) ** 2
    near: Floats = np.where(cases.same_task, 0.0, cases.weights * squared * squared)
    return near


def _narrowed(cases: Cases, strengths: Strengths, near: Floats) -> Belief:
    """From the base rate to the asked task, level by level."""
    asked = cases.asked_configuration
    # If nobody is named, what is asked is the task's own rate: there is no level below.
    owned = 0.0 if asked is None else _OWN
    known = strengths.apart + owned
    has_stack = bool((cases.stack < 1.0).any())
    stacks = _STACK if has_stack else 0.0
    mix = shifts(strengths.runners, strengths.shares)
    belief = Belief.around(strengths.rate, mix, stacks + _SIMILAR + known).widened(stacks)
    if has_stack:
        other = np.where(cases.same_task, 0.0, cases.weights * cases.stack)
        told = _told(cases, strengths, other * strengths.alone)
        belief = belief.given(*told, _SIMILAR + known)
    belief = belief.widened(_SIMILAR)
    belief = belief.given(*_told(cases, strengths, near * strengths.alone), known)
    belief = belief.widened(strengths.apart)
    (same,) = np.nonzero(cases.same_task)
    own = cases.configurations[same] == (-1 if asked is None else asked)
    belief = belief.given(*_told(cases, strengths, cases.weights[same[~own]], same[~own]), owned)
    belief = belief.widened(owned + _doubt(strengths, asked))
    return belief.given(*_told(cases, strengths, cases.weights[same[own]], same[own]), 0.0)


def _told(
    cases: Cases, strengths: Strengths, counts: Floats, rows: NDArray[np.intp] | None = None
) -> tuple[Floats, Floats]:
    """The weight of successes and of failures by the strength of who ran."""
    at = slice(None) if rows is None else rows
    ran, number = cases.configurations[at], len(strengths.runners)
    outcomes = cases.outcomes[at]
    good: Floats = np.bincount(ran, counts * outcomes, number).astype(np.float64)
    bad: Floats = np.bincount(ran, counts * (1.0 - outcomes), number).astype(np.float64)
    return shifts(strengths.runners, good), shifts(strengths.runners, bad)


def _doubt(strengths: Strengths, asked: int | None) -> float:
    """How little is known of who is to do it."""
    if asked is None:
        return 0.0
    return strengths.spread if asked == -1 else float(strengths.doubt[asked])


def _runners(cases: Cases, strengths: Strengths) -> Floats:
    """Who is to do it: the one named, somebody of middling strength, or any of the usual ones."""
    asked = cases.asked_configuration
    if asked is None:
        return shifts(strengths.runners, strengths.shares)
    strength = 0.0 if asked == -1 else float(strengths.runners[asked])
    return shifts(np.array([strength]), np.ones(1))


def _most_telling(telling: Floats) -> NDArray[np.intp]:
    few = np.arange(len(telling))
    if len(telling) > _SHOWN:
        # Sorting all of them would take longer than everything else.
        few = np.flatnonzero(telling >= np.partition(telling, -_SHOWN)[-_SHOWN])
    few = few[telling[few] > 0.0]
    return few[np.argsort(-telling[few], kind="stable")][:_SHOWN]

"""What a workspace learnt, in figures."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from llmops_langchain.learning.mirror import Mirror

__all__ = ["LearningStats", "stats_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningStats:
    """What was learnt; counts are of the runs in memory where there are more."""

    experiences: int = 0
    """Runs that were learnt from, all of them."""
    success_rate: float | None = None
    """The share of them that succeeded; `None` if there are none."""
    tasks: int = 0
    """Different tasks."""
    projects: int = 0
    """Different projects."""
    patterns: Mapping[str, int] = field(default_factory=dict)
    """How many runs hold each kind of work, the most frequent first."""
    tech_stacks: Mapping[str, int] = field(default_factory=dict)
    """How many runs used each part of a stack, the most frequent first."""
    models: Mapping[str, int] = field(default_factory=dict)
    """How many runs each model did."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """How many runs failed in each way."""
    metrics: tuple[str, ...] = ()
    """What can be estimated."""
    oldest: float | None = None
    """When the first run ended: UTC seconds since the Unix epoch."""
    newest: float | None = None
    embedder: str | None = None
    """Whose vectors tasks are compared by."""
    in_memory: int = 0
    """Runs that are searched exactly."""
    indexed: bool = False
    """Whether this process searches an index beside."""


def stats_of(mirror: Mirror, *, total: int, embedder: str, indexed: bool) -> LearningStats:
    """The figures of one workspace.

    Args:
        mirror: What it learnt.
        total: How many rows it has.
        embedder: Whose vectors are compared.
        indexed: Whether there is an index beside.
    """
    moments = mirror.column("ts")
    return LearningStats(
        experiences=total,
        success_rate=float(np.mean(mirror.column("success"))) if len(mirror) else None,
        tasks=mirror.tasks,
        projects=len(np.unique(mirror.column("project"))),
        patterns=_each(mirror, "patterns"),
        tech_stacks=_each(mirror, "stack"),
        models=_counts(mirror, "model"),
        failures=_counts(mirror, "failure"),
        metrics=tuple(mirror.metrics.names()),
        oldest=float(moments.min()) if len(moments) else None,
        newest=float(moments.max()) if len(moments) else None,
        embedder=embedder,
        in_memory=len(mirror),
        indexed=indexed,
    )


def _counts(mirror: Mirror, name: str) -> dict[str, int]:
    """Runs by the value of a column."""
    numbers = np.bincount(mirror.column(name), minlength=len(mirror.names[name]))
    named = zip(mirror.names[name].names, numbers.tolist(), strict=True)
    return _ranked(Counter({value: number for value, number in named if value is not None}))


def _each(mirror: Mirror, name: str) -> dict[str, int]:
    """Runs by the values that a column has several of."""
    numbers = np.bincount(mirror.column(name), minlength=len(mirror.names[name]))
    counts = Counter[str]()
    for values, number in zip(mirror.names[name].names, numbers.tolist(), strict=True):
        counts.update(dict.fromkeys(values, number))
    return _ranked(counts)


def _ranked(counts: Counter[str]) -> dict[str, int]:
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return {name: number for name, number in ranked if number}

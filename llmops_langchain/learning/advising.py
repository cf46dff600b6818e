"""What separates similar successes from failures, each with the runs that show it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.learning.columns import highest
from llmops_langchain.learning.contrasts import Contrast, Runs, contrasts
from llmops_langchain.learning.experience import Experience
from llmops_langchain.learning.mirror import Asked, Mirror
from llmops_langchain.learning.searching import similarity

__all__ = ["Suggestion", "nearest", "suggestions"]

Kind = Literal["do", "avoid", "lesson"]
About = tuple[str, str]

_MOST, _LIKE = 300, 0.2
"""Runs that are compared: the most similar, and how similar at least."""

_FEWEST = 2
"""Runs that must have failed alike before that is worth a word."""

_SHOWN, _TOLD = 10, 3
"""Runs that are named as evidence, and lessons that are quoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Something to do better, and what shows it."""

    kind: Kind
    """`"do"` and `"avoid"` come from a contrast between runs, `"lesson"` from how runs failed."""
    about: About
    """What it is about: `("model", "gpt-5-mini")`, `("tool", "shell")`, `("step", …)`,
    `("stack", …)`, `("pattern", …)`, `("cost", "high")` or `("failure", …)`."""
    text: str
    """The same in a sentence."""
    effect: float
    """By how much the success rate is higher where it holds, -1 to 1; of a lesson, minus the
    share of the similar runs that failed like this."""
    low: float
    """With `high` the bounds of the 90 % interval of the effect."""
    high: float
    lessons: tuple[str, ...] = ()
    """What runs that failed alike noted down."""
    evidence: tuple[UUID, ...] = ()
    """The experiences that show it."""


def nearest(mirror: Mirror, asked: Asked) -> list[tuple[UUID, float]]:
    """The runs to compare, with what each counts, the most similar first."""
    if not len(mirror):
        return []
    alike = similarity(mirror.evidence(asked))
    order = highest(alike, _MOST)
    return [(mirror.ids[at], float(alike[at])) for at in order.tolist() if alike[at] >= _LIKE]


def suggestions(
    runs: Sequence[tuple[Experience, float]], project_id: str | None
) -> list[Suggestion]:
    """What to do better, the surest first.

    Args:
        runs: Similar runs, and what each counts, above 0.
        project_id: Whose advice: what its latest run does already is not advised.
    """
    if not runs:
        return []
    told = [run for run, _ in runs]
    own = max(
        (run for run in told if run.project_id == project_id), key=lambda run: run.ts, default=None
    )
    found = [*_contrasted(runs, own), *_failed_alike(runs)]
    return sorted(found, key=lambda each: (-_surety(each), each.about))


def _surety(suggestion: Suggestion) -> float:
    """How large the effect is at least."""
    low, high = sorted((abs(suggestion.low), abs(suggestion.high)))
    return low if suggestion.low * suggestion.high > 0 else -high


def _contrasted(
    runs: Sequence[tuple[Experience, float]], own: Experience | None
) -> Iterator[Suggestion]:
    told = [run for run, _ in runs]
    features = _features(told)
    codes = {task: code for code, task in enumerate(dict.fromkeys(_task(run) for run in told))}
    compared = Runs(
        outcomes=np.array([run.success for run in told], np.float64),
        weights=np.array([weight for _, weight in runs], np.float64),
        tasks=np.array([codes[_task(run)] for run in told], np.int64),
    )
    for each in contrasts(features, compared):
        has = own is not None and bool(features[each.feature][told.index(own)])
        if each.effect < 0 or not has:
            yield _suggestion(each, told)


def _task(run: Experience) -> str:
    return run.task_description.casefold()


def _features(runs: Sequence[Experience]) -> dict[About, NDArray[np.bool_]]:
    """What some of the runs have and others lack."""
    having: dict[About, set[int]] = defaultdict(set)
    for place, run in enumerate(runs):
        for about in _abouts(run):
            having[about].add(place)
    for name in ("cost", "iterations", "completion_time"):
        figures = {at: run.metrics[name] for at, run in enumerate(runs) if name in run.metrics}
        if len(figures) == len(runs) and len(set(figures.values())) > 1:
            usual = median(figures.values())
            having[name, "high"] = {at for at, figure in figures.items() if figure > usual}
    columns = {about: np.isin(np.arange(len(runs)), list(at)) for about, at in having.items()}
    return {about: column for about, column in columns.items() if 0 < column.sum() < len(runs)}


def _abouts(run: Experience) -> Iterator[About]:
    for kind, names in (
        ("model", [run.model]),
        ("agent", [run.agent]),
        ("tool", run.tools),
        ("step", run.steps),
        ("stack", run.tech_stack),
        ("pattern", run.patterns),
    ):
        yield from ((kind, name) for name in names if name)


def _suggestion(found: Contrast[About], runs: Sequence[Experience]) -> Suggestion:
    kind, name = found.feature
    shown = [*found.rows_with[: _SHOWN // 2], *found.rows_without[: _SHOWN // 2]]
    what = f"a high {kind.replace('_', ' ')}" if name == "high" else f"{kind} {name!r}"
    text = (
        f"Similar runs with {what} should succeed in {found.with_rate:.0%}, those without in "
        f"{found.without_rate:.0%} (a difference of {100 * found.low:+.0f} to "
        f"{100 * found.high:+.0f} points; {found.n_with} and {found.n_without} runs)."
    )
    return Suggestion(
        kind="do" if found.effect > 0 else "avoid",
        about=found.feature,
        text=text,
        effect=found.effect,
        low=found.low,
        high=found.high,
        evidence=tuple(runs[at].id for at in shown),
    )


def _failed_alike(runs: Sequence[tuple[Experience, float]]) -> Iterator[Suggestion]:
    """How similar runs failed, and what they noted down."""
    by_category: dict[str, list[Experience]] = defaultdict(list)
    for run, _ in runs:
        if run.failure and not run.success:
            by_category[run.failure].append(run)
    for category, failed in by_category.items():
        if len(failed) >= _FEWEST:
            low, high = _wilson(len(failed), len(runs))
            lessons = tuple(dict.fromkeys(each for run in failed for each in run.lessons))[:_TOLD]
            noted = f" They noted: {' '.join(lessons)}" if lessons else ""
            yield Suggestion(
                kind="lesson",
                about=("failure", category),
                text=f"{len(failed)} of {len(runs)} similar runs failed by {category!r}.{noted}",
                effect=-len(failed) / len(runs),
                low=-high,
                high=-low,
                lessons=lessons,
                evidence=tuple(run.id for run in failed[:_SHOWN]),
            )


def _wilson(hits: int, trials: int, z: float = 1.645) -> tuple[float, float]:
    """The 90 % interval of a share (Wilson, 1927)."""
    share, square = hits / trials, z * z / trials
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * (share * (1 - share) / trials + square / (4 * trials)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)

"""What one workspace learnt, in memory: exact search over all of it in a few milliseconds."""

from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.learning.checking import task_key
from llmops_langchain.learning.columns import Codes, Column, Metrics
from llmops_langchain.learning.experience import Experience
from llmops_langchain.learning.filters import Filter
from llmops_langchain.learning.row_form import Stored, Vector
from llmops_langchain.learning.wording import WordIndex

__all__ = ["Asked", "Evidence", "Mirror"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Places = NDArray[np.intp]

_SMALLEST = 64  # rows of the matrix at first


class Asked(NamedTuple):
    """What somebody wants to know about."""

    task: str
    vector: Vector | None
    tech_stack: tuple[str, ...] = ()


class Evidence(NamedTuple):
    """Everything that was learnt, beside what is asked; arrays of one number a run."""

    dense: NDArray[np.float32] | None
    """The cosine of the tasks' vectors; `None` if there is no vector to compare with."""
    words: NDArray[np.float32]
    """How far the tasks share words."""
    ages: Floats
    """How many runs are newer."""
    stack: Floats | None
    """The share of names that both tech stacks have; `None` if none was asked for."""
    same_task: Bools


class Mirror:
    """The runs of one workspace and the tasks they were for. Not safe to share between threads.

    Args:
        embedder: Whose vectors are compared; those of others are passed over.
    """

    def __init__(self, embedder: str | None) -> None:
        self._embedder = embedder
        self._words = WordIndex()
        self._tasks: dict[bytes, int] = {}
        self._matrix: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._embedded = Column("b")
        self.ids: list[UUID] = []
        """The runs, in the order in which they were learnt."""
        self._places: dict[UUID, int] = {}
        self._numbers = {name: Column("d") for name in ("ts", "success")}
        self._codes = {name: Column("q") for name in _CODED}
        self.names: dict[str, Codes[Any]] = {name: Codes() for name in _CODED if name != "task"}
        """What the codes of `column` stand for."""
        self.metrics = Metrics()
        self._ages: Floats | None = None
        self._last: tuple[Vector | None, str, tuple[str, ...], Evidence] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    @property
    def tasks(self) -> int:
        """How many tasks the runs were for."""
        return len(self._tasks)

    def put(self, stored: Iterable[Stored]) -> None:
        """Add runs, or replace those with the same id."""
        for each in stored:
            self._put(each)

    def column(self, name: str) -> NDArray[Any]:
        """One number a run: `ts`, `success`, or the code of one of the `names`, or of its `task`.

        Example:
            >>> Mirror(None).column("success").tolist()
            []
        """
        column = self._numbers[name] if name in self._numbers else self._codes[name]
        return column.values()

    def evidence(self, asked: Asked) -> Evidence:
        """All runs, beside what is asked."""
        last = self._last
        # Who asks what is similar mostly asks how likely it is to succeed, too.
        if last is not None and last[0] is asked.vector and last[1:3] == asked[::2]:
            return last[3]
        evidence = self._evidence(asked)
        self._last = asked.vector, asked.task, asked.tech_stack, evidence
        return evidence

    def _evidence(self, asked: Asked) -> Evidence:
        of_task = self.column("task")
        return Evidence(
            dense=self._dense(asked.vector, of_task),
            words=self._words.scores(asked.task)[of_task],
            ages=self.ages(),
            stack=self._overlaps(asked.tech_stack) if asked.tech_stack else None,
            same_task=of_task == self._tasks.get(task_key(asked.task), -1),
        )

    def ages(self) -> Floats:
        """How many runs are newer than each."""
        if self._ages is None:
            # Of those of one moment, the one that was learnt last is the newest.
            order = np.lexsort((-np.arange(len(self)), -self.column("ts")))
            ages = np.empty(len(self), np.float64)
            ages[order] = np.arange(len(self))
            self._ages = ages
        return self._ages

    def fitting(self, filter_: Filter) -> Bools:
        """Which runs the filter lets through."""
        fits = np.ones(len(self), bool)
        for name, value in (
            ("project", filter_.project_id),
            ("model", filter_.model),
            ("agent", filter_.agent),
            ("failure", filter_.failure),
        ):
            if value is not None:
                fits &= self.column(name) == self.names[name].known(value)
        if filter_.success is not None:
            fits &= self.column("success") == filter_.success
        if filter_.since is not None:
            fits &= self.column("ts") >= filter_.since
        if filter_.until is not None:
            fits &= self.column("ts") < filter_.until
        for name, wanted in (
            ("stack", filter_.tech_stack),
            ("patterns", filter_.pattern and (filter_.pattern,)),
        ):
            if wanted:
                has = [set(wanted) <= set(each) for each in self.names[name].names]
                fits &= np.array(has, bool)[self.column(name)] if has else False
        return fits

    def _put(self, stored: Stored) -> None:
        run = stored.experience
        place = self._places.setdefault(run.id, len(self.ids))
        if place == len(self.ids):
            self.ids.append(run.id)
        self._numbers["ts"].put(place, run.ts)
        self._numbers["success"].put(place, run.success)
        self._codes["task"].put(place, self._task(stored))
        for name, value in _coded(run).items():
            self._codes[name].put(place, self.names[name].code(value))
        self.metrics.put(place, dict(run.metrics))
        self._ages = self._last = None

    def _task(self, stored: Stored) -> int:
        key = task_key(stored.experience.task_description)
        task = self._tasks.setdefault(key, len(self._tasks))
        if task == len(self._embedded):
            self._words.add(stored.experience.task_description)
            self._embedded.put(task, 0)
        vector = stored.vector
        if vector is not None and stored.embedder == self._embedder:
            self._embed(task, vector)
        return task

    def _embed(self, task: int, vector: Vector) -> None:
        if not self._matrix.size:
            self._matrix = np.zeros((_SMALLEST, len(vector)), np.float32)
        if task >= len(self._matrix):
            rows = max(2 * len(self._matrix), task + 1)
            self._matrix = np.pad(self._matrix, ((0, rows - len(self._matrix)), (0, 0)))
        if vector.shape == self._matrix.shape[1:]:
            self._matrix[task] = vector
            self._embedded.put(task, 1)

    def _dense(self, vector: Vector | None, of_task: Places) -> NDArray[np.float32] | None:
        if vector is None or vector.shape != self._matrix.shape[1:]:
            return None
        known = min(len(self._tasks), len(self._matrix))
        cosines = np.zeros(len(self._tasks), np.float32)
        np.clip(self._matrix[:known] @ vector, -1.0, 1.0, out=cosines[:known])
        found: NDArray[np.float32] = cosines[of_task]
        return found

    def _overlaps(self, asked: tuple[str, ...]) -> Floats:
        wanted = set(asked)
        shares = [
            len(wanted & set(each)) / len(wanted | set(each)) for each in self.names["stack"].names
        ]
        found: Floats = np.array(shares, np.float64)[self.column("stack")]
        return found


_CODED = (
    *("task", "stack", "project", "model", "agent", "failure", "patterns", "configuration"),
    "group",
)


def _coded(run: Experience) -> dict[str, Any]:
    configuration = (run.model, run.agent)
    return {
        "stack": run.tech_stack,
        "project": run.project_id,
        "model": run.model,
        "agent": run.agent,
        "failure": run.failure,
        "patterns": run.patterns,
        "configuration": configuration,
        # What is one match: runs of one project, task, stack, model and agent.
        "group": (run.project_id, task_key(run.task_description), run.tech_stack, configuration),
    }

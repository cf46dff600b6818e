"""What is asked of experiences: which are similar, how likely success is, what to do better."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from llmops_langchain.clock import Clock
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.learning.advising import Suggestion, nearest, suggestions
from llmops_langchain.learning.checking import stack_of, text_of
from llmops_langchain.learning.embedder import Embedder
from llmops_langchain.learning.experience import Experience, Match
from llmops_langchain.learning.filters import Filter, filter_of
from llmops_langchain.learning.indexing import Indexer
from llmops_langchain.learning.mining import Candidate, mined
from llmops_langchain.learning.mirror import Asked, Mirror
from llmops_langchain.learning.mirrors import Mirrors
from llmops_langchain.learning.predicting import By, Estimate, Prediction, estimated, predicted
from llmops_langchain.learning.rows import ExperienceRows
from llmops_langchain.learning.searching import Wish, best
from llmops_langchain.learning.stats import LearningStats, stats_of
from llmops_langchain.ledger import current_scope

__all__ = ["Asks", "tenant"]

T = TypeVar("T")

_READ = 5_000
"""Newest experiences that are looked through for kinds of work."""


def tenant(workspace: str | None) -> str | None:
    """Whose experiences are meant: of the workspace that is named, else of the one of `track`."""
    return workspace or current_scope().workspace


class Asks:
    """The part of `Learning` that answers questions."""

    _rows: ExperienceRows | None
    _embedder: Embedder
    _indexer: Indexer
    _mirrors: Mirrors
    _clock: Clock

    def similar(
        self,
        task: str,
        tech_stack: Sequence[str] | None = None,
        k: int = 5,
        *,
        filter: Filter | Mapping[str, Any] | None = None,  # noqa: A002 - LangChain's word
        outcome_weight: float = 0.0,
        half_life: float | None = None,
        min_score: float = 0.0,
        workspace: str | None = None,
    ) -> list[Match]:
        """What was done before that is like this, the best first.

        Args:
            task: What is to be done.
            tech_stack: With what; experiences with the like come first.
            k: How many at most.
            filter: What they must be: the fields of `Filter` by name, such as
                `{"success": True}`.
            outcome_weight: 0 to 1: how far success counts; at 1 what always failed comes last.
            half_life: Seconds after which an experience counts half.
            min_score: What scores less is left out.
            workspace: Whose; by default the one that `track` names.

        Raises:
            ConfigurationError: If a value makes no sense.
            StorageError: If the database does not answer.
        """
        if not isinstance(k, int) or k < 1:
            msg = f"`k` must be a positive number, got {k!r}"
            raise ConfigurationError(msg)
        if not 0 <= outcome_weight <= 1 or (half_life is not None and not half_life > 0):
            msg = "`outcome_weight` is 0 to 1 and `half_life` positive"
            raise ConfigurationError(msg)
        wish = Wish(k, filter_of(filter), outcome_weight, half_life, min_score)
        task, stack = text_of(task), stack_of(tech_stack or ())
        if self._rows is None:
            return []
        whose = tenant(workspace)
        asked = self._asked(task, stack)
        with self._mirrors.of(whose, asked.vector) as mirror:
            hits = best(mirror, asked, wish, self._clock())
        found = self._rows.found(whose, [hit.run_id for hit in hits])
        return [
            Match(
                experience=found[hit.run_id].experience,
                score=hit.score,
                similarity=hit.similarity,
                count=hit.runs,
                successes=hit.successes,
            )
            for hit in hits
            if hit.run_id in found
        ]

    def predict_success(
        self,
        task: str,
        tech_stack: Sequence[str] | None = None,
        *,
        model: str | None = None,
        agent: str | None = None,
        filter: Filter | Mapping[str, Any] | None = None,  # noqa: A002 - LangChain's word
        workspace: str | None = None,
    ) -> Prediction:
        """How likely it is to succeed, with a 90 % interval and the cases that say so.

        Args:
            task: What is to be done.
            tech_stack: With what.
            model: Which model is to do it.
            agent: Which agent is.
            filter: Which experiences it may rest on.
            workspace: Whose; by default the one that `track` names.

        Raises:
            ConfigurationError: If a value makes no sense.
            StorageError: If the database does not answer.
        """
        use = filter_of(filter)
        return self._asking(
            task, tech_stack, workspace, partial(predicted, by=By(model, agent), filter_=use)
        )

    def estimate(
        self,
        task: str,
        tech_stack: Sequence[str] | None = None,
        *,
        metric: str = "completion_time",
        filter: Filter | Mapping[str, Any] | None = None,  # noqa: A002 - LangChain's word
        workspace: str | None = None,
    ) -> Estimate:
        """What it will take, with a 90 % interval.

        Args:
            task: What is to be done.
            tech_stack: With what.
            metric: One of the names that were learnt among `metrics`.
            filter: Which experiences it may rest on.
            workspace: Whose; by default the one that `track` names.

        Raises:
            ConfigurationError: If a value makes no sense.
            StorageError: If the database does not answer.
        """
        use = filter_of(filter)
        return self._asking(
            task, tech_stack, workspace, partial(estimated, metric=metric, filter_=use)
        )

    def suggest(
        self,
        project_id: str | None = None,
        *,
        task: str | None = None,
        tech_stack: Sequence[str] | None = None,
        k: int = 5,
        workspace: str | None = None,
    ) -> list[Suggestion]:
        """What to do better, each with the experiences that show it; nothing without evidence.

        Args:
            project_id: A project that was learnt from: its latest task is asked about.
            task: Or what is to be done.
            tech_stack: With what; by default as the project's latest run.
            k: How many at most.
            workspace: Whose; by default the one that `track` names.

        Returns:
            The surest first. None for a project of which nothing was learnt.

        Raises:
            ConfigurationError: If neither a project nor a task is named.
            StorageError: If the database does not answer.
        """
        if project_id is None and task is None:
            msg = "name a `project_id` or a `task`"
            raise ConfigurationError(msg)
        if self._rows is None:
            return []
        whose = tenant(workspace)
        if task is None:
            last = self._rows.last_of(whose, str(project_id))
            if last is None:
                return []
            task = last.task_description
            tech_stack = last.tech_stack if tech_stack is None else tech_stack
        asked = self._asked(text_of(task), stack_of(tech_stack or ()))
        with self._mirrors.of(whose, asked.vector) as mirror:
            near = nearest(mirror, asked)
        found = self._rows.found(whose, [run_id for run_id, _ in near])
        runs = [(found[run_id].experience, weight) for run_id, weight in near if run_id in found]
        return suggestions(runs, project_id)[:k]

    def candidates(
        self, *, most: int = 10, workspace: str | None = None
    ) -> list[tuple[Candidate, list[Experience]]]:
        """Kinds of work that come up again and again and that no pattern names yet.

        A human decides what is one: `patterns.extended({candidate.name: {"phrases": […]}})`.

        Args:
            most: How many at most, the largest first.
            workspace: Whose; by default the one that `track` names.

        Returns:
            Each with experiences from its middle.

        Raises:
            StorageError: If the database does not answer.
        """
        if self._rows is None:
            return []
        newest = self._rows.newest(tenant(workspace), 0, _READ)
        told = {row.experience.task_description: row for row in newest if row.vector is not None}
        rows = [row for row in told.values() if row.embedder == self._embedder.name]
        if not rows:
            return []
        found = mined(
            [row.experience.task_description for row in rows],
            np.array([row.vector for row in rows]),
            [bool(row.experience.patterns) for row in rows],
            most=most,
        )
        return [(each, [rows[at].experience for at in each.examples]) for each in found]

    def warm(self, *, workspace: str | None = None) -> int:
        """Read a workspace's experiences into memory now, not in the first search; how many.

        Args:
            workspace: Whose; by default the one that `track` names.

        Raises:
            StorageError: If the database cannot be read.
        """
        if self._rows is None:
            return 0
        with self._mirrors.of(tenant(workspace)) as mirror:
            return len(mirror)

    def stats(self, *, workspace: str | None = None) -> LearningStats:
        """What was learnt, in figures.

        Args:
            workspace: Whose; by default the one that `track` names.

        Raises:
            StorageError: If the database does not answer.
        """
        if self._rows is None:
            return LearningStats()
        whose = tenant(workspace)
        with self._mirrors.of(whose) as mirror:
            return stats_of(
                mirror,
                total=self._rows.number(whose),
                embedder=self._embedder.name,
                indexed=self._indexer.is_open,
            )

    def _begin(self) -> None:
        """Start the thread that indexes, if there is one to start."""
        raise NotImplementedError

    def _asked(self, task: str, stack: tuple[str, ...]) -> Asked:
        self._begin()
        return Asked(task, self._embedder.vector(task), stack)

    def _asking(
        self,
        task: str,
        tech_stack: Sequence[str] | None,
        workspace: str | None,
        answer: Callable[[Mirror, Asked], T],
    ) -> T:
        """Ask a mirror."""
        asked_task, stack = text_of(task), stack_of(tech_stack or ())
        if self._rows is None:
            return answer(Mirror(None), Asked(asked_task, None, stack))
        asked = self._asked(asked_task, stack)
        with self._mirrors.of(tenant(workspace), asked.vector) as mirror:
            return answer(mirror, asked)

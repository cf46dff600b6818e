"""What a router learns and tells: feedback, outcomes, evaluations, savings, decisions explained."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages

from llmops_langchain.errors import ConfigurationError, NotFoundError
from llmops_langchain.models import nano_dollars
from llmops_langchain.routing.deciding import Deciding
from llmops_langchain.routing.decision import Decision
from llmops_langchain.routing.evaluation import Dataset, Evaluation, evaluated
from llmops_langchain.routing.features import complexity_of
from llmops_langchain.routing.pace import dollars_of
from llmops_langchain.routing.portable import read_outcomes, write_outcomes
from llmops_langchain.routing.predicting import priors, rates_of_all
from llmops_langchain.routing.quality import Prompts
from llmops_langchain.routing.records import Outcome
from llmops_langchain.routing.request import Request, request_of
from llmops_langchain.routing.savings import Savings, saved_by
from llmops_langchain.routing.sparing import ExpectedSavings
from llmops_langchain.storage.types import new_id

__all__ = ["Teaching"]

_DAY = 86_400.0
_FEWEST = 20
"""Prompts of an evaluation."""


class Teaching:
    """The part of a router that learns, and says what it knows."""

    _deciding: Deciding

    def feedback(self, run_id: UUID | str, score: float) -> None:
        """Learn how good the answer of a run was, 0 to 1; a later word replaces an earlier one.

        Args:
            run_id: Of the run, of this process or another on the same database; an answer has it
                in `response_metadata["llmops_route"]["run_id"]` too.
            score: A thumb, a test, a judge.

        Raises:
            NotFoundError: If no decision of the run is known.
            ConfigurationError: If the score is not between 0 and 1.
            StorageError: If the database cannot say.
        """
        self._deciding.feedback(_id(run_id), score)

    def explain(self, run_id: UUID | str) -> Decision:
        """The decision that a run was made by, in this process or another on the same database.

        Raises:
            NotFoundError: If no decision of the run is known.
            StorageError: If the database cannot say.
        """
        return self._deciding.explain(_id(run_id))

    def refresh(self) -> None:
        """Take in what other processes learnt, and learn from all there is, now.

        Without a call of this, a thread does so every two seconds once the router is used.

        Raises:
            StorageError: If the database cannot say.
        """
        self._deciding.logbook.exchange()
        self._deciding.logbook.learner.fit()

    def learn(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Learn from answers that were scored elsewhere; how many outcomes that were.

        Args:
            rows: Each with a `prompt` (text or messages) and `scores`, 0 to 1 by the choice's name.

        Raises:
            ConfigurationError: If a row is none, a score is not between 0 and 1, or of nobody.
        """
        logbook, outcomes = self._deciding.logbook, list[Outcome]()
        for number, row in enumerate(rows, 1):
            request, scores = self._read(number, row)
            seen, told = logbook.learner.see(request.text, request.features), new_id()
            outcomes += [
                Outcome(
                    decision_id=told,
                    choice=name,
                    score=float(score),
                    source="data",
                    ts=logbook.clock(),
                    seen=seen,
                    input_tokens=request.input_tokens(self._names[name]),
                )
                for name, score in scores.items()
            ]
        logbook.judged(outcomes, fit=False)
        logbook.learner.fit()
        return len(outcomes)

    def evaluate(
        self, rows: Iterable[Mapping[str, Any]], *, folds: int = 5, seed: int = 0
    ) -> Evaluation:
        """What routing is worth on scored answers, and whether to route at all; `print` it.

        Each prompt is guessed by what the others teach; nothing of it changes this router.

        Args:
            rows: As for `learn`, with a score of every choice; `costs` in US dollars by name where
                they are known, else what is expected.
            folds: Into how many parts the rows are divided.
            seed: Of that division, and of the bootstrap.

        Raises:
            ConfigurationError: If there are fewer than 20 rows, fewer than two choices, or a row
                lacks a score or a price.
        """
        data, target = self._dataset(list(rows)), self._deciding.pace.target
        return evaluated(
            data, target=target.quality, confidence=target.confidence, folds=folds, seed=seed
        )

    def savings(self, *, days: float = 30.0) -> Savings | None:
        """What routing saved in the last days against the best single model; `print` it.

        Args:
            days: How far back, at most as long as decisions are kept.

        Returns:
            `None` if no call with a price was answered.

        Raises:
            StorageError: If the database cannot say.
        """
        logbook = self._deciding.logbook
        decided = logbook.since(logbook.clock() - days * _DAY)
        return saved_by([(record, dict(scores)) for record, scores in decided])

    def expected_savings(self) -> ExpectedSavings | None:
        """What calls to the best single model would cost less through this router, as it is now.

        By the prompts whose outcomes are known, each expected by a fit that left it out; doubly
        robust where a model was not asked. `savings()` tells of calls that did go through it.

        Returns:
            `None` before a hundred outcomes are known, without prices, or with a `strong_share`.
        """
        if (found := self._deciding.pace.spared()) is None:
            return None
        name, told, prompts = found
        choice = next(each for each in self._deciding.choices if each.name == name)
        return ExpectedSavings(
            model=choice.model_name,
            provider=choice.provider_name,
            share=told.share,
            low=told.low,
            high=told.high,
            kept=told.kept,
            prompts=prompts,
        )

    def export_outcomes(self, path: str | Path) -> int:
        """Write what was learnt to a file, without a text or a person's name; how many outcomes.

        Raises:
            OSError: If the file cannot be written.
            StorageError: If the database cannot say what others learnt.
        """
        logbook = self._deciding.logbook
        logbook.exchange()
        return write_outcomes(Path(path), logbook.learner.embedder, logbook.learner.outcomes)

    def import_outcomes(self, path: str | Path) -> int:
        """Learn what `export_outcomes` wrote; how many outcomes. Twice is as once.

        Raises:
            ConfigurationError: If it is no such file, or of another embedder; nothing is learnt.
            OSError: If it cannot be read.
        """
        logbook = self._deciding.logbook
        outcomes = list(read_outcomes(Path(path), logbook.learner.embedder))
        logbook.judged(outcomes, fit=False)
        logbook.learner.fit()
        return len(outcomes)

    @property
    def _names(self) -> dict[str, str]:
        return {choice.name: choice.model_name for choice in self._deciding.choices}

    def _read(self, number: int, row: Mapping[str, Any]) -> tuple[Request, Mapping[str, float]]:
        try:
            prompt, scores = row["prompt"], dict(row["scores"])
        except (KeyError, TypeError, ValueError) as error:
            msg = f"row {number} has no `prompt` and `scores`"
            raise ConfigurationError(msg) from error
        for name, score in scores.items():
            if name not in self._names:
                known = ", ".join(sorted(self._names))
                msg = f"row {number} scores {name!r}, which is no choice: there are {known}"
                raise ConfigurationError(msg)
            if not isinstance(score, int | float) or not 0 <= score <= 1:
                msg = f"row {number}: a score is between 0 and 1, got {score!r}"
                raise ConfigurationError(msg)
        return request_of(_messages(prompt), {}), scores

    def _dataset(self, rows: Sequence[Mapping[str, Any]]) -> Dataset:
        deciding, learner = self._deciding, self._deciding.logbook.learner
        names = tuple(self._names)
        if len(rows) < _FEWEST or len(names) < 2:  # noqa: PLR2004 - nothing to choose between
            msg = f"an evaluation needs {_FEWEST} rows and two choices, got {len(rows)}"
            raise ConfigurationError(msg)
        read = [self._read(number, row) for number, row in enumerate(rows, 1)]
        _check_whole(names, [scores for _, scores in read])
        rates = rates_of_all(deciding.choices, deciding.prices)
        seen = [learner.see(request.text, request.features) for request, _ in read]
        tokens = [
            [request.input_tokens(model) for model in self._names.values()] for request, _ in read
        ]
        expected = dollars_of(names, np.array(tokens, np.float64), rates, deciding.logbook.health)
        before = [priors(deciding.choices, rates, complexity_of(each.features)) for each in seen]
        return Dataset(
            names,
            Prompts(np.stack([s.vector for s in seen]), np.stack([s.features for s in seen])),
            np.array([[scores[name] for name in names] for _, scores in read], np.float64),
            _paid(rows, names, expected),
            expected,
            np.array([[each[name] for name in names] for each in before], np.float64),
        )


def _id(run_id: UUID | str) -> UUID:
    try:
        return run_id if isinstance(run_id, UUID) else UUID(run_id)
    except ValueError as error:
        msg = f"a run has a UUID, got {run_id!r}"
        raise NotFoundError(msg) from error


def _check_whole(names: Sequence[str], scores: Sequence[Mapping[str, float]]) -> None:
    for number, each in enumerate(scores, 1):
        if lacking := [name for name in names if name not in each]:
            msg = f"row {number} has no score of {lacking[0]!r}: an evaluation needs all of them"
            raise ConfigurationError(msg)


def _paid(rows: Sequence[Mapping[str, Any]], names: Sequence[str], expected: Any) -> Any:
    """Dollars as the rows tell them, else as they are expected."""
    paid = expected.copy()
    for at, row in enumerate(rows):
        costs = row.get("costs") or {}
        for column, name in enumerate(names):
            if name in costs:
                paid[at, column] = nano_dollars(costs[name]) / 1e9
    return paid


def _messages(prompt: Any) -> list[BaseMessage]:
    return [HumanMessage(prompt)] if isinstance(prompt, str) else convert_to_messages(prompt)

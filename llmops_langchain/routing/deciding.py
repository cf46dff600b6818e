"""From a request to a decision: who may be asked, what is expected of each, who is asked first."""

import logging
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from llmops_langchain.errors import ConfigurationError, NoCandidateError, NotFoundError
from llmops_langchain.models import PriceBook, TokenUsage
from llmops_langchain.routing.choice import ModelChoice
from llmops_langchain.routing.constraints import Limits, broken
from llmops_langchain.routing.decision import Decision, Exclusion, Prediction
from llmops_langchain.routing.features import complexity_of as looks
from llmops_langchain.routing.health import Health
from llmops_langchain.routing.learner import Learner, Seen
from llmops_langchain.routing.request import Request
from llmops_langchain.routing.target import Target, gain, prior_quality, ranked, strengths

__all__ = ["Deciding", "Overrides", "overrides_of"]

logger = logging.getLogger(__name__)

_USUAL_ANSWER = 300
"""Tokens an answer is expected to have before any was heard."""

_REMEMBERED = 10_000
"""Decisions that can still be explained and judged."""

_GAINS, _FEW_GAINS = 1_000, 20
"""Requests whose gains are looked back on for a share of strong calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What one call wants in another way.

    Args:
        model: The name of the choice to ask, whatever is predicted.
        complexity: How hard the request is, 0 to 1, where the app knows.
    """

    model: str | None = None
    complexity: float | None = None


@dataclass(slots=True)
class _Kept:
    decision: Decision
    seen: Seen | None
    answered_by: str | None = None


@dataclass(slots=True, kw_only=True)
class Deciding:
    """The core of a router, shared by all its copies and forms."""

    choices: tuple[ModelChoice, ...]
    target: Target
    limits: Limits
    prices: PriceBook
    learner: Learner
    health: Health
    allow_unpriced: bool = False
    _kept: OrderedDict[UUID, _Kept] = field(default_factory=OrderedDict)
    _gains: deque[float] = field(default_factory=lambda: deque(maxlen=_GAINS))
    _told: bool = False

    def __post_init__(self) -> None:
        if not self.choices:
            msg = "a router needs at least one choice"
            raise ConfigurationError(msg)
        names = [choice.name for choice in self.choices]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            msg = f"two choices have the name {doubled[0]!r}: tell them apart by `name=`"
            raise ConfigurationError(msg)

    def with_choices(self, choices: tuple[ModelChoice, ...]) -> "Deciding":
        """The same with other models of the same names; what is learnt and kept is shared."""
        return replace(self, choices=choices)

    def decide(self, request: Request, overrides: Overrides = Overrides()) -> Decision:
        """Whom to ask.

        Raises:
            NoCandidateError: If nobody may be asked; it lists why.
            NotFoundError: If the call wants a choice that is not there.
        """
        hard = looks(request.features) if overrides.complexity is None else overrides.complexity
        tokens = {choice.name: request.input_tokens(choice.model_name) for choice in self.choices}
        excluded = tuple(self._excluded(request, tokens, overrides))
        out = {each.name for each in excluded}
        left = [choice for choice in self.choices if choice.name not in out]
        if not left:
            raise NoCandidateError({each.name: each.told for each in excluded})
        seen = self._seen(request) if self.learner.knows else None
        predictions = self._predicted(left, tokens, hard, seen)
        verdict = ranked(predictions, self.target, least_gain=self._least_gain(predictions))
        by_name = {choice.name: choice for choice in left}
        order = tuple(by_name[name] for name in verdict.names)
        return Decision(
            choice=order[0],
            ranked=order,
            predicted={each.name: each for each in predictions},
            excluded=excluded,
            reasons=verdict.reasons,
            complexity=hard,
        )

    def keep(self, run_id: UUID, decision: Decision, request: Request) -> None:
        """Remember a decision by the run it was made for."""
        # What is learnt later needs the prompt as it was seen, and never its text.
        self._kept[run_id] = _Kept(decision, self._seen(request))
        while len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)

    def answered(self, run_id: UUID, name: str) -> None:
        """Who answered in the end."""
        if (kept := self._kept.get(run_id)) is not None:
            kept.answered_by = name

    def explain(self, run_id: UUID) -> Decision:
        """The decision of a run.

        Raises:
            NotFoundError: If it is not among the last 10,000 of this process.
        """
        return self._of(run_id).decision

    def feedback(self, run_id: UUID, score: float) -> None:
        """Learn how good the answer of a run was, 0 to 1.

        Raises:
            NotFoundError: If it is not among the last 10,000 of this process.
            ConfigurationError: If the score is not between 0 and 1.
        """
        if not 0 <= score <= 1:
            msg = f"a score is between 0 and 1, got {score!r}"
            raise ConfigurationError(msg)
        kept = self._of(run_id)
        if kept.answered_by is not None and kept.seen is not None:
            self.learner.learn(kept.seen, kept.answered_by, score)

    def _seen(self, request: Request) -> Seen | None:
        """The prompt as the learner sees it; `None` if its embedder fails."""
        try:
            return self.learner.see(request.text, request.features)
        except Exception as error:  # noqa: BLE001 - learning is a help: the call goes on by the prior
            if not self._told:
                self._told = True
                logger.warning("prompts cannot be embedded: %s", type(error).__name__)
            return None

    def _of(self, run_id: UUID) -> _Kept:
        kept = self._kept.get(run_id)
        if kept is None:
            msg = f"run {run_id} is not among the last 10,000 decisions of this process"
            raise NotFoundError(msg)
        return kept

    def _excluded(
        self, request: Request, tokens: Mapping[str, int], overrides: Overrides
    ) -> list[Exclusion]:
        wanted = overrides.model
        if wanted is not None and wanted not in tokens:
            msg = f"no choice is called {wanted!r}: there are {', '.join(sorted(tokens))}"
            raise NotFoundError(msg)
        found = [self._broken(choice, request, tokens[choice.name]) for choice in self.choices]
        excluded = [each for each in found if each is not None]
        if wanted is not None:
            known = {wanted, *(each.name for each in excluded)}
            told = f"the call wants {wanted!r}"
            excluded += [
                Exclusion(name=name, why="override", told=told)
                for name in tokens
                if name not in known
            ]
        if len(excluded) < len(self.choices):
            return excluded
        # Better one that failed a moment ago than none.
        return [each for each in excluded if each.why != "cooldown"]

    def _broken(self, choice: ModelChoice, request: Request, tokens: int) -> Exclusion | None:
        return broken(
            choice,
            request,
            self.limits,
            input_tokens=tokens,
            latency=self.health.latency(choice.name),
            max_latency=self.target.max_latency,
            rests_for=self.health.rests_for(choice.name),
            is_priced=self.allow_unpriced or choice.rates(self.prices) is not None,
        )

    def _predicted(
        self,
        choices: Sequence[ModelChoice],
        tokens: Mapping[str, int],
        complexity: float,
        seen: Seen | None,
    ) -> list[Prediction]:
        rates = {choice.name: choice.rates(self.prices) for choice in self.choices}
        strong = strengths(rates, {choice.name: choice.strength for choice in self.choices})
        names = [choice.name for choice in choices]
        priors = [prior_quality(strong[name], complexity) for name in names]
        told = (
            [(prior, 0.0) for prior in priors]
            if seen is None
            else self.learner.blended(seen, names, priors)
        )
        # One that was not asked yet is taken to answer at such length as the others.
        lengths = [each for name in tokens if (each := self.health.answer_tokens(name))]
        usual = sum(lengths) / len(lengths) if lengths else _USUAL_ANSWER
        made = []
        for name, (quality, trust) in zip(names, told, strict=True):
            answer = round(self.health.answer_tokens(name) or usual)
            rate = rates[name]
            usage = TokenUsage(input_tokens=tokens[name], output_tokens=answer)
            made.append(
                Prediction(
                    name=name,
                    quality=quality,
                    cost=None if rate is None else rate.cost(usage),
                    latency=self.health.latency(name),
                    trust=trust,
                    input_tokens=tokens[name],
                    output_tokens=answer,
                )
            )
        return made

    def _least_gain(self, predictions: Sequence[Prediction]) -> float | None:
        """What the strongest must gain to be asked, so that its share of calls is kept."""
        share = self.target.strong_share
        if share is None:
            return None
        gained = gain(predictions)
        ordered = sorted(self._gains)
        self._gains.append(gained)
        if len(ordered) < _FEW_GAINS:
            insort(ordered, gained)
        return ordered[min(len(ordered) - 1, int((1 - share) * len(ordered)))] if share else 2.0


def overrides_of(metadata: Mapping[str, Any], kwargs: dict[str, Any]) -> Overrides:
    """What a call says of itself in its metadata, or in arguments that no model is to see."""
    model = kwargs.pop("route_to", None) or metadata.get("route_to")
    hard = kwargs.pop("complexity", None)
    hard = metadata.get("complexity") if hard is None else hard
    if hard is not None and not (isinstance(hard, (int, float)) and 0 <= hard <= 1):
        msg = f"`complexity` is between 0 and 1, got {hard!r}"
        raise ConfigurationError(msg)
    return Overrides(model=model, complexity=hard)

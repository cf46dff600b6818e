"""From a request to a decision: who may be asked, what is expected of each, who is asked first."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from uuid import UUID

import orjson

from llmops_langchain.errors import (
    ConfigurationError,
    NoCandidateError,
    NotFoundError,
)
from llmops_langchain.ledger import Scope
from llmops_langchain.models import PriceBook, Rates, TokenUsage
from llmops_langchain.routing.choice import ModelChoice
from llmops_langchain.routing.constraints import Limits, broken
from llmops_langchain.routing.decision import Decision, Exclusion, Prediction
from llmops_langchain.routing.features import complexity_of as looks
from llmops_langchain.routing.logbook import Logbook
from llmops_langchain.routing.pace import Pace
from llmops_langchain.routing.predicting import Expected, priors, rates_of_all, sized, told
from llmops_langchain.routing.records import Record, Source
from llmops_langchain.routing.request import Request
from llmops_langchain.routing.seen import Seen
from llmops_langchain.routing.target import ranked
from llmops_langchain.routing.wishes import Overrides
from llmops_langchain.storage.types import new_id

__all__ = ["Deciding", "Room"]

logger = logging.getLogger(__name__)

_THREADS = 10_000
"""Conversations whose last answer is remembered."""

_AGAIN = 300.0
"""Seconds within which the same request of a conversation means that its answer was no good."""

_LIFTED = ("cooldown", "latency", "budget")
"""Reasons that do not hold where they leave nobody: better one that failed or was slow a moment ago
than none, and that a budget has no room is for its gate to say."""

_NOBODY, _AS_USUAL = Scope(), Overrides()

Room = Callable[[Scope], int | None]
"""Nano-dollars that a caller's budgets have left; `None`: none of them bounds it."""


_Thread = tuple[str | None, str | None, str]


@dataclass(frozen=True, slots=True)
class _Last:
    """The last request of a conversation, and who answered it."""

    run_id: UUID
    digest: bytes
    at: float
    choice: str


@dataclass(slots=True, kw_only=True)
class Deciding:
    """The core of a router, shared by all its copies and forms."""

    choices: tuple[ModelChoice, ...]
    limits: Limits
    prices: PriceBook
    logbook: Logbook
    pace: Pace
    allow_unpriced: bool = False
    room: Room | None = None
    _threads: OrderedDict[_Thread, _Last] = field(default_factory=OrderedDict)
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

    def decide(
        self,
        request: Request,
        overrides: Overrides = _AS_USUAL,
        *,
        scope: Scope = _NOBODY,
        run_id: UUID | None = None,
    ) -> Decision:
        """Whom to ask.

        Args:
            request: What is asked.
            overrides: What this call wants in another way.
            scope: Whose call it is.
            run_id: Of the call; by default it is a question what would be.

        Raises:
            NoCandidateError: If nobody may be asked; it lists why.
            NotFoundError: If the call wants a choice that is not there.
        """
        hard = looks(request.features) if overrides.complexity is None else overrides.complexity
        expected = self._expected(request, hard)
        excluded = self._excluded(request, expected, overrides, scope)
        out = {each.name for each in excluded}
        left = {choice.name: choice for choice in self.choices if choice.name not in out}
        if not left:
            raise NoCandidateError({each.name: each.told for each in excluded})
        run_id = run_id or new_id()
        predictions = [expected[name] for name in left]
        terms = self.pace.terms(predictions, _draw(run_id), self._stays(request, scope))
        verdict = ranked(predictions, self.pace.target, terms)
        order = tuple(left[name] for name in verdict.names)
        return Decision(
            choice=order[0],
            ranked=order,
            predicted={each.name: each for each in predictions},
            excluded=tuple(excluded),
            reasons=verdict.reasons,
            complexity=hard,
            propensity=verdict.propensity,
            terms={name: each for name, each in asdict(terms).items() if each is not None},
            id=run_id,
        )

    def keep(self, decision: Decision, request: Request, scope: Scope) -> Record:
        """Remember a decision that is acted on."""
        name, now = decision.choice.name, self.logbook.clock()
        record = Record(
            id=decision.id,
            ts=now,
            choice=name,
            propensity=decision.propensity,
            body=orjson.dumps(decision.to_dict()),
            # What is learnt later needs the prompt as it was seen, and never its text.
            seen=self._seen(request),
            input_tokens=decision.predicted[name].input_tokens,
            scope=scope,
        )
        self.pace.saw(list(decision.predicted.values()))
        self.logbook.decided(record)
        self._follow(record, request)
        return record

    def answered(
        self, record: Record, name: str, *, cost: int | None = None, latency: float | None = None
    ) -> None:
        """Who answered in the end."""
        record.answered_by, record.cost, record.latency = name, cost, latency
        self.logbook.decided(record)
        thread = _thread(record.scope)
        if thread is not None and (last := self._threads.get(thread)):
            self._threads[thread] = replace(last, choice=name)

    def judge(self, record: Record, name: str, score: float, source: Source) -> None:
        """Learn how good an answer of this call was, by what is seen of it."""
        self.logbook.judge(record, name, score, source)

    def explain(self, run_id: UUID) -> Decision:
        """The decision of a run.

        Raises:
            NotFoundError: If it is not known, or too old.
            StorageError: If the database cannot say.
        """
        return Decision.from_dict(self._of(run_id).about, self.choices)

    def feedback(self, run_id: UUID, score: float) -> None:
        """Learn how good the answer of a run was, 0 to 1.

        Raises:
            NotFoundError: If it is not known, or too old.
            ConfigurationError: If the score is not between 0 and 1.
            StorageError: If the database cannot say.
        """
        if not 0 <= score <= 1:
            msg = f"a score is between 0 and 1, got {score!r}"
            raise ConfigurationError(msg)
        record = self._of(run_id)
        if record.answered_by is None:
            msg = f"no answer of run {run_id} is known: every model failed, or it is not there yet"
            raise NotFoundError(msg)
        self.logbook.judge(record, record.answered_by, score, "feedback")

    def cost(self, choice: ModelChoice, usage: TokenUsage) -> int | None:
        """Nano-dollars of an answer; `None` if no price is known."""
        rates = choice.rates(self.prices)
        return None if rates is None else rates.cost(usage)

    def _expected(self, request: Request, complexity: float) -> dict[str, Prediction]:
        """What is expected of each choice, by its name, whether it may be asked or not."""
        now, health = self.logbook.clock(), self.logbook.health
        tokens = {choice.name: request.input_tokens(choice.model_name) for choice in self.choices}
        rates = rates_of_all(self.choices, self.prices)
        usages = sized(self.choices, tokens, health, request.before, now)
        learnt = self._learnt(request, rates, complexity)
        return {
            name: told(name, learnt[name], usages[name], rates[name], health.latency(name))
            for name in tokens
        }

    def _learnt(
        self, request: Request, rates: Mapping[str, Rates | None], complexity: float
    ) -> dict[str, Expected]:
        learner, before = self.logbook.learner, priors(self.choices, rates, complexity)
        seen = self._seen(request) if learner.knows else None
        if seen is None:
            return {name: (prior, 0.0) for name, prior in before.items()}
        return learner.expected(seen, before, priors(self.choices, rates, learner.usual_complexity))

    def _seen(self, request: Request) -> Seen | None:
        """The prompt as the learner sees it; `None` if its embedder fails."""
        try:
            return self.logbook.learner.see(request.text, request.features)
        except Exception as error:  # noqa: BLE001 - learning is a help: the call goes on by the prior
            if not self._told:
                self._told = True
                logger.warning("prompts cannot be embedded: %s", type(error).__name__)
            return None

    def _of(self, run_id: UUID) -> Record:
        record = self.logbook.find(run_id)
        if record is None:
            msg = f"no decision of run {run_id} is known: it was made elsewhere, or is too old"
            raise NotFoundError(msg)
        return record

    def _excluded(
        self,
        request: Request,
        expected: Mapping[str, Prediction],
        overrides: Overrides,
        scope: Scope,
    ) -> list[Exclusion]:
        wanted, room = overrides.model, self._room(scope)
        if wanted is not None and wanted not in expected:
            msg = f"no choice is called {wanted!r}: there are {', '.join(sorted(expected))}"
            raise NotFoundError(msg)
        found = [self._broken(each, request, expected[each.name], room) for each in self.choices]
        excluded = [each for each in found if each is not None]
        if wanted is not None:
            known = {wanted, *(each.name for each in excluded)}
            said = f"the call wants {wanted!r}"
            excluded += [
                Exclusion(name=name, why="override", told=said)
                for name in expected
                if name not in known
            ]
        if len(excluded) < len(self.choices):
            return excluded
        return [each for each in excluded if each.why not in _LIFTED]

    def _broken(
        self, choice: ModelChoice, request: Request, expected: Prediction, room: int | None
    ) -> Exclusion | None:
        return broken(
            choice,
            request,
            self.limits,
            input_tokens=expected.input_tokens,
            latency=self.logbook.health.slow_for(choice.name),
            max_latency=self.pace.target.max_latency,
            rests_for=self.logbook.health.rests_for(choice.name),
            is_priced=self.allow_unpriced or expected.cost is not None,
            cost=expected.cost,
            room=room,
        )

    def _room(self, scope: Scope) -> int | None:
        if self.room is None:
            return None
        try:
            return self.room(scope)
        except Exception as error:  # noqa: BLE001 - a help too: what a budget allows its gate says
            logger.debug("budgets cannot be looked at: %s", type(error).__name__)
            return None

    def _stays(self, request: Request, scope: Scope) -> str | None:
        """Who answers this conversation, if it stays with its model."""
        if not self.pace.target.sticky:
            return None
        if request.before is not None:
            return request.before.choice
        thread = _thread(scope)
        last = None if thread is None else self._threads.get(thread)
        return None if last is None else last.choice

    def _follow(self, record: Record, request: Request) -> None:
        """Remember the conversation; the same request once more tells of its last answer."""
        if (thread := _thread(record.scope)) is None:
            return
        digest = request.digest()
        last = self._threads.get(thread)
        if last and last.digest == digest and record.ts - last.at < _AGAIN:
            before = self.logbook.recent(last.run_id)
            if before is not None and before.answered_by is not None:
                self.judge(before, before.answered_by, 0.0, "retry")
        self._threads[thread] = _Last(record.id, digest, record.ts, record.choice)
        self._threads.move_to_end(thread)
        while len(self._threads) > _THREADS:
            self._threads.popitem(last=False)


def _thread(scope: Scope) -> _Thread | None:
    """Whose conversation it is: two people may name theirs alike."""
    return None if scope.thread is None else (scope.workspace, scope.user, scope.thread)


def _draw(run_id: UUID) -> float:
    """From 0 to below 1, the same for the same run."""
    return int.from_bytes(blake2b(run_id.bytes, digest_size=6).digest()) / 2**48

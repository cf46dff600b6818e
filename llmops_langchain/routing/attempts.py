"""One routed call: whom it asks, one after the other, until somebody answers well enough."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from llmops_langchain.errors import LLMOpsError, NoCandidateError
from llmops_langchain.models import Rates, read_usage
from llmops_langchain.routing.choice import ModelChoice
from llmops_langchain.routing.crossing import understood_by
from llmops_langchain.routing.deciding import Deciding
from llmops_langchain.routing.decision import Decision
from llmops_langchain.routing.failures import is_overload, retry_after, way_on
from llmops_langchain.routing.opening import says_something
from llmops_langchain.routing.records import Source
from llmops_langchain.routing.request import ROUTE, Request, request_of
from llmops_langchain.routing.verifiers import Verifier, says_nothing, verdict
from llmops_langchain.routing.wishes import overrides_of
from llmops_langchain.routing.within import await_within, within
from llmops_langchain.storage.types import new_id
from llmops_langchain.wrapping import Run, as_attempt
from llmops_langchain.wrapping.scoping import scope_of

__all__ = ["Attempt", "Ended", "OnAttempt", "Routed"]

logger = logging.getLogger(__name__)

_GOOD = 0.5
"""The score from which an answer is good enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An attempt that brought no answer, or one that was not good enough."""

    attempt_id: UUID
    run_id: UUID
    choice: ModelChoice
    error: BaseException | None
    answer: ChatResult | None
    latency: float
    """Seconds until then."""
    metadata: Mapping[str, Any]
    stands: bool = False
    """It was told of before, and its answer is the run's after all: better models failed."""


G = TypeVar("G", bound=ChatGeneration)
T = TypeVar("T")

OnAttempt = Callable[[Ended], None]
"""Is told of each attempt that was followed by another, or by an error."""


@dataclass(slots=True)
class Attempt:
    """One choice that is asked."""

    choice: ModelChoice
    model: BaseChatModel
    messages: list[BaseMessage]
    arguments: dict[str, Any]
    run: Run
    began: float = field(default_factory=time.perf_counter)
    usage: UsageMetadata | None = None
    """What was told of it so far."""
    score: float | None = None
    """What the verifier says of its answer; `None` where it cannot say."""
    verified: bool = False
    """The verifier was asked."""
    given_up: bool = False
    """Nobody waits for it any more."""

    latency: float | None = None
    """Seconds until its first chunk, of a stream: what follows waits for whoever reads it."""

    @property
    def seconds(self) -> float:
        """Since it began; of a stream, until its first chunk."""
        return time.perf_counter() - self.began if self.latency is None else self.latency

    def heard(self, told: ChatGeneration) -> None:
        """A chunk, or the answer."""
        usage = getattr(told.message, "usage_metadata", None)
        if usage is not None:
            self.usage = usage if self.usage is None else add_usage(self.usage, usage)

    def ask(self, asked: Callable[[], T]) -> T:
        """What the model says within the time of its choice.

        Raises:
            TimeoutError: If it takes longer.
        """
        # The model's own rate limiter, which core would ask.
        if self.model.rate_limiter is not None:
            self.model.rate_limiter.acquire(blocking=True)
            self.began = time.perf_counter()
        with self._asking():
            return within(self.choice.timeout, asked)

    async def aask(self, asked: Callable[[], Awaitable[T]]) -> T:
        """`ask` for asyncio."""
        if self.model.rate_limiter is not None:
            await self.model.rate_limiter.aacquire(blocking=True)
            self.began = time.perf_counter()
        with self._asking():
            return await await_within(self.choice.timeout, asked)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """While the model is asked, layers over it know that this is an attempt of the run."""
        try:
            with as_attempt(self.run):
                yield
        except BaseException:
            self.given_up = True
            raise


class Routed:
    """A call between its decision and its answer.

    Args:
        deciding: The router's core.
        messages: What is asked.
        kwargs: What goes with the call, as the router was bound.
        run: What core shows of it.
        on_attempt: Is told of attempts that were not the last.
        verify: Says how good an answer is; without, the first is taken.
    """

    def __init__(
        self,
        deciding: Deciding,
        messages: Sequence[BaseMessage],
        kwargs: Mapping[str, Any],
        run: Run,
        *,
        on_attempt: OnAttempt | None = None,
        verify: Verifier | None = None,
    ) -> None:
        self._deciding, self._on_attempt, self._verify = deciding, on_attempt, verify
        self.run_id: UUID = run.run_id or new_id()
        self._run, self._kwargs, self._messages = run, dict(kwargs), list(messages)
        overrides, scope = overrides_of(run.metadata, self._kwargs), scope_of(run.metadata)
        self._request: Request = request_of(messages, self._kwargs)
        self.decision: Decision = deciding.decide(
            self._request, overrides, scope=scope, run_id=self.run_id
        )
        self._record = deciding.keep(self.decision, self._request, scope)
        self._left = list(self.decision.ranked)
        self._errors: list[tuple[str, BaseException]] = []
        self._second_best: tuple[Attempt, ChatResult] | None = None
        self._asked, self._cost = 0, 0

    def next(self, *, binds: bool = True) -> Attempt | None:
        """The next attempt; `None` when nobody is left.

        Args:
            binds: Whether tools are bound here; an agent does so itself.
        """
        while self._left:
            choice = self._left.pop(0)
            try:
                model = choice.chat_model()
                arguments = arguments_for(choice, model, self._kwargs) if binds else {}
            except Exception as error:  # noqa: BLE001 - one that cannot be made or bound is passed over
                logger.warning("%s cannot be asked: %s", choice.name, type(error).__name__)
                self._errors.append((choice.name, error))
                continue
            messages, arguments = understood_by(choice, self._messages, arguments)
            metadata = {**self._run.metadata, **_named(choice, model)}
            self._asked += 1
            self._deciding.logbook.health.asked(choice.name)
            attempt = Attempt(choice, model, messages, arguments, Run())
            accepts = partial(self.accepts, attempt)
            attempt.run = Run(metadata, new_id(), self.run_id, accepts)
            return attempt
        return None

    def taken(self) -> Decision:
        """The decision, when somebody else asks the one who was chosen."""
        self._deciding.answered(self._record, self.decision.choice.name)
        return self.decision

    def failed(self, attempt: Attempt, error: BaseException) -> None:
        """Go on after an error before the first chunk, or raise it."""
        way = way_on(error)
        self._tell(attempt, error=error)
        if way == "raise" and self._second_best is None:
            raise error
        self._errors.append((attempt.choice.name, error))
        if way == "raise":  # for the user to mend, who shall have the answer that there is
            logger.warning("%s refused the call: %s", attempt.choice.name, type(error).__name__)
            self._left = []
            return
        if way == "larger":
            self._left = _larger(attempt.choice, self._left)
        else:
            self.broke(attempt, error)

    def broke(self, attempt: Attempt, error: BaseException) -> None:
        """Note that a model failed, also when chunks of its answer were shown."""
        if isinstance(error, LLMOpsError):  # that a budget has no room says nothing of it
            return
        self._deciding.logbook.health.failed(
            attempt.choice.name, overloaded=is_overload(error), wait=retry_after(error)
        )

    def answered(self, attempt: Attempt, answer: ChatResult) -> ChatResult | None:
        """The answer, marked with who gave it; `None` if a better model is to be asked."""
        attempt.heard(answer.generations[0])
        if not self.accepts(attempt, answer):
            self._ended(attempt)
            self._tell(attempt, answer=answer)
            self._second_best = attempt, answer
            return None
        self._ended(attempt)
        return self._final(attempt, answer)

    def last_resort(self) -> ChatResult:
        """The answer that was not good enough, when those who might do better have failed.

        Raises:
            Exception: The first model's error, with a note of all, if there is no answer.
        """
        if self._second_best is None:
            raise self._nobody()
        attempt, answer = self._second_best
        self._tell(attempt, answer=answer, stands=True)
        return self._final(attempt, answer)

    def begun(
        self, attempt: Attempt, chunks: Sequence[ChatGenerationChunk]
    ) -> list[ChatGenerationChunk]:
        """The first chunks, one marked: only one may be, or the marks of all are put together."""
        attempt.latency = attempt.seconds
        # Who reads no further may have something to say of it all the same.
        self._deciding.answered(self._record, attempt.choice.name, latency=attempt.latency)
        first, *others = chunks
        return [self._marked(attempt, first), *others]

    def ended(self, attempt: Attempt) -> None:
        """The whole stream is there."""
        self._ended(attempt)
        self._answered_by(attempt)

    def accepts(self, attempt: Attempt, answer: ChatResult | ChatGenerationChunk | None) -> bool:
        """Whether an answer is taken: it is good enough, or nobody better is left.

        Args:
            attempt: Whose.
            answer: Whole; or a chunk, which is taken when it says something; or `None`, the end of
                a stream.
        """
        if attempt.given_up:
            return False
        if isinstance(answer, ChatGenerationChunk):
            return says_something(answer)
        message = answer and answer.generations[0].message
        if self._verify is None or not isinstance(message, AIMessage):
            return True
        if not attempt.verified:
            attempt.verified, attempt.score = True, verdict(self._verify, message)
            if attempt.score is not None:
                self._judge(attempt.choice.name, attempt.score, "verifier")
                if attempt.score < _GOOD:
                    self._left = self._better(attempt.choice)
        return attempt.score is None or attempt.score >= _GOOD or not self._left

    def _final(self, attempt: Attempt, answer: ChatResult) -> ChatResult:
        self._answered_by(attempt)
        if says_nothing(answer.generations[0].message):
            self._judge(attempt.choice.name, 0.0, "validation")
        marked = [self._marked(attempt, each) for each in answer.generations]
        return ChatResult(generations=marked, llm_output=answer.llm_output)

    def _answered_by(self, attempt: Attempt) -> None:
        cost = self._cost if attempt.usage or self._cost else None
        name = attempt.choice.name
        self._deciding.answered(self._record, name, cost=cost, latency=attempt.seconds)

    def _better(self, than: ModelChoice) -> list[ModelChoice]:
        expected = self.decision.predicted
        return [
            each for each in self._left if expected[each.name].quality > expected[than.name].quality
        ]

    def _judge(self, name: str, score: float, source: Source) -> None:
        self._deciding.judge(self._record, name, score, source)

    def _ended(self, attempt: Attempt) -> None:
        usage = attempt.usage
        tokens = usage["output_tokens"] if usage else None
        self._deciding.logbook.health.answered(
            attempt.choice.name, seconds=attempt.seconds, tokens=tokens
        )
        paid = read_usage(usage, None) if usage else None
        if paid is not None:
            self._cost += self._deciding.cost(attempt.choice, paid) or 0

    def _tell(
        self,
        attempt: Attempt,
        *,
        error: BaseException | None = None,
        answer: ChatResult | None = None,
        stands: bool = False,
    ) -> None:
        if self._on_attempt is not None:
            self._on_attempt(
                Ended(
                    attempt_id=attempt.run.run_id,
                    run_id=self.run_id,
                    choice=attempt.choice,
                    error=error,
                    answer=answer,
                    latency=attempt.seconds,
                    metadata=attempt.run.metadata,
                    stands=stands,
                )
            )

    def _marked(self, attempt: Attempt, told: G) -> G:
        metadata = {**told.message.response_metadata, ROUTE: self._mark(attempt)}
        message = told.message.model_copy(update={"response_metadata": metadata})
        return type(told)(message=message, generation_info=told.generation_info)

    def _mark(self, attempt: Attempt) -> dict[str, Any]:
        choice = attempt.choice
        mark = {
            "choice": choice.name,
            "model": choice.model_name,
            "provider": choice.provider_name,
            "attempts": self._asked,
            "run_id": str(self.run_id),
            "at": self._record.ts,
        }
        if attempt.score is not None:
            mark["verified"] = attempt.score >= _GOOD
        own = choice.own_rates
        return mark if own is None else {**mark, "prices": prices_of(own)}

    def _nobody(self) -> BaseException:
        if not self._errors:
            return NoCandidateError({each.name: each.told for each in self.decision.excluded})
        error = self._errors[0][1]
        others = ", ".join(f"{name}: {type(each).__name__}" for name, each in self._errors)
        error.add_note(f"every model that may be asked failed ({others})")
        return error


def arguments_for(
    choice: ModelChoice, model: BaseChatModel, kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """What goes with a call of this model: tools in the form of its provider."""
    given = {**choice.bound, **kwargs}
    tools = given.pop("tools", None)
    given.pop("ls_structured_output_format", None)
    if not tools:
        given.pop("tool_choice", None)
        return given
    names = ("tool_choice", "strict", "parallel_tool_calls", "response_format")
    of_tools = {name: given.pop(name) for name in names if given.get(name) is not None}
    bound: Any = model.bind_tools(tools, **of_tools)
    return {**given, **bound.kwargs}


def prices_of(rates: Rates) -> dict[str, Any]:
    """Own rates, as a mark carries them: nano-dollars per million tokens."""
    names = ("input", "output", "cached", "version")
    return {name: getattr(rates, name) for name in names}


def _named(choice: ModelChoice, model: BaseChatModel) -> dict[str, Any]:
    told: dict[str, Any] = dict(model._get_ls_params())  # noqa: SLF001 - as core asks
    told["ls_model_name"] = choice.model_name
    own = choice.own_rates
    return told if own is None else {**told, "llmops_prices": prices_of(own)}


def _larger(failed: ModelChoice, others: Sequence[ModelChoice]) -> list[ModelChoice]:
    """Those that take more than the one whose window was too small, or nobody knows how much."""
    most = failed.max_input()
    windows = ((each, each.max_input()) for each in others)
    return [each for each, window in windows if most is None or window is None or window > most]

"""One routed call: whom it asks, one after the other, until somebody answers."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from llmops_langchain.errors import LLMOpsError, NoCandidateError
from llmops_langchain.models import Rates
from llmops_langchain.routing.choice import ModelChoice
from llmops_langchain.routing.deciding import Deciding, overrides_of
from llmops_langchain.routing.decision import Decision
from llmops_langchain.routing.failures import is_overload, retry_after, way_on
from llmops_langchain.routing.request import Request, request_of
from llmops_langchain.storage.types import new_id
from llmops_langchain.wrapping import Run, as_attempt

__all__ = ["ROUTE", "Attempt", "Failed", "OnFailure", "Routed", "output_tokens"]

ROUTE = "llmops_route"
"""Key of `response_metadata`: who answered, and after how many attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An attempt that brought no answer."""

    attempt_id: UUID
    run_id: UUID
    choice: ModelChoice
    error: BaseException
    latency: float
    """Seconds until it failed."""
    metadata: Mapping[str, Any]


G = TypeVar("G", bound=ChatGeneration)

OnFailure = Callable[[Failed], None]
"""Is told of each attempt that failed and was followed by another, or by an error."""


@dataclass(slots=True)
class Attempt:
    """One choice that is asked."""

    choice: ModelChoice
    model: BaseChatModel
    arguments: dict[str, Any]
    run: Run
    began: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.perf_counter() - self.began

    def wait(self) -> None:
        """Wait for the model's own rate limiter, which core would ask."""
        if self.model.rate_limiter is not None:
            self.model.rate_limiter.acquire(blocking=True)

    async def await_turn(self) -> None:
        """`wait` for asyncio."""
        if self.model.rate_limiter is not None:
            await self.model.rate_limiter.aacquire(blocking=True)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While the model is asked, layers over it know that this is an attempt of the run."""
        with as_attempt(self.run):
            yield


class Routed:
    """A call between its decision and its answer.

    Args:
        deciding: The router's core.
        messages: What is asked.
        kwargs: What goes with the call, as the router was bound.
        run: What core shows of it.
        on_failure: Is told of failed attempts.
    """

    def __init__(
        self,
        deciding: Deciding,
        messages: Sequence[BaseMessage],
        kwargs: Mapping[str, Any],
        run: Run,
        on_failure: OnFailure | None,
    ) -> None:
        self._deciding, self._on_failure = deciding, on_failure
        self.run_id: UUID = run.run_id or new_id()
        self._run, self._kwargs = run, dict(kwargs)
        overrides = overrides_of(run.metadata, self._kwargs)
        self._request: Request = request_of(messages, self._kwargs)
        self.decision: Decision = deciding.decide(self._request, overrides)
        deciding.keep(self.run_id, self.decision, self._request)
        self._left = list(self.decision.ranked)
        self._errors: list[tuple[str, BaseException]] = []

    def next(self) -> Attempt:
        """The next attempt.

        Raises:
            Exception: The first model's error, with a note of all, when nobody is left.
        """
        while self._left:
            choice = self._left.pop(0)
            try:
                model = choice.chat_model()
                arguments = arguments_for(choice, model, self._kwargs)
            except Exception as error:  # noqa: BLE001 - one that cannot be made or bound is passed over
                self._note(choice, error)
                continue
            metadata = {**self._run.metadata, **_named(choice, model)}
            run = Run(metadata, new_id(), self.run_id)
            return Attempt(choice, model, arguments, run)
        raise self._nobody()

    def failed(self, attempt: Attempt, error: BaseException) -> None:
        """Go on after an error before the first chunk, or raise it."""
        way = way_on(error)
        if self._on_failure is not None:
            self._on_failure(
                Failed(
                    attempt_id=attempt.run.run_id,
                    run_id=self.run_id,
                    choice=attempt.choice,
                    error=error,
                    latency=attempt.seconds,
                    metadata=attempt.run.metadata,
                )
            )
        if way == "raise":
            raise error
        self._note(attempt.choice, error)
        if way == "larger":
            self._left = _larger(attempt.choice, self._left)
        elif not isinstance(error, LLMOpsError):  # that a budget has no room says nothing of it
            self._deciding.health.failed(
                attempt.choice.name, overloaded=is_overload(error), wait=retry_after(error)
            )

    def answered(self, attempt: Attempt, answer: ChatResult) -> ChatResult:
        """The answer, marked with who gave it."""
        self._deciding.answered(self.run_id, attempt.choice.name)
        self.ended(attempt, output_tokens(answer.generations[0]))
        marked = [self._marked(attempt, each) for each in answer.generations]
        return ChatResult(generations=marked, llm_output=answer.llm_output)

    def first(self, attempt: Attempt, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        """The first chunk, marked: only one may be, or the marks of all are put together."""
        self._deciding.answered(self.run_id, attempt.choice.name)
        return self._marked(attempt, chunk)

    def ended(self, attempt: Attempt, tokens: int | None) -> None:
        """The whole answer is there, with so many tokens."""
        health = self._deciding.health
        health.answered(attempt.choice.name, seconds=attempt.seconds, tokens=tokens)

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
            "attempts": len(self._errors) + 1,
        }
        own = choice.own_rates
        return mark if own is None else {**mark, "prices": prices_of(own)}

    def _note(self, choice: ModelChoice, error: BaseException) -> None:
        self._errors.append((choice.name, error))

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


def output_tokens(told: ChatGeneration) -> int | None:
    """Tokens of an answer, or of its chunk that tells; `None` if it does not."""
    usage = getattr(told.message, "usage_metadata", None) or {}
    return usage.get("output_tokens")


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

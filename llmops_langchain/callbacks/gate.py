"""Let a call through if its budgets have room for what it may cost, and hold that room for it."""

import asyncio
import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, NamedTuple
from uuid import UUID

from langchain_core.language_models import BaseChatModel, BaseLanguageModel
from langchain_core.messages import BaseMessage

from llmops_langchain.callbacks.estimates import (
    MOST_OUTPUT,
    Experience,
    cap_of,
    capping,
    choices,
    size_of,
)
from llmops_langchain.callbacks.living import Living
from llmops_langchain.callbacks.spent import rates_of
from llmops_langchain.callbacks.usage import UsageCallbackHandler
from llmops_langchain.clock import Clock
from llmops_langchain.errors import (
    BudgetExceededError,
    BudgetUnavailableError,
    ConfigurationError,
    StorageError,
    UnpricedModelError,
)
from llmops_langchain.ledger import (
    Amount,
    Governed,
    Ledger,
    Reservations,
    Scope,
    SharedFailure,
    Slices,
)
from llmops_langchain.models import PriceBook, Rates
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.tokens import model_name
from llmops_langchain.wrapping.scoping import scope_of

__all__ = ["Asked", "Gate", "OnFull", "Pass", "WhenFull"]

logger = logging.getLogger(__name__)

OnFull = Literal["raise", "wait"]
"""What a call does that its budget has no room for."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two looks whether there is room now: longer each time, since many may wait."""

_MOST_TRIES = 5
"""Times that budgets may change between two looks at them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhenFull:
    """What a guarded model does when a budget has no room for a call."""

    action: OnFull = "raise"
    """Raise at once, or wait until others' calls have cost less than was set aside for them."""
    timeout: float = 60.0
    """Seconds to wait before it raises all the same."""
    instead: BaseChatModel | None = None
    """A cheaper model that is asked then."""

    def __post_init__(self) -> None:
        if self.action not in ("raise", "wait"):
            msg = f"`on_full` is 'raise' or 'wait', got {self.action!r}"
            raise ConfigurationError(msg)
        if not isinstance(self.timeout, (int, float)) or not self.timeout >= 0:
            msg = f"`timeout` is in seconds and not negative, got {self.timeout!r}"
            raise ConfigurationError(msg)


class Asked(NamedTuple):
    """A call that wants to be let through."""

    model: BaseLanguageModel[Any]
    prompt: Sequence[BaseMessage] | str
    kwargs: Mapping[str, Any]
    metadata: Mapping[str, Any]
    run_id: UUID
    answers: int = 1
    """How many prompts of a text model are answered at once."""

    @property
    def model_name(self) -> str:
        """By which its price is known; of a model that says none, the name of its class."""
        named = self.metadata.get("ls_model_name") or model_name(self.model)
        return named or type(self.model).__name__


@dataclass(slots=True)
class Pass:
    """A call that was let through."""

    reservation_id: UUID | None = None
    """What was set aside for it alone; `None` where no budget limits it, or a slice pays."""
    cap: dict[str, int] = field(default_factory=dict)
    """Arguments that cap the answer, where a strict budget wants that."""
    slice_run: UUID | None = None
    """Its run, where a slice pays."""


class Gate:
    """Decides for each guarded call, and keeps what it set aside alive.

    Args:
        reservations: Sets money aside.
        ledger: Records the calls.
        usage: Counts them.
        prices: Knows what they cost.
        clock: Returns seconds since the Unix epoch.
        refuses_blindly: Refuse calls while the budgets' database does not answer.
        slices: What this process may spend by itself; without, each call asks the database.
        strict_output: Tokens a strict budget lets a call answer, where nothing else says.
    """

    _upkeep: ThreadPoolExecutor

    def __init__(
        self,
        reservations: Reservations,
        ledger: Ledger,
        usage: UsageCallbackHandler,
        prices: PriceBook,
        *,
        clock: Clock,
        refuses_blindly: bool = True,
        slices: Slices | None = None,
        strict_output: int = MOST_OUTPUT,
    ) -> None:
        self.usage = usage
        self._reservations, self._prices, self._clock = reservations, prices, clock
        self._refuses_blindly, self._strict_output = refuses_blindly, strict_output
        self._slices = slices
        self._experience = Experience()
        self.unguarded = 0
        """Calls let through because the budgets' database did not answer."""
        ledger.listen(self._experience.hear)
        self.after_fork()
        on_fork(self)

    def enter(self, asked: Asked, full: WhenFull) -> Pass:
        """Set aside what the call may cost.

        Raises:
            BudgetError: If it may not be made.
        """
        for pause in _pauses(full):
            try:
                return self._enter(asked, scope_of(asked.metadata), time.monotonic())
            except BudgetExceededError as error:
                if pause is None or error.requested > error.limit:
                    raise
            time.sleep(pause)
        raise AssertionError  # the last pause is none

    async def aenter(self, asked: Asked, full: WhenFull) -> Pass:
        """`enter` for asyncio: the database is asked in a worker thread."""
        if let := self._drawn(asked, scope_of(asked.metadata)):
            return let  # nothing of it blocks the loop
        for pause in _pauses(full):
            try:
                return await self._hop(asked)
            except BudgetExceededError as error:
                if pause is None or error.requested > error.limit:
                    raise
            await asyncio.sleep(pause)
        raise AssertionError  # the last pause is none

    def leave(self, let: Pass) -> None:
        """The call has ended; its event settles it."""
        self._living.end(let.reservation_id)

    def close(self) -> None:
        """End the threads; a later call starts them again."""
        workers, upkeep, living = self._workers, self._upkeep, self._living
        self.after_fork()
        # To their end, or they would ask a database that is closed by then. What they let in for
        # somebody who has gone is given back by the new upkeep.
        workers.shutdown()
        for each in (upkeep, self._upkeep):
            each.shutdown()
        self._upkeep = _upkeep()
        living.close()

    def goes_on_as(self, run_id: UUID, other: UUID) -> None:
        """A call that was let through under one id ends under another."""
        self._experience.goes_on_as(run_id, other)
        if self._slices is not None:
            self._slices.goes_on_as(run_id, other)

    def after_fork(self) -> None:
        """Start with threads of this process' own."""
        self._workers = ThreadPoolExecutor(4, "llmops-gate")
        self._upkeep = _upkeep()  # must not hold up who wants in
        self._failure = SharedFailure()
        self._living = Living(self._reservations.prolong, lease=self._reservations.lease)

    async def _hop(self, asked: Asked) -> Pass:
        scope = scope_of(asked.metadata)  # here: the worker thread has no context
        entering = self._workers.submit(self._enter, asked, scope, time.monotonic())
        try:
            return await asyncio.wrap_future(entering)
        except asyncio.CancelledError:
            # Whoever asked has gone: what is set aside for him a moment later is given back. The
            # thread's own future tells, for the loop may have ended by then.
            entering.add_done_callback(self._given_back)
            raise

    def _given_back(self, entering: "Future[Pass]") -> None:
        if entering.cancelled() or entering.exception() is not None:
            return
        self.leave(let := entering.result())
        if let.slice_run is not None and self._slices is not None:
            self._slices.undo(let.slice_run)
        elif let.reservation_id is not None:
            self._upkeep.submit(self._release, let.reservation_id)

    def _enter(self, asked: Asked, scope: Scope, since: float) -> Pass:
        try:
            with self._failure.shared_by(since):
                return self._reserved(asked, scope)
        except StorageError as error:
            if self._refuses_blindly:
                raise BudgetUnavailableError from error
            if not self.unguarded:
                logger.warning("budgets cannot be asked, calls go unguarded: %s", error)
            self.unguarded += 1
            return Pass()

    def _drawn(self, asked: Asked, scope: Scope) -> Pass | None:
        """A pass of a slice at hand; the database is not asked."""
        slices, governed = self._slices, self._reservations.known(scope)
        if slices is None or not governed.budgets:
            return None
        let, amount = self._priced(asked, governed)
        drawn = slices.draw(governed, amount.most, asked.run_id)
        if drawn is None:
            return None
        if drawn.renewal_is_due:
            self._upkeep.submit(_renew, slices, drawn.reservation_id)
        self._settled_by(asked, drawn.reservation_id, governed, amount)
        return Pass(None, let.cap, asked.run_id)  # its lease is the slice's

    def _reserved(self, asked: Asked, scope: Scope) -> Pass:
        if let := self._drawn(asked, scope):
            return let
        for _ in range(_MOST_TRIES):
            governed = self._reservations.governing(scope)
            if not governed.budgets:
                return Pass()
            let, amount = self._priced(asked, governed)
            about = _about(scope, asked, self._clock())
            if self._slices and (
                taken := self._slices.take(governed, amount.most, asked.run_id, about)
            ):
                self._settled_by(asked, taken, governed, amount)
                return Pass(None, let.cap, asked.run_id)
            let.reservation_id = self._set_aside(governed, amount, about, asked.run_id)
            if let.reservation_id is not None:
                self._settled_by(asked, let.reservation_id, governed, amount)
                self._living.begin(let.reservation_id)
                return let
        msg = "budgets change faster than a call can be made"
        raise StorageError(msg)

    def _set_aside(
        self, governed: Governed, amount: Amount, about: Mapping[str, Any], run_id: UUID
    ) -> UUID | None:
        reserve = partial(self._reservations.reserve, governed, amount, about=about, run_id=run_id)
        try:
            return reserve()
        except BudgetExceededError:
            # What this process holds and does not use may be the room that is missing.
            if self._slices is None or not self._slices.give_back():
                raise
        return reserve()

    def _settled_by(
        self, asked: Asked, reservation_id: UUID, governed: Governed, amount: Amount
    ) -> None:
        self.usage.settles(
            asked.run_id,
            reservation_id,
            model=asked.model_name,
            provider=asked.metadata.get("ls_provider"),
            # Of a call that is cut off nobody knows how much the provider went on to make.
            at_risk=amount.at_risk if governed.is_strict else 0,
        )

    def _priced(self, asked: Asked, governed: Governed) -> tuple[Pass, Amount]:
        """What to set aside, with the cap that a strict budget wants."""
        name = asked.model_name
        rates = self._rates(asked, name, governed)
        let, each = Pass(), self._answer(asked, name, governed)
        if governed.is_strict and cap_of(asked.model, asked.kwargs) is None:
            let.cap = _capped(asked, each)
        answers = choices(asked.model, asked.kwargs) * asked.answers
        size = size_of(asked.prompt, name, asked.kwargs, output_tokens=each * answers)
        self._experience.asked(asked.run_id, name, size.input_tokens)
        size = replace(size, input_tokens=self._experience.corrected(name, size.input_tokens))
        most = size.most(rates)
        at_risk = most if governed.is_strict else size.at_risk(rates)
        return let, Amount(most, at_risk)

    def _rates(self, asked: Asked, name: str, governed: Governed) -> Rates:
        tier = asked.kwargs.get("service_tier") or vars(asked.model).get("service_tier")
        provider = asked.metadata.get("ls_provider")
        own = rates_of(asked.metadata.get("llmops_prices"))
        rates = own or self._prices.rates(name, provider, tier=tier)
        if rates is None:
            raise UnpricedModelError(name, scope=governed.budgets[0].budget.name)
        return rates

    def _answer(self, asked: Asked, name: str, governed: Governed) -> int:
        """Tokens to set aside for an answer.

        The classes of some providers have caps of their own as long as the model can write: such a
        one says nothing of the next answer, unless it must be strictly kept.
        """
        cap, expected = cap_of(asked.model, asked.kwargs), self._experience.expected_output(name)
        if governed.is_strict:
            return cap or self._most_output(asked.model)
        says_so = cap_of(asked.model, {}) != cap or (cap or 0) <= self._strict_output
        return cap if cap is not None and says_so else min(cap or expected, expected)

    def _most_output(self, model: BaseLanguageModel[Any]) -> int:
        profile = getattr(model, "profile", None) or {}
        return min(self._strict_output, profile.get("max_output_tokens") or self._strict_output)

    def _release(self, reservation_id: UUID) -> None:
        try:
            self._reservations.release(reservation_id)
        except StorageError as error:
            logger.warning("a reservation could not be given back, it expires: %s", error)


def _upkeep() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "llmops-upkeep")


def _renew(slices: Slices, reservation_id: UUID) -> None:
    try:
        slices.renew(reservation_id)
    except StorageError as error:
        logger.warning("a slice could not be prolonged, it ends with its lease: %s", error)


def _pauses(full: WhenFull) -> Iterator[float | None]:
    """Seconds to wait after each refusal; `None` after the last one."""
    deadline, pause = time.monotonic() + full.timeout, _FIRST_PAUSE
    while full.action == "wait" and time.monotonic() < deadline:
        yield min(pause, max(0.0, deadline - time.monotonic())) * random.uniform(0.5, 1)  # noqa: S311 - spreads who waits
        pause = min(1.5 * pause, _LONGEST_PAUSE)
    yield None


def _capped(asked: Asked, cap: int) -> dict[str, int]:
    name = capping(asked.model, asked.kwargs)
    if name is None:
        msg = (
            f"a strict budget caps answers, and {type(asked.model).__name__!r} takes no cap: "
            "give the call a `max_tokens=` that it honours, or set the budget with `strict=False`"
        )
        raise ConfigurationError(msg)
    return {name: cap}


def _about(scope: Scope, asked: Asked, now: float) -> dict[str, Any]:
    """What the event of an abandoned call says."""
    return {
        "ts": now,
        "workspace": scope.workspace,
        "project": scope.project,
        "task": scope.task,
        "user": scope.user,
        "agent": scope.agent,
        "thread": scope.thread,
        "tags": dict(scope.tags) or None,
        "provider": asked.metadata.get("ls_provider"),
        "model": asked.model_name,
    }

"""The gate as a rate limiter, for models that cannot be guarded: `ChatOpenAI(rate_limiter=…)`."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from langchain_core.language_models import BaseChatModel
from langchain_core.outputs import ChatResult
from langchain_core.rate_limiters import BaseRateLimiter
from typing_extensions import override

from llmops_langchain.callbacks.gate import Asked, Gate, Pass, WhenFull
from llmops_langchain.callbacks.runs import WatchedCall
from llmops_langchain.errors import (
    BudgetError,
    BudgetExceededError,
    BudgetUnavailableError,
    StorageError,
)
from llmops_langchain.ledger import Event, Ledger, Reservations, current_scope

__all__ = ["BudgetGate"]

_AT_ONCE = WhenFull()


class BudgetGate(BaseRateLimiter):
    """Asks the budgets before each call of the models that it is the rate limiter of.

    A guarded model is better served; this is for one that other code makes and only lets have a
    rate limiter. What the call may cost is set aside, and the call's event settles it. Several
    models, threads and tasks may share one. Its limits:

    - LangChain tells a rate limiter nothing: the usage handler on the run (`ops.track`, or
      `callbacks=[ops.usage]`) knows the call. A call that no handler watches is refused while hard
      budgets limit it, and passes otherwise.
    - It changes no call, so it cannot cap an answer: with a strict budget, give the model a
      `max_tokens` of its own, or each call is refused.
    - Of `generate([a, b])` it sees the last prompt, and sets that much aside for each of them.
    - Tokens that arrive do not prolong the lease: `Settings(budget_lease=…)` must be longer than
      the longest stream. A cancelled `ainvoke` is counted with its input when the lease ends.
    - Text models of LangChain have no rate limiter.

    A cache laid over the model (`ops.cached`) asks it only where the model is asked. A model takes
    one rate limiter: where requests a second are limited too, guard the model instead.

    Args:
        gate: Decides.
        reservations: Gives back what is held twice.
        ledger: Tells which calls have ended.
        full: What to do when there is no room.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> from llmops_langchain import Budget, BudgetExceededError, LLMOps, Settings
        >>> priced = Settings(fallback_price=(3, 15))
        >>> with LLMOps("sqlite://", priced) as ops, ops.track(project="shop"):
        ...     shown = ops.budgets.set(Budget(project="shop", limit="0.01"))
        ...     model = FakeListChatModel(responses=["hi"], rate_limiter=ops.budget_gate())
        ...     try:
        ...         model.invoke("hello")
        ...     except BudgetExceededError as error:
        ...         print(error.scope)
        project 'shop'
    """

    def __init__(
        self, gate: Gate, reservations: Reservations, ledger: Ledger, *, full: WhenFull = _AT_ONCE
    ) -> None:
        self._gate, self._usage, self._full = gate, gate.usage, full
        self._reservations = reservations
        # A run is let through once for each prompt of its batch, and settles one reservation.
        self._held: dict[UUID, list[UUID]] = {}
        self._spare: list[UUID] = []
        ledger.listen(self._hear)
        ledger.flush_too(self._give_back)

    @override
    def acquire(self, *, blocking: bool = True) -> bool:
        """Set aside what the call may cost.

        Args:
            blocking: Without, there is no waiting, and `False` instead of a
                `BudgetExceededError`.

        Raises:
            BudgetError: If the call may not be made.
        """
        if (asked := self._asked()) is None:
            self._check_unwatched()
            return True
        try:
            let = self._gate.enter(asked, self._full if blocking else _AT_ONCE)
        except Exception as error:  # noqa: BLE001 - raised again
            return self._refused(asked, error, blocking=blocking)
        return self._passed(asked, let)

    @override
    async def aacquire(self, *, blocking: bool = True) -> bool:
        """`acquire` for asyncio: the database is asked in a worker thread."""
        if (asked := self._asked()) is None:
            await asyncio.to_thread(self._check_unwatched)
            return True
        try:
            let = await self._gate.aenter(asked, self._full if blocking else _AT_ONCE)
        except Exception as error:  # noqa: BLE001 - raised again
            return self._refused(asked, error, blocking=blocking)
        return self._passed(asked, let)

    def _asked(self) -> Asked | None:
        """The call of the run that began last in this context; `None` if nobody watches it."""
        run_id = self._usage.started()
        watched = None if run_id is None else self._usage.prompt_of(run_id)
        if run_id is None or watched is None:
            return None
        return Asked(_MODEL, watched.prompt, watched.settings, _metadata(watched), run_id)

    def _check_unwatched(self) -> None:
        try:
            governed = self._reservations.governing(current_scope())
        except StorageError as error:
            raise BudgetUnavailableError from error
        if governed.budgets:
            msg = (
                f"{governed.budgets[0].budget.name} has a hard budget, and no usage handler is on "
                "this run to tell what it may cost: make the call inside `ops.track(…)`, or with "
                "`callbacks=[ops.usage]`"
            )
            raise BudgetError(msg)

    def _refused(self, asked: Asked, error: Exception, *, blocking: bool) -> bool:
        if isinstance(error, BudgetExceededError) and not blocking:
            return False
        # Of a stream, core tells nobody what its rate limiter raised.
        self._usage.on_llm_error(error, run_id=asked.run_id)
        raise error

    def _passed(self, asked: Asked, let: Pass) -> bool:
        if let.reservation_id is not None:
            self._held.setdefault(asked.run_id, []).append(let.reservation_id)
        return True

    def _hear(self, event: Event) -> None:
        """Its event settles one of what a run holds; the rest is spare."""
        held = self._held.pop(event.id, ())
        for each in held:
            self._gate.leave(Pass(each))
        self._spare += [each for each in held if each != event.reservation_id]

    def _give_back(self) -> None:
        """After a flush: what the events cost is counted by now."""
        for run_id in list(self._held):
            if not self._usage.watches(run_id):
                for each in self._held.pop(run_id, ()):  # given up: its lease counts it
                    self._gate.leave(Pass(each))
        while self._spare:
            spare = self._spare.pop()
            try:
                self._reservations.release(spare)
            except BaseException:
                self._spare.append(spare)
                raise


class ModelBehindBudgetGate(BaseChatModel):
    """Stands for the model that asks its rate limiter, which is not told who asks."""

    @property
    @override
    def _llm_type(self) -> str:
        return "behind-budget-gate"

    @override
    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError


_MODEL = ModelBehindBudgetGate()


def _metadata(watched: WatchedCall) -> Mapping[str, Any]:
    """Metadata that the call's own scope, provider and model follow from."""
    scope = watched.scope
    return {
        "workspace": scope.workspace,
        "project": scope.project,
        "task": scope.task,
        "user": scope.user,
        "agent": scope.agent,
        "thread_id": scope.thread,
        "ls_provider": watched.provider,
        "ls_model_name": watched.model,
    }

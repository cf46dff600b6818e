"""Set budgets, and see how far they are used."""

import asyncio
import builtins
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, cast

from sqlalchemy import Connection, delete

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import ConfigurationError, StorageError
from llmops_langchain.ledger.budget import (
    Budget,
    BudgetAlert,
    BudgetStatus,
    Period,
)
from llmops_langchain.ledger.budget_alerts import (
    Raised,
    log_alerts,
    mark_told,
    raise_alerts,
    reached,
    take_untold,
    told_alerts,
)
from llmops_langchain.ledger.budget_forgetting import forget_person
from llmops_langchain.ledger.budget_rows import forget_billed, locked_windows
from llmops_langchain.ledger.budget_table import (
    all_budgets,
    forget_alerts,
    set_sums,
    spent_since,
    status,
    statuses,
    the_one,
    upserted,
)
from llmops_langchain.ledger.known_budgets import (
    bump,
    read_index,
)
from llmops_langchain.ledger.ledger import Ledger
from llmops_langchain.ledger.reservations import Reservations
from llmops_langchain.ledger.scope import Scope
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Subject
from llmops_langchain.storage.schema import budgets

__all__ = ["Budgets"]

logger = logging.getLogger(__name__)

Also = Callable[[Connection], None]
"""What else is to be committed with a change."""

_LATEST = 7 * 86_400.0
"""Seconds that the event of a call given up may still come, from a journal."""

_NAMES = ("workspace", "project", "user", "agent")


class Budgets:
    """The budgets of one database; safe among threads and processes.

    Args:
        database: Where they are.
        ledger: Brings what calls cost to them.
        reservations: Sets aside what calls under way may cost.
        clock: Returns seconds since the Unix epoch.

    Example:
        >>> from llmops_langchain import LLMOps
        >>> with LLMOps("sqlite://") as ops:
        ...     ops.budgets.set(Budget(project="checkout", limit="20", period="month")).remaining
        Decimal('20')
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        reservations: Reservations,
        *,
        clock: Clock = system_clock,
    ) -> None:
        self._database, self._ledger, self._clock = database, ledger, clock
        self._reservations = reservations
        self._told: list[Callable[[BudgetAlert], None]] = []
        ledger.tell = self._tell

    def set(self, budget: Budget, *, also: Also | None = None) -> BudgetStatus:
        """Make a budget, or change the one of the same scope and period.

        What the scope's calls have cost since the period began counts from the start.

        Args:
            budget: What may be spent.
            also: Done first in the same transaction; what it raises keeps the budget as it was.

        Raises:
            ConfigurationError: If it is no `Budget`.
            StorageError: If the database cannot keep it.
        """
        if not isinstance(cast("object", budget), Budget):
            msg = f"a `Budget(limit=…, project=…)` is needed, got {type(budget).__name__!r}"
            raise ConfigurationError(msg)
        self._ledger.flush()
        now = self._clock()
        with self._database.begin() as connection:
            if also is not None:
                also(connection)
            bump(connection)
            kept, is_new = upserted(connection, budget, now)
            window = kept.window(now)
            sums = locked_windows(connection, [window])[window]
            if is_new:
                sums = sums._replace(spent=spent_since(connection, budget, window.start))
                set_sums(connection, window, spent=sums.spent, counted_from=window.start)
            forget_alerts(connection, kept, window.start, sums.spent)
            index = read_index(connection)
            found = reached(index, {window: (-1, sums.spent + 1)})
            raised = raise_alerts(connection, found, ts=now, now=now)
        self._ledger.settlement.known.refresh(self._database)
        self._tell(raised)
        return status(kept.budget, sums, window.start)

    def get(
        self,
        *,
        workspace: str | None = None,
        project: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        period: Period | None = None,
    ) -> BudgetStatus:
        """The budget that names just this, in its present period, with all this process recorded.

        Args:
            workspace: As it was set; likewise `project`, `user`, `agent`.
            project: See `workspace`.
            user: See `workspace`.
            agent: See `workspace`.
            period: Which, if the scope has budgets of several periods.

        Raises:
            NotFoundError: If there is none.
            ConfigurationError: If there are several, and no `period`.
            StorageError: If the database cannot answer.
        """
        self._ledger.flush()
        named = (workspace, project, user, agent)
        with self._database.begin(read_only=True) as connection:
            kept = the_one(connection, named, period)
            return statuses(connection, [kept], self._clock())[0]

    def list(self) -> builtins.list[BudgetStatus]:
        """Every budget in its present period, in the order they were made.

        Raises:
            StorageError: If the database cannot answer.
        """
        self._ledger.flush()
        with self._database.begin(read_only=True) as connection:
            return statuses(connection, all_budgets(connection), self._clock())

    def counting(self, scope: Scope) -> builtins.list[BudgetStatus]:
        """Every budget, hard or soft, that counts the calls of a scope.

        Raises:
            StorageError: If the database cannot answer.
        """
        self._ledger.flush()
        index = self._ledger.settlement.known.refresh(self._database)
        with self._database.begin(read_only=True) as connection:
            return statuses(connection, index.counting(scope), self._clock())

    def left(self, scope: Scope) -> builtins.list[Decimal]:
        """US dollars that each hard budget has left for a scope, as of the last events written.

        Raises:
            StorageError: If the database cannot answer.
        """
        index, now = self._ledger.settlement.known.refresh(self._database), self._clock()
        hard = [each for each in index.counting(scope) if each.budget.hard]
        if not hard:
            return []
        with self._database.begin(read_only=True) as connection:
            return [each.remaining for each in statuses(connection, hard, now)]

    def reset(
        self,
        *,
        workspace: str | None = None,
        project: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        period: Period | None = None,
    ) -> BudgetStatus:
        """Count from now on: what was spent in this period is forgiven; arguments as for `get`.

        What calls under way have set aside stays so.

        Raises:
            NotFoundError: If there is none.
            ConfigurationError: If there are several, and no `period`.
            StorageError: If the database cannot do it.
        """
        self._ledger.flush()
        now, named = self._clock(), (workspace, project, user, agent)
        with self._database.begin() as connection:
            kept = the_one(connection, named, period)
            window = kept.window(now)
            sums = locked_windows(connection, [window])[window]
            set_sums(connection, window, spent=0, counted_from=now)
            forget_alerts(connection, kept, window.start, 0)
            return status(kept.budget, sums._replace(spent=0), window.start)

    def remove(
        self,
        *,
        workspace: str | None = None,
        project: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        period: Period | None = None,
        also: Also | None = None,
    ) -> None:
        """Take a budget away, with what it counted; arguments and errors as for `get` and `set`."""
        named = (workspace, project, user, agent)
        with self._database.begin() as connection:
            if also is not None:
                also(connection)
            bump(connection)
            kept = the_one(connection, named, period)
            connection.execute(delete(budgets).where(budgets.c.id == kept.id))
        self._ledger.settlement.known.refresh(self._database)

    def on_alert(self, told: Callable[[BudgetAlert], None]) -> Callable[[BudgetAlert], None]:
        """Call `told` when a budget reaches 50, 75, 90 and 100 % of a period, each once.

        Of all processes the one that stored the call tells it, in the thread that brings events to
        the database. The last one is also told when a budget that is 90 % spent refuses a call.
        An alert that was not told because its process died, `maintain` tells. Without any `told`,
        alerts go to the log, so each process that makes calls registers one. May be used as a
        decorator.

        Raises:
            ConfigurationError: If `told` cannot be called, or is a coroutine function.
        """
        if not callable(told) or inspect.iscoroutinefunction(told):
            msg = (
                f"an alert is told to a plain function of one argument, got {told!r}: it is called "
                "in a thread, so let it start a task by itself if it must"
            )
            raise ConfigurationError(msg)
        self._told.append(told)
        return told

    def alerts(self) -> builtins.list[BudgetAlert]:
        """The shares that were reached in the present periods, oldest first."""
        self._ledger.flush()
        with self._database.begin(read_only=True) as connection:
            kept = all_budgets(connection)
            now = self._clock()
            return told_alerts(connection, {each.window(now): each for each in kept})

    def maintain(self, now: float) -> Mapping[str, int]:
        """Settle what nobody told the end of, and tell alerts that were not told."""
        swept = self._reservations.sweep(now)
        with self._database.begin() as connection:
            index = self._ledger.settlement.known.settled(connection)
            untold = take_untold(connection, index, now)
            forgotten = forget_billed(connection, before=now - _LATEST)
        self._tell(untold)
        return {
            "abandoned calls": swept,
            "alerts told": len(untold),
            "reservations forgotten": forgotten,
        }

    def forget(self, whom: Subject) -> int:
        """Delete a person's own budgets, and the name from what is set aside; how many rows."""
        with self._database.begin() as connection:
            return forget_person(connection, whom)

    async def aset(self, budget: Budget) -> BudgetStatus:
        """`set` in a worker thread."""
        return await asyncio.to_thread(self.set, budget)

    async def aget(self, **named: Any) -> BudgetStatus:
        """`get` in a worker thread."""
        return await asyncio.to_thread(partial(self.get, **named))

    async def alist(self) -> builtins.list[BudgetStatus]:
        """`list` in a worker thread."""
        return await asyncio.to_thread(self.list)

    async def areset(self, **named: Any) -> BudgetStatus:
        """`reset` in a worker thread."""
        return await asyncio.to_thread(partial(self.reset, **named))

    async def aremove(self, **named: Any) -> None:
        """`remove` in a worker thread."""
        await asyncio.to_thread(partial(self.remove, **named))

    def _tell(self, raised: Sequence[Raised]) -> None:
        for each in raised:
            if not self._is_heard(each.alert):
                continue  # `maintain` tells it again
            if not self._told:
                log_alerts([each])
            try:
                with self._database.begin() as connection:
                    mark_told(connection, each, self._clock())
            except StorageError as error:
                logger.warning("an alert may be told twice: %s", type(error).__name__)

    def _is_heard(self, alert: BudgetAlert) -> bool:
        """Tell everybody; whether at least one of them took it."""
        failed = 0
        for told in self._told:
            try:
                told(alert)
            except Exception as error:  # noqa: BLE001 - the user's code; the others are told
                failed += 1
                logger.warning(
                    "%s has reached %d %% of its budget, which could not be told: %s",
                    alert.budget.name,
                    round(100 * alert.threshold),
                    type(error).__name__,
                )
        return not failed or failed < len(self._told)

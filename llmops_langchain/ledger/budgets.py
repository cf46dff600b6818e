"""Set budgets, and see how far they are used."""

import asyncio
import builtins
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import ConfigurationError, NotFoundError
from llmops_langchain.ledger.budget import (
    Budget,
    BudgetAlert,
    BudgetStatus,
    Period,
    period_end,
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
from llmops_langchain.ledger.budget_rows import (
    Sums,
    forget_billed,
    locked_windows,
    read_windows,
)
from llmops_langchain.ledger.known_budgets import (
    KeptBudget,
    Window,
    budget_of,
    bump,
    keyed,
    scope_key,
)
from llmops_langchain.ledger.ledger import Ledger
from llmops_langchain.ledger.reservations import Reservations
from llmops_langchain.ledger.scope import Scope
from llmops_langchain.models import dollars
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Subject
from llmops_langchain.storage.schema import budget_alerts, budget_windows, budgets, events
from llmops_langchain.storage.types import new_id

__all__ = ["Budgets"]

logger = logging.getLogger(__name__)

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

    def set(self, budget: Budget) -> BudgetStatus:
        """Make a budget, or change the one of the same scope and period.

        What the scope's calls have cost since the period began counts from the start.

        Raises:
            StorageError: If the database cannot keep it.
        """
        self._ledger.flush()
        now = self._clock()
        with self._database.begin() as connection:
            bump(connection)
            kept, is_new = _upserted(connection, budget, now)
            window = kept.window(now)
            sums = locked_windows(connection, [window])[window]
            if is_new:
                sums = sums._replace(spent=_spent_since(connection, budget, window.start))
                _set_sums(connection, window, spent=sums.spent, counted_from=window.start)
            _forget_alerts(connection, kept, window.start, sums.spent)
            index = self._ledger.settlement.known.settled(connection)
            found = reached(index, {window: (-1, sums.spent + 1)})
            raised = raise_alerts(connection, found, ts=now)
        self._tell(raised)
        return _status(kept.budget, sums, window.start)

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
            kept = _the_one(connection, named, period)
            return _statuses(connection, [kept], self._clock())[0]

    def list(self) -> builtins.list[BudgetStatus]:
        """Every budget in its present period, in the order they were made.

        Raises:
            StorageError: If the database cannot answer.
        """
        self._ledger.flush()
        with self._database.begin(read_only=True) as connection:
            return _statuses(connection, _all(connection), self._clock())

    def counting(self, scope: Scope) -> builtins.list[BudgetStatus]:
        """Every budget, hard or soft, that counts the calls of a scope.

        Raises:
            StorageError: If the database cannot answer.
        """
        self._ledger.flush()
        index = self._ledger.settlement.known.refresh(self._database)
        with self._database.begin(read_only=True) as connection:
            return _statuses(connection, index.counting(scope), self._clock())

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
            kept = _the_one(connection, named, period)
            window = kept.window(now)
            sums = locked_windows(connection, [window])[window]
            _set_sums(connection, window, spent=0, counted_from=now)
            _forget_alerts(connection, kept, window.start, 0)
            return _status(kept.budget, sums._replace(spent=0), window.start)

    def remove(
        self,
        *,
        workspace: str | None = None,
        project: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        period: Period | None = None,
    ) -> None:
        """Take a budget away, with what it counted; arguments and errors as for `get`."""
        named = (workspace, project, user, agent)
        with self._database.begin() as connection:
            bump(connection)
            kept = _the_one(connection, named, period)
            connection.execute(delete(budgets).where(budgets.c.id == kept.id))
            self._ledger.settlement.known.settled(connection)

    def on_alert(self, told: Callable[[BudgetAlert], None]) -> Callable[[BudgetAlert], None]:
        """Call `told` when a budget reaches 50, 75, 90 and 100 % of a period, each once.

        Of all processes the one that stored the call tells it, in the thread that brings events to
        the database. The last one is also told when a budget that is 90 % spent refuses a call.
        An alert that was not told because its process died, `maintain` tells. Without any `told`,
        alerts go to the log. May be used as a decorator.
        """
        self._told.append(told)
        return told

    def alerts(self) -> builtins.list[BudgetAlert]:
        """The shares that were reached in the present periods, oldest first."""
        self._ledger.flush()
        with self._database.begin(read_only=True) as connection:
            kept = _all(connection)
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
            try:
                for told in self._told:
                    told(each.alert)
                if not self._told:
                    log_alerts([each])
                with self._database.begin() as connection:
                    mark_told(connection, each, self._clock())
            except Exception as error:  # noqa: BLE001 - the user's, or storage: `maintain` tells it again
                logger.warning("an alert could not be told: %s", type(error).__name__)


def _upserted(connection: Connection, budget: Budget, now: float) -> tuple[KeptBudget, bool]:
    """The budget's row, and whether it is new."""
    key = and_(budgets.c.scope == scope_key(budget.scope), budgets.c.period == budget.period)
    found = connection.execute(select(budgets.c.id).where(key)).scalar()
    values = {
        "amount": budget.amount,
        "hard": budget.hard,
        "strict": budget.strict,
        "changed_at": now,
    }
    if found is not None:
        connection.execute(update(budgets).where(budgets.c.id == found).values(values))
        return KeptBudget(found, budget), False
    kept = KeptBudget(new_id(), budget)
    scope = dict(zip(_NAMES, budget.scope, strict=True))
    row = {"id": kept.id, "scope": scope_key(budget.scope), "period": budget.period}
    connection.execute(insert(budgets).values({**values, **scope, **row}))
    return kept, True


def _spent_since(connection: Connection, budget: Budget, start: float) -> int:
    """What the stored calls of the scope have cost that began since."""
    scope = [
        events.c[name] == value
        for name, value in zip(_NAMES, budget.scope, strict=True)
        if value is not None
    ]
    began = events.c.ts - func.coalesce(events.c.latency, 0.0)
    asked = select(func.coalesce(func.sum(events.c.cost), 0)).where(
        events.c.ts >= start, began >= start, *scope
    )
    return int(connection.execute(asked).scalar_one())


def _set_sums(connection: Connection, window: Window, *, spent: int, counted_from: float) -> None:
    values = {
        "of_budget": window.budget_id,
        "since": window.start,
        "spent_now": spent,
        "from_now": counted_from,
    }
    connection.execute(_SUMS_OF, values)


def _forget_alerts(connection: Connection, kept: KeptBudget, start: float, spent: int) -> None:
    """Shares that are not reached any more may be told anew."""
    share = spent / kept.budget.amount if kept.budget.amount else 1.0
    values = {"of_budget": kept.id, "since": start, "share": share}
    connection.execute(_ALERTS_ABOVE, values)


def _the_one(
    connection: Connection, named: tuple[str | None, ...], period: Period | None
) -> KeptBudget:
    asked = select(*keyed(budgets)).where(budgets.c.scope == scope_key(named))
    found = [budget_of(row) for row in connection.execute(asked)]
    wanted = [kept for kept in found if period in (None, kept.budget.period)]
    if len(wanted) == 1:
        return wanted[0]
    periods = ", ".join(sorted(kept.budget.period for kept in found))
    if not wanted:
        words = ", ".join(f"{k}={v!r}" for k, v in zip(_NAMES, named, strict=True) if v)
        there = f" of this period; there is: {periods}" if found else ""
        msg = f"no budget for {words or 'everything'}{there}"
        raise NotFoundError(msg)
    msg = f"there are budgets of several periods: say `period=` ({periods})"
    raise ConfigurationError(msg)


def _all(connection: Connection) -> builtins.list[KeptBudget]:
    rows = connection.execute(select(*keyed(budgets)).order_by(budgets.c.id))
    return [budget_of(row) for row in rows]


def _statuses(
    connection: Connection, kept: Sequence[KeptBudget], now: float
) -> builtins.list[BudgetStatus]:
    windows = [each.window(now) for each in kept]
    sums = read_windows(connection, windows)
    nothing = Sums(0, 0, 0.0)
    return [
        _status(each.budget, sums.get(window, nothing), window.start)
        for each, window in zip(kept, windows, strict=True)
    ]


def _status(budget: Budget, sums: Sums, start: float) -> BudgetStatus:
    return BudgetStatus(
        budget=budget,
        spent=dollars(sums.spent),
        reserved=dollars(sums.reserved),
        period_start=start,
        resets_at=period_end(budget.period, start),
    )


_SUMS_OF = (
    update(budget_windows)
    .where(
        budget_windows.c.budget_id == bindparam("of_budget"),
        budget_windows.c.start == bindparam("since"),
    )
    .values(spent=bindparam("spent_now"), counted_from=bindparam("from_now"))
)
_ALERTS_ABOVE = delete(budget_alerts).where(
    budget_alerts.c.budget_id == bindparam("of_budget"),
    budget_alerts.c.start == bindparam("since"),
    budget_alerts.c.threshold > bindparam("share"),
)

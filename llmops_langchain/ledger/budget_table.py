"""The rows of budgets: made, found, and read with their sums."""

from collections.abc import Sequence

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update

from llmops_langchain.errors import ConfigurationError, NotFoundError
from llmops_langchain.ledger.budget import Budget, BudgetStatus, Period, period_end
from llmops_langchain.ledger.budget_rows import Sums, read_windows
from llmops_langchain.ledger.known_budgets import (
    KeptBudget,
    Window,
    budget_of,
    keyed,
    scope_key,
)
from llmops_langchain.models import dollars
from llmops_langchain.storage.schema import budget_alerts, budget_windows, budgets, events
from llmops_langchain.storage.types import new_id

__all__ = [
    "all_budgets",
    "forget_alerts",
    "set_sums",
    "spent_since",
    "status",
    "statuses",
    "the_one",
    "upserted",
]

_NAMES = ("workspace", "project", "user", "agent")


def upserted(connection: Connection, budget: Budget, now: float) -> tuple[KeptBudget, bool]:
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


def spent_since(connection: Connection, budget: Budget, start: float) -> int:
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


def set_sums(connection: Connection, window: Window, *, spent: int, counted_from: float) -> None:
    """Say what was spent in a window that is locked, and from when on it counts."""
    values = {
        "of_budget": window.budget_id,
        "since": window.start,
        "spent_now": spent,
        "from_now": counted_from,
    }
    connection.execute(_SUMS_OF, values)


def forget_alerts(connection: Connection, kept: KeptBudget, start: float, spent: int) -> None:
    """Shares that are not reached any more may be told anew."""
    share = spent / kept.budget.amount if kept.budget.amount else 1.0
    values = {"of_budget": kept.id, "since": start, "share": share}
    connection.execute(_ALERTS_ABOVE, values)


def the_one(
    connection: Connection, named: tuple[str | None, ...], period: Period | None
) -> KeptBudget:
    """The budget that names just this.

    Raises:
        NotFoundError: If there is none.
        ConfigurationError: If there are several, and no `period`.
    """
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


def all_budgets(connection: Connection) -> list[KeptBudget]:
    """Every budget, in the order they were made."""
    rows = connection.execute(select(*keyed(budgets)).order_by(budgets.c.id))
    return [budget_of(row) for row in rows]


def statuses(connection: Connection, kept: Sequence[KeptBudget], now: float) -> list[BudgetStatus]:
    """The budgets in the periods of this moment."""
    windows = [each.window(now) for each in kept]
    sums = read_windows(connection, windows)
    nothing = Sums(0, 0, 0.0)
    return [
        status(each.budget, sums.get(window, nothing), window.start)
        for each, window in zip(kept, windows, strict=True)
    ]


def status(budget: Budget, sums: Sums, start: float) -> BudgetStatus:
    """A budget and its sums in the period that began then."""
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

"""Shares of budgets that were reached: each is one row, and whoever makes the row tells it."""

import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.ledger.budget import THRESHOLDS, BudgetAlert
from llmops_langchain.ledger.known_budgets import BudgetIndex, KeptBudget, Window
from llmops_langchain.models import dollars
from llmops_langchain.storage.schema import budget_alerts

__all__ = [
    "Raised",
    "log_alerts",
    "mark_told",
    "raise_alerts",
    "reached",
    "take_untold",
    "told_alerts",
]

logger = logging.getLogger(__name__)

_CLAIM = 60.0
"""Seconds that whoever raised an alert has to tell it, before another process may."""

_COUNTED = {"preserve_rowcount": True}  # of an INSERT too

_alerts = budget_alerts.c


class Raised(NamedTuple):
    """An alert that is to be told, and its row."""

    window: Window
    alert: BudgetAlert


def reached(
    index: BudgetIndex, grown: Mapping[Window, tuple[int, int]]
) -> list[tuple[KeptBudget, Window, float, int]]:
    """Which thresholds lie between what was spent before and what is now.

    Args:
        index: The budgets.
        grown: Of each window what was spent, and what came to it, nano-dollars.

    Returns:
        Budget, window, threshold and what is spent now.
    """
    return [
        (kept, window, threshold, before + more)
        for window, (before, more) in grown.items()
        if (kept := index.by_id.get(window.budget_id)) and kept.budget.amount
        for threshold in THRESHOLDS
        if before < threshold * kept.budget.amount <= before + more
    ]


def raise_alerts(
    connection: Connection,
    found: Iterable[tuple[KeptBudget, Window, float, int]],
    *,
    ts: float,
    now: float,
) -> list[Raised]:
    """Note the thresholds; those that nobody noted before are the caller's to tell.

    Args:
        connection: In a transaction.
        found: What `reached` told.
        ts: When they were reached.
        now: From when on the caller has time to tell them.
    """
    into = _RAISE[connection.dialect.name]
    raised = []
    for kept, window, threshold, spent in found:
        row = {
            "budget_id": window.budget_id,
            "start": window.start,
            "threshold": threshold,
            "ts": ts,
            "spent": spent,
            "claimed_until": now + _CLAIM,
        }
        if connection.execute(into, row, execution_options=_COUNTED).rowcount == 1:
            raised.append(Raised(window, _alert(kept, window, threshold, spent, ts)))
    return raised


def log_alerts(raised: Iterable[Raised]) -> None:
    """Tell alerts to the log."""
    for _, alert in raised:
        share = round(100 * alert.threshold)
        logger.warning("%s has reached %d %% of its budget", alert.budget.name, share)


def mark_told(connection: Connection, raised: Raised, now: float) -> None:
    """Note that it was told."""
    window, alert = raised
    values = {"of_budget": window.budget_id, "since": window.start, "at": alert.threshold}
    connection.execute(_TOLD, {**values, "told": now})


def take_untold(connection: Connection, index: BudgetIndex, now: float) -> list[Raised]:
    """The alerts that were not told in their time: they are the caller's now."""
    rows = connection.execute(_UNTOLD, {"now": now}).all()
    taken = []
    for row in rows:
        values = {"of_budget": row.budget_id, "since": row.start, "at": row.threshold}
        claim = {**values, "now": now, "until": now + _CLAIM}
        kept = index.by_id.get(row.budget_id)
        if kept and connection.execute(_TAKE, claim).rowcount == 1:
            window = Window(row.budget_id, row.start)
            alert = _alert(kept, window, row.threshold, row.spent, row.ts)
            taken.append(Raised(window, alert))
    return taken


def told_alerts(connection: Connection, kept: Mapping[Window, KeptBudget]) -> list[BudgetAlert]:
    """The alerts of these windows, oldest first."""
    rows = connection.execute(_RAISED).all()
    pairs = ((row, Window(row.budget_id, row.start)) for row in rows)
    return [
        _alert(kept[window], window, row.threshold, row.spent, row.ts)
        for row, window in pairs
        if window in kept
    ]


def _alert(
    kept: KeptBudget, window: Window, threshold: float, spent: int, ts: float
) -> BudgetAlert:
    return BudgetAlert(
        budget=kept.budget,
        threshold=threshold,
        spent=dollars(spent),
        period_start=window.start,
        ts=ts,
    )


_ONE = (
    _alerts.budget_id == bindparam("of_budget"),
    _alerts.start == bindparam("since"),
    _alerts.threshold == bindparam("at"),
)
_RAISE = {
    name: into(budget_alerts).on_conflict_do_nothing()
    for name, into in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
_OPEN = (_alerts.notified_at.is_(None), _alerts.claimed_until < bindparam("now"))
_RAISED = select(
    *(_alerts.budget_id, _alerts.start, _alerts.threshold, _alerts.ts, _alerts.spent)
).order_by(_alerts.ts, _alerts.threshold)
_UNTOLD = _RAISED.where(*_OPEN)
_TAKE = update(budget_alerts).where(*_ONE, *_OPEN).values(claimed_until=bindparam("until"))
_TOLD = update(budget_alerts).where(*_ONE).values(notified_at=bindparam("told"))

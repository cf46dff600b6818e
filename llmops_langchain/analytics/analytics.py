"""Questions to the events, answered as reports."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    case,
    func,
    literal_column,
    not_,
    or_,
    select,
)

from llmops_langchain.analytics.reports import CostReport, ModelCost
from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger import ABANDONED, EMBEDDING, LLM_CALL, TRIM
from llmops_langchain.models import dollars
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import events

__all__ = ["Analytics"]

_DAY = 86_400.0
_REFUSALS = (
    *("BudgetError", "BudgetExceededError", "BudgetUnavailableError"),
    *("UnpricedModelError", "UnscopedCallError"),
)
_NAMES = (LLM_CALL, EMBEDDING, ABANDONED, TRIM)


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _sum(
    value: ColumnElement[Any], condition: ColumnElement[bool] | None = None
) -> ColumnElement[Any]:
    return func.coalesce(
        func.sum(value if condition is None else case((condition, value), else_=0)), 0
    )


# A guarded call that no budget let through: nobody was asked.
_refused = and_(events.c.name == LLM_CALL, func.coalesce(events.c.error_class, "").in_(_REFUSALS))
_call, _cut = and_(events.c.name == LLM_CALL, not_(_refused)), events.c.name == TRIM
_embedding, _lost = events.c.name == EMBEDDING, events.c.name == ABANDONED
_asked = or_(_call, _embedding)
# Grouped by the expression (the name alone is the column's), so without a bound parameter in it.
_model = func.coalesce(events.c.model, literal_column("'unknown'"))
_SUMS = select(
    _model.label("model"),
    _count(_call).label("calls"),
    _count(and_(_call, events.c.cache_tier.is_not(None))).label("cache_hits"),
    _count(_refused).label("refused_calls"),
    _count(_embedding).label("embedding_calls"),
    # A guess is taken back by an event with the same amount below zero.
    (_count(and_(_lost, events.c.cost >= 0)) - _count(and_(_lost, events.c.cost < 0))).label(
        "abandoned_calls"
    ),
    _count(and_(_asked, events.c.status == "error")).label("errors"),
    _count(and_(_asked, events.c.estimated)).label("estimated_calls"),
    _count(and_(_asked, events.c.unpriced)).label("unpriced_calls"),
    _sum(events.c.input_tokens).label("input_tokens"),
    _sum(events.c.output_tokens).label("output_tokens"),
    _sum(events.c.cached_tokens).label("cached_tokens"),
    _sum(events.c.trimmed_tokens).label("trimmed_tokens"),
    _sum(events.c.cost).label("cost"),
    _sum(events.c.saved, _call).label("saved_by_cache"),
    _sum(events.c.saved, _cut).label("saved_by_trimming"),
    _sum(events.c.latency).label("latency"),
).group_by(_model)


class Analytics:
    """Reports over the events in the database, of all processes that write to it.

    What this process recorded in the last second may still be on its way: `ops.flush()` first.

    Args:
        database: Where the events are.
        clock: Returns seconds since the Unix epoch.

    Example:
        >>> Analytics(Database("sqlite://")).cost(days=7, project="shop").calls
        0
    """

    def __init__(self, database: Database, *, clock: Clock = system_clock) -> None:
        self._database, self._clock = database, clock

    def cost(
        self,
        days: float = 30,
        *,
        workspace: str | None = None,
        project: str | None = None,
        task: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        model: str | None = None,
    ) -> CostReport:
        """What the last `days` used, cost and saved, within the named scope.

        Args:
            days: How far back, in days of 24 hours.
            workspace: Only this tenant; `None`, here and below, means all.
            project: Only this project.
            task: Only this task.
            user: Only this user.
            agent: Only this agent or node path.
            model: Only this model, as the provider names it.

        Raises:
            ConfigurationError: If `days` is not positive.
            StorageError: If the database cannot answer.
        """
        if not days > 0:
            msg = f"`days` must be positive, got {days!r}"
            raise ConfigurationError(msg)
        since = self._clock() - days * _DAY
        named = {
            "workspace": workspace,
            "project": project,
            "task": task,
            "user": user,
            "agent": agent,
            "model": model,
        }
        with self._database.begin(read_only=True) as connection:
            rows = connection.execute(_within(_SUMS, since, named)).all()
        return _report(since, rows)


def _within(question: Select[Any], since: float, named: dict[str, str | None]) -> Select[Any]:
    wanted = [events.c[column] == value for column, value in named.items() if value is not None]
    return question.where(events.c.name.in_(_NAMES), events.c.ts >= since, *wanted)


def _report(since: float, rows: Sequence[Row[Any]]) -> CostReport:
    def total(name: str) -> int:
        # PostgreSQL gives sums of integers as `Decimal`.
        return int(sum(getattr(row, name) for row in rows))

    return CostReport(
        since=since,
        calls=total("calls"),
        cache_hits=total("cache_hits"),
        refused_calls=total("refused_calls"),
        embedding_calls=total("embedding_calls"),
        abandoned_calls=total("abandoned_calls"),
        errors=total("errors"),
        input_tokens=total("input_tokens"),
        output_tokens=total("output_tokens"),
        cached_tokens=total("cached_tokens"),
        trimmed_tokens=total("trimmed_tokens"),
        total=dollars(total("cost")),
        saved_by_cache=dollars(total("saved_by_cache")),
        saved_by_trimming=dollars(total("saved_by_trimming")),
        estimated_calls=total("estimated_calls"),
        unpriced_calls=total("unpriced_calls"),
        latency=float(sum(row.latency for row in rows)),
        by_model={row.model: _model_cost(row) for row in rows},
    )


def _model_cost(row: Row[Any]) -> ModelCost:
    return ModelCost(
        calls=int(row.calls),
        cache_hits=int(row.cache_hits),
        input_tokens=int(row.input_tokens),
        output_tokens=int(row.output_tokens),
        total=dollars(int(row.cost)),
        saved=dollars(int(row.saved_by_cache + row.saved_by_trimming)),
    )

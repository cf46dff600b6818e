"""Which budgets count a call: the table in memory, as long as its counter stands still."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import Connection, Label, Table, select, update

from llmops_langchain.ledger.budget import Budget, period_start
from llmops_langchain.ledger.scope import Scope
from llmops_langchain.models import dollars
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import budgets, generations

__all__ = [
    "VERSION_NAME",
    "BudgetIndex",
    "KeptBudget",
    "KnownBudgets",
    "Window",
    "budget_of",
    "bump",
    "keyed",
    "read_index",
    "scope_key",
]

VERSION_NAME = "budgets"
"""Row of `generations` that grows with every change of the table; there since it is."""


class Window(NamedTuple):
    """One period of one budget."""

    budget_id: UUID
    start: float
    """UTC seconds since the Unix epoch."""


class KeptBudget(NamedTuple):
    """A budget and the id of its row."""

    id: UUID
    budget: Budget

    def window(self, moment: float) -> Window:
        """The period that `moment` lies in."""
        return Window(self.id, period_start(self.budget.period, moment))


@dataclass(frozen=True, slots=True)
class BudgetIndex:
    """The budgets at one version of the table, by what they name."""

    version: int = -1
    by_scope: dict[tuple[str | None, ...], list[KeptBudget]] = field(default_factory=dict)
    by_id: dict[UUID, KeptBudget] = field(default_factory=dict)
    has_scoped_hard: bool = False
    """Whether there is a hard budget that a call must name something for."""

    def counting(self, scope: Scope) -> list[KeptBudget]:
        """The budgets that count a call of this scope, in the order of their ids."""
        if not self.by_id:
            return []
        # A budget names some of the scope's four fields and leaves the others open.
        fields = (scope.workspace, scope.project, scope.user, scope.agent)
        names = product(*({None, each} for each in fields))
        return sorted(kept for named in names for kept in self.by_scope.get(named, ()))


class KnownBudgets:
    """The index, read anew when another process, or this one, changed the table."""

    def __init__(self) -> None:
        self.index = BudgetIndex()

    def refresh(self, database: Database) -> BudgetIndex:
        """The index of this moment; one small read if nothing changed.

        Raises:
            StorageError: If the database cannot answer.
        """
        found = database.read_one(_VERSION)
        if found is None or found[0] != self.index.version:
            with database.begin(read_only=True) as connection:
                self.index = read_index(connection)
        return self.index

    def settled(self, connection: Connection) -> BudgetIndex:
        """The index, which nobody changes until the transaction ends.

        On PostgreSQL whoever sets a budget waits for the sums under way, and they for him: a new
        budget's first sum misses none and counts none twice.
        """
        version = connection.execute(_VERSION.with_for_update(read=True)).scalar()
        index = self.index
        if version != index.version:
            # What is returned is this transaction's, whatever another thread puts there.
            index = self.index = read_index(connection)
        return index


def bump(connection: Connection) -> None:
    """Say that the table changes; to be called before the change."""
    connection.execute(_BUMP)


def budget_of(row: Any) -> KeptBudget:
    """The budget of a row."""
    return KeptBudget(
        row.id,
        Budget(
            limit=dollars(row.amount),
            workspace=row.workspace,
            project=row.project,
            user=row.user,
            agent=row.agent,
            period=row.period,
            hard=row.hard,
            strict=row.strict,
        ),
    )


_VERSION = select(generations.c.value).where(generations.c.name == VERSION_NAME)
_BUMP = (
    update(generations)
    .where(generations.c.name == VERSION_NAME)
    .values(value=generations.c.value + 1)
)


def read_index(connection: Connection) -> BudgetIndex:
    """The budgets as this transaction sees them."""
    version = connection.execute(_VERSION).scalar()
    rows = connection.execute(select(*keyed(budgets))).all()
    return _index(version or 0, map(budget_of, rows))


def keyed(table: Table) -> list[Label[Any]]:
    """The columns of a table under the names that they have here."""
    return [column.label(column.key) for column in table.c]


def scope_key(scope: Iterable[str | None]) -> str:
    """The four names of a scope as one text."""
    return orjson.dumps(list(scope)).decode()


def _index(version: int, kept: Iterable[KeptBudget]) -> BudgetIndex:
    index = BudgetIndex(version=version)
    for each in kept:
        index.by_scope.setdefault(each.budget.scope, []).append(each)
        index.by_id[each.id] = each
    scoped = any(each.budget.hard and any(each.budget.scope) for each in index.by_id.values())
    return BudgetIndex(version, index.by_scope, index.by_id, scoped)

"""Set money aside before it is spent: in all budgets of a call at once, or in none."""

import threading
import time
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, cast
from uuid import UUID

import orjson
from sqlalchemy import Connection, bindparam, insert, select, update

from llmops_langchain.clock import Clock
from llmops_langchain.errors import BudgetExceededError, UnscopedCallError
from llmops_langchain.ledger.budget import period_end
from llmops_langchain.ledger.budget_alerts import Raised, raise_alerts
from llmops_langchain.ledger.budget_rows import (
    CALL,
    Change,
    Sums,
    change_windows,
    delete_reservations,
    held,
    locked_windows,
    packed,
    reduce_slices,
)
from llmops_langchain.ledger.known_budgets import VERSION_NAME, KeptBudget, Window
from llmops_langchain.ledger.ledger import Ledger
from llmops_langchain.ledger.scope import Scope
from llmops_langchain.ledger.shared_failure import SharedFailure
from llmops_langchain.models import dollars
from llmops_langchain.storage import Database
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.storage.schema import (
    budget_windows,
    budgets,
    generations,
    reservations,
)
from llmops_langchain.storage.types import new_id

__all__ = ["Amount", "Governed", "Reservations"]

_NEARLY = 0.9
"""Of a budget so far used, a refusal says that it is at its end."""


class Amount(NamedTuple):
    """What a call may cost, nano-dollars."""

    most: int
    """What is set aside."""
    at_risk: int
    """What is counted if nobody ever tells what came of it."""


@dataclass(frozen=True, slots=True)
class Governed:
    """The hard budgets that a call must fit into, at one version of the table."""

    budgets: tuple[KeptBudget, ...]
    version: int

    @property
    def is_strict(self) -> bool:
        """Whether one of them wants the answer's length capped."""
        return any(kept.budget.strict for kept in self.budgets)


class Reservations:
    """Sets amounts aside in budgets, each in one transaction.

    Safe among threads and processes: what is spent and set aside never exceeds a hard limit.

    Args:
        database: Where budgets are.
        ledger: Settles what was set aside, with the event of the call.
        clock: Returns seconds since the Unix epoch.
        lease: Seconds until a call nobody heard of again is counted with its estimate.
        allow_unscoped: Let calls through that name no workspace, project and user.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        *,
        clock: Clock,
        lease: float,
        allow_unscoped: bool = False,
    ) -> None:
        self._database, self._ledger, self._clock = database, ledger, clock
        self.lease, self._allow_unscoped = lease, allow_unscoped
        self._known = ledger.settlement.known
        self._reset()
        on_fork(self)

    def known(self, scope: Scope) -> Governed:
        """The hard budgets of a call as far as they are known here; asks no database."""
        index = self._known.index
        found = tuple(kept for kept in index.counting(scope) if kept.budget.hard)
        return Governed(found, index.version)

    def governing(self, scope: Scope) -> Governed:
        """The hard budgets of a call.

        Raises:
            UnscopedCallError: If there are hard budgets and the call names nobody.
            StorageError: If the database cannot answer.
        """
        governed = self.known(scope)
        if governed.budgets:
            return governed
        # What is reserved checks the version; nothing reserved must look for itself.
        index = self._known.refresh(self._database)
        governed = self.known(scope)
        names_nobody = not (scope.workspace or scope.project or scope.user)
        must_be_named = names_nobody and index.has_scoped_hard and not self._allow_unscoped
        if must_be_named and not governed.budgets:
            raise UnscopedCallError
        return governed

    def reserve(
        self,
        governed: Governed,
        amount: Amount,
        *,
        about: Mapping[str, Any],
        run_id: UUID | None = None,
        kind: str = CALL,
        room: int | None = None,
    ) -> UUID | None:
        """Set `amount` aside in every budget; `None` if the budgets have changed: ask again.

        Args:
            governed: The budgets, as `governing` gave them.
            amount: What the call may cost.
            about: Fields of the event that stands for the call if its own never comes; `ts` is
                when it began.
            run_id: LangChain's.
            kind: For a call, or a slice for many of them.
            room: Nano-dollars that must be free for it, if more than the amount.

        Raises:
            BudgetExceededError: If it does not fit into one of them; nothing was set aside.
            StorageError: If the database cannot do it.
        """
        now = self._clock()
        windows = sorted(kept.window(now) for kept in governed.budgets)
        row = {
            "id": new_id(),
            "kind": kind,
            "run_id": run_id,
            "amount": amount.most,
            "at_risk": amount.at_risk,
            "expires_at": now + self.lease,
            "windows": packed(windows),
            "about": orjson.dumps(dict(about)).decode(),
        }
        room = max(amount.most, room or 0)
        if self._take(windows, governed.version, room, row):
            return cast("UUID", row["id"])
        # What this process has not told yet, and what nobody will, may make room.
        self._ledger.flush()
        self.sweep(now)
        return self._take_or_say(governed, windows, room, row)

    def prolong(self, reservation_ids: Collection[UUID]) -> None:
        """Prolong the leases of calls that are still under way, or of slices in use.

        Raises:
            StorageError: If the database cannot do it; they end with their lease.
        """
        until = self._clock() + self.lease
        steps = ((_RENEW, {"held": self._key(each), "until": until}) for each in reservation_ids)
        self._database.write(*steps)

    def release(self, reservation_id: UUID, *, keep: int = 0) -> None:
        """Give back what was set aside, or what is left of a slice.

        Args:
            reservation_id: What was set aside.
            keep: Nano-dollars of a slice that stay so, for calls under way.

        Raises:
            StorageError: If the database cannot do it.
        """
        with self._database.begin() as connection:
            index = self._known.settled(connection)
            for of in held(connection, [reservation_id]).values():
                left = 0 if of.billed is not None else max(0, of.amount - keep)
                # A budget that was removed has no windows any more.
                there = [window for window in of.windows if window.budget_id in index.by_id]
                locked_windows(connection, there)
                change_windows(connection, {window: Change(reserved=-left) for window in there})
                if keep and of.billed is None:
                    reduce_slices(connection, [(of.id, left)])
                else:
                    delete_reservations(connection, [of.id])

    def sweep(self, now: float) -> int:
        """Settle calls past their lease with their estimate; how many there were."""
        swept = 0
        while self._database.read_one(_OLDEST, now=now) is not None:
            with self._database.begin() as connection:
                number, raised = self._ledger.settlement.sweep(connection, now)
            if raised:
                self._ledger.tell(raised)
            if not number:  # another process has them, or they are slices that wait
                break
            swept += number
        return swept

    def after_fork(self) -> None:
        """Start with a lock that nobody holds."""
        self._reset()

    def _reset(self) -> None:
        # Threads of one process that all try SQLite's lock wait in steps of up to a tenth second.
        self._turn = threading.Lock() if self._database.is_sqlite else nullcontext()
        self._failure = SharedFailure()

    def _take(self, windows: list[Window], version: int, room: int, row: Mapping[str, Any]) -> bool:
        """The short way: each window in one statement that finds it only if the amount fits."""
        steps = [
            (
                _TAKE,
                {
                    "of_budget": self._key(window.budget_id),
                    "since": window.start,
                    "more": row["amount"],
                    "room": room,
                    "version": version,
                },
            )
            for window in windows
        ]
        keyed = {**row, "id": self._key(row["id"])}
        keyed["run_id"] = row["run_id"] and self._key(row["run_id"])
        since = time.monotonic()
        with self._turn, self._failure.shared_by(since):
            return self._database.write_or_nothing(*steps, (_INSERT, keyed))

    def _take_or_say(
        self, governed: Governed, windows: list[Window], room: int, row: Mapping[str, Any]
    ) -> UUID | None:
        """The long way: under lock, with the figures for whom it refuses."""
        raised: list[Raised] = []
        with self._turn, self._database.begin() as connection:
            if self._known.settled(connection).version != governed.version:
                return None
            sums = locked_windows(connection, windows)
            refused = _first_refusal(governed, sums, room)
            if refused is None:
                changes = {window: Change(reserved=row["amount"]) for window in windows}
                change_windows(connection, changes)
                connection.execute(_INSERT, row)
                return cast("UUID", row["id"])
            if row["kind"] == CALL:  # a slice that does not fit is no call refused
                raised = self._at_its_end(connection, *refused)
        if raised:
            self._ledger.tell(raised)
        raise _exceeded(*refused, row["amount"])

    def _at_its_end(
        self, connection: Connection, kept: KeptBudget, window: Window, sums: Sums
    ) -> list[Raised]:
        if sums.spent < _NEARLY * kept.budget.amount or not kept.budget.amount:
            return []
        now = self._clock()
        return raise_alerts(connection, [(kept, window, 1.0, sums.spent)], ts=now, now=now)

    def _key(self, id_: UUID) -> UUID | bytes:
        """The id as the driver takes it."""
        return id_.bytes if self._database.is_sqlite else id_


def _first_refusal(
    governed: Governed, sums: Mapping[Window, Sums], amount: int
) -> tuple[KeptBudget, Window, Sums] | None:
    by_budget = {window.budget_id: (window, found) for window, found in sums.items()}
    for kept in governed.budgets:
        window, found = by_budget[kept.id]
        if found.spent + found.reserved + amount > kept.budget.amount:
            return kept, window, found
    return None


def _exceeded(kept: KeptBudget, window: Window, sums: Sums, amount: int) -> BudgetExceededError:
    budget = kept.budget
    return BudgetExceededError(
        budget.name,
        limit=dollars(budget.amount),
        spent=dollars(sums.spent),
        reserved=dollars(sums.reserved),
        requested=dollars(amount),
        period=budget.period,
        resets_at=period_end(budget.period, window.start),
    )


_windows, _held = budget_windows.c, reservations.c

# The limit is read in the statement itself: a change of it holds from its commit on.
_LIMIT = select(budgets.c.amount).where(budgets.c.id == _windows.budget_id).scalar_subquery()
_VERSION = select(generations.c.value).where(generations.c.name == VERSION_NAME).scalar_subquery()
_TAKE = (
    update(budget_windows)
    .where(
        _windows.budget_id == bindparam("of_budget"),
        _windows.start == bindparam("since"),
        _windows.spent + _windows.reserved + bindparam("room") <= _LIMIT,
        bindparam("version") == _VERSION,
    )
    .values(reserved=_windows.reserved + bindparam("more"))
)
_INSERT = insert(reservations).values(
    {
        name: bindparam(name)
        for name in (
            *("id", "kind", "run_id", "amount", "at_risk"),
            *("expires_at", "windows", "about"),
        )
    }
)
_RENEW = (
    update(reservations)
    .where(_held.id == bindparam("held"), _held.billed.is_(None))
    .values(expires_at=bindparam("until"))
)
_OLDEST = (
    select(_held.expires_at)
    .where(_held.billed.is_(None), _held.expires_at < bindparam("now"))
    .limit(1)
)

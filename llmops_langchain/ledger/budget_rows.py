"""The rows that hold a budget's sums: windows and reservations, read and changed under lock."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import Connection, Select, and_, bindparam, delete, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.ledger.known_budgets import Window
from llmops_langchain.storage.schema import budget_windows, reservations

__all__ = [
    "CALL",
    "SLICE",
    "Change",
    "Held",
    "Sums",
    "change_windows",
    "delete_reservations",
    "expired",
    "forget_billed",
    "held",
    "locked_windows",
    "mark_billed",
    "packed",
    "read_windows",
    "reduce_slices",
    "unpacked",
]

CALL, SLICE = "call", "slice"
"""Kinds of reservations: for one call, or for a process to spend by itself over many."""

_windows, _held = budget_windows.c, reservations.c


class Sums(NamedTuple):
    """One period of one budget, nano-dollars."""

    spent: int
    reserved: int
    counted_from: float
    """What began earlier does not count: UTC seconds since the Unix epoch."""


@dataclass(slots=True)
class Change:
    """What is added to a window, nano-dollars."""

    spent: int = 0
    reserved: int = 0


class Held(NamedTuple):
    """What was set aside, nano-dollars, and of which windows."""

    id: UUID
    kind: str
    run_id: UUID | None
    amount: int
    at_risk: int
    billed: int | None
    """What was counted when nobody told; `None` while it is held."""
    windows: tuple[Window, ...]
    about: Mapping[str, Any]


def locked_windows(connection: Connection, wanted: Collection[Window]) -> dict[Window, Sums]:
    """The windows, made where they are missing, which nobody else changes until the end.

    Always in one order, so that no two transactions wait for each other.
    """
    ordered = sorted(wanted)
    if not ordered:
        return {}
    found = _locked(connection, ordered)
    missing = [window for window in ordered if window not in found]
    if missing:
        rows = [{"budget_id": it.budget_id, "start": it.start} for it in missing]
        connection.execute(_OPEN[connection.dialect.name], rows)
        found = _locked(connection, ordered)
    return found


def read_windows(connection: Connection, wanted: Collection[Window]) -> dict[Window, Sums]:
    """The windows that are there."""
    return _found(connection, sorted(wanted), _SUMS)


def change_windows(connection: Connection, changes: Mapping[Window, Change]) -> None:
    """Add to the sums of windows that are locked."""
    rows = [
        {
            "of_budget": window.budget_id,
            "since": window.start,
            "spent_more": change.spent,
            "reserved_more": change.reserved,
        }
        for window, change in sorted(changes.items())
        if change.spent or change.reserved
    ]
    if rows:
        connection.execute(_CHANGE, rows)


def held(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, Held]:
    """The reservations of these ids that are there, which nobody else changes until the end."""
    wanted, found = sorted(set(ids)), {}
    for at in range(0, len(wanted), 500):
        asked = _HELD.where(_held.id.in_(wanted[at : at + 500])).order_by(_held.id)
        asked = asked.with_for_update()
        found.update({row.id: unpacked(row) for row in connection.execute(asked)})
    return found


def expired(connection: Connection, *, now: float, slices_before: float) -> list[Held]:
    """Calls past their lease, and slices past it since long; those another process has are left."""
    values = {"now": now, "slices_before": slices_before}
    return [unpacked(row) for row in connection.execute(_EXPIRED, values)]


def mark_billed(connection: Connection, given_up: Iterable[Held]) -> None:
    """Note that calls were counted with their estimate; their own events may still come."""
    rows = [{"held": of.id, "counted": of.at_risk} for of in given_up]
    if rows:
        connection.execute(_BILLED, rows)


def forget_billed(connection: Connection, *, before: float) -> int:
    """Forget calls that were counted with their estimate long ago; how many."""
    return connection.execute(_FORGET, {"before": before}).rowcount


def delete_reservations(connection: Connection, ids: Sequence[UUID]) -> None:
    """Forget reservations that are settled."""
    if ids:
        connection.execute(_DELETE, [{"held": each} for each in ids])


def reduce_slices(connection: Connection, spent: Sequence[tuple[UUID, int]]) -> None:
    """Take from slices what was spent of them."""
    if spent:
        connection.execute(_REDUCE, [{"held": each, "by": amount} for each, amount in spent])


def packed(windows: Iterable[Window]) -> str:
    """The windows as a reservation keeps them."""
    return orjson.dumps([[it.budget_id.hex, it.start] for it in windows]).decode()


def unpacked(row: Any) -> Held:
    """The reservation of a row."""
    windows = tuple(Window(UUID(hex=by), start) for by, start in orjson.loads(row.windows))
    return Held(
        row.id,
        row.kind,
        row.run_id,
        row.amount,
        row.at_risk,
        row.billed,
        windows,
        orjson.loads(row.about),
    )


_HELD = select(
    *(_held.id, _held.kind, _held.run_id, _held.amount, _held.at_risk),
    *(_held.billed, _held.windows, _held.about),
)
_EXPIRED = (
    _HELD.where(
        _held.billed.is_(None),
        or_(
            and_(_held.kind == CALL, _held.expires_at < bindparam("now")),
            and_(_held.kind == SLICE, _held.expires_at < bindparam("slices_before")),
        ),
    )
    .order_by(_held.id)
    .limit(500)
    .with_for_update(skip_locked=True)
)
_BILLED = (
    update(reservations).where(_held.id == bindparam("held")).values(billed=bindparam("counted"))
)
_FORGET = delete(reservations).where(
    _held.billed.is_not(None), _held.expires_at < bindparam("before")
)
_DELETE = delete(reservations).where(_held.id == bindparam("held"))
_REDUCE = (
    update(reservations)
    .where(_held.id == bindparam("held"))
    .values(amount=_held.amount - bindparam("by"))
)
_CHANGE = (
    update(budget_windows)
    .where(_windows.budget_id == bindparam("of_budget"), _windows.start == bindparam("since"))
    .values(
        spent=_windows.spent + bindparam("spent_more"),
        reserved=_windows.reserved + bindparam("reserved_more"),
    )
)
_NEW: dict[str, Any] = {
    "budget_id": bindparam("budget_id"),
    "start": bindparam("start"),
    "counted_from": bindparam("start"),
}
# A budget that was removed a moment ago has no windows any more.
_OPEN = {
    name: into(budget_windows).values(_NEW).on_conflict_do_nothing()
    for name, into in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}


def _locked(connection: Connection, ordered: Sequence[Window]) -> dict[Window, Sums]:
    return _found(connection, ordered, _SUMS.with_for_update())


def _found(
    connection: Connection, ordered: Sequence[Window], asked: Select[Any]
) -> dict[Window, Sums]:
    found = {}
    for at in range(0, len(ordered), 200):
        those = _KEY.in_([tuple(each) for each in ordered[at : at + 200]])
        for row in connection.execute(asked.where(those)):
            sums = Sums(row.spent, row.reserved, row.counted_from)
            found[Window(row.budget_id, row.start)] = sums
    return found


_KEY = tuple_(_windows.budget_id, _windows.start)
_SUMS = select(
    *(_windows.budget_id, _windows.start, _windows.spent),
    *(_windows.reserved, _windows.counted_from),
).order_by(_windows.budget_id, _windows.start)

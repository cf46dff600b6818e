"""The statements of `EvidenceRows`: each built once, and the same on SQLite and PostgreSQL."""

from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Delete,
    Insert,
    Select,
    bindparam,
    delete,
    func,
    select,
    update,
)

from llmops_langchain.cache.sql_statements import BATCH, Into
from llmops_langchain.storage.schema import cache_feedback, generations

__all__ = [
    "CROWDED",
    "JUDGE",
    "JUDGED",
    "LABELS",
    "OLDEST",
    "OLD_LABELS",
    "REFUTED",
    "UNJUDGED",
    "note",
]

_rows = cache_feedback.c
_of_space = _rows.space == bindparam("of_space")
_of_run = _rows.run_id == bindparam("of_run")
_of_pool = _rows.pool == bindparam("of_pool")

_JUDGED = (
    *(_rows.change, _rows.run_id, _rows.call_key, _rows.matched, _rows.score, _rows.cosine),
    *(_rows.kind, _rows.correct, _rows.source, _rows.judged_by, _rows.judged_at),
)
JUDGED = select(*_JUDGED).where(_of_space, _of_run)
LABELS = (
    select(*_JUDGED)
    .where(_of_space, _of_pool, _rows.change > bindparam("after"))
    .order_by(_rows.change)
)
REFUTED = (
    select(_rows.call_key, _rows.matched)
    .where(_of_space, _rows.correct.is_(False))
    .order_by(_rows.ts.desc())
    .limit(bindparam("limit"))
)
CROWDED = (
    select(_rows.pool)
    .where(_of_space, _rows.change.is_not(None))
    .group_by(_rows.pool)
    .having(func.count() > bindparam("most"))
)
OLDEST = (
    select(_rows.change)
    .where(_of_space, _of_pool, _rows.change.is_not(None))
    .order_by(_rows.change.desc())
    .limit(1)
    .offset(bindparam("most"))
)
"""The newest label that is one too many."""

# Its transaction holds the counter's row from before this: judgments take turns, and are numbered
# in the order in which they can be seen.
JUDGE = (
    update(cache_feedback)
    .where(_of_space, _of_run)
    .values(
        correct=bindparam("is_correct"),
        source=bindparam("said_in"),
        judged_by=bindparam("said_by"),
        judged_at=bindparam("now"),
        change=select(generations.c.value)
        .where(generations.c.name == bindparam("counter"))
        .scalar_subquery(),
    )
)


def _free(*conditions: ColumnElement[bool]) -> Select[Any]:
    """Rows that no other transaction holds on PostgreSQL: who skips the others cannot deadlock."""
    return select(_rows.id).where(*conditions).limit(BATCH).with_for_update(skip_locked=True)


def _let_go(*conditions: ColumnElement[bool]) -> Delete:
    return delete(cache_feedback).where(_rows.id.in_(_free(*conditions)))


UNJUDGED = _let_go(_of_space, _rows.correct.is_(None), _rows.ts <= bindparam("until"))
OLD_LABELS = _let_go(_of_space, _of_pool, _rows.change <= bindparam("until"))


@cache
def note(into: Into) -> Insert:
    """A row that is not judged yet; nothing if its run is known."""
    given = ("id", "ts", "space", "run_id", "pool", "workspace", "call_key", "matched")
    names = (*given, "score", "cosine", "kind")
    row = {name: bindparam(name, type_=_rows[name].type) for name in names}
    return into(cache_feedback).values(**row).on_conflict_do_nothing()

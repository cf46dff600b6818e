"""The statements of `EvidenceRows`: each built once, and the same on SQLite and PostgreSQL."""

from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    Delete,
    Insert,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)

from llmops_langchain.storage.leases import Into
from llmops_langchain.storage.schema import cache_feedback, generations
from llmops_langchain.storage.sweeping import swept

__all__ = [
    "ABOUT",
    "CROWDED",
    "JUDGE",
    "JUDGED",
    "LABELS",
    "OLDEST",
    "OLD_LABELS",
    "REFUTED",
    "UNJUDGED",
    "note",
    "said_by",
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


UNJUDGED = swept(_rows.id, _of_space, _rows.correct.is_(None), _rows.ts <= bindparam("until"))
OLD_LABELS = swept(_rows.id, _of_space, _of_pool, _rows.change <= bindparam("until"))
_of_keys: BindParameter[Any] = bindparam("keys", expanding=True)
ABOUT = delete(cache_feedback).where(
    _of_space, or_(_rows.call_key.in_(_of_keys), _rows.matched.in_(_of_keys))
)


@cache
def said_by(*, within_workspace: bool) -> Delete:
    """What one person said."""
    of_person = [_of_space, _rows.judged_by == bindparam("said_by")]
    if within_workspace:
        of_person.append(_rows.workspace == bindparam("of_workspace"))
    return swept(_rows.id, *of_person)


@cache
def note(into: Into) -> Insert:
    """A row that is not judged yet; nothing if its run is known."""
    given = ("id", "ts", "space", "run_id", "pool", "workspace", "call_key", "matched")
    names = (*given, "score", "cosine", "kind")
    row = {name: bindparam(name, type_=_rows[name].type) for name in names}
    return into(cache_feedback).values(**row).on_conflict_do_nothing()

"""The statements of `SqlStore`: each built once, and the same on SQLite and PostgreSQL."""

from collections.abc import Callable
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Delete,
    Insert,
    Select,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.storage.schema import cache_entries, cache_tags, generations, leases

__all__ = [
    "ALONE",
    "BATCH",
    "CLEAR",
    "DROP_TAGGED",
    "FOUND",
    "GENERATION",
    "LET_GO",
    "NEWEST",
    "OLDEST",
    "OLD_MARKS",
    "RELEASE",
    "RENEW",
    "SIZE",
    "STALE_ENTRIES",
    "STALE_LEASES",
    "TOGETHER",
    "TOUCH",
    "Into",
    "add_tag",
    "advance",
    "claim",
    "forget_tags",
    "keep",
    "mark",
]

BATCH = 200
"""Rows deleted in one transaction, so that others get their turn to write in between."""

_MARKED_FOR = 86_400.0
"""Seconds the invalidation of a tag is remembered: no call takes longer."""

_entries, _tags, _counts, _leases = cache_entries.c, cache_tags.c, generations.c, leases.c

FOUND = select(
    _entries.value, _entries.created_at, _entries.expires_at, _entries.fingerprint
).where(_entries.key == bindparam("key"), _entries.space == bindparam("space"))
NEWEST = (
    select(_entries.created_at, _entries.expires_at, _entries.fingerprint)
    .where(_entries.space == bindparam("space"))
    .order_by(_entries.used_at.desc())
    .limit(bindparam("limit"))
)
OLDEST = (
    select(_entries.key, _entries.size, _entries.used_at)
    .where(_entries.space == bindparam("space"))
    .order_by(_entries.used_at)
    .limit(BATCH)
)
SIZE = select(func.coalesce(func.sum(_entries.size), 0)).where(_entries.space == bindparam("space"))
GENERATION = select(_counts.value).where(_counts.name == bindparam("name"))
CLEAR = delete(cache_entries).where(_entries.space == bindparam("space"))
DROP_TAGGED = delete(cache_entries).where(
    _entries.key.in_(
        select(_tags.key).where(
            _tags.tag == bindparam("tag"),
            # Asked of each key: SQLite has no statistics, and would rather walk the whole space.
            select(_entries.space).where(_entries.key == _tags.key).scalar_subquery()
            == bindparam("space"),
        )
    )
)
RELEASE = delete(leases).where(
    _leases.name == bindparam("claim"), _leases.owner == bindparam("owner")
)
RENEW = (
    update(leases)
    .where(
        _leases.owner == bindparam("holder"),
        func.substr(_leases.name, 1, func.length(bindparam("kind"))) == bindparam("kind"),
    )
    .values(expires_at=bindparam("until"))
)


def _free(column: Column[Any], *conditions: ColumnElement[bool]) -> Select[Any]:
    """Rows that no other transaction holds on PostgreSQL: who skips the others cannot deadlock."""
    return select(column).where(*conditions).with_for_update(skip_locked=True)


def _swept(column: Column[Any], *conditions: ColumnElement[bool]) -> Delete:
    return delete(column.table).where(column.in_(_free(column, *conditions).limit(BATCH)))


STALE_ENTRIES = _swept(_entries.key, _entries.expires_at <= bindparam("now"))
STALE_LEASES = _swept(_leases.name, _leases.expires_at <= bindparam("now"))
OLD_MARKS = _swept(
    _counts.name,
    _counts.name.like("cache:%:tag:%"),
    _counts.changed_at <= bindparam("now") - _MARKED_FOR,
)
LET_GO = delete(cache_entries).where(
    _entries.key.in_(
        _free(
            _entries.key,
            _entries.key.in_(bindparam("old", expanding=True)),
            _entries.used_at <= bindparam("until"),  # not used again since it was found
        )
    )
)
TOUCH = (
    update(cache_entries)
    .where(
        _entries.key.in_(
            _free(
                _entries.key,
                _entries.key.in_(bindparam("used", expanding=True)),
                _entries.used_at < bindparam("now"),
            )
        )
    )
    .values(used_at=bindparam("now"))
)

# Puts of one space take their turn together, an invalidation takes it alone: on PostgreSQL a
# `put` would not see the mark of one that has not committed yet. SQLite has one writer anyway.
TOGETHER = select(func.pg_advisory_xact_lock_shared(bindparam("turn")))
ALONE = select(func.pg_advisory_xact_lock(bindparam("turn")))

Into = Callable[[Any], sqlite.Insert] | Callable[[Any], postgresql.Insert]
"""`insert` of the dialect: `ON CONFLICT` is no word of standard SQL."""


def _not_dropped(tags: int) -> ColumnElement[bool]:
    """Whether there was no `clear`, and no invalidation of the tags, since `seen`."""
    names: list[ColumnElement[str]] = [
        bindparam(name) for name in ("cleared", *(f"mark_{each}" for each in range(tags)))
    ]
    later = _counts.value > bindparam("seen")
    return ~exists(select(_counts.name).where(_counts.name.in_(names), later))


@cache
def keep(into: Into, tags: int) -> Insert:
    """An entry in place of what was there, unless it came too late."""
    columns = list(cache_entries.c)
    row = select(*(bindparam(each.name, type_=each.type) for each in columns))
    insert = into(cache_entries).from_select(columns, row.where(_not_dropped(tags)))
    replaced = {each.name: insert.excluded[each.name] for each in columns if not each.primary_key}
    return insert.on_conflict_do_update(index_elements=["key"], set_=replaced)


@cache
def forget_tags(tags: int) -> Delete:
    """The tags of an entry, unless it stays as it is."""
    return delete(cache_tags).where(_tags.key == bindparam("key"), _not_dropped(tags))


@cache
def add_tag(into: Into, tags: int) -> Insert:
    """A tag of an entry that is there."""
    found = select(bindparam("tag", type_=_tags.tag.type), _entries.key).where(
        _entries.key == bindparam("key"), _entries.space == bindparam("space"), _not_dropped(tags)
    )
    # Its entry is held meanwhile on PostgreSQL: nobody else tags it, replaces it or lets it go.
    row = found.with_for_update(of=cache_entries)
    return into(cache_tags).from_select(["tag", "key"], row).on_conflict_do_nothing()


@cache
def advance(into: Into) -> Insert:
    """One invalidation more."""
    insert = into(generations).values(name=bindparam("name"), value=1)
    more = {"value": _counts.value + 1}
    return insert.on_conflict_do_update(index_elements=["name"], set_=more)


@cache
def mark(into: Into) -> Insert:
    """At which invalidation something was dropped last."""
    insert = into(generations)
    replaced = {name: insert.excluded[name] for name in ("value", "changed_at")}
    return insert.on_conflict_do_update(index_elements=["name"], set_=replaced)


@cache
def claim(into: Into) -> Insert:
    """A claim that is free, stale or its owner's already; otherwise no row changes."""
    insert = into(leases).values(
        name=bindparam("claim"), owner=bindparam("holder"), expires_at=bindparam("until")
    )
    replaced = {name: insert.excluded[name] for name in ("owner", "expires_at")}
    to_have = or_(_leases.expires_at <= bindparam("now"), _leases.owner == insert.excluded.owner)
    return insert.on_conflict_do_update(index_elements=["name"], set_=replaced, where=to_have)

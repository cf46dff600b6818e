"""The statements of `SqlStore`: each built once, and the same on SQLite and PostgreSQL."""

from functools import cache

from sqlalchemy import (
    ColumnElement,
    Delete,
    Insert,
    bindparam,
    delete,
    exists,
    func,
    select,
    update,
)

from llmops_langchain.storage.leases import Into
from llmops_langchain.storage.schema import cache_entries, cache_tags, generations
from llmops_langchain.storage.sweeping import BATCH, free, swept

__all__ = [
    "ALONE",
    "CLEAR",
    "DROP_TAGGED",
    "FOUND",
    "GENERATION",
    "LET_GO",
    "NEWEST",
    "OLDEST",
    "OLD_MARKS",
    "SIZE",
    "STALE_ENTRIES",
    "STALE_ENTRIES_OF",
    "TAGGED",
    "TOGETHER",
    "TOUCH",
    "add_tag",
    "forget_tags",
    "keep",
    "mark",
]

_MARKED_FOR = 86_400.0
"""Seconds the invalidation of a tag is remembered: no call takes longer."""

_entries, _tags, _counts = cache_entries.c, cache_tags.c, generations.c

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
TAGGED = select(_tags.key).where(
    _tags.tag == bindparam("tag"),
    # Asked of each key: SQLite has no statistics, and would rather walk the whole space.
    select(_entries.space).where(_entries.key == _tags.key).scalar_subquery() == bindparam("space"),
)
DROP_TAGGED = delete(cache_entries).where(_entries.key.in_(TAGGED))
STALE_ENTRIES = swept(_entries.key, _entries.expires_at <= bindparam("now"))
STALE_ENTRIES_OF = swept(
    _entries.key,
    _entries.expires_at <= bindparam("now"),
    _entries.space == bindparam("space"),
)
OLD_MARKS = swept(
    _counts.name,
    _counts.name.like("cache:%:tag:%"),
    _counts.changed_at <= bindparam("now") - _MARKED_FOR,
)
LET_GO = delete(cache_entries).where(
    _entries.key.in_(
        free(
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
            free(
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
def mark(into: Into) -> Insert:
    """At which invalidation something was dropped last."""
    insert = into(generations)
    replaced = {name: insert.excluded[name] for name in ("value", "changed_at")}
    return insert.on_conflict_do_update(index_elements=["name"], set_=replaced)

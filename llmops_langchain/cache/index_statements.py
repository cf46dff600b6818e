"""The statements of `IndexRows`: each built once for SQLite and once for PostgreSQL."""

from functools import cache
from typing import Any

from sqlalchemy import (
    REAL,
    ColumnElement,
    Delete,
    Insert,
    Select,
    Update,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import UserDefinedType

from llmops_langchain.cache.changes import newer, number, upcoming
from llmops_langchain.storage.schema import cache_entries, generations, semantic_vectors
from llmops_langchain.storage.sweeping import BATCH

__all__ = [
    "ABANDONED",
    "CLEAR",
    "COUNT",
    "KNOWN",
    "LEAST_USED",
    "LET_GO",
    "ORPHANS",
    "OUTDATED",
    "PGVECTOR",
    "STALE",
    "TOUCH",
    "changed",
    "drop",
    "keep",
    "moment",
    "nearest",
]

_SEEN_WITHIN = 60.0
"""Seconds a row stays after its end, so that other processes notice that it is gone."""

_ABANDONED_AFTER = 30 * 86_400.0
"""Seconds after which an embedder that has not used a row is taken not to come back."""

_known = semantic_vectors.c
_of_space = _known.space == bindparam("of_space")
_of_scope = and_(_of_space, _known.scope == bindparam("of_scope"))
_of_ours = and_(_of_scope, _known.embedder == bindparam("of_embedder"))
_is_fresh = or_(_known.expires_at.is_(None), _known.expires_at > bindparam("now"))
_is_there = _known.body != b""

ORPHANS = (
    select(_known.scope, _known.key)
    .where(
        _known.space == bindparam("space"),
        _is_there,
        ~exists().where(cache_entries.c.key == _known.key),
    )
    .limit(BATCH)
)
"""Questions whose answers are gone from the same database."""

KNOWN = (
    select(_known.key, _known.body, _known.expires_at)
    .where(_of_ours, _is_fresh, _is_there)
    .order_by(_known.used_at.desc())
    .limit(bindparam("limit"))
)
COUNT = select(func.count()).select_from(semantic_vectors).where(_of_ours)
CLEAR = delete(semantic_vectors).where(_of_space)


def _free(*conditions: ColumnElement[bool]) -> Select[Any]:
    """Rows that no other transaction holds on PostgreSQL: who skips the others cannot deadlock."""
    return select(_known.id).where(*conditions).with_for_update(skip_locked=True)


def _let_go(rows: Select[Any]) -> Delete:
    return delete(semantic_vectors).where(_known.id.in_(rows))


STALE = _let_go(_free(_known.expires_at <= bindparam("now") - _SEEN_WITHIN).limit(BATCH))
LEAST_USED = (
    select(_known.id, _known.used_at)
    .where(_of_ours)
    .order_by(_known.used_at)
    .limit(bindparam("excess"))
)
LET_GO = _let_go(
    _free(
        _known.id.in_(bindparam("old", expanding=True)),
        _known.used_at <= bindparam("until"),  # not used again since it was found
    )
)
ABANDONED = _let_go(
    _free(
        _of_scope,
        _known.embedder != bindparam("of_embedder"),
        _known.used_at <= bindparam("now") - _ABANDONED_AFTER,
    ).limit(BATCH)
)
TOUCH = (
    update(semantic_vectors)
    .where(
        _known.id.in_(
            _free(
                _of_ours,
                _known.key.in_(bindparam("used", expanding=True)),
                _known.used_at < bindparam("now"),
            )
        )
    )
    .values(used_at=bindparam("now"))
)

_ours = semantic_vectors.alias("ours")
_is_ours_too = exists(_ours.c.id).where(
    *(_ours.c[name] == _known[name] for name in ("space", "scope", "key")),
    _ours.c.embedder == bindparam("of_embedder"),
    or_(_ours.c.expires_at.is_(None), _ours.c.expires_at >= _known.expires_at),
)
OUTDATED = (
    select(
        *(_known.scope, _known.key, _known.embedder),
        *(_known.change, _known.body, _known.expires_at),
    )
    .where(
        _of_space,
        _known.embedder != bindparam("of_embedder"),
        _known.change >= bindparam("since"),
        _known.change < bindparam("until"),
        _is_fresh,
        _is_there,
        ~_is_ours_too,
    )
    .order_by(_known.change)
    .limit(bindparam("limit"))
)
"""What only other embedders know, or know for longer, in the order in which it was written."""

PGVECTOR = text(
    "SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace"
    " WHERE extname = 'vector' AND has_schema_privilege(extnamespace, 'USAGE')"
)
"""The schema that pgvector is in, if it is installed: `search_path` need not lead there."""


@cache
def keep(*, is_sqlite: bool) -> Insert:
    """A question in place of what was known under its key."""
    into = sqlite.insert if is_sqlite else postgresql.insert
    named = {name: f"of_{name}" for name in ("space", "scope", "embedder")}
    named |= {name: name for name in ("key", "expires_at", "body", "embedding")}
    named |= {"created_at": "now", "used_at": "now"}
    row = {name: bindparam(given, type_=_known[name].type) for name, given in named.items()}
    insert = into(semantic_vectors).values(**row, change=number(is_sqlite=is_sqlite))
    replaced = ("expires_at", "body", "embedding", "created_at", "used_at", "change")
    return insert.on_conflict_do_update(
        index_elements=["space", "scope", "key", "embedder"],
        set_={name: insert.excluded[name] for name in replaced},
    )


@cache
def drop(*, is_sqlite: bool, everywhere: bool = False) -> Update:
    """Empty rows of a scope, or of all; they stay for a while so that other processes see it."""
    where = _of_space if everywhere else _of_scope
    gone = _free(where, _known.key.in_(bindparam("gone", expanding=True)), _is_there)
    return (
        update(semantic_vectors)
        .where(_known.id.in_(gone))
        .values(
            body=b"",
            embedding=None,
            expires_at=bindparam("now"),
            used_at=0.0,  # they are the first to make room
            change=number(is_sqlite=is_sqlite),
        )
    )


def _moment(*, is_sqlite: bool) -> list[ColumnElement[Any]]:
    named = generations.c.name == bindparam("cleared")
    cleared = select(generations.c.value).where(named).scalar_subquery()
    return [func.coalesce(cleared, 0), upcoming(is_sqlite=is_sqlite)]


@cache
def moment(*, is_sqlite: bool) -> Select[Any]:
    """How often the space was cleared, and where to go on from after this moment."""
    return select(*_moment(is_sqlite=is_sqlite))


@cache
def changed(*, is_sqlite: bool) -> Select[Any]:
    """`moment`, and each row that was written since another one, if there are any.

    All of it is what one and the same moment shows. Rows of scopes that nobody asked for come
    without their body; as a condition, scopes would lead a database without statistics to read
    all that it has of them.
    """
    this = select(literal(1).label("moment")).subquery()
    rows = and_(
        _of_space,
        _known.embedder == bindparam("of_embedder"),
        newer(_known.change, is_sqlite=is_sqlite),
    )
    wanted = _known.scope.in_(bindparam("scopes", expanding=True))
    body = case((wanted, _known.body))
    columns = (_known.scope, _known.key, _known.change, body, _known.expires_at)
    return select(*_moment(is_sqlite=is_sqlite), *columns).select_from(
        this.outerjoin(semantic_vectors, rows)
    )


class _Vector(UserDefinedType[list[float]]):
    """pgvector's type, in the schema it was installed in."""

    cache_ok = True

    def __init__(self, schema: str) -> None:
        self.schema = schema

    def get_col_spec(self, **_: Any) -> str:
        return f"{_quoted(self.schema)}.vector"


@cache
def nearest(schema: str) -> Select[Any]:
    """The nearest by pgvector, exactly: there is no index of its own that could miss one.

    The distance is not among the columns: it would be computed twice for every row.
    """
    vector = _Vector(schema)
    asked = cast(bindparam("vector", type_=ARRAY(REAL)), vector)
    distance = cast(_known.embedding, vector).op(f"OPERATOR({_quoted(schema)}.<=>)")(asked)
    return (
        select(_known.key, _known.body)
        .where(_of_ours, _is_fresh, func.cardinality(_known.embedding) == bindparam("dimensions"))
        .order_by(distance)
        .limit(bindparam("limit"))
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

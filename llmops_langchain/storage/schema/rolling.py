"""Sums of events, which reports are made of."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)

from llmops_langchain.storage.schema.base import metadata
from llmops_langchain.storage.types import NanoDollars

__all__ = ["ROLLUP_KEY", "ROLLUP_SUMS", "insight_states", "rollup_marks", "rollups", "secrets"]


def _part_of_key(name: str, kind: type, key: str | None = None) -> Column[object]:
    return Column(name, kind, key=key or name, primary_key=True)


def _sum(name: str, kind: type = BigInteger) -> Column[object]:
    return Column(name, kind, nullable=False, server_default="0")


# One row is the sum of events of one name in one hour or day, for what a tier tells apart; what it
# does not is empty text, as is a scope that events do not name. Sketches are joined, not replaced.
rollups = Table(
    "llmops_rollups",
    metadata,
    _part_of_key("tier", SmallInteger),
    _part_of_key("name", Text),
    # Days and hours of UTC since the Unix epoch; the hour of a day's row is -1.
    _part_of_key("day", BigInteger),
    _part_of_key("user_id", Text, "user"),
    _part_of_key("workspace", Text),
    _part_of_key("hour", SmallInteger),
    _part_of_key("project", Text),
    _part_of_key("agent", Text),
    _part_of_key("model", Text),
    *map(_sum, ("events", "errors", "refused", "cache_hits", "estimated", "unpriced")),
    *map(_sum, ("input_tokens", "output_tokens", "cached_tokens", "written_tokens")),
    *map(_sum, ("reasoning_tokens", "trimmed_tokens")),
    _sum("cost", NanoDollars),
    _sum("saved", NanoDollars),
    # Of the value of a metric, of the latency of whatever has none.
    _sum("measured"),
    _sum("total", Double),
    Column("least", Double),
    Column("most", Double),
    Column("sketch", LargeBinary, nullable=False),
    # Of the time to the first token.
    Column("first_token", LargeBinary, nullable=False),
    # For who is to be forgotten.
    Index(
        "ix_llmops_rollups_user",
        "user",
        "tier",
        sqlite_where=text("user_id <> ''"),
        postgresql_where=text("user_id <> ''"),
    ),
    sqlite_with_rowid=False,
)

ROLLUP_KEY = tuple(column.key for column in rollups.primary_key)
"""What a row is found by, in order."""

ROLLUP_SUMS = tuple(column.key for column in rollups.c if column.server_default is not None)
"""What is added up."""

# What is known of the rollups as a whole: until when raw events were deleted, and whether events
# are waiting to be rolled up.
rollup_marks = Table(
    "llmops_rollup_marks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Double, nullable=False),
    sqlite_with_rowid=False,
)

# Random bytes of this database, so that hashes in it tell nothing in another one.
secrets = Table(
    "llmops_secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# What was found in the events, and whom it was told.
insight_states = Table(
    "llmops_insight_states",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("workspace", Text),
    Column("user_id", Text, key="user", index=True),
    Column("type", Text, nullable=False),
    Column("severity", Text, nullable=False),
    # `new`, `open`, `resolved` or `dismissed`.
    Column("status", Text, nullable=False),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
    Column("notified_at", Double),
    # The whole finding as JSON.
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

"""A cache with a bound, tags and claims."""

import sqlalchemy as sa
from alembic import op

from llmops_langchain.storage.types import Seconds

revision = "1.2"
down_revision = "1.1"
branch_labels = None
depends_on = None

_ENTRIES, _TAGS = "llmops_cache_entries", "llmops_cache_tags"


def upgrade() -> None:
    """Add columns to the cache entries, and the tables of tags, generations and leases."""
    for column in (
        sa.Column("space", sa.Text, nullable=False, server_default="answers"),
        sa.Column("size", sa.Integer, nullable=False, server_default="0"),
        sa.Column("used_at", Seconds, nullable=False, server_default="0"),
        sa.Column("fingerprint", sa.LargeBinary),
    ):
        op.add_column(_ENTRIES, column)
    columns = ["space", "used_at", "size"]
    op.create_index(op.f("ix_llmops_cache_entries_space_used_at_size"), _ENTRIES, columns)
    _create_tags()
    op.create_table(
        "llmops_generations",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.Column("changed_at", Seconds, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_llmops_generations")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "llmops_leases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("expires_at", Seconds, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_llmops_leases")),
        sqlite_with_rowid=False,
    )


def _create_tags() -> None:
    op.create_table(
        _TAGS,
        sa.Column("tag", sa.Text, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(
            ["key"],
            [f"{_ENTRIES}.key"],
            name=op.f("fk_llmops_cache_tags_key_llmops_cache_entries"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tag", "key", name=op.f("pk_llmops_cache_tags")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_llmops_cache_tags_key"), _TAGS, ["key"])

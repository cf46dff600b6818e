"""First tables: events and cache entries."""

import sqlalchemy as sa
from alembic import op

from llmops_langchain.storage.types import Id, NanoDollars, Seconds, Tags

revision = "1.1"
down_revision = None
branch_labels = None
depends_on = None


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer, nullable=False, server_default="0") for name in names]


def _flags(*names: str) -> list[sa.Column[bool]]:
    return [
        sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false()) for name in names
    ]


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text) for name in names]


def upgrade() -> None:
    """Create both tables and their indexes."""
    op.create_table(
        "llmops_events",
        sa.Column("id", Id, nullable=False),
        sa.Column("ts", Seconds, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", Seconds),
        *_texts("unit", "workspace", "project", "task", "user_id", "agent", "thread"),
        sa.Column("tags", Tags),
        *_texts("provider", "model", "tier"),
        sa.Column("run_id", Id),
        sa.Column("parent_run_id", Id),
        *_counts("input_tokens", "output_tokens", "cached_tokens", "written_tokens"),
        *_counts("reasoning_tokens", "audio_tokens"),
        sa.Column("cost", NanoDollars, nullable=False, server_default="0"),
        sa.Column("saved", NanoDollars, nullable=False, server_default="0"),
        sa.Column("price_version", sa.Text),
        sa.Column("latency", Seconds),
        sa.Column("time_to_first_token", Seconds),
        sa.Column("status", sa.Text, nullable=False, server_default="ok"),
        *_texts("error_class", "cache_tier"),
        *_flags("estimated", "unpriced", "aborted", "routed"),
        sa.Column("trimmed_tokens", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("cache_key", sa.LargeBinary),
        sa.Column("features", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llmops_events")),
    )
    op.create_index(op.f("ix_llmops_events_name_ts"), "llmops_events", ["name", "ts"])
    op.create_index(
        op.f("ix_llmops_events_workspace_project_ts"),
        "llmops_events",
        ["workspace", "project", "ts"],
    )
    op.create_table(
        "llmops_cache_entries",
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("created_at", Seconds, nullable=False),
        sa.Column("expires_at", Seconds),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_llmops_cache_entries")),
    )
    op.create_index(
        op.f("ix_llmops_cache_entries_expires_at"), "llmops_cache_entries", ["expires_at"]
    )

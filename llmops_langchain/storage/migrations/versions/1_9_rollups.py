"""Sums of events by hour and day, for reports that need not read the events."""

import sqlalchemy as sa
from alembic import op

from llmops_langchain.storage.types import NanoDollars

revision = "1.9"
down_revision = "1.8"
branch_labels = None
depends_on = None

_COUNTS = (
    *("events", "errors", "refused", "cache_hits", "estimated", "unpriced"),
    *("input_tokens", "output_tokens", "cached_tokens", "written_tokens"),
    *("reasoning_tokens", "trimmed_tokens"),
)
_KEY = ("tier", "name", "day", "user_id", "workspace", "hour", "project", "agent", "model")


def upgrade() -> None:
    """Create the tables; events that are there already wait for `llmops rebuild`."""
    kinds = {"tier": sa.SmallInteger, "day": sa.BigInteger, "hour": sa.SmallInteger}
    op.create_table(
        "llmops_rollups",
        *(sa.Column(name, kinds.get(name, sa.Text), nullable=False) for name in _KEY),
        *(_sum(name) for name in _COUNTS),
        *(_sum(name, NanoDollars) for name in ("cost", "saved")),
        _sum("measured"),
        _sum("total", sa.Double),
        sa.Column("least", sa.Double),
        sa.Column("most", sa.Double),
        sa.Column("sketch", sa.LargeBinary, nullable=False),
        sa.Column("first_token", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, name=op.f("pk_llmops_rollups")),
        sqlite_with_rowid=False,
    )
    named = sa.text("user_id <> ''")
    op.create_index(
        "ix_llmops_rollups_user",
        "llmops_rollups",
        ["user_id", "tier"],
        sqlite_where=named,
        postgresql_where=named,
    )
    op.create_table(
        "llmops_rollup_marks",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_llmops_rollup_marks")),
        sqlite_with_rowid=False,
    )
    _create_secrets()
    _create_insight_states()
    op.execute(
        "INSERT INTO llmops_rollup_marks (name, value) "
        "SELECT 'waiting', 1 WHERE EXISTS (SELECT 1 FROM llmops_events)"
    )


def _create_secrets() -> None:
    op.create_table(
        "llmops_secrets",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_llmops_secrets")),
        sqlite_with_rowid=False,
    )


def _create_insight_states() -> None:
    table = "llmops_insight_states"
    op.create_table(
        table,
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("workspace", sa.Text),
        sa.Column("user_id", sa.Text),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("type", "severity", "status")),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("first_seen", "last_seen")),
        sa.Column("notified_at", sa.Double),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f(f"pk_{table}")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f(f"ix_{table}_user_id"), table, ["user_id"])


def _sum(name: str, kind: type = sa.BigInteger) -> sa.Column[object]:
    return sa.Column(name, kind, nullable=False, server_default="0")

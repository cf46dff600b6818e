"""Decisions of routers, how good the answers were, and how the models fare."""

import sqlalchemy as sa
from alembic import op

from llmops_langchain.storage.types import Id, NanoDollars, Seconds

revision = "1.6"
down_revision = "1.5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _create_decisions()
    _create_outcomes()
    op.create_table(
        "llmops_router_state",
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("choice", sa.Text, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("rests_until", Seconds, nullable=False),
        sa.Column("latency", sa.Double),
        sa.Column("answer_tokens", sa.Double),
        sa.Column("updated", Seconds, nullable=False),
        sa.PrimaryKeyConstraint("pool", "choice", name=op.f("pk_llmops_router_state")),
        sqlite_with_rowid=False,
    )


def _create_decisions() -> None:
    op.create_table(
        "llmops_decisions",
        sa.Column("id", Id, nullable=False),
        sa.Column("ts", Seconds, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        *_of_whom(),
        sa.Column("choice", sa.Text, nullable=False),
        sa.Column("propensity", sa.Double, nullable=False),
        sa.Column("answered_by", sa.Text),
        sa.Column("cost", NanoDollars),
        sa.Column("latency", sa.Double),
        sa.Column("input_tokens", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("embedder", sa.Text),
        sa.Column("seen", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llmops_decisions")),
    )
    _index("llmops_decisions", "user_id")
    _index("llmops_decisions", "thread")
    _index("llmops_decisions", "pool", "ts", "cost")
    _index("llmops_decisions", "ts")


def _create_outcomes() -> None:
    op.create_table(
        "llmops_outcomes",
        sa.Column("decision_id", Id, nullable=False),
        sa.Column("choice", sa.Text, nullable=False),
        sa.Column("ts", Seconds, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        *_of_whom(),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("propensity", sa.Double, nullable=False),
        sa.Column("input_tokens", sa.Integer, nullable=False),
        sa.Column("embedder", sa.Text, nullable=False),
        sa.Column("seen", sa.LargeBinary, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("decision_id", "choice", name=op.f("pk_llmops_outcomes")),
    )
    _index("llmops_outcomes", "user_id")
    _index("llmops_outcomes", "thread")
    _index("llmops_outcomes", "pool", "embedder", "change")


def _of_whom() -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text) for name in ("workspace", "user_id", "thread")]


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))

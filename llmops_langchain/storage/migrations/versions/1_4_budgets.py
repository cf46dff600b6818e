"""Budgets with their periods, reservations and alerts; prices set by hand; contents of calls."""

import sqlalchemy as sa
from alembic import op

from llmops_langchain.storage.types import Id, NanoDollars, Seconds

revision = "1.4"
down_revision = "1.3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and let an event name its reservation."""
    op.add_column("llmops_events", sa.Column("reservation_id", Id))
    _create_prices()
    _create_budgets()
    _create_reservations()
    _create_contents()
    # Who sums what was spent locks this row, so it must be there.
    op.execute("INSERT INTO llmops_generations (name, value) VALUES ('budgets', 0)")


def _create_prices() -> None:
    key = ("provider", "model", "tier", "valid_from")
    op.create_table(
        "llmops_prices",
        *(sa.Column(name, sa.Text, nullable=False) for name in key[:3]),
        sa.Column("valid_from", Seconds, nullable=False),
        *(sa.Column(name, NanoDollars) for name in ("input", "output", "cached", "written")),
        sa.Column("factor", sa.Double),
        sa.Column("changed_at", Seconds, nullable=False),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_llmops_prices")),
        sqlite_with_rowid=False,
    )


def _create_budgets() -> None:
    op.create_table(
        "llmops_budgets",
        sa.Column("id", Id, nullable=False),
        *(sa.Column(name, sa.Text) for name in ("workspace", "project", "user_id", "agent")),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("amount", NanoDollars, nullable=False),
        sa.Column("hard", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("strict", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("changed_at", Seconds, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llmops_budgets")),
        sa.UniqueConstraint("scope", "period", name=op.f("uq_llmops_budgets_scope_period")),
    )
    _create_of_budget(
        "llmops_budget_windows",
        sa.Column("spent", NanoDollars, nullable=False, server_default="0"),
        sa.Column("reserved", NanoDollars, nullable=False, server_default="0"),
        sa.Column("counted_from", Seconds, nullable=False),
        key=["budget_id", "start"],
    )
    _create_of_budget(
        "llmops_budget_alerts",
        sa.Column("threshold", sa.Double, nullable=False),
        sa.Column("ts", Seconds, nullable=False),
        sa.Column("spent", NanoDollars, nullable=False),
        sa.Column("claimed_until", Seconds, nullable=False),
        sa.Column("notified_at", Seconds),
        key=["budget_id", "start", "threshold"],
    )


def _create_of_budget(table: str, *columns: sa.Column[object], key: list[str]) -> None:
    """Create a table of what belongs to one period of one budget."""
    op.create_table(
        table,
        sa.Column("budget_id", Id, nullable=False),
        sa.Column("start", Seconds, nullable=False),
        *columns,
        sa.ForeignKeyConstraint(
            ["budget_id"],
            ["llmops_budgets.id"],
            name=op.f(f"fk_{table}_budget_id_llmops_budgets"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")),
        sqlite_with_rowid=False,
    )


def _create_reservations() -> None:
    op.create_table(
        "llmops_reservations",
        sa.Column("id", Id, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("run_id", Id),
        sa.Column("amount", NanoDollars, nullable=False),
        sa.Column("at_risk", NanoDollars, nullable=False),
        sa.Column("expires_at", Seconds, nullable=False),
        sa.Column("billed", NanoDollars),
        sa.Column("windows", sa.Text, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llmops_reservations")),
        sqlite_with_rowid=False,
    )
    for column in ("run_id", "expires_at"):
        name = op.f(f"ix_llmops_reservations_{column}")
        op.create_index(name, "llmops_reservations", [column])


def _create_contents() -> None:
    op.create_table(
        "llmops_contents",
        sa.Column("event_id", Id, nullable=False),
        sa.Column("ts", Seconds, nullable=False),
        *(sa.Column(name, sa.Text) for name in ("workspace", "user_id", "thread")),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("expires_at", Seconds),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_llmops_contents")),
    )
    for column in ("user_id", "thread", "expires_at"):
        op.create_index(op.f(f"ix_llmops_contents_{column}"), "llmops_contents", [column])

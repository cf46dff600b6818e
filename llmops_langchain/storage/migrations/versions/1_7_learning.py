"""What was learnt from finished runs."""

import sqlalchemy as sa
from alembic import op

from llmops_langchain.storage.types import Id, Seconds

revision = "1.7"
down_revision = "1.6"
branch_labels = None
depends_on = None

_TABLE = "llmops_experiences"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        _TABLE,
        sa.Column("id", Id, nullable=False),
        sa.Column("ts", Seconds, nullable=False),
        sa.Column("workspace", sa.Text),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text),
        sa.Column("thread", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("agent", sa.Text),
        sa.Column("success", sa.Boolean, nullable=False),
        sa.Column("failure", sa.Text),
        sa.Column("task_key", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("embedder", sa.Text),
        sa.Column("vector", sa.LargeBinary),
        sa.Column("change", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{_TABLE}")),
    )
    for columns in (("user_id",), ("thread",), ("workspace", "change"), ("change",), ("ts",)):
        op.create_index(op.f(f"ix_{_TABLE}_{'_'.join(columns)}"), _TABLE, list(columns))

"""Questions by meaning, and the evidence for what they may answer."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, REAL

from llmops_langchain.storage.types import Id, Seconds

revision = "1.3"
down_revision = "1.2"
branch_labels = None
depends_on = None

_VECTORS, _FEEDBACK = "llmops_semantic_vectors", "llmops_cache_feedback"


def upgrade() -> None:
    """Create the tables of questions and of evidence."""
    _create_vectors()
    _create_feedback()


def _create_vectors() -> None:
    op.create_table(
        _VECTORS,
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("space", sa.Text, nullable=False),
        sa.Column("scope", sa.LargeBinary, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("embedder", sa.Text, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
        sa.Column("created_at", Seconds, nullable=False),
        sa.Column("expires_at", Seconds),
        sa.Column("used_at", Seconds, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("embedding", sa.LargeBinary().with_variant(ARRAY(REAL), "postgresql")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llmops_semantic_vectors")),
        sa.UniqueConstraint(
            *("space", "scope", "key", "embedder"),
            name=op.f("uq_llmops_semantic_vectors_space_scope_key_embedder"),
        ),
    )
    for columns in (
        ["space", "scope", "embedder", "used_at"],
        ["space", "change", "embedder"],
        ["expires_at"],
    ):
        op.create_index(op.f(f"ix_{_VECTORS}_{'_'.join(columns)}"), _VECTORS, columns)
    if op.get_context().dialect.name == "postgresql":
        # Beside the row's other columns, not in a table of its own: pgvector reads all of them.
        op.execute(f"ALTER TABLE {_VECTORS} ALTER COLUMN embedding SET STORAGE MAIN")


def _create_feedback() -> None:
    op.create_table(
        _FEEDBACK,
        sa.Column("id", Id, nullable=False),
        sa.Column("ts", Seconds, nullable=False),
        sa.Column("space", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("workspace", sa.Text),
        sa.Column("call_key", sa.LargeBinary, nullable=False),
        sa.Column("matched", sa.LargeBinary, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("cosine", sa.Double, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("correct", sa.Boolean),
        sa.Column("source", sa.Text),
        sa.Column("judged_by", sa.Text),
        sa.Column("judged_at", Seconds),
        sa.Column("change", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llmops_cache_feedback")),
        sa.UniqueConstraint("space", "run_id", name=op.f("uq_llmops_cache_feedback_space_run_id")),
    )
    for columns in (["space", "pool", "change"], ["space", "correct", "ts"]):
        op.create_index(op.f(f"ix_{_FEEDBACK}_{'_'.join(columns)}"), _FEEDBACK, columns)

"""Conversations with their messages, and what was learnt of models' own counts of tokens."""

import sqlalchemy as sa
from alembic import op

from llmops_langchain.storage.types import Id, Seconds

revision = "1.5"
down_revision = "1.4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _create_chats()
    _create_messages()
    op.create_table(
        "llmops_token_calibration",
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("ratio", sa.Double, nullable=False),
        sa.Column("replies", sa.Double, nullable=False),
        sa.Column("updated", Seconds, nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_llmops_token_calibration")),
        sqlite_with_rowid=False,
    )


def _create_chats() -> None:
    op.create_table(
        "llmops_chats",
        sa.Column("id", Id, nullable=False),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text),
        *(
            sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
            for name in ("messages", "tokens", "last_seq")
        ),
        sa.Column("created_at", Seconds, nullable=False),
        sa.Column("changed_at", Seconds, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llmops_chats")),
        sa.UniqueConstraint("workspace", "session", name=op.f("uq_llmops_chats_workspace_session")),
    )
    for column in ("user_id", "changed_at"):
        op.create_index(op.f(f"ix_llmops_chats_{column}"), "llmops_chats", [column])


def _create_messages() -> None:
    op.create_table(
        "llmops_messages",
        sa.Column("chat_id", Id, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("ts", Seconds, nullable=False),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("chat_id", "seq", name=op.f("pk_llmops_messages")),
        sa.ForeignKeyConstraint(
            ["chat_id"],
            ["llmops_chats.id"],
            name=op.f("fk_llmops_messages_chat_id_llmops_chats"),
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint(
            "chat_id", "message_id", name=op.f("uq_llmops_messages_chat_id_message_id")
        ),
    )

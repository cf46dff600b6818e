"""Conversations, and how models count their tokens."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from llmops_langchain.storage.schema.base import metadata
from llmops_langchain.storage.types import Id, Seconds

__all__ = ["chats", "messages", "token_calibration"]

# Conversations: who writes to one locks its row, which gives the messages their order.
chats = Table(
    "llmops_chats",
    metadata,
    Column("id", Id, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("user_id", Text, key="user", index=True),
    Column("messages", BigInteger, nullable=False, server_default="0"),
    Column("tokens", BigInteger, nullable=False, server_default="0"),
    Column("last_seq", BigInteger, nullable=False, server_default="0"),
    Column("created_at", Seconds, nullable=False),
    Column("changed_at", Seconds, nullable=False, index=True),
    UniqueConstraint("workspace", "session"),
)

# Their messages, each with its tokens, so that the end of a long one is read by itself.
messages = Table(
    "llmops_messages",
    metadata,
    Column("chat_id", Id, ForeignKey("llmops_chats.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("ts", Seconds, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("chat_id", "message_id"),
)

# How a model's own counts of tokens compare with ours: learnt from its replies.
token_calibration = Table(
    "llmops_token_calibration",
    metadata,
    Column("model", Text, primary_key=True),
    Column("ratio", Double, nullable=False),
    Column("replies", Double, nullable=False),
    Column("updated", Seconds, nullable=False),
    sqlite_with_rowid=False,
)

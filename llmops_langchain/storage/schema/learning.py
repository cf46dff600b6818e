"""What was learnt from finished runs."""

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, Table, Text

from llmops_langchain.storage.schema.base import metadata
from llmops_langchain.storage.types import Id, Seconds

__all__ = ["experiences"]

experiences = Table(
    "llmops_experiences",
    metadata,
    Column("id", Id, primary_key=True),
    Column("ts", Seconds, nullable=False),
    Column("workspace", Text),
    Column("project", Text, nullable=False),
    Column("user_id", Text, key="user", index=True),
    Column("thread", Text, index=True),
    Column("model", Text),
    Column("agent", Text),
    Column("success", Boolean, nullable=False),
    Column("failure", Text),
    # A hash of the task's words: equal for runs of one task.
    Column("task_key", LargeBinary, nullable=False),
    # Texts, names and figures, packed.
    Column("body", LargeBinary, nullable=False),
    # The task as a vector, packed, and whose it is; none until it is embedded.
    Column("embedder", Text),
    Column("vector", LargeBinary),
    # Numbers the writes, for readers who want what is new.
    Column("change", BigInteger, nullable=False),
    Index(None, "workspace", "change"),
    Index(None, "change"),
    Index(None, "ts"),
)

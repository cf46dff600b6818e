"""What processes tell each other."""

from sqlalchemy import BigInteger, Column, Table, Text

from llmops_langchain.storage.schema.base import metadata
from llmops_langchain.storage.types import Seconds

__all__ = ["generations", "leases"]

# Counters that only grow: how often something was changed, and at which count it was last.
generations = Table(
    "llmops_generations",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
    Column("changed_at", Seconds, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)

# Who does something that only one shall do, and until when it is theirs.
leases = Table(
    "llmops_leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("expires_at", Seconds, nullable=False),
    sqlite_with_rowid=False,
)

"""Answers that are kept, and what is known of answers found by meaning."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, REAL

from llmops_langchain.storage.schema.base import count, metadata
from llmops_langchain.storage.types import Id, Seconds

__all__ = ["cache_entries", "cache_feedback", "cache_tags", "semantic_vectors"]

cache_entries = Table(
    "llmops_cache_entries",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("created_at", Seconds, nullable=False),
    Column("expires_at", Seconds, index=True),
    # Since 1.2: who keeps it here, what it takes (bytes, with its row), and when it was of use.
    Column("space", Text, nullable=False, server_default="answers"),
    count("size"),
    Column("used_at", Seconds, nullable=False, server_default="0"),
    Column("fingerprint", LargeBinary),
    # Sizes are summed, and the oldest found, in the index alone: the values are not read.
    Index(None, "space", "used_at", "size"),
)

cache_tags = Table(
    "llmops_cache_tags",
    metadata,
    Column("tag", Text, primary_key=True),
    Column(
        "key",
        LargeBinary,
        ForeignKey(cache_entries.c.key, ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
    sqlite_with_rowid=False,
)

# Questions that were answered, to be found by meaning. Nothing refers to `cache_entries`: the
# answers may be kept elsewhere.
semantic_vectors = Table(
    "llmops_semantic_vectors",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("space", Text, nullable=False),
    # A digest of all that must be equal, the key of the answer, and whose vector it is.
    Column("scope", LargeBinary, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("embedder", Text, nullable=False),
    # Numbers the writes, for readers who want what is new: see `cache/changes.py`.
    Column("change", BigInteger, nullable=False),
    Column("created_at", Seconds, nullable=False),
    Column("expires_at", Seconds, index=True),
    Column("used_at", Seconds, nullable=False),
    # Question and vector as they are packed; empty once the answer is gone.
    Column("body", LargeBinary, nullable=False),
    # The vector again for pgvector, on PostgreSQL alone and only if nothing is encrypted.
    Column("embedding", LargeBinary().with_variant(ARRAY(REAL), "postgresql")),
    UniqueConstraint("space", "scope", "key", "embedder"),
    # The least recently used of a scope are counted and found in the index alone.
    Index(None, "space", "scope", "embedder", "used_at"),
    Index(None, "space", "change", "embedder"),
)

# Answers found by meaning, served or not, and whether they were right.
cache_feedback = Table(
    "llmops_cache_feedback",
    metadata,
    Column("id", Id, primary_key=True),
    Column("ts", Seconds, nullable=False),
    Column("space", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    # Whose scores they are: embedder and verifier.
    Column("pool", Text, nullable=False),
    Column("workspace", Text),
    # The call, the call whose kept answer was found for it, and how well they match.
    Column("call_key", LargeBinary, nullable=False),
    Column("matched", LargeBinary, nullable=False),
    Column("score", Double, nullable=False),
    Column("cosine", Double, nullable=False),
    Column("kind", Text, nullable=False),
    # The judgment; NULL until there is one. `change` numbers them as above.
    Column("correct", Boolean),
    Column("source", Text),
    Column("judged_by", Text),
    Column("judged_at", Seconds),
    Column("change", BigInteger),
    UniqueConstraint("space", "run_id"),
    Index(None, "space", "pool", "change"),
    Index(None, "space", "correct", "ts"),
)

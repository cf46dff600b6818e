"""Whom routers asked, how good that was, and how their models fare."""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, Table, Text

from llmops_langchain.storage.schema.base import metadata
from llmops_langchain.storage.types import Id, NanoDollars, Seconds

__all__ = ["decisions", "outcomes", "router_state"]

# Whom routers asked, and why: figures and names, never a text.
decisions = Table(
    "llmops_decisions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("ts", Seconds, nullable=False),
    # Routers of one pool learn together.
    Column("pool", Text, nullable=False),
    Column("workspace", Text),
    Column("user_id", Text, key="user", index=True),
    Column("thread", Text, index=True),
    Column("choice", Text, nullable=False),
    Column("propensity", Double, nullable=False),
    Column("answered_by", Text),
    Column("cost", NanoDollars),
    Column("latency", Double),
    Column("input_tokens", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    # The prompt as the learner sees it, packed, and whose vector it is.
    Column("embedder", Text),
    Column("seen", LargeBinary),
    Index(None, "pool", "ts", "cost"),
    Index(None, "ts"),
)

# How good answers were: what routers learn from.
outcomes = Table(
    "llmops_outcomes",
    metadata,
    Column("decision_id", Id, primary_key=True),
    Column("choice", Text, primary_key=True),
    Column("ts", Seconds, nullable=False),
    Column("pool", Text, nullable=False),
    Column("workspace", Text),
    Column("user_id", Text, key="user", index=True),
    Column("thread", Text, index=True),
    Column("score", Double, nullable=False),
    # How much it counts, by its source.
    Column("weight", Double, nullable=False),
    Column("source", Text, nullable=False),
    Column("propensity", Double, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("embedder", Text, nullable=False),
    Column("seen", LargeBinary, nullable=False),
    # Numbers the writes, for readers who want what is new.
    Column("change", BigInteger, nullable=False),
    Index(None, "pool", "embedder", "change"),
)

# How a router's models fare of late: the newest word counts.
router_state = Table(
    "llmops_router_state",
    metadata,
    Column("pool", Text, primary_key=True),
    Column("choice", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("rests_until", Seconds, nullable=False),
    Column("latency", Double),
    Column("answer_tokens", Double),
    Column("updated", Seconds, nullable=False),
    sqlite_with_rowid=False,
)

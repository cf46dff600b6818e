"""Every table of the package, on one screen; each change is a revision in `migrations/`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.dialects.postgresql import ARRAY, REAL

from llmops_langchain.storage.types import Id, NanoDollars, Seconds, Tags

__all__ = [
    "SCHEMA_VERSION",
    "VERSION_TABLE",
    "budget_alerts",
    "budget_windows",
    "budgets",
    "cache_entries",
    "cache_feedback",
    "cache_tags",
    "chats",
    "contents",
    "decisions",
    "events",
    "generations",
    "leases",
    "messages",
    "metadata",
    "outcomes",
    "prices",
    "reservations",
    "router_state",
    "semantic_vectors",
    "token_calibration",
]

SCHEMA_VERSION = "1.6"
"""`major.minor` of the newest revision. Within a major, revisions only add nullable or defaulted
columns and new tables, so code of an earlier minor goes on working beside newer code."""

VERSION_TABLE = "llmops_alembic_version"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=false())


events = Table(
    "llmops_events",
    metadata,
    Column("id", Id, primary_key=True),
    Column("ts", Seconds, nullable=False),
    Column("name", Text, nullable=False),
    Column("value", Seconds),
    Column("unit", Text),
    # Scope. `user` alone would be PostgreSQL's own word for the login role, hence `user_id`.
    Column("workspace", Text),
    Column("project", Text),
    Column("task", Text),
    Column("user_id", Text, key="user"),
    Column("agent", Text),
    Column("thread", Text),
    Column("tags", Tags),
    # What was called.
    Column("provider", Text),
    Column("model", Text),
    Column("tier", Text),
    Column("run_id", Id),
    Column("parent_run_id", Id),
    # What it used. `input_tokens` and `output_tokens` are totals, the others parts of them.
    _count("input_tokens"),
    _count("output_tokens"),
    _count("cached_tokens"),
    _count("written_tokens"),
    _count("reasoning_tokens"),
    _count("audio_tokens"),
    Column("cost", NanoDollars, nullable=False, server_default="0"),
    Column("saved", NanoDollars, nullable=False, server_default="0"),
    Column("price_version", Text),
    # How it went.
    Column("latency", Seconds),
    Column("time_to_first_token", Seconds),
    Column("status", Text, nullable=False, server_default="ok"),
    Column("error_class", Text),
    Column("cache_tier", Text),
    _flag("estimated"),
    _flag("unpriced"),
    _flag("aborted"),
    _flag("routed"),
    Column("trimmed_tokens", BigInteger, nullable=False, server_default="0"),
    # For replay: an HMAC of the call's key and a small vector, never text.
    Column("cache_key", LargeBinary),
    Column("features", LargeBinary),
    # Since 1.4: the reservation that it settles.
    Column("reservation_id", Id),
    Index(None, "name", "ts"),
    Index(None, "workspace", "project", "ts"),
)

cache_entries = Table(
    "llmops_cache_entries",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("created_at", Seconds, nullable=False),
    Column("expires_at", Seconds, index=True),
    # Since 1.2: who keeps it here, what it takes (bytes, with its row), and when it was of use.
    Column("space", Text, nullable=False, server_default="answers"),
    _count("size"),
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

# Prices set by hand, each from a moment on; empty text: of any provider, in any tier.
prices = Table(
    "llmops_prices",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("tier", Text, primary_key=True),
    Column("valid_from", Seconds, primary_key=True),
    # Nano-dollars for a million tokens; NULL: as `input` (`output` for reasoning).
    Column("input", NanoDollars),
    Column("output", NanoDollars),
    Column("cached", NanoDollars),
    Column("written", NanoDollars),
    # What the listed price is multiplied by, where no price is set.
    Column("factor", Double),
    Column("changed_at", Seconds, nullable=False),
    sqlite_with_rowid=False,
)

budgets = Table(
    "llmops_budgets",
    metadata,
    Column("id", Id, primary_key=True),
    Column("workspace", Text),
    Column("project", Text),
    Column("user_id", Text, key="user"),
    Column("agent", Text),
    # The four as one text, for a unique key that takes NULL for a value.
    Column("scope", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("amount", NanoDollars, nullable=False),
    _flag("hard"),
    _flag("strict"),
    Column("changed_at", Seconds, nullable=False),
    UniqueConstraint("scope", "period"),
)

# What was spent of a budget in one of its periods, and what calls under way may still spend.
budget_windows = Table(
    "llmops_budget_windows",
    metadata,
    Column("budget_id", Id, ForeignKey(budgets.c.id, ondelete="CASCADE"), primary_key=True),
    Column("start", Seconds, primary_key=True),
    Column("spent", NanoDollars, nullable=False, server_default="0"),
    Column("reserved", NanoDollars, nullable=False, server_default="0"),
    # Spend counts from here on: the start of the period, or a reset.
    Column("counted_from", Seconds, nullable=False),
    sqlite_with_rowid=False,
)

# What was set aside for one call, or for a process to spend by itself (a slice).
reservations = Table(
    "llmops_reservations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("run_id", Id, index=True),
    Column("amount", NanoDollars, nullable=False),
    # What is counted as spent if nobody ever tells.
    Column("at_risk", NanoDollars, nullable=False),
    Column("expires_at", Seconds, nullable=False, index=True),
    # NULL while it is held; then what was counted.
    Column("billed", NanoDollars),
    # [[budget id, start], …], and the scope and the model: JSON.
    Column("windows", Text, nullable=False),
    Column("about", Text, nullable=False),
    sqlite_with_rowid=False,
)

# Each share of a budget that was reached in a period, once.
budget_alerts = Table(
    "llmops_budget_alerts",
    metadata,
    Column("budget_id", Id, ForeignKey(budgets.c.id, ondelete="CASCADE"), primary_key=True),
    Column("start", Seconds, primary_key=True),
    Column("threshold", Double, primary_key=True),
    Column("ts", Seconds, nullable=False),
    Column("spent", NanoDollars, nullable=False),
    # Who is telling it, until when, and whether it was told.
    Column("claimed_until", Seconds, nullable=False),
    Column("notified_at", Seconds),
    sqlite_with_rowid=False,
)

# Prompts and answers of events, where the app wants them kept: packed, and encrypted.
contents = Table(
    "llmops_contents",
    metadata,
    Column("event_id", Id, primary_key=True),
    Column("ts", Seconds, nullable=False),
    Column("workspace", Text),
    Column("user_id", Text, key="user", index=True),
    Column("thread", Text, index=True),
    Column("body", LargeBinary, nullable=False),
    Column("expires_at", Seconds, index=True),
)

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

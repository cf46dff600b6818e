"""What was recorded, what it cost, and what may be spent."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from llmops_langchain.storage.schema.base import count, flag, metadata
from llmops_langchain.storage.types import Id, NanoDollars, Seconds, Tags

__all__ = [
    "budget_alerts",
    "budget_windows",
    "budgets",
    "contents",
    "events",
    "prices",
    "reservations",
]

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
    count("input_tokens"),
    count("output_tokens"),
    count("cached_tokens"),
    count("written_tokens"),
    count("reasoning_tokens"),
    count("audio_tokens"),
    Column("cost", NanoDollars, nullable=False, server_default="0"),
    Column("saved", NanoDollars, nullable=False, server_default="0"),
    Column("price_version", Text),
    # How it went.
    Column("latency", Seconds),
    Column("time_to_first_token", Seconds),
    Column("status", Text, nullable=False, server_default="ok"),
    Column("error_class", Text),
    Column("cache_tier", Text),
    flag("estimated"),
    flag("unpriced"),
    flag("aborted"),
    flag("routed"),
    Column("trimmed_tokens", BigInteger, nullable=False, server_default="0"),
    # For replay: an HMAC of the call's key and a small vector, never text.
    Column("cache_key", LargeBinary),
    Column("features", LargeBinary),
    # Since 1.4: the reservation that it settles.
    Column("reservation_id", Id),
    Index(None, "name", "ts"),
    Index(None, "workspace", "project", "ts"),
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
    flag("hard"),
    flag("strict"),
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

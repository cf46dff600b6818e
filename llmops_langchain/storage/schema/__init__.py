"""Every table of the package, by the part it serves; each change is a revision in `migrations/`."""

from llmops_langchain.storage.schema.base import metadata
from llmops_langchain.storage.schema.caching import (
    cache_entries,
    cache_feedback,
    cache_tags,
    semantic_vectors,
)
from llmops_langchain.storage.schema.conversing import chats, messages, token_calibration
from llmops_langchain.storage.schema.learning import experiences
from llmops_langchain.storage.schema.recording import (
    budget_alerts,
    budget_windows,
    budgets,
    contents,
    events,
    prices,
    reservations,
)
from llmops_langchain.storage.schema.rolling import (
    ROLLUP_KEY,
    ROLLUP_SUMS,
    insight_states,
    rollup_marks,
    rollups,
    secrets,
)
from llmops_langchain.storage.schema.routing import decisions, outcomes, router_state
from llmops_langchain.storage.schema.sharing import generations, leases
from llmops_langchain.storage.schema.teams import (
    TENANT_TABLES,
    api_keys,
    audit_log,
    audit_people,
    invitations,
    members,
    project_shares,
    projects,
    roles,
    workspaces,
)

__all__ = [
    "ROLLUP_KEY",
    "ROLLUP_SUMS",
    "SCHEMA_VERSION",
    "TENANT_TABLES",
    "VERSION_TABLE",
    "api_keys",
    "audit_log",
    "audit_people",
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
    "experiences",
    "generations",
    "insight_states",
    "invitations",
    "leases",
    "members",
    "messages",
    "metadata",
    "outcomes",
    "prices",
    "project_shares",
    "projects",
    "reservations",
    "roles",
    "rollup_marks",
    "rollups",
    "router_state",
    "secrets",
    "semantic_vectors",
    "token_calibration",
    "workspaces",
]

SCHEMA_VERSION = "1.9"
"""`major.minor` of the newest revision. Within a major, revisions only add nullable or defaulted
columns and new tables, so code of an earlier minor goes on working beside newer code."""

VERSION_TABLE = "llmops_alembic_version"

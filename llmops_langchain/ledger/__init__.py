"""The record side: events, whom they belong to, and the way they take to the database."""

from llmops_langchain.ledger.event import (
    ABANDONED,
    EMBEDDING,
    LLM_CALL,
    TOOL_CALL,
    TRIM,
    CacheTier,
    Event,
    Status,
)
from llmops_langchain.ledger.ledger import Durability, Ledger
from llmops_langchain.ledger.scope import Scope, Share, current_scope, holding, track

__all__ = [
    "ABANDONED",
    "EMBEDDING",
    "LLM_CALL",
    "TOOL_CALL",
    "TRIM",
    "CacheTier",
    "Durability",
    "Event",
    "Ledger",
    "Scope",
    "Share",
    "Status",
    "current_scope",
    "holding",
    "track",
]

"""The record side: events, whom they belong to, and the way they take to the database."""

from llmops_langchain.ledger.budget import Budget, BudgetAlert, BudgetStatus, Period
from llmops_langchain.ledger.budgets import Budgets
from llmops_langchain.ledger.event import (
    ABANDONED,
    CONTEXT_WARNING,
    EMBEDDING,
    LLM_CALL,
    TOOL_CALL,
    TRIM,
    CacheTier,
    Event,
    Status,
)
from llmops_langchain.ledger.ledger import Durability, Ledger
from llmops_langchain.ledger.prices import StoredPrices, UnpricedModel
from llmops_langchain.ledger.reservations import Amount, Governed, Reservations
from llmops_langchain.ledger.retention import EventRows
from llmops_langchain.ledger.rollup_upkeep import Difference, Rebuilt, RollupTable
from llmops_langchain.ledger.scope import Scope, Share, current_scope, holding, track
from llmops_langchain.ledger.shared_failure import SharedFailure
from llmops_langchain.ledger.slices import Slices

__all__ = [
    "ABANDONED",
    "CONTEXT_WARNING",
    "EMBEDDING",
    "LLM_CALL",
    "TOOL_CALL",
    "TRIM",
    "Amount",
    "Budget",
    "BudgetAlert",
    "BudgetStatus",
    "Budgets",
    "CacheTier",
    "Difference",
    "Durability",
    "Event",
    "EventRows",
    "Governed",
    "Ledger",
    "Period",
    "Rebuilt",
    "Reservations",
    "RollupTable",
    "Scope",
    "Share",
    "SharedFailure",
    "Slices",
    "Status",
    "StoredPrices",
    "UnpricedModel",
    "current_scope",
    "holding",
    "track",
]

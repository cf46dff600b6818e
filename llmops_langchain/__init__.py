"""Plug-ins for LangChain and LangGraph over one embedded database.

`LLMOps` holds the parts together; each works alone too. Names load when they are first used, so
`import llmops_langchain` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmops_langchain.analytics import Analytics, CostReport, ModelCost
    from llmops_langchain.cache import (
        CacheOptions,
        CacheStats,
        Explanation,
        MemoryStore,
        RedisStore,
        ResponseCache,
        SemanticPolicy,
        SqlStore,
    )
    from llmops_langchain.callbacks import (
        BudgetGate,
        Content,
        OpenTelemetryExport,
        TrackingMiddleware,
        UsageCallbackHandler,
    )
    from llmops_langchain.errors import (
        BudgetError,
        BudgetExceededError,
        BudgetUnavailableError,
        ConfigurationError,
        ContextWindowError,
        DatabaseCorruptError,
        DatabaseLockedError,
        DatabaseReadOnlyError,
        DatabaseUnavailableError,
        LLMOpsError,
        MissingExtraError,
        NoCandidateError,
        NotFoundError,
        SchemaVersionError,
        StorageError,
        UnpricedModelError,
        UnscopedCallError,
    )
    from llmops_langchain.graph import (
        BudgetLeft,
        RouteTaken,
        SqlNodeCache,
        budget_node,
        route_node,
    )
    from llmops_langchain.ledger import (
        Budget,
        BudgetAlert,
        Budgets,
        BudgetStatus,
        Event,
        Ledger,
        Scope,
        StoredPrices,
        UnpricedModel,
    )
    from llmops_langchain.memory import (
        Chat,
        Chats,
        ContextStatus,
        ContextWindow,
        EarlyCut,
        Relevant,
        Summarize,
        Trim,
        WindowedChatMessageHistory,
        is_pinned,
        pin,
    )
    from llmops_langchain.middleware import (
        BudgetMiddleware,
        ContextWindowMiddleware,
        ModelRouterMiddleware,
    )
    from llmops_langchain.models import PriceOverride
    from llmops_langchain.ops import LLMOps
    from llmops_langchain.routing import (
        Decision,
        Evaluation,
        Limits,
        ModelChoice,
        ModelRouter,
        Savings,
        Target,
        keeps_to,
        likely,
    )
    from llmops_langchain.settings import Settings
    from llmops_langchain.storage import Database
    from llmops_langchain.tokens import count_tokens

__version__ = "0.1.0"

__all__ = [
    "Analytics",
    "Budget",
    "BudgetAlert",
    "BudgetError",
    "BudgetExceededError",
    "BudgetGate",
    "BudgetLeft",
    "BudgetMiddleware",
    "BudgetStatus",
    "BudgetUnavailableError",
    "Budgets",
    "CacheOptions",
    "CacheStats",
    "Chat",
    "Chats",
    "ConfigurationError",
    "Content",
    "ContextStatus",
    "ContextWindow",
    "ContextWindowError",
    "ContextWindowMiddleware",
    "CostReport",
    "Database",
    "DatabaseCorruptError",
    "DatabaseLockedError",
    "DatabaseReadOnlyError",
    "DatabaseUnavailableError",
    "Decision",
    "EarlyCut",
    "Evaluation",
    "Event",
    "Explanation",
    "LLMOps",
    "LLMOpsError",
    "Ledger",
    "Limits",
    "MemoryStore",
    "MissingExtraError",
    "ModelChoice",
    "ModelCost",
    "ModelRouter",
    "ModelRouterMiddleware",
    "NoCandidateError",
    "NotFoundError",
    "OpenTelemetryExport",
    "PriceOverride",
    "RedisStore",
    "Relevant",
    "ResponseCache",
    "RouteTaken",
    "Savings",
    "SchemaVersionError",
    "Scope",
    "SemanticPolicy",
    "Settings",
    "SqlNodeCache",
    "SqlStore",
    "StorageError",
    "StoredPrices",
    "Summarize",
    "Target",
    "TrackingMiddleware",
    "Trim",
    "UnpricedModel",
    "UnpricedModelError",
    "UnscopedCallError",
    "UsageCallbackHandler",
    "WindowedChatMessageHistory",
    "budget_node",
    "count_tokens",
    "is_pinned",
    "keeps_to",
    "likely",
    "pin",
    "route_node",
]

_HOMES = {
    "analytics": ("Analytics", "CostReport", "ModelCost"),
    "cache": (
        "CacheOptions",
        "CacheStats",
        "Explanation",
        "MemoryStore",
        "RedisStore",
        "ResponseCache",
        "SemanticPolicy",
        "SqlStore",
    ),
    "callbacks": (
        "BudgetGate",
        "Content",
        "OpenTelemetryExport",
        "TrackingMiddleware",
        "UsageCallbackHandler",
    ),
    "errors": (
        "BudgetError",
        "BudgetExceededError",
        "BudgetUnavailableError",
        "ConfigurationError",
        "ContextWindowError",
        "DatabaseCorruptError",
        "DatabaseLockedError",
        "DatabaseReadOnlyError",
        "DatabaseUnavailableError",
        "LLMOpsError",
        "MissingExtraError",
        "NoCandidateError",
        "NotFoundError",
        "SchemaVersionError",
        "StorageError",
        "UnpricedModelError",
        "UnscopedCallError",
    ),
    "graph": ("BudgetLeft", "RouteTaken", "SqlNodeCache", "budget_node", "route_node"),
    "middleware": ("BudgetMiddleware", "ContextWindowMiddleware", "ModelRouterMiddleware"),
    "ledger": (
        "Budget",
        "BudgetAlert",
        "BudgetStatus",
        "Budgets",
        "Event",
        "Ledger",
        "Scope",
        "StoredPrices",
        "UnpricedModel",
    ),
    "memory": (
        "Chat",
        "Chats",
        "ContextStatus",
        "ContextWindow",
        "EarlyCut",
        "Relevant",
        "Summarize",
        "Trim",
        "WindowedChatMessageHistory",
        "is_pinned",
        "pin",
    ),
    "models": ("PriceOverride",),
    "ops": ("LLMOps",),
    "routing": (
        "Decision",
        "Evaluation",
        "Limits",
        "ModelChoice",
        "ModelRouter",
        "Savings",
        "Target",
        "keeps_to",
        "likely",
    ),
    "settings": ("Settings",),
    "storage": ("Database",),
    "tokens": ("count_tokens",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

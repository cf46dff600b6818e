"""Plug-ins for LangChain and LangGraph over one embedded database.

`LLMOps` holds the parts together; each works alone too. Names load when they are first used, so
`import llmops_langchain` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmops_langchain.analytics import (
        Analytics,
        Cost,
        CostReport,
        Distribution,
        ForecastReport,
        Insight,
        InsightLimits,
        Metric,
        MetricReport,
        PerformanceReport,
        QualityReport,
    )
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
        AuditError,
        AuthenticationError,
        BudgetError,
        BudgetExceededError,
        BudgetUnavailableError,
        ConfigurationError,
        ConflictError,
        ContextWindowError,
        DatabaseCorruptError,
        DatabaseLockedError,
        DatabaseReadOnlyError,
        DatabaseUnavailableError,
        InvitationError,
        LastOwnerError,
        LLMOpsError,
        MissingExtraError,
        NoCandidateError,
        NotFoundError,
        PermissionDeniedError,
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
        learn_node,
        lessons_node,
        route_node,
    )
    from llmops_langchain.learning import (
        Estimate,
        Experience,
        ExperienceExampleSelector,
        ExperienceRecorder,
        FinishedRun,
        Imported,
        Learning,
        LearningRetriever,
        LearningStats,
        Match,
        Patterns,
        Prediction,
        Rebuilt,
        Risk,
        Suggestion,
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
        LessonsMiddleware,
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
    from llmops_langchain.workspaces import (
        Actor,
        Anchor,
        ApiKey,
        AuditEntry,
        AuditFinding,
        AuditReport,
        Invitation,
        Member,
        NewApiKey,
        NewInvitation,
        Project,
        Role,
        Standing,
        Workspace,
        Workspaces,
        check_permission,
    )

__version__ = "0.1.0"

__all__ = [
    "Actor",
    "Analytics",
    "Anchor",
    "ApiKey",
    "AuditEntry",
    "AuditError",
    "AuditFinding",
    "AuditReport",
    "AuthenticationError",
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
    "ConflictError",
    "Content",
    "ContextStatus",
    "ContextWindow",
    "ContextWindowError",
    "ContextWindowMiddleware",
    "Cost",
    "CostReport",
    "Database",
    "DatabaseCorruptError",
    "DatabaseLockedError",
    "DatabaseReadOnlyError",
    "DatabaseUnavailableError",
    "Decision",
    "Distribution",
    "EarlyCut",
    "Estimate",
    "Evaluation",
    "Event",
    "Experience",
    "ExperienceExampleSelector",
    "ExperienceRecorder",
    "Explanation",
    "FinishedRun",
    "ForecastReport",
    "Imported",
    "Insight",
    "InsightLimits",
    "Invitation",
    "InvitationError",
    "LLMOps",
    "LLMOpsError",
    "LastOwnerError",
    "Learning",
    "LearningRetriever",
    "LearningStats",
    "Ledger",
    "LessonsMiddleware",
    "Limits",
    "Match",
    "Member",
    "MemoryStore",
    "Metric",
    "MetricReport",
    "MissingExtraError",
    "ModelChoice",
    "ModelRouter",
    "ModelRouterMiddleware",
    "NewApiKey",
    "NewInvitation",
    "NoCandidateError",
    "NotFoundError",
    "OpenTelemetryExport",
    "Patterns",
    "PerformanceReport",
    "PermissionDeniedError",
    "Prediction",
    "PriceOverride",
    "Project",
    "QualityReport",
    "Rebuilt",
    "RedisStore",
    "Relevant",
    "ResponseCache",
    "Risk",
    "Role",
    "RouteTaken",
    "Savings",
    "SchemaVersionError",
    "Scope",
    "SemanticPolicy",
    "Settings",
    "SqlNodeCache",
    "SqlStore",
    "Standing",
    "StorageError",
    "StoredPrices",
    "Suggestion",
    "Summarize",
    "Target",
    "TrackingMiddleware",
    "Trim",
    "UnpricedModel",
    "UnpricedModelError",
    "UnscopedCallError",
    "UsageCallbackHandler",
    "WindowedChatMessageHistory",
    "Workspace",
    "Workspaces",
    "budget_node",
    "check_permission",
    "count_tokens",
    "is_pinned",
    "keeps_to",
    "learn_node",
    "lessons_node",
    "likely",
    "pin",
    "route_node",
]

_HOMES = {
    home: tuple(names.split())
    for home, names in {
        "analytics": "Analytics Cost CostReport Distribution ForecastReport Insight InsightLimits"
        " Metric MetricReport PerformanceReport QualityReport",
        "cache": (
            "CacheOptions CacheStats Explanation MemoryStore RedisStore ResponseCache "
            "SemanticPolicy SqlStore"
        ),
        "callbacks": (
            "BudgetGate Content OpenTelemetryExport TrackingMiddleware UsageCallbackHandler"
        ),
        "errors": (
            "AuditError AuthenticationError BudgetError BudgetExceededError "
            "BudgetUnavailableError ConfigurationError ConflictError ContextWindowError "
            "DatabaseCorruptError DatabaseLockedError DatabaseReadOnlyError "
            "DatabaseUnavailableError InvitationError LLMOpsError LastOwnerError "
            "MissingExtraError NoCandidateError NotFoundError PermissionDeniedError "
            "SchemaVersionError StorageError UnpricedModelError UnscopedCallError"
        ),
        "graph": (
            "BudgetLeft RouteTaken SqlNodeCache budget_node learn_node lessons_node route_node"
        ),
        "learning": (
            "Estimate Experience ExperienceExampleSelector ExperienceRecorder FinishedRun "
            "Imported Learning LearningRetriever LearningStats Match Patterns Prediction "
            "Rebuilt Risk Suggestion"
        ),
        "middleware": (
            "BudgetMiddleware ContextWindowMiddleware LessonsMiddleware ModelRouterMiddleware"
        ),
        "ledger": (
            "Budget BudgetAlert BudgetStatus Budgets Event Ledger Scope StoredPrices UnpricedModel"
        ),
        "memory": (
            "Chat Chats ContextStatus ContextWindow EarlyCut Relevant Summarize Trim "
            "WindowedChatMessageHistory is_pinned pin"
        ),
        "models": "PriceOverride",
        "ops": "LLMOps",
        "routing": (
            "Decision Evaluation Limits ModelChoice ModelRouter Savings Target keeps_to likely"
        ),
        "settings": "Settings",
        "storage": "Database",
        "tokens": "count_tokens",
        "workspaces": (
            "Actor Anchor ApiKey AuditEntry AuditFinding AuditReport Invitation "
            "Member NewApiKey NewInvitation Project Role Standing Workspace Workspaces "
            "check_permission"
        ),
    }.items()
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

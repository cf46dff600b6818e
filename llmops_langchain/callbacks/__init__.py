"""Hear of every model call and record it; let it through only if its budgets have room."""

from llmops_langchain.callbacks.asgi import TrackingMiddleware
from llmops_langchain.callbacks.attaching import attached
from llmops_langchain.callbacks.contents import Content, Contents
from llmops_langchain.callbacks.conventions import Conventions
from llmops_langchain.callbacks.embeddings import TrackedEmbeddings, track_embeddings
from llmops_langchain.callbacks.gate import Gate, OnFull, WhenFull
from llmops_langchain.callbacks.guarded import guarded
from llmops_langchain.callbacks.otel import OpenTelemetryExport
from llmops_langchain.callbacks.rate_limiter import BudgetGate
from llmops_langchain.callbacks.runs import WatchedCall
from llmops_langchain.callbacks.usage import UsageCallbackHandler
from llmops_langchain.wrapping.scoping import scope_of

__all__ = [
    "BudgetGate",
    "Content",
    "Contents",
    "Conventions",
    "Gate",
    "OnFull",
    "OpenTelemetryExport",
    "TrackedEmbeddings",
    "TrackingMiddleware",
    "UsageCallbackHandler",
    "WatchedCall",
    "WhenFull",
    "attached",
    "guarded",
    "scope_of",
    "track_embeddings",
]

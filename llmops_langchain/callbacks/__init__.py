"""Hear of every model call and record it."""

from llmops_langchain.callbacks.usage import UsageCallbackHandler, attached

__all__ = ["UsageCallbackHandler", "attached"]

"""Answers that were paid for once."""

from llmops_langchain.cache.cached import cached
from llmops_langchain.cache.response_cache import ResponseCache
from llmops_langchain.cache.stats import CacheStats

__all__ = ["CacheStats", "ResponseCache", "cached"]

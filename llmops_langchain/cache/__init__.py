"""Answers that were paid for once."""

from llmops_langchain.cache.agreement import answers_agree
from llmops_langchain.cache.asked import Sources
from llmops_langchain.cache.cached import cached
from llmops_langchain.cache.explain import Explanation
from llmops_langchain.cache.memory_store import MemoryStore
from llmops_langchain.cache.options import CacheOptions, cache_options
from llmops_langchain.cache.places import store_for
from llmops_langchain.cache.redis_store import RedisStore
from llmops_langchain.cache.response_cache import ResponseCache
from llmops_langchain.cache.semantic_policy import Comparison, SemanticPolicy
from llmops_langchain.cache.sql_store import SqlStore
from llmops_langchain.cache.stats import CacheStats
from llmops_langchain.cache.store import Entry, Store

__all__ = [
    "CacheOptions",
    "CacheStats",
    "Comparison",
    "Entry",
    "Explanation",
    "MemoryStore",
    "RedisStore",
    "ResponseCache",
    "SemanticPolicy",
    "Sources",
    "SqlStore",
    "Store",
    "answers_agree",
    "cache_options",
    "cached",
    "store_for",
]

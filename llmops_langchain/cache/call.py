"""One call as the cache knows it."""

from collections.abc import Callable
from typing import NamedTuple

from llmops_langchain.cache.asked import Asked
from llmops_langchain.cache.options import CacheOptions
from llmops_langchain.cache.store import Entry
from llmops_langchain.wrapping import CallParts

__all__ = ["Call"]


class Call(NamedTuple):
    """What names a call, and how its answer is to be looked for and kept.

    A tuple: one is made for every lookup.
    """

    key: bytes
    """32 bytes, equal for two calls exactly if they must get the same answer."""
    parts: CallParts
    """What the key was made of."""
    options: CacheOptions
    """What the block around the call says."""
    ttl: float | None
    """Seconds its answer lives; `None` without an end."""
    asked: Callable[[], Asked | None] = lambda: None
    """Returns what may be compared by meaning, once it is needed; nothing if only an equal call
    answers this one."""
    run_id: str = ""
    """LangChain's, by which feedback names the call."""

    def accepts(self, entry: Entry, now: float) -> bool:
        """Whether the entry may answer it: fresh, and not older than the block's own `ttl`."""
        limit = self.options.ttl
        return entry.is_fresh(now) and (limit is None or now - entry.created_at < limit)

    def entry(self, value: bytes, now: float) -> Entry:
        """The entry that keeps its answer."""
        return Entry(
            value=value,
            created_at=now,
            expires_at=None if self.ttl is None else now + self.ttl,
            tags=self.options.tags,
            fingerprint=self.parts.fingerprint,
        )

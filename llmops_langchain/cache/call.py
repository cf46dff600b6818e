"""One call as the cache knows it."""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from llmops_langchain.cache.asked import Asked
from llmops_langchain.cache.options import CacheOptions
from llmops_langchain.cache.store import Entry
from llmops_langchain.ledger import Scope
from llmops_langchain.storage.types import new_id
from llmops_langchain.wrapping import CallParts

__all__ = ["Asking", "Call"]


class Asking:
    """What a lookup by meaning needs of a call, read once it is needed: an exact hit never does.

    Args:
        read: Returns what may be compared; `None` if only an equal call answers this one.
        run_id: LangChain's, if core showed it.
    """

    def __init__(
        self, read: Callable[[], Asked | None] = lambda: None, run_id: object = None
    ) -> None:
        self._read, self._run_id = read, run_id

    @cached_property
    def asked(self) -> Asked | None:
        """The question, and what must be the same; `None` if it is not to be compared."""
        return self._read()

    @cached_property
    def run_id(self) -> str:
        """By which feedback names the call; made up where core shows none."""
        return str(self._run_id or new_id())


_NOTHING, _NOBODY = Asking(), Scope()


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
    asking: Asking = _NOTHING
    """What a lookup by meaning needs to know."""
    scope: Scope = _NOBODY
    """For whom it is made."""

    def accepts(self, entry: Entry, now: float) -> bool:
        """Whether the entry may answer it: fresh, and not older than the block's own `ttl`."""
        limit = self.options.ttl
        return entry.is_fresh(now) and (limit is None or now - entry.created_at < limit)

    def entry(self, value: bytes, now: float, traces: frozenset[str] = frozenset()) -> Entry:
        """The entry that keeps its answer, with tags of its own that tell whose call it was."""
        return Entry(
            value=value,
            created_at=now,
            expires_at=None if self.ttl is None else now + self.ttl,
            tags=self.options.tags | traces,
            fingerprint=self.parts.fingerprint,
        )

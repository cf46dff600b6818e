"""Entries in the memory of one process: the plainest `Store`, and the one others are held to."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import islice

from llmops_langchain.cache.store import Entry
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.storage.fork import on_fork

__all__ = ["MemoryStore"]

_ENTRY = 600
"""Bytes an entry takes in CPython 3.11 beside its value and fingerprint."""

_MARKS = 1000
"""Invalidated tags remembered by name; older ones count as if everything had been cleared."""


class MemoryStore:
    """Entries that end with their process; all threads of it may share one object.

    A forked child starts with an empty one. The docstrings of `Store` say what each method does.

    Args:
        max_bytes: What the entries may take: what was not used for longest is let go, and an entry
            larger than all of it is not kept. `None` keeps everything.

    Raises:
        ConfigurationError: If `max_bytes` is not positive.

    Example:
        >>> store = MemoryStore(max_bytes=1_000_000)
        >>> store.put(b"key", Entry(value=b"answer", created_at=0.0))
        True
        >>> store.get(b"key").value
        b'answer'
    """

    def __init__(self, *, max_bytes: int | None = None) -> None:
        if max_bytes is not None and max_bytes <= 0:
            msg = f"`max_bytes` must be positive, got {max_bytes!r}"
            raise ConfigurationError(msg)
        self._max_bytes = max_bytes
        self._generation = 0
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Start empty: another thread of the parent may have been in the middle of a change."""
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()  # least recently used first
        self._tags: dict[bytes, frozenset[str]] = {}
        self._bytes = 0
        self._claims: dict[bytes, tuple[str, float]] = {}  # the owner, and until when
        self._cleared = self._generation
        self._invalidated: dict[str, int] = {}  # tag -> the generation after it

    def get(self, key: bytes) -> Entry | None:
        """The entry under `key`, fresh or stale, without its tags."""
        return self._entries.get(key)

    def put(
        self, key: bytes, entry: Entry, *, seen: int | None = None, owner: str | None = None
    ) -> bool:
        """Keep `entry` under `key`, and end `owner`'s claim on it; whether it was kept."""
        with self._lock:
            self._end_claim(key, owner)
            if self._came_too_late(entry.tags, seen) or not self._can_hold(entry):
                return False
            self._drop([key])
            self._entries[key] = replace(entry, tags=frozenset())
            self._tags[key] = entry.tags
            self._bytes += _size(entry)
            while self._max_bytes is not None and self._bytes > self._max_bytes:
                self._drop([next(iter(self._entries))])
            return True

    def tag(self, key: bytes, tags: Collection[str]) -> None:
        """Add tags to the entry under `key`, if there is one."""
        with self._lock:
            if key in self._entries:
                self._tags[key] |= frozenset(tags)

    def clear(self) -> int:
        """Drop every entry; the generation after it."""
        with self._lock:
            self._drop(list(self._entries))
            self._generation += 1
            self._cleared = self._generation
            self._invalidated = {}
            return self._generation

    def invalidate(self, tags: Collection[str], *, now: float) -> int:  # noqa: ARG002 - of `Store`; nothing here ages
        """Drop the entries that have one of `tags`; the generation after it."""
        with self._lock:
            self._drop([key for key, its in self._tags.items() if not its.isdisjoint(tags)])
            self._generation += 1
            self._invalidated |= dict.fromkeys(tags, self._generation)
            if len(self._invalidated) > _MARKS:
                self._cleared = self._generation
                self._invalidated = {}
            return self._generation

    def tagged(self, tags: Collection[str]) -> Collection[bytes]:
        """The keys of the entries, fresh or stale, that have one of `tags`."""
        with self._lock:
            return [key for key, its in self._tags.items() if not its.isdisjoint(tags)]

    def purge(self, *, now: float) -> int:
        """Delete what has gone stale; how many entries that were."""
        with self._lock:
            stale = [key for key, entry in self._entries.items() if not entry.is_fresh(now)]
            self._drop(stale)
            return len(stale)

    def generation(self) -> int:
        """How often entries were invalidated or cleared."""
        return self._generation

    def claim(self, key: bytes, owner: str, *, now: float, until: float) -> bool:
        """Whether `owner` alone may ask for the answer now."""
        with self._lock:
            holder, holds_until = self._claims.get(key, (owner, until))
            if holder != owner and now < holds_until:
                return False
            self._claims[key] = (owner, until)
            return True

    def renew(self, owner: str, *, until: float) -> None:
        """Let all claims of `owner` last until then."""
        with self._lock:
            for key, (holder, _) in self._claims.items():
                if holder == owner:
                    self._claims[key] = (owner, until)

    def release(self, key: bytes, owner: str) -> None:
        """End the claim of `owner` on `key`, if it still has it."""
        with self._lock:
            self._end_claim(key, owner)

    def touch(self, keys: Collection[bytes], *, now: float) -> None:  # noqa: ARG002 - of `Store`; the order is enough
        """Note that these entries were used, so that others are let go first."""
        with self._lock:
            for key in keys:
                if key in self._entries:
                    self._entries.move_to_end(key)

    def newest(self, limit: int) -> Sequence[Entry]:
        """The entries used or kept last, newest first, without their values and tags."""
        with self._lock:
            latest = list(islice(reversed(self._entries.values()), limit))
        return [replace(entry, value=b"") for entry in latest]

    def _drop(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            if (entry := self._entries.pop(key, None)) is not None:
                self._bytes -= _size(entry)
                del self._tags[key]

    def _end_claim(self, key: bytes, owner: str | None) -> None:
        held = self._claims.get(key)
        if held is not None and held[0] == owner:
            del self._claims[key]

    def _came_too_late(self, tags: Collection[str], seen: int | None) -> bool:
        """Whether the answer may rest on what was dropped since the call began."""
        dropped = [self._cleared, *(self._invalidated.get(tag, 0) for tag in tags)]
        return seen is not None and seen < max(dropped)

    def _can_hold(self, entry: Entry) -> bool:
        return self._max_bytes is None or _size(entry) <= self._max_bytes


def _size(entry: Entry) -> int:
    return _ENTRY + len(entry.value) + len(entry.fingerprint)

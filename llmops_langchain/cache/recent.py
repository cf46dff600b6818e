"""The answers used last, in memory in front of the store."""

import threading
from collections import OrderedDict
from itertools import islice

from llmops_langchain.cache.store import Entry

__all__ = ["RecentAnswers"]

_MAX_BYTES = 64 * 1024**2


class RecentAnswers:
    """At most `max_items` entries and 64 MiB; the one not used for longest goes first."""

    def __init__(self, max_items: int) -> None:
        self._max_items = max_items
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> Entry | None:
        """The fresh entry under `key`, which counts as used; a stale one is let go."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if not entry.is_fresh(now):
                self._drop(key)
                return None
            self._entries.move_to_end(key)
            return entry

    def put(self, key: bytes, entry: Entry) -> None:
        """Keep `entry`, and let go of what was used least recently."""
        with self._lock:
            if key in self._entries:
                self._drop(key)
            if len(entry.value) > _MAX_BYTES:
                return  # all others would have to go for it
            self._entries[key] = entry
            self._bytes += len(entry.value)
            while len(self._entries) > self._max_items or self._bytes > _MAX_BYTES:
                self._drop(next(iter(self._entries)))

    def exchange(self, key: bytes, entry: Entry, other: Entry) -> None:
        """Keep `other` where `entry` is still kept: it may have been cleared meanwhile."""
        with self._lock:
            if self._entries.get(key) is entry:
                self._entries[key] = other

    def drop(self, key: bytes) -> None:
        """Let go of the entry under `key`, if it is there."""
        with self._lock:
            if key in self._entries:
                self._drop(key)

    def newest(self, limit: int) -> list[Entry]:
        """The entries used last, newest first."""
        with self._lock:
            return list(islice(reversed(self._entries.values()), limit))

    def _drop(self, key: bytes) -> None:
        self._bytes -= len(self._entries.pop(key).value)

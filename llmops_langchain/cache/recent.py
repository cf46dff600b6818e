"""The answers used last, in memory in front of the database."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["Entry", "RecentAnswers"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored answer: its bytes, when it was made, and when it goes stale (epoch seconds)."""

    value: bytes
    created_at: float
    expires_at: float | None

    def is_fresh(self, now: float) -> bool:
        """Whether it may still be served."""
        return self.expires_at is None or now < self.expires_at


class RecentAnswers:
    """At most `max_items` entries; the one that was not used for longest goes first."""

    def __init__(self, max_items: int) -> None:
        self._max_items = max_items
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes, now: float) -> Entry | None:
        """The fresh entry under `key`, which counts as used; a stale one is let go."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if not entry.is_fresh(now):
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            return entry

    def put(self, key: bytes, entry: Entry) -> None:
        """Keep `entry`, and let go of what was used least recently."""
        with self._lock:
            self._entries[key] = entry
            self._entries.move_to_end(key)
            while len(self._entries) > self._max_items:
                self._entries.popitem(last=False)

"""What a cache did, counted without a lock around the lookup."""

import threading
from dataclasses import dataclass, fields

__all__ = ["CacheStats", "Counter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """What a cache did in this process since it was made."""

    hits: int = 0
    """Lookups that were answered."""
    misses: int = 0
    """Lookups that were not: nothing fresh was there, or the store failed."""
    stored: int = 0
    """Answers kept."""
    refused: int = 0
    """Answers not kept: cut short, filtered, empty, or not storable."""
    errors: int = 0
    """Lookups (misses too) and updates that failed; the model's answer was used instead."""

    @property
    def hit_rate(self) -> float:
        """Share of lookups that were answered, 0 to 1."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else 0.0


class Counter:
    """Counts by name from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = {each.name: 0 for each in fields(CacheStats)}

    def add(self, name: str) -> None:
        """Count one more of `name`."""
        with self._lock:
            self._counts[name] += 1

    def stats(self) -> CacheStats:
        """The counts so far."""
        with self._lock:
            return CacheStats(**self._counts)

"""What a cache did, counted without a lock around the lookup."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType

from llmops_langchain.cache.codec import Hit
from llmops_langchain.models.money import dollars

__all__ = ["CacheStats", "Tally"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """What a cache did in this process since it was made."""

    hits: int = 0
    """Calls that were answered without the model."""
    misses: int = 0
    """Calls that were not: nothing fresh was there, or the store failed."""
    joined: int = 0
    """Hits that waited for an equal call of the same moment."""
    bypassed: int = 0
    """Calls for which nothing was looked up: by option, or because they have no key."""
    stored: int = 0
    """Answers kept."""
    refused: int = 0
    """Answers not kept: cut short, filtered, empty, not storable, or invalidated meanwhile."""
    unreadable: int = 0
    """Kept answers that were damaged or of another encryption key: misses, then replaced."""
    errors: int = 0
    """Lookups (misses too) and updates that failed; the model's answer was used instead."""
    hits_by_tier: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Hits by how they were found: `exact` or `semantic`."""
    shadowed: int = 0
    """Calls that were asked though a kept answer to a question of the same meaning was there: the
    semantic tier measures first, and goes on with samples."""
    judged: int = 0
    """Kept answers that were compared with a fresh one."""
    undecided: int = 0
    """Comparisons in which the judge could not tell."""
    semantic_errors: int = 0
    """Failures of the semantic tier, e.g. of the embedder; the calls went on without it."""
    exact_only: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Misses that were not compared by meaning though there is a semantic tier, by the reason."""
    saved_input_tokens: int = 0
    """Input tokens that the answers of the hits had used when they were paid for."""
    saved_output_tokens: int = 0
    """Output tokens, likewise."""
    saved: Decimal = Decimal(0)
    """US dollars that the answers of the hits had cost when they were paid for."""
    mean_age: float = 0.0
    """Mean age of the answers served, in seconds."""

    @property
    def hit_rate(self) -> float:
        """Share of lookups that were answered, 0 to 1."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else 0.0


class Tally:
    """Counts by name from several threads."""

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        """Start anew: the parent's counts are its own."""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._tiers: Counter[str] = Counter()
        self._exact_only: Counter[str] = Counter()
        self._ages = 0.0

    def add(self, name: str) -> None:
        """Count one more of `name`."""
        with self._lock:
            self._counts[name] += 1

    def add_exact_only(self, reason: str) -> None:
        """Count a call that is not compared by meaning."""
        with self._lock:
            self._exact_only[reason] += 1

    def add_hit(self, hit: Hit, *, tier: str, age: float) -> None:
        """Count a hit, and what it saved."""
        with self._lock:
            counts = self._counts
            counts["hits"] += 1
            counts["saved_input_tokens"] += hit.input_tokens
            counts["saved_output_tokens"] += hit.output_tokens
            counts["cost"] += hit.cost
            self._tiers[tier] += 1
            self._ages += age

    def stats(self) -> CacheStats:
        """The counts so far."""
        with self._lock:
            counts = dict(self._counts)
            saved = dollars(counts.pop("cost", 0))
            return CacheStats(
                **counts,
                hits_by_tier=MappingProxyType(dict(self._tiers)),
                exact_only=MappingProxyType(dict(self._exact_only)),
                saved=saved,
                mean_age=self._ages / max(counts.get("hits", 0), 1),
            )

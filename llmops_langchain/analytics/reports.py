"""What was used and what it cost, as records."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

__all__ = ["CostReport", "ModelCost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCost:
    """One model's part of a `CostReport`."""

    calls: int
    """Calls, cache hits and errors included."""
    cache_hits: int
    """Calls that a cache answered."""
    input_tokens: int
    """Tokens sent and billed."""
    output_tokens: int
    """Tokens received and billed."""
    total: Decimal
    """US dollars spent."""
    saved: Decimal
    """US dollars not spent, by cache and trimming."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport:
    """Sums over the model calls and cuts of a scope and a stretch of time."""

    since: float
    """Start of the stretch, UTC seconds since the Unix epoch."""
    calls: int
    """Model calls, cache hits and errors included."""
    cache_hits: int
    """Calls that a cache answered; they use no tokens and cost nothing."""
    refused_calls: int
    """Guarded calls that were refused before the model was asked, not in `calls`."""
    embedding_calls: int
    """Calls of embedders, not in `calls`; their tokens and dollars are in the sums."""
    abandoned_calls: int
    """Guarded calls nobody heard of again, in `total` with their estimate."""
    errors: int
    """Calls that failed or were broken off."""
    input_tokens: int
    """Tokens sent and billed."""
    output_tokens: int
    """Tokens received and billed."""
    cached_tokens: int
    """Part of `input_tokens` that the provider had in its prompt cache."""
    trimmed_tokens: int
    """Tokens that cuts removed from what would have been sent."""
    total: Decimal
    """US dollars spent."""
    saved_by_cache: Decimal
    """US dollars that cache hits would have cost."""
    saved_by_trimming: Decimal
    """US dollars that the removed tokens would have cost as plain input."""
    estimated_calls: int
    """Calls whose tokens were counted here, because the provider sent none."""
    unpriced_calls: int
    """Calls of models without a known price: `total` and `saved` are too low by them."""
    latency: float
    """Seconds spent in calls, summed."""
    by_model: Mapping[str, ModelCost]
    """The same for each model."""

    @property
    def saved(self) -> Decimal:
        """US dollars not spent, by cache and trimming."""
        return self.saved_by_cache + self.saved_by_trimming

    def to_dict(self) -> dict[str, Any]:
        """Plain values, money as strings, for JSON."""
        return {name: _plain(value) for name, value in asdict(self).items()} | {
            "saved": str(self.saved)
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return str(value) if isinstance(value, Decimal) else value

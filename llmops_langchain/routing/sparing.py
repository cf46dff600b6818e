"""What routing would spare calls that all go to the best single model: by the prompts known."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.routing.weights import Known, doubly_robust, picks

__all__ = ["ExpectedSavings", "Spared", "spared"]

_DRAWS, _INTERVAL = 500, (0.05, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spared:
    """Shares of what the best single model costs; negative if routing costs more."""

    single: int
    """Which column of what is known has that model."""
    share: float
    low: float
    """5 % of bootstrap samples have less."""
    high: float
    """5 % have more."""
    kept: float
    """Share of that model's quality which routing keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedSavings:
    """What calls to one model would cost less if they went through the router."""

    model: str
    """The best single one of the router's, as its provider calls it."""
    provider: str | None
    share: float
    """Of their dollars; negative if routing would cost more."""
    low: float
    """5 % of bootstrap samples have less."""
    high: float
    """5 % have more."""
    kept: float
    """Share of that model's quality which routing is expected to keep."""
    prompts: int
    """By how many known ones."""


def spared(known: Known, weight: float, *, seed: int = 0) -> Spared:
    """Compare routing at a weight with the best single model, on what is known.

    Args:
        known: Of at least one prompt and two models.
        weight: Quality that a dollar is worth.
        seed: Of the bootstrap.
    """
    values = doubly_robust(known)
    single = int(values.mean(axis=0).argmax())
    chosen = picks(known.expected, known.costs, weight)[:, np.newaxis]
    paid, quality = (
        np.take_along_axis(each, chosen, axis=1)[:, 0] for each in (known.costs, values)
    )
    rng, number = np.random.default_rng(seed), len(values)
    draws = rng.multinomial(number, np.full(number, 1 / number), _DRAWS)
    low, high = np.quantile(_less(draws @ paid, draws @ known.costs[:, single]), _INTERVAL)
    share = _less(paid.sum(keepdims=True), known.costs[:, single].sum(keepdims=True))
    return Spared(
        single=single,
        share=float(share[0]),
        low=float(low),
        high=float(high),
        kept=float(quality.mean() / max(values[:, single].mean(), 1e-9)),
    )


def _less(paid: NDArray[np.float64], single: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 - paid / np.maximum(single, 1e-12), np.float64)

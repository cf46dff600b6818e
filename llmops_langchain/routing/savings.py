"""What routing saved against the best single model, by the calls that were really made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.models import dollars
from llmops_langchain.routing.frontier import told
from llmops_langchain.routing.records import Record
from llmops_langchain.routing.weights import Known, doubly_robust

__all__ = ["Savings", "saved_by"]

Floats = NDArray[np.float64]

_DRAWS, _INTERVAL = 500, (0.05, 0.95)
_AS_GOOD = 0.01
"""Quality that a single model may lack to count as good as the router."""

_USUALLY = 0.95
"""Share of calls that a model must have been able to serve to be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """What calls cost, and what they would have cost with the best single model."""

    calls: int
    judged: int
    """Of them, how many answers somebody, or something, said was good or bad."""
    cost: Decimal
    """US dollars that they cost."""
    quality: float
    """Estimated mean score, 0 to 1."""
    single: str
    """The cheapest model that is as good as the router; if none is, the best."""
    single_cost: Decimal
    """US dollars that the calls would have cost with it."""
    single_quality: float
    saved: Decimal
    """US dollars; negative if the single model would have been cheaper."""
    low: Decimal
    """5 % of bootstrap samples have less."""
    high: Decimal
    """5 % have more."""

    def __str__(self) -> str:
        rows = [
            ("routed", f"${self.cost:.4f}", f"{self.quality:.3f}"),
            (self.single, f"${self.single_cost:.4f}", f"{self.single_quality:.3f}"),
        ]
        table = told((f"{self.calls} calls", "cost", "quality"), rows)
        words = f"saved ${self.saved:.4f} (${self.low:.4f} to ${self.high:.4f})"
        return f"{table}\n{words}, judged by {self.judged} outcomes"


def saved_by(
    decided: Sequence[tuple[Record, Mapping[str, float]]], *, seed: int = 0
) -> Savings | None:
    """What routing saved, estimated off-policy.

    What a single model would have scored is estimated doubly robustly: by what was expected of it,
    corrected where it was asked and judged. It would have cost what was expected of it.

    Args:
        decided: Decisions with the scores of their answers by model.
        seed: Of the bootstrap.

    Returns:
        `None` if no call has both an answer and prices.
    """
    calls = [each for each in decided if _is_whole(each[0])]
    names = _compared([record for record, _ in calls])
    if not calls or not names:
        return None
    known, paid, had = _tables(calls, names)
    values = doubly_robust(known)
    at = _best_single(values.mean(axis=0), known.costs.mean(axis=0), float(had.mean()))
    rng, number = np.random.default_rng(seed), len(calls)
    difference, even = known.costs[:, at] - paid, np.full(number, 1 / number)
    sums = [float(rng.multinomial(number, even) @ difference) for _ in range(_DRAWS)]
    low, high = np.quantile(sums, _INTERVAL).tolist()
    return Savings(
        calls=number,
        judged=sum(bool(scores) for _, scores in calls),
        cost=dollars(round(float(paid.sum()))),
        quality=float(had.mean()),
        single=names[at],
        single_cost=dollars(round(float(known.costs[:, at].sum()))),
        single_quality=float(values[:, at].mean()),
        saved=dollars(round(float(difference.sum()))),
        low=dollars(round(low)),
        high=dollars(round(high)),
    )


def _is_whole(record: Record) -> bool:
    expected = record.about["predicted"].get(record.answered_by, {})
    return expected.get("cost") is not None


def _compared(records: Sequence[Record]) -> list[str]:
    """Models that could serve nearly every call at a known price."""
    counts: dict[str, int] = {}
    for record in records:
        for name, expected in record.about["predicted"].items():
            counts[name] = counts.get(name, 0) + (expected["cost"] is not None)
    return sorted(name for name, count in counts.items() if count >= _USUALLY * len(records))


def _tables(
    calls: Sequence[tuple[Record, Mapping[str, float]]], names: Sequence[str]
) -> tuple[Known, Floats, Floats]:
    """What is known of the single models, what was paid, and what it was worth."""
    shape = len(calls), len(names)
    expected, costs = np.zeros(shape), np.zeros(shape)
    scores, likely = np.full(shape, np.nan), np.ones(shape)
    paid, had = np.zeros(len(calls)), np.zeros(len(calls))
    for row, (record, scored) in enumerate(calls):
        predicted, mine = record.about["predicted"], record.answered_by or record.choice
        paid[row] = predicted[mine]["cost"] if record.cost is None else record.cost
        had[row] = scored.get(mine, predicted[mine]["quality"])
        for column, name in enumerate(names):
            # A call that it could not serve would have gone where it went.
            told_of = predicted.get(name) or predicted[mine]
            expected[row, column], costs[row, column] = told_of["quality"], told_of["cost"]
            scores[row, column] = scored.get(name, np.nan)
            likely[row, column] = record.propensity if name == record.choice else 1.0
            # What was paid is for all attempts: alone it stands where the first one answered.
            if name == mine == record.choice and record.cost is not None:
                costs[row, column] = record.cost
    return Known(expected, scores, likely, costs), paid, had


def _best_single(qualities: Floats, costs: Floats, quality: float) -> int:
    enough = np.flatnonzero(qualities >= quality - _AS_GOOD)
    return int(enough[costs[enough].argmin()] if len(enough) else qualities.argmax())

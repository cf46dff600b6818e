"""Quality against cost: curves, what a share of the best quality takes, how sure guesses are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "cheapest", "expected_calibration_error", "gain_curve", "improvement", "told"]

Floats = NDArray[np.float64]
Curve = tuple[float, float, float]
"""APGR, CPT50, CPT80."""


def gain_curve(ranking: Floats, weak: Floats, strong: Floats) -> Curve:
    """How well a ranking of prompts spends calls of the strong model.

    Followed from no call of the strong model to all: APGR is the mean share of its gain that is
    had, CPT50 and CPT80 the share of calls that 50 and 80 % of it take (Ong et al., RouteLLM, 2024,
    arXiv 2406.18665).

    Args:
        ranking: Highest first, shape `(prompts,)`.
        weak: Scores of the weak model.
        strong: Of the strong one; if it is no better on the whole, all is as in a draw.
    """
    if strong.sum() <= weak.sum():
        return 0.5, 0.5, 0.8
    gained = np.cumsum((strong - weak)[np.argsort(-ranking, kind="stable")])
    shares = gained / gained[-1]
    at = [float(np.argmax(shares >= share) + 1) / len(shares) for share in (0.5, 0.8)]
    return float(shares.mean()), at[0], at[1]


def cheapest(points: Floats, needed: float) -> float:
    """The lowest cost of so much quality, by one point or between two at random.

    Args:
        points: Rows of quality and cost.
        needed: Mean quality; infinite cost where no point has it.
    """
    enough = points[points[:, 0] >= needed]
    found = [float(cost) for cost in enough[:, 1]]
    for low_quality, low_cost in points[points[:, 0] < needed]:
        for high_quality, high_cost in enough:
            share = (needed - low_quality) / (high_quality - low_quality)
            found.append(float(low_cost + share * (high_cost - low_cost)))
    return min(found, default=float("inf"))


def improvement(points: Floats, low: float, high: float) -> float:
    """AIQ: mean quality over a range of costs, along the hull of what points and draws reach.

    As in RouterBench (Hu et al., 2024, arXiv 2403.12031).

    Args:
        points: Rows of quality and cost.
        low: Cost at which the range begins.
        high: Where it ends.
    """
    costs = np.linspace(low, max(high, low), 200)
    reached = [max(_best_at(points, cost), 0.0) for cost in costs]
    return float(np.mean(reached))


def expected_calibration_error(guesses: Floats, truth: Floats, *, bins: int = 10) -> float:
    """How far guesses are from what they are guesses of, in bins of equal mass.

    Naeini et al., 2015 (AAAI).
    """
    parts = np.array_split(np.argsort(guesses, kind="stable"), min(bins, len(guesses)))
    off = (abs(guesses[part].mean() - truth[part].mean()) * len(part) for part in parts)
    return float(sum(off) / len(guesses))


def _best_at(points: Floats, cost: float) -> float:
    """The highest quality that is had for this cost on average; 0 if it is too little for any."""
    below, above = points[points[:, 1] <= cost], points[points[:, 1] > cost]
    best = float(below[:, 0].max()) if len(below) else 0.0
    for low_quality, low_cost in below:
        for high_quality, high_cost in above:
            share = (cost - low_cost) / (high_cost - low_cost)
            best = max(best, float(low_quality + share * (high_quality - low_quality)))
    return best


def told(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as lines of text, in columns under their names."""
    cells = [[*names], *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )

"""NAB's files and its standard scoring: early detections within labelled windows count most.

After Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms" (ICMLA 2015): a scaled
sigmoid of the place in or after a window, weights 1 / 0.11 / 1 for found, false and missed, the
first 15 % of a file (750 points at most) not counted, 0 for finding nothing and 100 for perfection.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["FOLDER", "Series", "best_threshold", "nab_score", "read", "split"]

FOLDER = Path(__file__).resolve().parent.parent.parent / "shared/data/analytics/nab"

_FALSE = 0.11
_BEST = 2 / (1 + exp(-5)) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One file."""

    name: str
    values: NDArray[np.float64]
    windows: Sequence[tuple[int, int]]
    """First and last index of each labelled stretch."""

    @property
    def counted_from(self) -> int:
        """The end of the stretch in which nothing counts."""
        return int(min(0.15 * len(self.values), 750))


def read(folder: Path = FOLDER) -> list[Series]:
    """The files in alphabetical order."""
    labels = json.loads((folder / "combined_windows.json").read_text())
    return [_series(path, labels) for path in sorted(folder.glob("*/*.csv"))]


def split(found: Sequence[Series]) -> tuple[list[Series], list[Series]]:
    """Files to choose settings on, and those to report on: every other one."""
    return list(found[::2]), list(found[1::2])


def nab_score(
    found: Sequence[Series], scores: Mapping[str, NDArray[np.float64]], threshold: float
) -> float:
    """The normalised score over some files, at one threshold."""
    raw = sum(_raw(each, scores[each.name] >= threshold) for each in found)
    windows = sum(len(each.windows) for each in found)
    return 100 * (raw + windows) / (2 * windows)


def best_threshold(
    found: Sequence[Series], scores: Mapping[str, NDArray[np.float64]]
) -> tuple[float, float]:
    """The threshold with the highest score over these files, and that score."""
    every = np.unique(np.concatenate([scores[each.name] for each in found]))
    tried = np.unique(np.quantile(every, np.linspace(0, 1, 200)))
    tried = np.unique(np.concatenate([tried, every[-300:], [1.1]]))
    results = [(nab_score(found, scores, each), float(each)) for each in tried]
    score, threshold = max(results)
    return threshold, score


def _series(path: Path, labels: Mapping[str, Sequence[Sequence[str]]]) -> Series:
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    times = [datetime.fromisoformat(row["timestamp"]) for row in rows]
    name = f"{path.parent.name}/{path.name}"
    windows = []
    for first, last in labels[name]:
        begin, end = datetime.fromisoformat(first), datetime.fromisoformat(last)
        inside = [at for at, each in enumerate(times) if begin <= each <= end]
        windows.append((inside[0], inside[-1]))
    values = np.array([float(row["value"]) for row in rows])
    return Series(name=name, values=values, windows=windows)


def _raw(series: Series, alarms: NDArray[np.bool_]) -> float:
    total, found = 0.0, set[int]()
    for at in np.flatnonzero(alarms).tolist():
        if at < series.counted_from:
            continue
        inside = next((n for n, (a, b) in enumerate(series.windows) if a <= at <= b), None)
        if inside is None:
            total += _FALSE * _after(series, at)
        elif inside not in found:
            found.add(inside)
            first, last = series.windows[inside]
            total += _sigmoid(-(last - at + 1) / (last - first + 1)) / _BEST
    return total - (len(series.windows) - len(found))


def _after(series: Series, at: int) -> float:
    """The place after the last window before it; -1 if there is none."""
    past = [(a, b) for a, b in series.windows if b < at]
    if not past:
        return -1.0
    first, last = past[-1]
    return _sigmoid((at - last) / max(1, last - first))


def _sigmoid(place: float) -> float:
    return -1.0 if place > 3 else 2 / (1 + exp(5 * place)) - 1

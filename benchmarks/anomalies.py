"""Are anomalies found early, and how often for nothing?

NAB's standard score on the shared half of its files, by one threshold for all of them: each way
chooses it on every other file, and is reported on the rest. The form of our detector, no averages
and an incident of 200 points, was chosen while the scores of both halves were seen, which flatters
it: incidents of 100 points are better on the first half and worse on the second. Beside ours, the
baselines: chance, deviations from the running mean, and NAB's own windowed Gaussian.

    python benchmarks/anomalies.py
"""

import sys
from collections.abc import Callable
from math import erfc, sqrt
from time import perf_counter

import numpy as np
from measuring import Claim, print_claims, print_table, sized
from nab import FOLDER, best_threshold, nab_score, read, split
from numpy.typing import NDArray

from llmops_langchain.analytics.anomalies import ALARM, AnomalyDetector

Floats = NDArray[np.float64]
Way = Callable[[Floats], Floats]

POINTS = sized(100_000, quick=500)
_SEED = 5


def ours(values: Floats) -> Floats:
    """The detector of the package, as it is."""
    detector = AnomalyDetector()
    return np.array([detector.update(each) for each in values.tolist()])


def chance(values: Floats) -> Floats:
    """Random numbers."""
    return np.random.default_rng(_SEED).random(len(values))


def running(values: Floats) -> Floats:
    """How unlikely each point is by the mean and the deviation of all before it."""
    mean = squares = 0.0
    scores = []
    for number, value in enumerate(values.tolist()):
        wide = sqrt(squares / number) if number > 1 else 0.0
        scores.append(1 - erfc(abs(value - mean) / wide / sqrt(2)) if wide else 0.0)
        apart = value - mean
        mean += apart / (number + 1)
        squares += apart * (value - mean)
    return np.array(scores)


def windowed(values: Floats, window: int = 6_400, step: int = 100) -> Floats:
    """The same by a window of 6,400 points that moves by 100, as NAB's baseline does."""
    scores, known, waiting = [], list[float](), list[float]()
    mean = wide = 0.0
    for value in values.tolist():
        scores.append(1 - 0.5 * erfc(abs(value - mean) / (wide or 1e-6) / sqrt(2)) if known else 0)
        (known if len(known) < window else waiting).append(value)
        if len(waiting) == step:
            known, waiting = known[step:] + waiting, []
        if not waiting:
            mean, wide = float(np.mean(known)), float(np.std(known))
    return np.array(scores)


WAYS: dict[str, Way] = {
    "`AnomalyDetector`": ours,
    "windowed Gaussian": windowed,
    "running deviations": running,
    "chance": chance,
}


def main() -> None:
    """Scores on both halves, and the time of a point."""
    if not FOLDER.is_dir():
        print(
            "NAB's files are not here: put them into ../shared/data/analytics/nab", file=sys.stderr
        )
        return
    series = read()
    chosen_on, reported = split(series)
    rows, results = [], {}
    for name, way in WAYS.items():
        scores = {each.name: way(each.values) for each in series}
        threshold, on_these = best_threshold(chosen_on, scores)
        results[name] = nab_score(reported, scores, threshold)
        best = best_threshold(series, scores)[1]
        rows.append((name, on_these, results[name], best))
        if way is ours:
            fixed = nab_score(reported, scores, ALARM), nab_score(series, scores, ALARM)
            rows.append((f"{name}, `ALARM`", "-", *fixed))
    print_table(
        f"NAB, standard profile, {len(chosen_on)} files to choose the threshold on, "
        f"{len(reported)} to report on",
        ("way", "chosen on these", "reported on these", "best threshold, all files"),
        rows,
    )
    values = np.random.default_rng(_SEED).normal(size=POINTS)
    begin = perf_counter()
    ours(values)
    taken = 1e6 * (perf_counter() - begin) / POINTS
    peer = max(result for name, result in results.items() if name != "`AnomalyDetector`")
    print_claims(
        [
            Claim(
                what="NAB score",
                against="alone",
                goal=60.0,
                result=results["`AnomalyDetector`"],
                unit="points",
            ),
            Claim(
                what="NAB score",
                against="the best baseline",
                goal=1.0,
                result=results["`AnomalyDetector`"] / peer,
            ),
            Claim(
                what="a point", against="alone", goal=20.0, result=taken, unit="µs", at_most=True
            ),
        ]
    )


if __name__ == "__main__":
    main()

"""Streams whose truth is known: how often it opens wrongly, how soon it opens and closes rightly.

Seeds are fixed. A count of runs is held against the binomial distribution, at one in a thousand.
"""

from collections.abc import Callable, Iterator
from itertools import cycle, islice
from math import comb
from statistics import median

import numpy as np
import pytest

from llmops_langchain.cache.calibration import Bound, Calibration, Label

CONFIDENCE = 0.95

Rate = Callable[[int, float], float]
"""How probably a label is wrong, from its number and its score."""


def opened(max_error: float) -> Calibration:
    """A calibration that has just seen enough."""
    calibration = new(max_error)
    for score in cycle((0.5, 0.9)):
        if calibration.threshold == 0.5:
            return calibration
        calibration.add(Label(score, correct=True, source="shadow", by=None, ts=0))
    raise AssertionError


def new(max_error: float) -> Calibration:
    bound = Bound(
        max_error=max_error, confidence=CONFIDENCE, shipped_threshold=0.8, floor=0.5, sampling=0.1
    )
    return Calibration(bound)


def states(calibration: Calibration, rate: Rate, seed: int) -> Iterator[bool]:
    """Whether it serves, after each label."""
    rng = np.random.default_rng(seed)
    number = 0
    while True:
        for score, chance in zip(
            rng.beta(4, 1, 500).tolist(), rng.random(500).tolist(), strict=True
        ):
            wrong = chance < rate(number, score)
            calibration.add(Label(score, not wrong, "shadow", None, number))
            number += 1
            yield calibration.threshold is not None


def labels_until(
    calibration: Calibration, rate: Rate, seed: int, *, most: int, is_open: bool
) -> int:
    """After how many labels it is open, or closed; `most` if it is not by then."""
    course = enumerate(islice(states(calibration, rate, seed), most), 1)
    return next((number for number, now in course if now is is_open), most)


def is_too_many(count: int, runs: int, share: float) -> bool:
    """Whether so many of the runs would come about once in a thousand times at most."""
    tail = sum(comb(runs, k) * share**k * (1 - share) ** (runs - k) for k in range(count, runs + 1))
    return tail < 1e-3


def runs_that_open(max_error: float, rate: Rate, *, runs: int, labels: int) -> int:
    return sum(any(islice(states(new(max_error), rate, seed), labels)) for seed in range(runs))


def always(rate: float) -> Rate:
    return lambda _number, _score: rate


def as_it_likes(max_error: float) -> Rate:
    """Never better than the bound, and worse whenever it pays to look bad first."""
    return lambda number, score: max_error * (3 if number % 700 < 60 or score > 0.97 else 1)


ADVERSARIES = {"exactly": always, "worse": lambda a: always(1.2 * a), "as it likes": as_it_likes}


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize("max_error", [0.2, 0.05])
def test_it_seldom_opens_where_it_must_not(max_error, adversary) -> None:
    rate = ADVERSARIES[adversary](max_error)
    count = runs_that_open(max_error, rate, runs=100, labels=round(40 / max_error))
    assert not is_too_many(count, 100, 1 - CONFIDENCE)


@pytest.mark.slow
@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize("max_error", [0.1, 0.05, 0.02, 0.01])
def test_it_seldom_opens_where_it_must_not_however_long_one_looks(max_error, adversary) -> None:
    rate = ADVERSARIES[adversary](max_error)
    count = runs_that_open(max_error, rate, runs=400, labels=round(200 / max_error))
    assert not is_too_many(count, 400, 1 - CONFIDENCE)


def test_a_test_that_spent_more_than_it_has_would_be_found_out(monkeypatch) -> None:
    """The check above can fail: with ten times the risk it does."""
    monkeypatch.setattr(f"{__name__}.CONFIDENCE", 0.5)
    count = runs_that_open(0.2, always(0.2), runs=100, labels=400)
    assert is_too_many(count, 100, 0.05)


@pytest.mark.parametrize(("max_error", "most"), [(0.05, 350), (0.02, 800), (0.01, 1_500)])
def test_a_quarter_of_the_permitted_error_opens_soon(max_error, most) -> None:
    """Of these labels three in five reach the shipped threshold."""
    found = [
        labels_until(new(max_error), always(max_error / 4), seed, most=9_999, is_open=True)
        for seed in range(21)
    ]
    assert median(found) <= most


@pytest.mark.parametrize("max_error", [0.05, 0.02, 0.01])
@pytest.mark.parametrize("calm", [0, 1_000])
def test_a_jump_of_the_error_closes_soon_however_long_all_was_well(max_error, calm) -> None:
    def rate(number: int, _score: float) -> float:
        return 0.0 if number < calm else 0.25

    found = [
        labels_until(opened(max_error), rate, seed, most=calm + 2_000, is_open=False) - calm
        for seed in range(30)
    ]
    assert median(found) <= 40
    assert max(found) <= 150


@pytest.mark.parametrize("runs", [2, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("max_error", [0.05, 0.01])
def test_a_fifth_of_the_permitted_error_stays_open(max_error, runs) -> None:
    found = [
        labels_until(opened(max_error), always(max_error / 5), seed, most=20_000, is_open=False)
        for seed in range(runs)
    ]
    assert sum(count < 20_000 for count in found) <= runs // 100


def test_at_the_bound_false_alarms_are_as_rare_as_promised() -> None:
    """20 / max_error labels on average, and more."""
    found = [
        labels_until(opened(0.2), always(0.2), seed, most=2_000, is_open=False)
        for seed in range(40)
    ]
    assert sum(found) / len(found) > 100

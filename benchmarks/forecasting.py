"""How well are the next steps of a series forecast, and how sure is the interval?

Half of M4's hourly series (Makridakis, Spiliotis and Assimakopoulos, 2020), 48 steps ahead, with a
season of 24. MASE and MSIS are M4's: how far off the forecast is, and how wide its 95 % interval is
with a penalty for each truth outside, over the mean step from one season to the next in the past.
The peer is the seasonal naive forecast, with the textbook's interval: normal, by the root mean
squared step from season to season and the root of the seasons ahead (Hyndman and Athanasopoulos).
Constants were chosen on the last 48 steps of the pasts, not on these truths.

Time: one forecast, of these series, and of a year of daily sums made here.

    python benchmarks/forecasting.py

The series are looked for in `../shared/data/analytics/m4`, beside a checkout. Without them the
tables are of made-up series, and say nothing of what is claimed.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist, fmean, median
from typing import NamedTuple

import numpy as np
from measuring import QUICK, Claim, in_turn, print_claims, print_table, sized
from numpy.typing import NDArray

from llmops_langchain.analytics.forecasting import forecast

Floats = NDArray[np.float64]

DATA = Path(__file__).parents[2] / "shared/data/analytics/m4"
REAL = DATA.exists() and not QUICK
AHEAD, SEASON, LEVEL = 48, 24, 0.95
DAY = 86_400.0
GOALS = {"MASE": 1.0, "MSIS": 8.0, "share of truths in the interval": 0.95}
WITHIN = 0.02
"""How far the share of truths may be from the level."""


class Series(NamedTuple):
    """What was known, and what came."""

    past: Floats
    truth: Floats


class Said(NamedTuple):
    """What a method expects, and its interval."""

    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The means over all series."""

    mase: float
    msis: float
    held: float

    def row(self) -> tuple[float, float, float]:
        """In the order of the goals."""
        return self.mase, self.msis, self.held


def main() -> None:
    """Errors, intervals, time."""
    told = hourly() if DATA.exists() else made_up()
    told = told[: sized(len(told), quick=3)]
    scores = {name: scored(method, told) for name, method in METHODS.items()}
    spent = in_turn(METHODS, [each.past for each in told])
    days = year_of_days()
    daily = in_turn({"a year of days": by_days}, [days] * sized(50, quick=2))["a year of days"]
    columns = zip(*(each.row() for each in scores.values()), strict=True)
    goals = ("≤ 1.00", "≤ 8.0", "93 to 97 %")
    rows: list[tuple[object, ...]] = [
        (what, *figures, goal) for what, figures, goal in zip(GOALS, columns, goals, strict=True)
    ]
    milliseconds = {name: each.p50 / 1_000 for name, each in spent.items()}
    rows.append(("ms a forecast, p50", *milliseconds.values(), "≤ 150"))
    where = "M4 hourly, test part" if DATA.exists() else "made up, nothing to quote"
    title = f"{len(told):,} series, {where}: {AHEAD} steps ahead"
    print_table(title, ("what", *METHODS, "goal"), rows)
    points = [len(each.past) for each in told]
    times = [
        ("an hourly series", round(fmean(points)), milliseconds["ours"]),
        ("a year of daily sums, 30 ahead", len(days), daily.p50 / 1_000),
    ]
    print_table("Milliseconds a forecast, p50", ("of", "points", "ms"), times)
    print_claims(claims(scores, milliseconds["ours"], daily.p50 / 1_000))


def claims(scores: dict[str, Scores], hourly_time: float, daily_time: float) -> list[Claim]:
    """Against the goals; without the real series there is nothing to state but the time."""
    ours, naive = scores["ours"], scores["seasonal naive"]
    off = max(abs(ours.held - LEVEL), 1e-9)
    about = "M4 hourly" if REAL else "(quick or made up)"
    return [
        claim(f"MASE, {about}", ours.mase, GOALS["MASE"], f"seasonal naive {naive.mase:.2f}"),
        claim(f"MSIS, {about}", ours.msis, GOALS["MSIS"], f"seasonal naive {naive.msis:.1f}"),
        claim(f"share of truths held, off 95 %, {about}", off, WITHIN, "-"),
        claim("a forecast of an hourly series, p50", hourly_time, 150.0, "-", unit="ms"),
        claim("a forecast of a year of days, p50", daily_time, 50.0, "-", unit="ms"),
    ]


def claim(what: str, result: float, goal: float, against: str, *, unit: str = "") -> Claim:
    """All of these are to be small."""
    return Claim(what=what, against=against, result=result, goal=goal, unit=unit, at_most=True)


def ours(past: Floats) -> Said:
    """The season is named, as it is to the peer."""
    found = forecast(past, AHEAD, season=SEASON, level=LEVEL)
    return Said(found.mean, found.low, found.high)


def seasonal_naive(past: Floats) -> Said:
    """As a season ago; steps a season apart are taken for independent and normal."""
    steps = np.arange(AHEAD)
    mean = past[-SEASON:][steps % SEASON]
    deviation = np.sqrt(np.mean((past[SEASON:] - past[:-SEASON]) ** 2))
    reach = NormalDist().inv_cdf(0.5 + LEVEL / 2) * deviation * np.sqrt(steps // SEASON + 1)
    return Said(mean, mean - reach, mean + reach)


METHODS: dict[str, Callable[[Floats], Said]] = {"seasonal naive": seasonal_naive, "ours": ours}


def scored(method: Callable[[Floats], Said], told: list[Series]) -> Scores:
    """M4's three measures of a method."""
    rows = [measures(method(each.past), each) for each in told]
    mase, msis, held = np.mean(rows, axis=0).tolist()
    return Scores(mase=mase, msis=msis, held=held)


def measures(said: Said, of: Series) -> tuple[float, float, float]:
    """MASE, MSIS and the share of truths in the interval, of one series."""
    scale = np.abs(of.past[SEASON:] - of.past[:-SEASON]).mean()
    under, over = np.maximum(said.low - of.truth, 0.0), np.maximum(of.truth - said.high, 0.0)
    width = said.high - said.low + 2.0 / (1.0 - LEVEL) * (under + over)
    inside = (said.low <= of.truth) & (of.truth <= said.high)
    missed = np.abs(said.mean - of.truth).mean()
    return float(missed / scale), float(width.mean() / scale), float(inside.mean())


def hourly() -> list[Series]:
    """Pasts and truths of the same names."""
    pasts, truths = read("train"), read("test")
    assert pasts.keys() == truths.keys()
    return [Series(pasts[name], truths[name]) for name in pasts]


def read(part: str) -> dict[str, Floats]:
    """Each row by its name; rows differ in length."""
    with (DATA / f"hourly-{part}.csv").open(encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return {row[0]: np.array([float(each) for each in row[1:] if each]) for row in rows}


def made_up() -> list[Series]:
    """Days of hours with noise, where there is no data."""
    rng = np.random.default_rng(0)
    shape = 100.0 + 40.0 * np.sin(2 * np.pi * np.arange(700 + AHEAD) / SEASON)
    whole = [shape + 5.0 * rng.normal(size=len(shape)) for _ in range(10)]
    return [Series(each[:-AHEAD], each[-AHEAD:]) for each in whole]


def year_of_days() -> Floats:
    """Sums of working weeks that grow, with noise."""
    days = np.arange(365)
    usual = np.where(days % 7 < 5, 100.0, 20.0) * (1.0 + days / 365)
    return usual * np.exp(0.1 * np.random.default_rng(1).normal(size=365))


def by_days(past: Floats) -> None:
    """A month ahead, from a Monday on."""
    found = forecast(past, 30, start=4 * DAY, step=DAY)
    assert found.known
    assert median(found.mean) > 0


if __name__ == "__main__":
    main()

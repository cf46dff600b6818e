"""Does the bound of the semantic cache hold? Streams of calls whose truth is known.

A small tier stands in for the cache: each call has a candidate with a score, the kept answer is
right or wrong, some calls are drawn and judged, the others are served from the threshold on, and
users speak up about a few answers, sooner about wrong ones. Every scenario runs over many seeds.
A second table shows what opening and closing take, in labels.

    python benchmarks/semantic_bound.py
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice

import numpy as np
from measuring import Claim, print_claims, print_table, sized
from numpy.typing import NDArray

from llmops_langchain.cache.calibration import Bound, Calibration, Label

Floats = NDArray[np.float64]

ERRORS = (0.05, 0.02, 0.01)
SEEDS, FEWER_SEEDS = sized((20, 10), quick=(2, 2))
CALLS = sized(20_000, quick=6_000)
MANY = sized(20_000, quick=3_000)
"""Labels in a row without a false alarm, it is hoped."""
CONFIDENCE, FLOOR, SAMPLING = 0.95, 0.3, 0.1
RIGHT, WRONG, NEARER = (8.0, 1.2), (2.0, 3.0), (4.0, 2.0)
"""Scores of kept answers that are right, wrong, and harder to tell apart (beta distributions)."""
WRONG_SHARE = 0.2
USERS = 200
COMPLAINS, PRAISES = 0.2, 0.02
"""Shares of the wrong and of the right answers that users speak up about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What the calls are like; from half time on if something changes."""

    name: str
    shipped_risk: float = 0.2
    """Error from the shipped threshold on, in multiples of `max_error`."""
    flat: float | None = None
    """Error at every score alike, in multiples of `max_error`."""
    outdated: float = 0.0
    """Share of the right answers that turn wrong, whatever their score."""
    outdated_times: float = 0.0
    """The same in multiples of `max_error`."""
    is_slow: bool = False
    """Whether they do so little by little."""
    is_nearer: bool = False
    """Whether wrong answers get higher scores."""
    is_apart: bool = False
    """Whether right and wrong answers have scores of their own."""
    liars: int = 0
    """How many users call every answer wrong, or every answer right."""
    of_calls: float = 0.0
    """Share of the calls that are theirs."""
    liars_praise: bool = False
    is_judged: bool = True
    """Otherwise nothing is asked again, and it is served by the shipped threshold."""

    @property
    def changes(self) -> bool:
        """Whether the error gets worse half-way."""
        return bool(self.outdated or self.outdated_times or self.is_nearer)


SCENARIOS = (
    Scenario(name="good: a fifth of the bound at the shipped threshold"),
    Scenario(name="score says nothing, error exactly at the bound", flat=1.0),
    Scenario(name="score says nothing, error 1.5 times the bound", flat=1.5),
    Scenario(name="shipped threshold too low: twice the bound", shipped_risk=2.0),
    Scenario(name="right and wrong do not overlap", is_apart=True),
    Scenario(name="one user of 5 % of the calls calls all wrong", liars=1, of_calls=0.05),
    Scenario(name="10 % of users call all wrong", liars=20, of_calls=0.1),
    Scenario(name="error jumps by 20 %", outdated=0.2),
    Scenario(name="error jumps by twice the bound", outdated_times=2.0),
    Scenario(name="wrong ones get higher scores", is_nearer=True),
    Scenario(name="error grows slowly by 20 %", outdated=0.2, is_slow=True),
    Scenario(
        name="error jumps by 20 %, 10 % of users praise all",
        outdated=0.2,
        liars=20,
        of_calls=0.1,
        liars_praise=True,
    ),
    Scenario(name="nobody judges, error jumps by 20 %", outdated=0.2, is_judged=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Calls in their order."""

    scores: Sequence[float]
    wrong: Sequence[bool]
    """Whether the kept answer is wrong."""
    said: Sequence[bool | None]
    """What the user says of it, if it is served: right, wrong, or nothing."""
    users: Sequence[int]
    drawn: Sequence[float]
    """From 0 to 1: asked again if below the share."""


@dataclass(slots=True)
class Run:
    """What became of one stream."""

    labels: int = 0
    """Judged, at or above the shipped threshold."""
    labels_until_open: int | None = None
    served: int = 0
    wrong: int = 0
    asked_again: int = 0
    """Answers that could have been served, and were asked again."""
    early: int = 0
    """Closings before anything changed."""
    at_change: tuple[int, int] | None = None
    """Answers, and wrong ones, served before the change, if it was open then."""
    until_closed: tuple[int, int] | None = None
    """The same from the change until it was closed for the first time."""

    @property
    def wrong_share(self) -> float:
        """Of the answers served."""
        return self.wrong / max(self.served, 1)


def main() -> None:
    """Run everything, then print the tables and the claims."""
    takes = {max_error: Takes.of(max_error) for max_error in ERRORS}
    runs = {
        (scenario.name, max_error): [one_run(scenario, max_error, seed) for seed in range(SEEDS)]
        for max_error in ERRORS
        for scenario in SCENARIOS
    }
    print_table("What it takes, in labels", Takes.HEADER, [each.row for each in takes.values()])
    header = (
        *("scenario", "`max_error`", "opened, of runs", "after labels, p50", "served, of calls"),
        *("asked again, of good", "wrong, of served", "worst run", "runs above `max_error`"),
        *("closed early, a run", "closed after the change, of runs open then"),
        *("served until then, p50", "p90", "wrong ones, p50"),
    )
    rows = (row(name, max_error, each) for (name, max_error), each in runs.items())
    print_table(f"{SEEDS} runs of {CALLS:,} calls each", header, rows)
    print_claims(claims(runs, takes))


def one_run(scenario: Scenario, max_error: float, seed: int) -> Run:
    """Serve one stream of a scenario."""
    rng = np.random.default_rng([seed, round(1e6 * max_error)])
    stream = stream_of(scenario, max_error, rng)
    return Tier(scenario, max_error).serve(stream)


def stream_of(scenario: Scenario, max_error: float, rng: np.random.Generator) -> Stream:
    """Draw the calls of a scenario."""
    is_late = np.arange(CALLS) >= CALLS // 2
    wrong = rng.random(CALLS) < (
        WRONG_SHARE if scenario.flat is None else scenario.flat * max_error
    )
    scores = drawn_scores(rng, wrong, WRONG)
    if scenario.flat is not None:
        scores = rng.beta(*RIGHT, size=CALLS)
    if scenario.is_apart:
        scores = np.where(wrong, 0.5, 0.7) + rng.random(CALLS) * np.where(wrong, -0.5, 0.3)
    if scenario.is_nearer:
        scores = np.where(is_late, drawn_scores(rng, wrong, NEARER), scores)
    progress = np.clip(2 * np.arange(CALLS) / CALLS - 1, 0, 1) if scenario.is_slow else is_late
    outdated = scenario.outdated + scenario.outdated_times * max_error
    wrong = wrong | (rng.random(CALLS) < outdated * progress)
    is_liar = rng.random(CALLS) < scenario.of_calls
    users = np.where(
        is_liar,
        rng.integers(max(scenario.liars, 1), size=CALLS),
        rng.integers(scenario.liars, USERS, size=CALLS),
    )
    speaks = rng.random(CALLS) < np.where(wrong, COMPLAINS, PRAISES)
    honest = zip(speaks.tolist(), wrong.tolist(), is_liar.tolist(), strict=True)
    return Stream(
        scores=scores.tolist(),
        wrong=wrong.tolist(),
        said=[
            scenario.liars_praise if lies else (not bad if says else None)
            for says, bad, lies in honest
        ],
        users=users.tolist(),
        drawn=rng.random(CALLS).tolist(),
    )


def drawn_scores(
    rng: np.random.Generator, wrong: NDArray[np.bool_], of_wrong: tuple[float, float]
) -> Floats:
    """Draw a score for each answer."""
    return np.where(wrong, rng.beta(*of_wrong, size=CALLS), rng.beta(*RIGHT, size=CALLS))


@cache
def threshold_at(risk: float) -> float:
    """Return the lowest score from which on at most this share is wrong."""
    at = np.linspace(0, 1, 20_001)[1:-1]
    densities = [at ** (a - 1) * (1 - at) ** (b - 1) for a, b in (RIGHT, WRONG)]
    above = [np.cumsum((each / each.sum())[::-1])[::-1] for each in densities]
    right, wrong = (1 - WRONG_SHARE) * above[0], WRONG_SHARE * above[1]
    return float(at[np.argmax(wrong / (right + wrong) <= risk)])


class Tier:
    """Serves calls, has some of them judged, and takes in what users say."""

    def __init__(self, scenario: Scenario, max_error: float) -> None:
        self.shipped = threshold_at(scenario.shipped_risk * max_error)
        self.is_judged = scenario.is_judged
        self.changes_at = CALLS // 2 if scenario.changes else CALLS
        self.run = Run()
        self.calibration = Calibration(
            Bound(
                max_error=max_error,
                confidence=CONFIDENCE,
                start="shadow" if scenario.is_judged else "shipped",
                shipped_threshold=self.shipped,
                sampling=SAMPLING if scenario.is_judged else 0.0,
                floor=FLOOR,
            )
        )
        self.threshold, self.sampling = self.calibration.threshold, self.calibration.sampling

    def serve(self, stream: Stream) -> Run:
        """Serve a whole stream."""
        calls = zip(stream.scores, stream.wrong, stream.drawn, stream.said, strict=True)
        for number, (score, wrong, drawn, said) in enumerate(calls):
            if number == self.changes_at and self.threshold is not None:
                self.run.at_change = (self.run.served, self.run.wrong)
            could_serve = self.threshold is not None and score >= self.threshold
            if drawn < self.sampling and self.is_judged:
                self.run.asked_again += could_serve
                self.run.labels += score >= self.shipped
                self.take_in(Label(score, not wrong, "shadow", None, number))
            elif could_serve:
                self.run.served += 1
                self.run.wrong += wrong
                if said is not None:
                    by = f"user-{stream.users[number]}"
                    self.take_in(Label(score, said, "feedback", by, number))
        return self.run

    def take_in(self, label: Label) -> None:
        """Let a label count, and note what it changed."""
        run, was_open = self.run, self.threshold is not None
        self.calibration.add(label)
        self.threshold, self.sampling = self.calibration.threshold, self.calibration.sampling
        if was_open and self.threshold is None:
            run.early += label.ts < self.changes_at
            if run.at_change is not None and run.until_closed is None:
                served, wrong = run.at_change
                run.until_closed = (run.served - served, run.wrong - wrong)
        elif self.threshold is not None and run.labels_until_open is None:
            run.labels_until_open = run.labels


def row(name: str, max_error: float, runs: Sequence[Run]) -> tuple[object, ...]:
    """Sum the runs of a scenario up."""
    opened = [run.labels_until_open for run in runs if run.labels_until_open is not None]
    closed = [run.until_closed for run in runs if run.until_closed]
    served = sum(run.served for run in runs)
    asked = sum(run.asked_again for run in runs)
    return (
        name,
        max_error,
        len(opened) / len(runs),
        quantile(opened, 0.5),
        served / CALLS / len(runs),
        asked / max(asked + served, 1),
        sum(run.wrong for run in runs) / max(served, 1),
        max(run.wrong_share for run in runs),
        share_above(max_error, runs),
        sum(run.early for run in runs) / len(runs),
        share_closed(runs),
        quantile([served for served, _ in closed], 0.5),
        quantile([served for served, _ in closed], 0.9),
        quantile([wrong for _, wrong in closed], 0.5),
    )


def share_closed(runs: Sequence[Run]) -> float | str:
    """Return the share of the runs open at the change that were closed after it."""
    changed = [run.until_closed is not None for run in runs if run.at_change]
    return sum(changed) / len(changed) if changed else ""


def share_above(max_error: float, runs: Sequence[Run]) -> float:
    """Return the share of runs in which more of the served answers were wrong."""
    return sum(run.wrong_share > max_error for run in runs) / len(runs)


def quantile(values: Iterable[float], at: float) -> float | str:
    """Return a quantile, nothing of nothing."""
    found = list(values)
    return float(np.quantile(found, at)) if found else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """Labels that opening and closing take with one `max_error`; medians of runs."""

    HEADER = (
        *("`max_error`", "open, none wrong", "open, a quarter of it wrong, p50", "half of it, p50"),
        *("close at twice it, p50", "at four times, p50", "at 50 %, p50"),
        *(f"runs closed within {MANY:,}, exactly it wrong", "0.8 of it", "half of it"),
        "a fifth of it",
    )
    max_error: float
    clean: int
    opens: tuple[float | str, ...]
    closes: tuple[float | str, ...]
    false_alarms: tuple[float, ...]

    @classmethod
    def of(cls, max_error: float) -> "Takes":
        """Count them."""
        until = partial(labels_until, max_error)
        most = round(2_000 / max_error)
        closes = (2 * max_error, 4 * max_error, 0.5)
        times = (1.0, 0.8, 0.5, 0.2)
        alarms = [until("closed", share * max_error, at_most=MANY) for share in times]
        return cls(
            max_error=max_error,
            clean=until("calibrated", 0.0, at_most=most)[0],
            opens=tuple(
                quantile(until("calibrated", share * max_error, at_most=most), 0.5)
                for share in (0.25, 0.5)
            ),
            closes=tuple(quantile(until("closed", rate, at_most=most), 0.5) for rate in closes),
            false_alarms=tuple(sum(each < MANY for each in some) / len(some) for some in alarms),
        )

    @property
    def row(self) -> tuple[object, ...]:
        """A row of the table."""
        return (self.max_error, self.clean, *self.opens, *self.closes, *self.false_alarms)


def labels_until(max_error: float, state: str, rate: float, *, at_most: int) -> list[int]:
    """Return, for each seed, after how many labels of this error rate a state is reached."""
    return [
        next(
            (at for at, now in enumerate(islice(states, at_most), 1) if now == state),
            at_most,
        )
        for states in (states_of(max_error, state, rate, seed) for seed in range(FEWER_SEEDS))
    ]


def states_of(max_error: float, until: str, rate: float, seed: int) -> Iterator[str]:
    """Yield the state after each label; a run that is to be closed is opened first."""
    calibration = Calibration(
        Bound(max_error=max_error, confidence=CONFIDENCE, shipped_threshold=0.5, floor=0.5)
    )
    rng = np.random.default_rng([seed, 7])
    if until == "closed":
        while calibration.threshold is None:
            calibration.add(Label(0.6, correct=True, source="shadow", by=None, ts=0))
    while True:
        for wrong in (rng.random(1_000) < rate).tolist():
            calibration.add(Label(0.6, not wrong, "shadow", None, 0))
            is_open = calibration.threshold is not None
            yield ("calibrated" if is_open else "closed")


def claims(runs: dict[tuple[str, float], list[Run]], takes: dict[float, Takes]) -> Iterator[Claim]:
    """Return what was promised."""
    most = partial(Claim, against="the truth", unit="of runs", at_most=True)
    risk = 1 - CONFIDENCE
    (edge,) = (scenario.name for scenario in SCENARIOS if scenario.flat == 1)
    at_bound = [run.served > 0 for error in ERRORS for run in runs[edge, error]]
    what = f"opened with an error of exactly `max_error`, {len(at_bound)} runs"
    yield most(what=what, result=sum(at_bound) / len(at_bound), goal=risk)
    for error in ERRORS:
        mine = [(scenario, runs[scenario.name, error]) for scenario in SCENARIOS]
        above = max(share_above(error, each) for kind, each in mine if not kind.changes)
        closed = [share_closed(each) for kind, each in mine if kind.outdated and kind.is_judged]
        name, least = f"`max_error={error}`:", min(map(float, closed))
        what = f"{name} more of the served wrong, the worst scenario without a change"
        yield most(what=what, result=above, goal=risk)
        what = f"{name} closed within {MANY:,} labels, a fifth of it wrong"
        yield most(what=what, result=takes[error].false_alarms[-1], goal=0.01)
        what = f"{name} closed after the error rose by 20 %"
        yield Claim(what=what, against="the truth", result=least, goal=0.99, unit="of runs")
        what, clean = f"{name} labels to open, none wrong", takes[error].clean
        yield most(what=what, against="none", result=clean, goal=4 / error, unit="labels")


if __name__ == "__main__":
    main()

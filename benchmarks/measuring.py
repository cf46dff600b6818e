"""What the scripts share: medians of calls timed one by one, claims with their goals, tables.

Every script takes `--quick`: sizes small enough for a test, and tables that say so.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from statistics import fmean, median
from time import perf_counter_ns
from typing import TypeVar

__all__ = [
    "CLAIMS_HEADER",
    "QUICK",
    "Claim",
    "Timing",
    "in_turn",
    "microseconds",
    "print_claims",
    "print_table",
    "sized",
    "timing",
]

A = TypeVar("A")
S = TypeVar("S")

QUICK = "--quick" in sys.argv[1:]
CLAIMS_HEADER = ("script", "claim", "against", "goal", "result", "met")
_ROUNDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long one call takes, microseconds."""

    p50: float
    mean: float

    def per(self, count: int) -> "Timing":
        """The share of one, if `count` were done in the time."""
        return Timing(p50=self.p50 / count, mean=self.mean / count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A figure that was promised, and what it turned out to be."""

    what: str
    against: str
    """The peer of the same run, or what the figure is added to."""
    result: float
    goal: float
    unit: str = "times"
    at_most: bool = False
    """The result must not pass the goal; otherwise it must reach it."""

    @property
    def missed_by(self) -> float:
        """Share of the goal that is missing, 0 if it is reached."""
        excess = self.result - self.goal if self.at_most else self.goal - self.result
        return max(0.0, excess / self.goal)


def sized(full: S, *, quick: S) -> S:
    """The size to run at: `quick` is for tests."""
    return quick if QUICK else full


def in_turn(
    calls: Mapping[str, Callable[[A], object]], arguments: Sequence[A]
) -> dict[str, Timing]:
    """Time every call on every argument, in alternating blocks: a noisy moment hits them all."""
    block = max(1, len(arguments) // _ROUNDS)
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for start in range(0, len(arguments), block):
        for name, call in calls.items():
            spent[name] += map(microseconds, repeat(call), arguments[start : start + block])
    return {name: timing(each) for name, each in spent.items()}


def microseconds(call: Callable[[A], object], argument: A) -> float:
    """How long one call takes."""
    start = perf_counter_ns()
    call(argument)
    return (perf_counter_ns() - start) / 1_000


def timing(spent: Sequence[float]) -> Timing:
    """The median and the mean of calls that were timed one by one."""
    return Timing(p50=median(spent), mean=fmean(spent))


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a markdown table under a heading; numbers to three figures."""
    note = " (quick: not for quoting)" if QUICK else ""
    print(f"\n### {title}{note}\n")
    print(_line(header))
    print(_line(["---"] * len(header)))
    for row in rows:
        print(_line([_shown(cell) for cell in row]))


def print_claims(claims: Iterable[Claim]) -> None:
    """Print each claim beside its goal; the last table of every script."""
    script = Path(sys.argv[0]).name
    rows = [
        (f"`{script}`", each.what, each.against, _goal(each), _result(each), _met(each))
        for each in claims
    ]
    print_table(f"Claims of `{script}`", CLAIMS_HEADER, rows)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(cell: object) -> str:
    if not isinstance(cell, float):
        return f"{cell:,}" if isinstance(cell, int) else str(cell)
    return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"


def _goal(claim: Claim) -> str:
    return f"{'≤' if claim.at_most else '≥'} {_shown(claim.goal)} {claim.unit}"


def _result(claim: Claim) -> str:
    return f"{_shown(claim.result)} {claim.unit}"


def _met(claim: Claim) -> str:
    return f"missed by {claim.missed_by:.0%}" if claim.missed_by else "yes"

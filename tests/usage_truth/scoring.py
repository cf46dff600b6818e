"""Right or wrong, by one rule for every handler."""

from collections.abc import Iterator
from dataclasses import dataclass

from usage_truth.bills import Bill, costs
from usage_truth.handlers import HANDLERS, Reading
from usage_truth.loopback import Loopback
from usage_truth.run import Case, Mode, playing

__all__ = ["TOLERANCE", "Score", "judged", "scored"]

TOLERANCE = 0.1
"""Share of the truth by which a flagged estimate may be off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one handler made of one case, in one mode."""

    case: Case
    mode: Mode
    handler: str
    bills: tuple[Bill, ...]
    reading: Reading
    faults: tuple[str, ...]
    """What is wrong; empty if all is right."""

    @property
    def right(self) -> bool:
        """Tokens and, where the handler has a notion of it, cost agree with the bills."""
        return not self.faults


def scored(case: Case, server: Loopback, mode: Mode, handler: str) -> Score:
    """Play a case with a handler attached, and compare.

    Raises:
        AssertionError: If the case did not make the provider bill what it is about.
    """
    with playing(case, server, mode, HANDLERS[handler]) as run:
        reading = run.watch.read()
    bills = tuple(run.bills)
    assert len(bills) == case.paid, f"{case.id}: {len(bills)} requests were billed"
    return Score(
        case=case,
        mode=mode,
        handler=handler,
        bills=bills,
        reading=reading,
        faults=tuple(judged(case, bills, tuple(run.saved), reading)),
    )


def judged(
    case: Case, bills: tuple[Bill, ...], saved: tuple[Bill, ...], reading: Reading
) -> Iterator[str]:
    """What is wrong about a reading, in words."""
    share = 0.0 if case.told else TOLERANCE
    yield from _off("input", reading.input, sum(bill.input for bill in bills), share)
    yield from _off("output", reading.output, sum(bill.output for bill in bills), share)
    if not case.told and not reading.estimated:
        yield "says nothing of an estimate"
    if reading.cost is not None:
        # Each call is rounded to a nano-dollar, and one that adds up floats rounds too.
        yield from _off("nano-dollars", reading.cost, costs(bills), share, len(bills))
        if any(bill.cost is None for bill in bills) and not reading.unpriced:
            yield "a silent $0 for a model without a price"
    if reading.paid is not None and reading.paid != len(bills):
        yield f"{reading.paid} paid calls, not {len(bills)}"
    if reading.saved is not None and reading.saved != costs(saved):
        yield f"{reading.saved:,} nano-dollars saved, not {costs(saved):,}"


def _off(what: str, said: int, truth: int, share: float, rounding: int = 0) -> Iterator[str]:
    if abs(said - truth) > share * truth + rounding:
        yield f"{said:,} {what}, not {truth:,}"

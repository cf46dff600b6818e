"""Why a call was not answered from the cache: which of its parts no kept call has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from llmops_langchain.cache.store import Entry
from llmops_langchain.wrapping import PARTS

__all__ = ["Explanation", "explain"]

_HINTS = {
    "scope": "it was kept for another workspace, project or user",
    "model": "a setting of the model, or the model itself",
    "parameters": "`stop`, a temperature or another parameter of the call",
    "tools": "a tool, its description or arguments, or how tools are chosen",
    "schema": "the schema of the answer",
    "system": "the system message; a date or a name in it makes each call a new one",
    "history": "an earlier turn",
    "question": "the last message",
}

_UNITS = ((86_400, "days"), (3_600, "h"), (60, "min"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What the cache would do with a call, and why; `str` makes a sentence of it."""

    status: Literal["hit", "expired", "miss", "no key"]
    """What a lookup would find."""
    differs: tuple[str, ...] = ()
    """The parts of the call that the nearest kept call does not share, in the order of `PARTS`."""
    age: float | None = None
    """Seconds since the kept call was answered; `None` if there is none."""
    reason: str
    """Why, in words."""

    def __str__(self) -> str:
        """`status: reason`."""
        return f"{self.status}: {self.reason}"


def explain(
    fingerprint: bytes,
    kept: Sequence[Entry],
    *,
    now: float,
    accepts: Callable[[Entry, float], bool] = Entry.is_fresh,
) -> Explanation:
    """Compare a call with the kept ones.

    Args:
        fingerprint: `CallParts.fingerprint` of the call.
        kept: Entries to compare with; those without a fingerprint of this form are left out.
        now: Epoch seconds.
        accepts: Whether an entry may answer the call now, should it be the call's own.
    """
    known = [entry for entry in kept if len(entry.fingerprint) == len(fingerprint)]
    if not known:
        return Explanation(status="miss", reason="nothing is kept that it could be compared with")
    nearest = min(known, key=lambda entry: (len(_differs(fingerprint, entry)), -entry.created_at))
    differs, age = _differs(fingerprint, nearest), max(0.0, now - nearest.created_at)
    if differs:
        reason = _difference(differs, age)
        return Explanation(status="miss", differs=differs, age=age, reason=reason)
    if accepts(nearest, now):
        return Explanation(status="hit", age=age, reason=f"kept {_told(age)} ago")
    reason = f"the answer was kept {_told(age)} ago and is too old"
    return Explanation(status="expired", age=age, reason=reason)


def _differs(fingerprint: bytes, entry: Entry) -> tuple[str, ...]:
    width = len(fingerprint) // len(PARTS)
    return tuple(
        part
        for at, part in enumerate(PARTS)
        if not entry.fingerprint.startswith(fingerprint[at * width : (at + 1) * width], at * width)
    )


def _difference(differs: Sequence[str], age: float) -> str:
    names = [f"`{part}`" for part in differs]
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    verb = "differs" if len(names) == 1 else "differ"
    hints = "; ".join(_HINTS[part] for part in differs)
    return f"{listed} {verb} from the nearest kept call, {_told(age)} old ({hints})"


def _told(age: float) -> str:
    """Seconds as one reads them: `12 s`, `5 min`."""
    for seconds, unit in _UNITS:
        if age >= 2 * seconds:
            return f"{age // seconds:.0f} {unit}"
    return f"{age:.0f} s"

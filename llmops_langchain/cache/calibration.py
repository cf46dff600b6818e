"""From which score on answers are served by meaning, so that few enough of them are wrong."""

from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from operator import neg
from types import MappingProxyType
from typing import Final, Literal, get_args

import numpy as np

from llmops_langchain.cache.evidence import (
    Complaints,
    Drift,
    Label,
    Openings,
    Source,
    Votes,
    upper_bound,
)
from llmops_langchain.errors import ConfigurationError

__all__ = ["Bound", "Calibration", "Label", "Standing", "State", "decides_to_ask", "switched_off"]

State = Literal["shadow", "shipped", "calibrated", "closed"]
"""`shadow`: nothing is served, the bound is yet to be shown. `shipped`: served by the threshold
that comes with the package, which is no guarantee. `calibrated`: served, and the bound was shown to
hold. `closed`: it no longer held; nothing is served until new evidence shows that it does."""

_SOURCES: Final[tuple[Source, ...]] = get_args(Source)
_STEPS: Final = 8
"""Thresholds below the shipped one."""
_ON_THE_CHAIN: Final = 0.75
"""Share of the permitted risk that the shipped threshold has; stricter ones share the rest."""
_IF_JUDGED_WRONG: Final = 0.9
"""Share of would-be hits that is asked again, from half of an alarm on."""
_IF_CALLED_WRONG: Final = 0.5
"""The same for complaints, so that no number of those who lie can do more than that."""
_SEEN: Final = 20
"""Correct labels drawn at random that lie at or below the score from which on answers are served:
where little was seen nothing is served, however well all went above it. Between two tested
thresholds this takes for granted that the error does not rise with the score."""
_ALONE: Final = 20
"""Labels in a row, none of them drawn at random, after which complaints alone decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The promise: of the answers served, at most `max_error` are wrong.

    Raises:
        ConfigurationError: If a value makes no sense.
    """

    max_error: float
    """Share of wrong answers among those served, 0 to 1."""
    confidence: float = 0.95
    """Probability with which it is shown before anything is served."""
    start: Literal["shadow", "shipped"] = "shadow"
    """What is done before there is evidence."""
    shipped_threshold: float
    """The score at which `max_error` is expected to hold; the first to be tested. Above 1: there is
    none, and all are tested alike."""
    sampling: float = 0.1
    """Share of would-be hits that is asked again, 0 to 1; more when there are signs of drift."""
    floor: float
    """The lowest threshold that is looked at."""

    def __post_init__(self) -> None:
        for name, wanted, is_so in (
            ("max_error", "between 0 and 1", 0 < self.max_error < 1),
            ("confidence", "between 0 and 1", 0 < self.confidence < 1),
            ("sampling", "a share from 0 to 1", 0 <= self.sampling <= 1),
            ("floor", "a score from 0 to 1", 0 <= self.floor <= 1),
            ("shipped_threshold", "at least `floor`", self.shipped_threshold >= self.floor),
            ("start", "`shadow` or `shipped`", self.start in ("shadow", "shipped")),
        ):
            if not is_so:
                msg = f"`{name}` must be {wanted}, got {getattr(self, name)!r}"
                raise ConfigurationError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the evidence allows now; `print` it to read it."""

    state: State
    """Whether anything is served, and on what ground."""
    threshold: float | None
    """The score from which answers are served; `None`: none are."""
    max_error: float
    """The share of wrong answers that is promised."""
    confidence: float
    """The probability with which it was, or is to be, shown."""
    labels: int
    """Labels of calls drawn at random since the last closing, at or above the lowest score that was
    tested for the threshold: while nothing is served, at or above the shipped one."""
    wrong: int
    """Of these, how many found the kept answer wrong."""
    error_upper: float
    """What the error is at most after these labels (Clopper and Pearson, 1934), at `confidence`.
    To be read, not what decides: it would be too small if looked at until it suits."""
    evidence: Mapping[Source, tuple[int, int]]
    """The labels since the last closing from that score on by source: correct and wrong."""
    sampling: float
    """Share of the calls with a candidate that is to be asked again now."""
    suspicion: float
    """Evidence of too many wrong answers, 0 to 1; the more, the more is asked again. It is 1 when
    labels drawn at random close, or when complaints would and judges have yet to agree."""
    needed: int | None
    """Correct labels with the highest scores that would show the bound; `None`: it is shown."""
    closed_at: float | None
    """When too many were wrong, the last time; seconds since the Unix epoch."""
    times_closed: int
    """How often that was so."""

    def __str__(self) -> str:
        promise = f"at most {self.max_error:.3g} wrong at confidence {self.confidence:.3g}"
        counted = ", ".join(f"{name} {sum(self.evidence[name])}" for name in self.evidence)
        ground = _GROUNDS[self.state].format(at=self.threshold, promise=promise)
        shown = f"{self.labels} labels drawn at random, {self.wrong} wrong"
        again = f"{self.sampling:.0%} (suspicion {self.suspicion:.2f} of 1)"
        lines = [
            f"{self.state}: {ground}",
            f"evidence: {shown}, so an error of at most {self.error_upper:.3f} ({counted})",
            f"asked again: {again}; times closed: {self.times_closed}",
        ]
        if self.needed is not None:
            lines.append(f"to show it: {self.needed} more correct labels, if none is wrong")
        return "\n".join(lines)


_GROUNDS: Final[Mapping[State, str]] = {
    "shadow": "nothing is served until there is evidence for {promise}",
    "shipped": "served from {at:.4g} on, no guarantee; not yet shown: {promise}",
    "calibrated": "served from {at:.4g} on, {promise}",
    "closed": "too many were wrong; nothing is served until there is new evidence for {promise}",
}


class Calibration:
    """What labels allow, one after the other; a function of them and their order alone.

    Only labels of calls drawn at random open (`shadow`, `review`), and they close as soon as they
    show too many wrong answers. Feedback is given by those who want to, on answers that were
    served: it does not open. Complaints have more calls asked again; they close by themselves only
    where no call is, or no judge answers.

    Not safe for threads: guard it with a lock.

    Example:
        >>> bound = Bound(max_error=0.05, shipped_threshold=0.9, floor=0.9)
        >>> calibration = Calibration(bound)
        >>> calibration.standing().state, calibration.standing().needed
        ('shadow', 78)
        >>> for ts in range(78):
        ...     calibration.add(Label(0.93, correct=True, source="shadow", by=None, ts=ts))
        >>> calibration.standing().state, calibration.standing().threshold
        ('calibrated', 0.93)
    """

    def __init__(self, bound: Bound) -> None:
        self._bound = bound
        self._thresholds, self._shares = _grid(bound)
        self._closed_at: float | None = None
        self._times_closed = 0
        self._known: Standing | None = None
        self._threshold: float | None = None
        self._start_over()
        if bound.start == "shipped" and bound.shipped_threshold <= 1:
            self._threshold = bound.shipped_threshold

    def add(self, label: Label) -> None:
        """Take in the next label; one below the floor says nothing."""
        if label.score < self._bound.floor:
            return
        is_served = self._threshold is not None and label.score >= self._threshold
        if label.is_sampled:
            self._add_sampled(label, is_served=is_served)
        elif is_served:
            self._add_feedback(label)
        self._known = None

    def standing(self) -> Standing:
        """What the labels so far allow."""
        if self._known is None:
            self._known = self._stand()
        return self._known

    @property
    def threshold(self) -> float | None:
        """The score from which answers are served; `None`: none are."""
        return self._threshold

    @property
    def suspicion(self) -> float:
        """Evidence of too many wrong answers, 0 to 1."""
        return max(self._drift.level, self._complaints.level)

    @property
    def sampling(self) -> float:
        """Share of the calls with a candidate to ask again, whatever its score: a fair sample."""
        usual = self._bound.sampling
        if self._threshold is None:
            return 1.0
        if not usual:
            return 0.0
        judged = min(2 * self._drift.level, 1.0) * max(_IF_JUDGED_WRONG - usual, 0.0)
        said = min(2 * self._complaints.level, 1.0) * max(_IF_CALLED_WRONG - usual, 0.0)
        return usual + max(judged, said)

    def _start_over(self) -> None:
        """Forget what was shown: nothing is served, and new evidence begins."""
        bound = self._bound
        self._openings = Openings(
            self._thresholds,
            self._shares,
            max_error=bound.max_error,
            confidence=bound.confidence,
        )
        self._drift, self._complaints = Drift(bound.max_error), Complaints(bound.max_error)
        self._votes = Votes(bound.max_error)
        self._counts = np.zeros((len(_SOURCES), 2, len(self._thresholds)), dtype=int)
        self._threshold = None
        self._scores: list[float] = []
        self._is_shown = False
        self._since_sampled = 0

    def _add_sampled(self, label: Label, *, is_served: bool) -> None:
        if not self._votes.admits(label.by):
            return
        self._openings.add(self._count(label), correct=label.correct)
        if is_served:
            self._since_sampled = 0
            # For every call drawn at this share, so many others were served.
            share = max(self.sampling, 0.01)
            self._complaints.served((1 - share) / share)
            self._drift.add(correct=label.correct)
            if self._drift.level >= 1:
                self._close(label.ts)
                return
        if label.correct:
            insort(self._scores, label.score)
        proven = self._proven_and_seen
        if proven is not None and (self._threshold is None or proven <= self._threshold):
            self._threshold, self._is_shown = proven, True

    def _add_feedback(self, label: Label) -> None:
        if not self._complaints.add(correct=label.correct, by=label.by):
            return
        self._count(label)
        self._since_sampled += 1
        if self._since_sampled >= _ALONE and self._complaints.level >= 1:
            self._close(label.ts)

    @property
    def _proven_and_seen(self) -> float | None:
        """The lowest proven threshold, or the score below which too little was seen."""
        proven = self._openings.lowest
        if proven is None:
            return None
        enough = bisect_left(self._scores, proven) + _SEEN - 1
        return max(proven, min(self._scores[min(enough, len(self._scores) - 1)], 1.0))

    def _count(self, label: Label) -> int:
        """Count it; the position of the strictest threshold that its score reaches."""
        strictest = bisect_left(self._thresholds, -label.score, key=neg)
        self._counts[_SOURCES.index(label.source), int(not label.correct), strictest:] += 1
        return strictest

    def _close(self, ts: float) -> None:
        self._start_over()
        self._closed_at = ts
        self._times_closed += 1

    def _stand(self) -> Standing:
        bound, state = self._bound, self._state
        shown_at = bound.shipped_threshold if self._threshold is None else self._threshold
        reached = bisect_left(self._thresholds, -min(shown_at, 1.0), key=neg)
        counts = self._counts[:, :, reached].tolist()
        pairs = zip(_SOURCES, counts, strict=True)
        evidence: dict[Source, tuple[int, int]] = {each: (good, bad) for each, (good, bad) in pairs}
        drawn = [evidence["shadow"], evidence["review"]]
        labels, wrong = sum(map(sum, drawn)), sum(bad for _, bad in drawn)
        return Standing(
            state=state,
            threshold=self._threshold,
            max_error=bound.max_error,
            confidence=bound.confidence,
            labels=labels,
            wrong=wrong,
            error_upper=upper_bound(wrong, labels, bound.confidence),
            evidence=MappingProxyType(evidence),
            sampling=self.sampling,
            suspicion=self.suspicion,
            needed=None if state == "calibrated" else self._openings.needed(),
            closed_at=self._closed_at,
            times_closed=self._times_closed,
        )

    @property
    def _state(self) -> State:
        if self._threshold is not None:
            return "calibrated" if self._is_shown else "shipped"
        return "closed" if self._times_closed else "shadow"


def switched_off() -> Standing:
    """What a tier that is switched off stands at: nothing is served."""
    bound = Bound(max_error=0.5, shipped_threshold=1.0, floor=1.0, sampling=0.0)
    return Calibration(bound).standing()


def decides_to_ask(call: str | bytes, share: float) -> bool:
    """Return whether a call is among the share that is asked again.

    The same call always falls the same way, calls fall independently of each other, and whoever is
    asked at one share is asked at every larger one.

    Args:
        call: Names the call, such as its run id. Not the question: all its calls would fall alike,
            and would no longer be a fair sample.
        share: 0 to 1.

    Example:
        >>> decides_to_ask("run-1", 0.0), decides_to_ask("run-1", 1.0)
        (False, True)
    """
    name = call.encode() if isinstance(call, str) else call
    drawn = int.from_bytes(blake2b(name, digest_size=8).digest(), "big")
    return drawn < share * 2**64


def _grid(bound: Bound) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The thresholds to test, from strict to low, and what share of the risk each may spend."""
    shipped = min(bound.shipped_threshold, 1.0)
    near, far = 1 - shipped, 1 - bound.floor
    steps = (near + (far - near) * (step / _STEPS) ** 2 for step in range(1, _STEPS))
    lower = [*(1 - each for each in steps), bound.floor] if near < far else []
    if bound.shipped_threshold > 1:
        thresholds = (shipped, *lower)
        return thresholds, (1 / len(thresholds),) * len(thresholds)
    stricter = sorted({1.0, 1 - near / 4, 1 - near / 2} - {shipped}, reverse=True)
    first = _ON_THE_CHAIN if stricter else 1.0
    rest = ((1 - first) / len(stricter) for _ in stricter)
    return (*stricter, shipped, *lower), (*rest, first, *(0.0 for _ in lower))

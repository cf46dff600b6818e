"""Evidence of one embedder and verifier, and what it allows: the same in every process."""

import threading
from functools import partial
from typing import Literal

import orjson

from llmops_langchain.cache.calibration import Bound, Calibration, Label, Standing
from llmops_langchain.cache.call import Call
from llmops_langchain.cache.evidence_rows import Evidence, Found, Judged
from llmops_langchain.cache.match import Candidate

__all__ = ["EvidenceBook", "take_in"]

_MOST_REFUTED = 10_000
"""Wrong answers that are remembered, so that none is served to the same call again."""

_LOOKS_BETWEEN_SWEEPS = 1_800
"""Old rows are let go about once an hour."""


class EvidenceBook:
    """Keeps labels and says what they allow; several processes over the same rows agree.

    Args:
        rows: Where the evidence is kept.
        pool: What the evidence is about: labels of another embedder or verifier say nothing here.
        bound: The promise.
    """

    def __init__(self, rows: Evidence, pool: str, bound: Bound) -> None:
        self._rows, self._pool, self._bound = rows, pool, bound
        self._lock = threading.Lock()
        self._looks = self._cursor = 0
        self._start_over()
        self.read()

    @property
    def standing(self) -> Standing:
        """What the evidence read so far allows."""
        return self._standing

    @property
    def would_serve_from(self) -> float:
        """The score from which an answer is, or would be, served."""
        threshold = self._standing.threshold
        return self._bound.shipped_threshold if threshold is None else threshold

    def is_refuted(self, call_key: bytes, matched: bytes) -> bool:
        """Whether this answer was found to be wrong for this very call."""
        return (call_key, matched) in self._refuted

    def note(
        self,
        call: Call,
        found: Candidate,
        *,
        kind: Literal["served", "shadow"],
        now: float,
    ) -> None:
        """Note that an answer was served, or could have been, so that it can be judged."""
        self._rows.note(
            Found(
                run_id=call.asking.run_id,
                pool=self._pool,
                call_key=call.key,
                matched=found.key,
                score=found.score,
                cosine=found.cosine,
                kind=kind,
                workspace=orjson.loads(call.parts.scope)[1],
                ts=now,
            )
        )

    def judged(self, run_id: str, *, correct: bool, now: float) -> None:
        """Take in what the judge of a shadow call says."""
        self._rows.judge(run_id, correct=correct, source="shadow", by=None, now=now)
        self.read()

    def read(self) -> None:
        """Take in the labels that were given since, here or in other processes."""
        with self._lock:
            rows, self._cursor = self._rows.labels(self._pool, self._cursor)
            if any(row.run_id in self._known for row in rows):
                # Somebody changed his mind: the order of the others is what it was.
                self._start_over()
                rows, self._cursor = self._rows.labels(self._pool, 0)
            for row in rows:
                self._take(row)
            self._standing = self._calibration.standing()

    def look_after(self, *, now: float) -> None:
        """Now and then let old rows go."""
        self._looks += 1
        if self._looks % _LOOKS_BETWEEN_SWEEPS == 0:
            self._rows.prune(now=now)

    def _start_over(self) -> None:
        self._calibration = Calibration(self._bound)
        self._cursor = 0
        self._known: set[str] = set()
        self._refuted = set(self._rows.refuted(_MOST_REFUTED))

    def _take(self, row: Judged) -> None:
        self._known.add(row.run_id)
        self._calibration.add(Label(row.score, row.correct, row.source, row.by, row.ts))
        change = self._refuted.discard if row.correct else self._refuted.add
        change((row.call_key, row.matched))


def take_in(rows: Evidence, run_id: str, *, correct: bool, by: str | None, now: float) -> bool:
    """Take in what somebody says of an answer; whether the run is known."""
    judge = partial(rows.judge, run_id, correct=correct, by=by, now=now)
    row = judge(source="feedback")
    if row is not None and row.kind == "shadow":  # drawn at random: as good as a judge's word
        judge(source="review")
    return row is not None

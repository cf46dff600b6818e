"""What a lookup by meaning found."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from langchain_core.messages import BaseMessage

from llmops_langchain.cache.store import Entry

if TYPE_CHECKING:
    from llmops_langchain.cache.calibration import Standing

__all__ = ["Candidate", "Match", "run_id_of"]

_RUN_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""As it stands in the id that core gives a message: `lc_run--…-0`."""


class Candidate(NamedTuple):
    """A known question that may mean the same."""

    key: bytes
    """Of the answer it was given."""
    question: str
    score: float
    """The verifier's probability, 0 to 1, that its answer serves here."""
    cosine: float
    reasons: tuple[str, ...]
    """What speaks against it, in fixed words."""


class Match(NamedTuple):
    """A kept answer to a question that means the same, as far as the verifier can tell."""

    run_id: str
    entry: Entry
    candidate: Candidate
    standing: "Standing"
    is_served: bool
    """Whether it answers the call; else the model is asked."""
    is_sampled: bool
    """Whether it is to be compared with what the model says."""

    @property
    def mark(self) -> Mapping[str, Any]:
        """What a hit tells of how it was found."""
        found, standing = self.candidate, self.standing
        return {
            "tier": "semantic",
            "score": round(found.score, 4),
            "cosine": round(found.cosine, 4),
            "verdict": list(found.reasons),
            "matched_question": found.question,
            "calibration": standing.state,
            "max_error": standing.max_error,
            "run_id": self.run_id,
        }


def run_id_of(run: UUID | str | BaseMessage) -> str:
    """The run id as text: its own, that of the mark of a hit, or that in core's id of a message."""
    if not isinstance(run, BaseMessage):
        return str(run)
    mark = run.response_metadata.get("llmops_cache") or {}
    found = _RUN_ID.search(run.id or "")
    return str(mark.get("run_id") or (found[0] if found else ""))

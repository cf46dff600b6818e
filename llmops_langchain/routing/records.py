"""What is kept of a routed call: the decision, who answered, how good that was; never its text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import orjson

from llmops_langchain.ledger import Scope
from llmops_langchain.routing.seen import Seen

__all__ = ["WEIGHTS", "Outcome", "Record", "Source"]

Source = Literal["feedback", "data", "verifier", "validation", "retry"]
"""Who says how good an answer was."""

WEIGHTS: Mapping[Source, float] = {
    "feedback": 1.0,
    "data": 1.0,
    "verifier": 0.5,
    "validation": 0.3,
    "retry": 0.2,
}
"""How much that counts; what counts more takes the place of what counts less."""


@dataclass(slots=True, kw_only=True)
class Record:
    """A decision and what became of it."""

    id: UUID
    """Of the router's run."""
    ts: float
    """When it was decided, UTC seconds since the Unix epoch."""
    choice: str
    """Who was asked first."""
    propensity: float
    """How likely that was, 0 to 1."""
    body: bytes
    """`Decision.to_dict` as JSON: thousands of them are kept in memory."""
    seen: Seen | None
    """The prompt; `None` if it could not be embedded."""
    input_tokens: int
    """As the first choice counts them."""
    embedder: str | None = None
    """Whose vector of the prompt it is, where it was read back."""
    scope: Scope = field(default_factory=Scope)
    answered_by: str | None = None
    cost: int | None = None
    """Nano-dollars of all its attempts that answered; `None` if no price is known."""
    latency: float | None = None
    """Seconds of the attempt that answered."""

    @property
    def about(self) -> dict[str, Any]:
        """`Decision.to_dict`."""
        told: dict[str, Any] = orjson.loads(self.body)
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How good one model's answer to one prompt was."""

    decision_id: UUID
    choice: str
    score: float
    """0 to 1."""
    source: Source
    ts: float
    seen: Seen
    input_tokens: int = 0
    propensity: float = 1.0
    """How likely it was that this model was asked."""
    weight: float = 1.0
    scope: Scope = field(default_factory=Scope)

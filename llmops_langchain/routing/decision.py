"""What a router decided, and why: records that explain themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Literal, Self
from uuid import UUID

from llmops_langchain.models import dollars
from llmops_langchain.routing.choice import ModelChoice
from llmops_langchain.storage.types import new_id

__all__ = ["Decision", "Exclusion", "Prediction", "Why"]

Why = Literal[
    "tools",
    "structured_output",
    "images",
    "audio",
    "context",
    "provider",
    "region",
    "cooldown",
    "price",
    "latency",
    "budget",
    "override",
]
"""Why a model may not be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A choice that may not be asked, and why."""

    name: str
    why: Why
    told: str
    """The reason with its figures, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What is expected of one choice for one request."""

    name: str
    quality: float
    """How good its answer is likely to be, 0 to 1."""
    cost: int | None
    """Nano-dollars of the call; `None` if no price is known."""
    latency: float | None
    """Seconds, as seen of late; `None` if it was not asked yet."""
    trust: float
    """How much of `quality` was learnt from like requests, 0 to 1; the rest is the prior."""
    input_tokens: int
    output_tokens: int
    """Tokens of the answer that are expected."""

    @property
    def dollars(self) -> Decimal | None:
        """The cost in US dollars."""
        return None if self.cost is None else dollars(self.cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whom a router asks, in which order, and why."""

    choice: ModelChoice
    """Who is asked first."""
    ranked: tuple[ModelChoice, ...]
    """All that may be asked, in the order in which they are tried."""
    predicted: Mapping[str, Prediction]
    """What is expected of each of them, by name."""
    excluded: tuple[Exclusion, ...]
    """Who may not be asked."""
    reasons: tuple[str, ...]
    """Why it is this choice, in sentences."""
    complexity: float
    """How hard the request is, 0 to 1: given, or as it looks."""
    propensity: float = 1.0
    """How likely it was that this choice is the first; below 1 where the target explores."""
    terms: Mapping[str, Any] = field(default_factory=dict)
    """What the order depends on beside the predictions and the target."""
    id: UUID = field(default_factory=new_id)
    """Of the run it was made for, where there is one."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without a text of the request."""
        return {
            "id": str(self.id),
            "choice": self.choice.name,
            "ranked": [choice.name for choice in self.ranked],
            "predicted": {name: asdict(each) for name, each in self.predicted.items()},
            "excluded": [asdict(each) for each in self.excluded],
            "reasons": list(self.reasons),
            "complexity": self.complexity,
            "propensity": self.propensity,
            "terms": dict(self.terms),
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any], choices: Sequence[ModelChoice]) -> Self:
        """The decision that `to_dict` told of.

        Args:
            told: Its plain values.
            choices: The router's; one that is gone since is told by its name alone.
        """
        known = {choice.name: choice for choice in choices}
        ranked = tuple(known.get(name) or ModelChoice(name) for name in told["ranked"])
        predicted = {name: Prediction(**each) for name, each in told["predicted"].items()}
        return cls(
            choice=ranked[0],
            ranked=ranked,
            predicted=predicted,
            excluded=tuple(Exclusion(**each) for each in told["excluded"]),
            reasons=tuple(told["reasons"]),
            complexity=told["complexity"],
            propensity=told["propensity"],
            terms=told["terms"],
            id=UUID(told["id"]),
        )

"""What rules look at, and what they say."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from llmops_langchain.analytics.counterfactuals import CallRow, Offer, Replayed
from llmops_langchain.analytics.forecasting import RunOut
from llmops_langchain.analytics.insights import Insight, Saving, Severity
from llmops_langchain.analytics.reports import Distribution
from llmops_langchain.ledger import BudgetStatus
from llmops_langchain.ledger.rollups import DAY
from llmops_langchain.models import PriceBook, dollars

__all__ = ["Compared", "Facts", "InsightLimits", "Place", "Rule", "by_size", "insight_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InsightLimits:
    """From where on something is worth telling."""

    daily_cost: Decimal | None = None
    """US dollars a day that are too much, whatever they were before; `None`: no such limit."""
    quality: float = 0.7
    """Mean score that is too low, 0 to 1."""
    coverage: float = 0.6
    """Test coverage that is too low, 0 to 1."""
    success: float = 0.8
    """Share of tasks going well that is too low."""
    slower: float = 1.3
    """How many times as long tasks must take as before."""
    dearer: float = 1.5
    """How many times as much must be spent as before."""
    least_saving: Decimal = Decimal("0.05")
    """US dollars a day below which no saving is told."""


class Place(NamedTuple):
    """Where work was done; projects of two workspaces may have one name."""

    workspace: str
    project: str

    def __str__(self) -> str:
        named = f"project {self.project!r}" if self.project else "no project"
        return f"{named} of workspace {self.workspace!r}" if self.workspace else named


class Compared(NamedTuple):
    """One metric of one project in the last days and before."""

    recent: Distribution
    before: Distribution | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What rules look at."""

    now: float
    """UTC seconds since the Unix epoch."""
    days: float
    """How far back calls go."""
    about: Mapping[str, str]
    """The scope that was asked for."""
    daily: Sequence[float]
    """US dollars of each whole day, oldest first, from the first day with an event."""
    recent_days: int
    """How many of them are the last stretch."""
    by_model: Mapping[str, Decimal]
    """US dollars by model, of all days."""
    calls: Sequence[CallRow]
    """Paid calls, the latest ones if there are very many."""
    cache_hits: int
    """Calls that a cache answered."""
    metrics: Mapping[str, Mapping[Place, Compared]]
    """By name of the metric, then by place."""
    scores: Mapping[str, Distribution]
    """`quality.score` by model."""
    budgets: Sequence[tuple[BudgetStatus, RunOut]]
    """Budgets that will be spent before their period ends."""
    prices: PriceBook | None
    offers: Sequence[Offer] = ()
    """What the app could do otherwise with what it has."""
    limits: InsightLimits = field(default_factory=InsightLimits)

    @property
    def span(self) -> float:
        """Days that the calls stretch over, at least one."""
        if not self.calls:
            return 1.0
        return max(1.0, (self.now - min(each.ts for each in self.calls)) / DAY)

    def saving(self, replayed: Replayed) -> Saving:
        """A replay of the calls as dollars a day."""
        spent = sum(each.cost for each in self.calls)
        a_day, low, high = (dollars(round(each / self.span)) for each in replayed[:3])
        return Saving(
            a_day=a_day, low=low, high=high, share=replayed.saved / spent if spent else 0.0
        )


class Rule(NamedTuple):
    """Finds insights of one type in the facts."""

    type: str
    find: Callable[[Facts], Iterator[Insight]]


def insight_of(
    facts: Facts,
    kind: str,
    severity: Severity,
    *,
    title: str,
    description: str,
    recommendation: str,
    evidence: Mapping[str, object],
    about: Mapping[str, str],
    saving: Saving | None = None,
    harm: str = "",
) -> Insight:
    """An insight about something within the scope that was asked for."""
    scope = {**facts.about, **{name: value for name, value in about.items() if value}}
    return Insight(
        type=kind,
        severity=severity,
        title=title,
        description=description,
        recommendation=recommendation,
        evidence=evidence,
        about=scope,
        asked=facts.about,
        saving=saving,
        harm=harm,
    )


def by_size(size: float, steps: tuple[float, float, float]) -> Severity:
    """The severity: from which sizes on it is medium, high and critical."""
    medium, high, critical = steps
    if size >= critical:
        return "critical"
    return "high" if size >= high else "medium" if size >= medium else "low"

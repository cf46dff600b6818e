"""What an insight is, how bad it is, and when somebody is told of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

import orjson

from llmops_langchain.analytics.reports import Report

__all__ = ["SEVERITIES", "Insight", "InsightStatus", "Saving", "Severity", "State", "advanced"]

Severity = Literal["low", "medium", "high", "critical"]
"""How soon somebody should look."""

SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
"""From the least to the most."""

InsightStatus = Literal["new", "open", "resolved", "dismissed"]
"""`new` until it was found a second time, `open` as long as it is found."""

_DAY = 86_400.0
_AGAIN = 7 * _DAY
_GONE = 2 * _DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving(Report):
    """What would not have been spent, by the calls that were made; US dollars a day."""

    a_day: Decimal
    """As it comes out."""
    low: Decimal
    """With `high` the range in which it lies, by the calls that would be counted otherwise."""
    high: Decimal
    share: float
    """Of all that was spent in that time, 0 to 1."""

    def __str__(self) -> str:
        return (
            f"Could save ${self.a_day:.2f}/day ({self.share:.0%} reduction), "
            f"between ${self.low:.2f} and ${self.high:.2f}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight(Report):
    """Something in the events that somebody should know, and what to do about it."""

    type: str
    """Which rule found it: `slow_tasks`, `high_cost`, `cheaper_model`, `not_routed`,
    `cache_unused`, `low_quality`, `low_coverage`, `low_success`, `anomaly`, `budget_run_out`."""
    severity: Severity
    """How soon somebody should look."""
    title: str
    """In a few words."""
    description: str
    """What was found."""
    recommendation: str
    """What to do."""
    evidence: Mapping[str, Any]
    """The figures it was found by."""
    about: Mapping[str, str]
    """Workspace, user, project, agent or model that it is about; empty for all."""
    asked: Mapping[str, str] = field(default_factory=dict)
    """Workspace and user whose insights were asked for."""
    saving: Saving | None = None
    """What it would save, where that is money."""
    harm: str = ""
    """What it costs, where that is not money."""
    status: InsightStatus = "new"
    """Where it is in its life."""
    first_seen: float = 0.0
    """UTC seconds since the Unix epoch."""

    @property
    def impact(self) -> str:
        """What acting on it would bring."""
        return str(self.saving) if self.saving is not None else self.harm

    @property
    def fingerprint(self) -> str:
        """The same for the same thing found again for the same scope."""
        named = sorted(self.about.items()), sorted(self.asked.items())
        said = orjson.dumps((self.type, *named))
        return hashlib.sha256(said).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is remembered of an insight."""

    status: InsightStatus
    severity: Severity
    first_seen: float
    last_seen: float
    notified_at: float | None = None


def advanced(known: State | None, found: Severity | None, now: float) -> tuple[State | None, bool]:
    """The state after a look, and whether somebody is to be told.

    One that is new, that came back or got worse is told at once, and one that stays once a week;
    one that somebody dismissed only when it gets worse. What was not found for two days is
    resolved.

    Args:
        known: The state before; `None` if it was never found.
        found: Its severity; `None` if it was not found this time.
        now: UTC seconds since the Unix epoch.
    """
    if known is None:
        if found is None:
            return None, False
        return State(
            status="new", severity=found, first_seen=now, last_seen=now, notified_at=now
        ), True
    if found is None:
        is_gone = known.status in ("new", "open") and now - known.last_seen >= _GONE
        return (replace(known, status="resolved") if is_gone else known), False
    worse = SEVERITIES.index(found) > SEVERITIES.index(known.severity)
    came_back = known.status == "resolved"
    is_quiet = known.status == "dismissed" and not worse
    is_due = known.notified_at is None or now - known.notified_at >= _AGAIN
    told = worse or came_back or (is_due and not is_quiet)
    status: InsightStatus = "dismissed" if is_quiet else "new" if came_back else "open"
    return State(
        status=status,
        severity=found,
        first_seen=now if came_back else known.first_seen,
        last_seen=now,
        notified_at=now if told else known.notified_at,
    ), told

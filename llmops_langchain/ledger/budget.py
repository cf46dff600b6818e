"""What a budget is, when its periods begin, and how far it has been used; values only."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal, cast, get_args

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.models import dollars, nano_dollars

__all__ = [
    "THRESHOLDS",
    "Budget",
    "BudgetAlert",
    "BudgetStatus",
    "Period",
    "period_end",
    "period_start",
]

Period = Literal["day", "week", "month", "total"]
"""How long a budget lasts before it starts anew: UTC days, weeks from Monday, months, or once."""

THRESHOLDS = (0.5, 0.75, 0.9, 1.0)
"""Shares of a budget that are told, each once in a period."""

_DAY = 86_400.0
_MONDAY = 4 * _DAY  # 5 January 1970
_MOST = 2**62  # nano-dollars: sums of two still fit into 64 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent in a period by the calls of one scope.

    It counts every recorded call whose scope has all that is named here; with nothing named, every
    call of the database. A call that several budgets count must fit into each.

    Raises:
        ConfigurationError: If the limit is no amount of money, or the period unknown.

    Example:
        >>> Budget(project="checkout", limit="20", period="month").limit
        Decimal('20')
    """

    limit: Decimal | float | str
    """US dollars; kept as a `Decimal`. 0 lets nothing through."""
    workspace: str | None = None
    """The tenant."""
    project: str | None = None
    """A project; of every workspace, unless one is named too."""
    user: str | None = None
    """On whose behalf."""
    agent: str | None = None
    """An agent, or a path of graph nodes such as `team/writer`."""
    period: Period = "month"
    """When spending starts anew."""
    hard: bool = True
    """Guarded calls that would pass it are refused; a soft one only counts and tells."""
    strict: bool = False
    """What a call may answer is capped, so that it cannot cost more than was set aside for it."""

    def __post_init__(self) -> None:
        amount = nano_dollars(self.limit)
        if not 0 <= amount < _MOST or (not amount and Decimal(str(self.limit))):
            msg = f"`limit` is in US dollars, not negative and below 4 billion, got {self.limit!r}"
            raise ConfigurationError(msg)
        if self.period not in get_args(Period):
            msg = f"`period` is one of {', '.join(get_args(Period))}, got {self.period!r}"
            raise ConfigurationError(msg)
        for name in ("workspace", "project", "user", "agent"):
            given = getattr(self, name)
            if given is not None and (not isinstance(given, str) or not _is_name(given)):
                msg = f"`{name}` is a text, or `None` for all of them, got {given!r}"
                raise ConfigurationError(msg)
        for name in ("hard", "strict"):
            if not isinstance(getattr(self, name), bool):
                msg = f"`{name}` is `True` or `False`, got {getattr(self, name)!r}"
                raise ConfigurationError(msg)
        object.__setattr__(self, "limit", _plain(dollars(amount)))

    @property
    def amount(self) -> int:
        """The limit in nano-dollars."""
        return nano_dollars(self.limit)

    @property
    def scope(self) -> tuple[str | None, str | None, str | None, str | None]:
        """Workspace, project, user and agent."""
        return self.workspace, self.project, self.user, self.agent

    @property
    def name(self) -> str:
        """Whose it is, in words."""
        words = zip(("workspace", "project", "user", "agent"), self.scope, strict=True)
        return ", ".join(f"{word} {value!r}" for word, value in words if value) or "everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStatus:
    """A budget in its present period; amounts are US dollars."""

    budget: Budget
    """What was set."""
    spent: Decimal
    """What the recorded calls of the period cost."""
    reserved: Decimal
    """What calls under way, and slices of processes, may still spend."""
    period_start: float
    """When the period began, UTC seconds since the Unix epoch."""
    resets_at: float | None
    """When the next one begins; `None` for a `total`."""

    @property
    def limit(self) -> Decimal:
        """What may be spent in the period."""
        return cast("Decimal", self.budget.limit)

    @property
    def remaining(self) -> Decimal:
        """What a new call may still use; never below zero."""
        return max(Decimal(0), self.limit - self.spent - self.reserved)

    @property
    def share(self) -> float:
        """The part that is spent, 0 to 1 and above; 1 for a limit of nothing."""
        return float(self.spent / self.limit) if self.limit else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetAlert:
    """A share of a budget that was reached in a period; told once."""

    budget: Budget
    """Which one."""
    threshold: float
    """The share that was reached: 0.5, 0.75, 0.9 or 1."""
    spent: Decimal
    """US dollars spent by then."""
    period_start: float
    """UTC seconds since the Unix epoch."""
    ts: float
    """When it was reached, likewise."""


def _is_name(given: str) -> bool:
    return bool(given.strip()) and given.isprintable()


def period_start(period: Period, moment: float) -> float:
    """When the period that `moment` lies in began; UTC seconds since the Unix epoch."""
    if period == "total":
        return 0.0
    if period == "day":
        return moment - moment % _DAY
    if period == "week":
        return moment - (moment - _MONDAY) % (7 * _DAY)
    first = datetime.fromtimestamp(moment, UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    return first.timestamp()


def period_end(period: Period, start: float) -> float | None:
    """When the period that began at `start` ends; `None` if it never does."""
    if period == "total":
        return None
    if period == "month":
        return period_start("month", start + timedelta(days=31).total_seconds())
    return start + (_DAY if period == "day" else 7 * _DAY)


def _plain(amount: Decimal) -> Decimal:
    """The amount as people write it: `20`, not `2E+1`."""
    whole = amount.to_integral_value()
    return whole.quantize(Decimal(1)) if amount == whole else amount.normalize()

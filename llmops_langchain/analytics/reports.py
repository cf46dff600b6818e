"""What was used, how it went and what it was worth, as records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from llmops_langchain.analytics.reading import Sums
from llmops_langchain.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = [
    "Cost",
    "CostReport",
    "Distribution",
    "MetricReport",
    "PerformanceReport",
    "QualityReport",
    "Report",
]


class Report:
    """What every report can do."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: money as strings, moments as seconds since the Unix epoch."""
        return {name: _plain(value) for name, value in _said(self).items()}

    def __rich__(self) -> "RenderableType":
        from llmops_langchain.analytics.rendering import rendered

        return rendered(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost(Report):
    """What some calls used and cost."""

    calls: int
    """Model calls, cache hits and errors included."""
    cache_hits: int
    """Calls that a cache answered; they use no tokens and cost nothing."""
    refused_calls: int
    """Guarded calls that were refused before the model was asked, not in `calls`."""
    embedding_calls: int
    """Calls of embedders, not in `calls`; their tokens and dollars are in the sums."""
    abandoned_calls: int
    """Guarded calls nobody heard of again, in `total` with their estimate."""
    errors: int
    """Calls that failed or were broken off."""
    input_tokens: int
    """Tokens sent and billed."""
    output_tokens: int
    """Tokens received and billed."""
    cached_tokens: int
    """Part of `input_tokens` that the provider had in its prompt cache."""
    trimmed_tokens: int
    """Tokens that cuts removed from what would have been sent."""
    total: Decimal
    """US dollars spent."""
    saved_by_cache: Decimal
    """US dollars that cache hits would have cost."""
    saved_by_trimming: Decimal
    """US dollars that the removed tokens would have cost as plain input."""
    estimated_calls: int
    """Calls whose tokens were counted here, because the provider sent none."""
    unpriced_calls: int
    """Calls of models without a known price: `total` and `saved` are too low by them."""
    latency: float
    """Seconds spent in calls, summed."""

    @property
    def saved(self) -> Decimal:
        """US dollars not spent, by cache and trimming; `router.savings()` tells a router's."""
        return self.saved_by_cache + self.saved_by_trimming

    @property
    def cache_hit_rate(self) -> float | None:
        """Share of the calls that a cache answered, 0 to 1; `None` without calls."""
        return self.cache_hits / self.calls if self.calls else None

    @property
    def per_1k_tokens(self) -> Decimal | None:
        """US dollars for 1,000 tokens, in and out together; `None` without tokens."""
        tokens = self.input_tokens + self.output_tokens
        return 1000 * self.total / tokens if tokens else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostReport(Cost):
    """Sums over the model calls and cuts of a scope and a stretch of time."""

    since: float
    """Start of the stretch, UTC seconds since the Unix epoch: the beginning of an hour, or of a day
    where hours are no longer kept."""
    until: float
    """Its end, likewise, exclusive."""
    by_model: Mapping[str, Cost]
    """The same for each model."""
    groups: Mapping[str, Cost] = field(default_factory=dict)
    """The same for each value of `group_by`; what has none is under `""`."""
    others: Cost | None = None
    """What the groups beyond `top` add up to; `None` if all are told."""
    series: Mapping[float, Cost] = field(default_factory=dict)
    """The same by the beginning of each bucket in which there were events."""
    before: Cost | None = None
    """The same of the stretch before, with `compare=True`."""
    trend: float | None = None
    """US dollars a day by which spending grew each day: least squares over the whole buckets from
    the first with a call on; `None` below three."""

    @property
    def daily_average(self) -> Decimal:
        """US dollars in 24 hours."""
        return self.total * 86_400 / Decimal(max(self.until - self.since, 1.0))

    @property
    def change(self) -> float | None:
        """How much more was spent than in the stretch before: 0.5 is half as much again."""
        if self.before is None or not self.before.total:
            return None
        return float(self.total / self.before.total) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution(Report):
    """Values of one metric."""

    count: int
    """How many there are."""
    total: float
    """Their sum, in their unit."""
    mean: float | None
    """Their average; `None`, here and below, without values."""
    minimum: float | None
    """The smallest."""
    maximum: float | None
    """The largest."""
    _sums: Sums = field(repr=False, compare=False, default_factory=Sums)

    def percentile(self, share: float) -> float | None:
        """The value that so large a share of all do not exceed (`percentile_disc`), within 1 %.

        Args:
            share: 0 to 1: 0.95 is the 95th percentile.

        Raises:
            ConfigurationError: If it is not between 0 and 1.
        """
        if not 0 <= share <= 1:
            msg = f"a percentile is asked for as a share from 0 to 1, got {share!r}: 0.95 for p95"
            raise ConfigurationError(msg)
        return self._sums.quantile(share)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricReport(Distribution):
    """One metric over a scope and a stretch of time."""

    name: str
    """Which."""
    since: float
    """Start of the stretch, UTC seconds since the Unix epoch."""
    until: float
    """Its end, exclusive."""
    groups: Mapping[str, Distribution] = field(default_factory=dict)
    """The same for each value of `group_by`; what has none is under `""`."""
    series: Mapping[float, Distribution] = field(default_factory=dict)
    """The same by the beginning of each bucket in which there were values."""
    before: Distribution | None = None
    """The same of the stretch before, with `compare=True`."""
    trend: float | None = None
    """How much the mean of a day grows by the day, by least squares; `None` below three days."""

    @property
    def change(self) -> float | None:
        """How much the mean has grown against the stretch before: 0.5 is half as much again."""
        if self.before is None or not self.before.mean or self.mean is None:
            return None
        return self.mean / self.before.mean - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceReport(Report):
    """How long tasks, agents and calls took, and how often they went well."""

    since: float
    """Start of the stretch, UTC seconds since the Unix epoch."""
    until: float
    """Its end, exclusive."""
    metrics: Mapping[str, MetricReport]
    """By name: `task.completion_time`, `agent.response_time`, `task.success`, `llm.call`,
    `tool.call` and those that were asked for. Of calls it is the latency."""
    first_token: Distribution
    """Seconds to the first token of streamed calls."""
    errors: int
    """Model calls that failed or were broken off."""
    calls: int
    """Model calls, cache hits included."""

    @property
    def completion_time(self) -> MetricReport:
        """Seconds that tasks took."""
        return self.metrics["task.completion_time"]

    @property
    def response_time(self) -> MetricReport:
        """Seconds that agents took."""
        return self.metrics["agent.response_time"]

    @property
    def latency(self) -> MetricReport:
        """Seconds that model calls took, answers of a cache included."""
        return self.metrics["llm.call"]

    @property
    def tasks(self) -> int:
        """How many tasks told their end, by success or by time."""
        return max(self.metrics["task.success"].count, self.completion_time.count)

    @property
    def success_rate(self) -> float | None:
        """Share of the tasks that went well, 0 to 1; `None` if none told."""
        return self.metrics["task.success"].mean

    @property
    def success_trend(self) -> float | None:
        """By how much the share grows by the day; `None` below three days."""
        return self.metrics["task.success"].trend

    @property
    def error_rate(self) -> float | None:
        """Share of the model calls that failed, 0 to 1; `None` without calls."""
        return self.errors / self.calls if self.calls else None

    def percentile(self, share: float, *, metric: str = "task.completion_time") -> float | None:
        """A percentile of one metric, within 1 %; `None` without values.

        Args:
            share: 0 to 1: 0.95 is the 95th percentile.
            metric: One of `metrics`.

        Raises:
            ConfigurationError: If the report has no such metric, or `share` is out of range.
        """
        if metric not in self.metrics:
            msg = (
                f"this report has no metric {metric!r}, but {', '.join(sorted(self.metrics))}: "
                f"ask for performance(metrics=[{metric!r}]), or use metrics({metric!r})"
            )
            raise ConfigurationError(msg)
        return self.metrics[metric].percentile(share)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport(Report):
    """How good the work was."""

    since: float
    """Start of the stretch, UTC seconds since the Unix epoch."""
    until: float
    """Its end, exclusive."""
    scores: MetricReport
    """`quality.score`, 0 to 1 or as its unit says."""
    coverage: MetricReport
    """`test.coverage`, likewise."""

    @property
    def assessments(self) -> int:
        """How many scores there are."""
        return self.scores.count


def _said(report: Report) -> dict[str, Any]:
    """Fields, and what is worked out from them."""
    shown = [each.name for each in fields(cast("Any", report)) if not each.name.startswith("_")]
    worked_out = [
        name
        for kind in reversed(type(report).__mro__)
        for name, value in vars(kind).items()
        if isinstance(value, property)
    ]
    found = {name: getattr(report, name) for name in [*shown, *worked_out]}
    if isinstance(report, Distribution):
        found["percentiles"] = {
            f"p{share:g}": report.percentile(share / 100) for share in (50, 90, 95, 99)
        }
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Report):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {_key(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Decimal) else value


def _key(key: object) -> str:
    return f"{key:.0f}" if isinstance(key, float) else str(key)

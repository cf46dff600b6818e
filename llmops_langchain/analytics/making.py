"""Sums made into records."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from llmops_langchain.analytics.questions import Span, bucket_of
from llmops_langchain.analytics.reading import Answer, Sums
from llmops_langchain.analytics.reports import (
    Cost,
    CostReport,
    Distribution,
    MetricReport,
)
from llmops_langchain.ledger import ABANDONED, EMBEDDING, LLM_CALL, TRIM
from llmops_langchain.ledger.rollups import DAY
from llmops_langchain.models import dollars

__all__ = ["COSTS", "cost_report", "metric_report", "trend_of"]

COSTS = (LLM_CALL, EMBEDDING, ABANDONED, TRIM)
"""Names of events that cost or save."""

_ENOUGH = 3
"""Days from which on there is a trend."""

_BEYOND = {"hour": 1 / 24, "day": 1.5, "week": 7.5, "month": 31.5}
"""Days after the beginning of a bucket at which it is over, and the next one is not."""

_Named = Mapping[str, Sums]


def cost_report(
    answer: Answer, groups: Answer | None, before: Answer | None, span: Span
) -> CostReport:
    """What calls cost.

    Args:
        answer: By bucket and model.
        groups: By what the caller groups by.
        before: Of the stretch before.
        span: Until when.
    """
    by_bucket = _costs(answer, 1)
    series = {at: _cost(named) for at, named in sorted(by_bucket.items())}
    return CostReport(
        since=answer.since,
        until=span.until,
        **_figures(_whole(answer)),
        by_model=_groups(answer, nameless="unknown"),
        groups={} if groups is None else _groups(groups),
        others=None if groups is None else _others(answer, groups),
        series=series,
        before=None if before is None else _cost(_whole(before)),
        trend=trend_of(_paces(series, answer.since, span)),
    )


def metric_report(
    name: str, answer: Answer, groups: Answer | None, before: Answer | None, span: Span
) -> MetricReport:
    """One metric; arguments as for `cost_report`."""
    by_bucket = answer.by_bucket(name)
    means = {at: each.mean for at, each in by_bucket.items() if each.mean is not None}
    by_group = {} if groups is None else groups.by_group(name)
    return MetricReport(
        name=name,
        since=answer.since,
        until=span.until,
        **_measures(answer.total(name)),
        groups={key[0]: distribution(by_group[key]) for key in sorted(by_group)},
        series={at: distribution(each) for at, each in by_bucket.items()},
        before=None if before is None else distribution(before.total(name)),
        trend=trend_of(means),
    )


def distribution(sums: Sums) -> Distribution:
    """Values of one metric."""
    return Distribution(**_measures(sums))


def trend_of(by_bucket: Mapping[float, float]) -> float | None:
    """The slope of the least-squares line, a day; `None` below three buckets."""
    if len(by_bucket) < _ENOUGH:
        return None
    days = np.array(list(by_bucket)) / DAY
    values = np.array(list(by_bucket.values()))
    days -= days.mean()
    spread = float(days @ days)
    return float(days @ (values - values.mean())) / spread if spread else None


def _paces(series: Mapping[float, Cost], since: float, span: Span) -> dict[float, float]:
    """US dollars a day in each whole bucket from the first with a call on; none is a zero."""
    paces, at = dict[float, float](), min(series, default=span.until)
    while at < span.until:
        after = bucket_of(at + _BEYOND[span.bucket] * DAY, span.bucket, span.zone)
        if since <= at and after <= span.until:
            spent = float(series[at].total) if at in series else 0.0
            paces[at] = spent / (after - at) * DAY
        at = after
    return paces


def _measures(sums: Sums) -> dict[str, Any]:
    return {
        "count": sums.measured,
        "total": sums.total,
        "mean": sums.mean,
        "minimum": sums.least,
        "maximum": sums.most,
        "_sums": sums,
    }


def _groups(answer: Answer, nameless: str = "") -> dict[str, Cost]:
    by_group: dict[str, dict[str, Sums]] = {}
    for (group,), named in _costs(answer, 2).items():
        there = by_group.setdefault(group or nameless, {})
        for name, sums in named.items():
            there.setdefault(name, Sums()).add(sums)
    return {group: _cost(by_group[group]) for group in sorted(by_group)}


def _others(answer: Answer, groups: Answer) -> Cost | None:
    """What the groups that are not told add up to."""
    told, left = list(_costs(groups, 2).values()), dict[str, Sums]()
    for name, whole in _whole(answer).items():
        left[name] = whole.without(named[name] for named in told if name in named)
    return _cost(left) if any(each.events for each in left.values()) else None


def _whole(answer: Answer) -> dict[str, Sums]:
    return {name: answer.total(name) for name in COSTS}


def _costs(answer: Answer, at: int) -> dict[Any, dict[str, Sums]]:
    """Sums by bucket (1) or group (2), then by name."""
    found: dict[Any, dict[str, Sums]] = {}
    for key, sums in answer.cells.items():
        named = found.setdefault(key[at], {})
        named.setdefault(key[0], Sums()).add(sums)
    return found


def _cost(named: _Named) -> Cost:
    return Cost(**_figures(named))


def _figures(named: _Named) -> dict[str, Any]:
    nothing = Sums()
    calls, cut = named.get(LLM_CALL, nothing), named.get(TRIM, nothing)
    embedded, lost = named.get(EMBEDDING, nothing), named.get(ABANDONED, nothing)

    def summed(name: str, *of: Sums) -> int:
        return int(sum(getattr(each, name) for each in of or (calls, cut, embedded, lost)))

    return {
        "calls": calls.events - calls.refused,
        "cache_hits": calls.cache_hits,
        "refused_calls": calls.refused,
        "embedding_calls": embedded.events,
        "abandoned_calls": lost.events,
        "errors": summed("errors", calls, embedded),
        "input_tokens": summed("input_tokens"),
        "output_tokens": summed("output_tokens"),
        "cached_tokens": summed("cached_tokens"),
        "trimmed_tokens": summed("trimmed_tokens"),
        "total": dollars(summed("cost")),
        "saved_by_cache": dollars(calls.saved),
        "saved_by_trimming": dollars(cut.saved),
        "estimated_calls": summed("estimated", calls, embedded),
        "unpriced_calls": summed("unpriced", calls, embedded),
        "latency": calls.total + embedded.total,
    }

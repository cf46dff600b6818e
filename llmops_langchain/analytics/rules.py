"""What is worth telling: each rule looks at the same facts, and needs enough of them."""

from collections.abc import Iterator, Sequence
from functools import partial
from math import inf, sqrt
from typing import NamedTuple

from llmops_langchain.analytics.comparing import ENOUGH, error_of, is_as_good, ratio, spread
from llmops_langchain.analytics.counterfactuals import (
    CallRow,
    Replayed,
    other_model,
    repeated_calls,
)
from llmops_langchain.analytics.facts import Facts, Rule, by_size, insight_of
from llmops_langchain.analytics.forecasting import forecast
from llmops_langchain.analytics.insights import Insight
from llmops_langchain.ledger.rollups import DAY

__all__ = ["RULES"]

_SURE = 4.0
"""Standard errors by which two stretches must differ: by chance once in 30,000 looks."""

_ENOUGH_TASKS, _ENOUGH_CALLS = 30, 50
_TTL = 3_600.0
_SIMPLE_IN, _SIMPLE_OUT = 1_000, 200  # tokens
_WEEKS = 3
_OFTEN, _WORTH = 0.05, 0.1
"""Shares from which on repeated calls, and savings, are worth telling."""

_POINTS = 0.05
"""By how much a share must have fallen."""

_NO_SHARE, _PER_CENT = 1.5, 100.0
"""Values above this are per cent."""

_SOON = 3.0  # days
_MINUTES = 120.0  # seconds from which on times are told in minutes
_LEVEL = 0.999


class _Low(NamedTuple):
    """A share that should not be low."""

    type: str
    metric: str
    limit: str
    title: str
    advice: str


_LOWS = (
    _Low(
        "low_quality",
        "quality.score",
        "quality",
        "Low quality scores",
        "Look at the worst answers first; lessons of runs that went well (`ops.learning`) and a "
        "stronger model for these tasks help most",
    ),
    _Low(
        "low_coverage",
        "test.coverage",
        "coverage",
        "Low test coverage",
        "Let the agent write the missing tests before the next change, and refuse changes that "
        "lower it",
    ),
    _Low(
        "low_success",
        "task.success",
        "success",
        "Tasks fail",
        "Compare the runs that failed with those that did not: `ops.learning.suggest(…)`, and "
        "`performance(group_by='agent')`",
    ),
)


def _slow_tasks(facts: Facts) -> Iterator[Insight]:
    for place, (now, before) in facts.metrics["task.completion_time"].items():
        if before is None or min(now.count, before.count) < _ENOUGH_TASKS:
            continue
        times, sure = ratio(now, before)
        if times >= facts.limits.slower and sure >= _SURE:
            p95, had = now.percentile(0.95) or 0.0, before.percentile(0.95) or 0.0
            yield insight_of(
                facts,
                "slow_tasks",
                by_size(times, (1.6, 2.5, 4.0)),
                title="Tasks take longer",
                description=(
                    f"Tasks of {place} take {times:.1f} times as long as before: the "
                    f"middle one {_seconds(now.percentile(0.5))} after "
                    f"{_seconds(before.percentile(0.5))}, 95 % up to {_seconds(p95)} after "
                    f"{_seconds(had)}"
                ),
                recommendation=(
                    "Look which step grew: compare agents and models by "
                    "`performance(group_by=…)`, cut long histories with a context window, and "
                    "send simple steps to a faster model"
                ),
                evidence={
                    "tasks": now.count,
                    "tasks_before": before.count,
                    "times_as_long": round(times, 3),
                    "p50": now.percentile(0.5),
                    "p50_before": before.percentile(0.5),
                    "p95": p95,
                    "p95_before": had,
                },
                about=place._asdict(),
                harm=f"{_seconds((now.mean or 0.0) - (before.mean or 0.0))} more a task, "
                f"{now.count} tasks in {facts.recent_days} days",
            )


def _high_cost(facts: Facts) -> Iterator[Insight]:
    recent, before = facts.daily[-facts.recent_days :], facts.daily[: -facts.recent_days]
    if not recent:
        return
    now, limit = sum(recent) / len(recent), facts.limits.daily_cost
    evidence: dict[str, object] = {"daily_average": round(now, 6), "days": len(recent)}
    title, had = "High Daily Costs", None
    if len(before) >= 2 * len(recent) and sum(before) > 0:
        had = sum(before) / len(before)
        wide = spread(before) * sqrt(1 / len(recent) + 1 / len(before))
        is_more = now >= facts.limits.dearer * had and now - had >= _SURE * wide
        had = had if is_more and now - had >= float(facts.limits.least_saving) else None
    is_over = limit is not None and now > limit
    if had is None and not is_over:
        return
    said = f"Spending ${now:.2f} per day on average"
    if had is not None:
        evidence["daily_average_before"] = round(had, 6)
        said += f", {now / had:.1f} times the ${had:.2f} of the days before"
    if limit is not None and is_over:
        evidence["limit"] = float(limit)
        said += f", above the limit of ${limit:.2f}"
    dearest = max(facts.by_model, key=lambda name: facts.by_model[name], default="unknown")
    evidence["dearest_model"] = dearest
    repeated = facts.saving(repeated_calls(_TTL)(facts.calls))
    yield insight_of(
        facts,
        "high_cost",
        by_size(now / (had or float(limit or now)), (2.0, 3.0, 6.0)),
        title=title,
        description=said,
        recommendation=(
            "Enable caching and use cheaper models for simple tasks: `ops.wrap` and `ops.router`; "
            f"set a budget where it must not grow on. Most of it goes to {dearest}"
        ),
        evidence=evidence,
        about={},
        saving=repeated if repeated.a_day >= facts.limits.least_saving else None,
        harm=f"${now - (had or float(limit or 0)):.2f} more a day",
    )


def _cache_unused(facts: Facts) -> Iterator[Insight]:
    replayed = repeated_calls(_TTL)(facts.calls)
    saving = facts.saving(replayed)
    if replayed.calls < ENOUGH or saving.a_day < facts.limits.least_saving:
        return
    share = replayed.calls / max(1, len(facts.calls))
    if share < _OFTEN:
        return
    yield insight_of(
        facts,
        "cache_unused",
        by_size(saving.share, (0.1, 0.3, 0.6)),
        title="Equal prompts are paid for again",
        description=(
            f"{replayed.calls} of {len(facts.calls)} paid calls asked what was asked within the "
            f"hour before, with the same parameters; {facts.cache_hits} calls were answered by a "
            "cache"
        ),
        recommendation="Put the cache in front: `set_llm_cache(ops.cache)`, or `ops.cached(model)`",
        evidence={
            "calls": len(facts.calls),
            "repeated": replayed.calls,
            "cache_hits": facts.cache_hits,
            "ttl": _TTL,
        },
        about={},
        saving=saving,
    )


def _cheaper_model(facts: Facts) -> Iterator[Insight]:
    """One whose answers were judged as good; without judgements, one for short calls."""
    if facts.prices is None:
        return
    for model in sorted(facts.by_model):
        mine = [each for each in facts.calls if each.model == model and not each.routed]
        if len(mine) < _ENOUGH_CALLS:
            continue
        best = max(_alternatives(facts, model, mine), key=lambda each: each[1].saved, default=None)
        if best is None:
            continue
        other, replayed, why, is_judged = best
        saving = facts.saving(replayed)
        if saving.a_day < facts.limits.least_saving or saving.share < _WORTH:
            continue
        yield insight_of(
            facts,
            "cheaper_model",
            by_size(saving.share, (0.3, 0.5, 0.9)) if is_judged else "low",
            title="A cheaper model would do",
            description=f"{replayed.calls} calls of {model} would cost less with {other}: {why}",
            recommendation=(
                f"Let `ops.router({other!r}, {model!r})` choose, which learns where the answers of "
                "the cheaper one are good enough"
            ),
            evidence={
                "model": model,
                "other": other,
                "calls": replayed.calls,
                "judged": is_judged,
            },
            about={"model": model},
            saving=saving,
        )


def _alternatives(
    facts: Facts, model: str, mine: Sequence[CallRow]
) -> Iterator[tuple[str, Replayed, str, bool]]:
    served = {each.model: each.provider for each in facts.calls if each.model not in (None, model)}
    had = facts.scores.get(model)
    short = [
        each
        for each in mine
        if each.input_tokens <= _SIMPLE_IN and 0 < each.output_tokens <= _SIMPLE_OUT
    ]
    for other, provider in served.items():
        if other is None or facts.prices is None:
            continue
        replay = other_model(facts.prices, other, provider)
        scores = facts.scores.get(other)
        if had is not None and scores is not None:
            if is_as_good(scores, had):
                why = f"its answers were scored {scores.mean:.2f}, those of {model} {had.mean:.2f}"
                yield other, replay(mine), why, True
        elif len(short) >= _ENOUGH_CALLS:
            found = replay(short)
            if found.saved > 0.5 * sum(each.cost for each in short):
                why = f"they are short ({_SIMPLE_IN} tokens in and {_SIMPLE_OUT} out at most)"
                yield other, found, why, False


def _not_routed(facts: Facts) -> Iterator[Insight]:
    """Calls of a model for which the app has a router that knows better."""
    for offer in facts.offers:
        replayed = offer.replay(facts.calls)
        saving = facts.saving(replayed)
        if saving.a_day < facts.limits.least_saving or saving.share < _WORTH:
            continue
        yield insight_of(
            facts,
            "not_routed",
            by_size(saving.share, (0.3, 0.5, 0.9)),
            title="A router is there, and not asked",
            description=f"{replayed.calls} calls went to {offer.model} directly: {offer.why}",
            recommendation="Put the router where these calls use the model itself",
            evidence={"model": offer.model, "calls": replayed.calls},
            about={"model": offer.model},
            saving=saving,
        )


def _low(told: _Low, facts: Facts) -> Iterator[Insight]:
    """Below the limit, or fallen: each beyond doubt."""
    limit: float = getattr(facts.limits, told.limit)
    for place, (now, before) in facts.metrics[told.metric].items():
        if now.count < ENOUGH or now.mean is None:
            continue
        scale = _PER_CENT if (now.maximum or 0.0) > _NO_SHARE else 1.0
        mean, error = now.mean / scale, error_of(now) / scale
        is_low = mean + 3 * error < limit
        fallen = 0.0
        if before is not None and before.mean is not None and before.count >= ENOUGH:
            drop = before.mean / scale - mean
            wide = sqrt(error**2 + (error_of(before) / scale) ** 2)
            fallen = drop if drop >= _POINTS and drop >= _SURE * wide else 0.0
        if not is_low and not fallen:
            continue
        said = f"{told.metric} of {place} is {mean:.0%} on average over {now.count} values"
        if fallen:
            said += f", {fallen:.0%} lower than before"
        yield insight_of(
            facts,
            told.type,
            by_size(max((limit - mean) / limit if limit else 0.0, 2 * fallen), (0.1, 0.3, 0.5)),
            title=told.title if is_low else f"{told.title}: falling",
            description=said,
            recommendation=told.advice,
            evidence={
                "mean": round(mean, 4),
                "count": now.count,
                "limit": limit,
                "fallen_by": round(fallen, 4),
            },
            about=place._asdict(),
            harm=f"{max(limit - mean, fallen):.0%} below what it should be",
        )


def _anomaly(facts: Facts) -> Iterator[Insight]:
    """The last whole day against what the days before foretold."""
    *before, last = facts.daily or [0.0]
    if len(before) < 7 * _WEEKS:
        return
    said = forecast(before, 1, level=_LEVEL, season=7)
    mean, low, high = float(said.mean[0]), float(said.low[0]), float(said.high[0])
    is_more = last > max(high, 1.5 * mean) and last - mean >= float(facts.limits.least_saving)
    if not is_more:
        return
    yield insight_of(
        facts,
        "anomaly",
        by_size(last / max(mean, 1e-9), (3.0, 6.0, 12.0)),
        title="A day out of the ordinary",
        description=(
            f"Yesterday cost ${last:.2f}, where ${low:.2f} to ${high:.2f} were to be expected"
        ),
        recommendation=(
            "Look at its hours: `cost(days=2, bucket='hour', group_by='agent')`; a loop or a new "
            "batch job shows there"
        ),
        evidence={"cost": last, "expected": mean, "low": low, "high": high, "level": _LEVEL},
        about={},
        harm=f"${last - mean:.2f} more than expected",
    )


def _budget_run_out(facts: Facts) -> Iterator[Insight]:
    for status, out in facts.budgets:
        if out.date is None:
            continue
        of = status.budget
        left, until = (out.date - facts.now) / DAY, status.resets_at or inf
        about = {"workspace": of.workspace, "project": of.project, "user": of.user}
        yield insight_of(
            facts,
            "budget_run_out",
            "critical" if left < 1 else "high" if left < _SOON else "medium",
            title="A budget will run out",
            description=(
                f"${status.spent:.2f} of ${status.limit:.2f} are spent; at this pace the rest "
                f"lasts {left:.1f} days, and the period {max(0.0, (until - facts.now) / DAY):.1f}"
            ),
            recommendation=(
                "Raise it, or slow down: a router's target or a cheaper model before calls are "
                "refused"
            ),
            evidence={
                "spent": str(status.spent),
                "limit": str(status.limit),
                "runs_out_at": out.date,
                "earliest": out.earliest,
                "latest": out.latest,
            },
            about={name: value for name, value in about.items() if value is not None}
            | {"agent": of.agent or "", "period": of.period},
            harm="calls are refused from then on" if of.hard else "the limit is passed",
        )


RULES = (
    Rule("slow_tasks", _slow_tasks),
    Rule("high_cost", _high_cost),
    Rule("cheaper_model", _cheaper_model),
    Rule("not_routed", _not_routed),
    Rule("cache_unused", _cache_unused),
    *(Rule(each.type, partial(_low, each)) for each in _LOWS),
    Rule("anomaly", _anomaly),
    Rule("budget_run_out", _budget_run_out),
)
"""All of them, in the order in which they are asked."""


def _seconds(value: float | None) -> str:
    if value is None:
        return "nothing"
    return f"{value:.1f} s" if value < _MINUTES else f"{value / 60:.1f} min"

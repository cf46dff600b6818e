"""What is to come, for `Analytics`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Unpack

import numpy as np

from llmops_langchain.analytics.anomalies import Anomaly, anomalies
from llmops_langchain.analytics.asking import Asked, Asking, Wanted
from llmops_langchain.analytics.forecasting import Forecast, RunOut, forecast, run_out
from llmops_langchain.analytics.making import COSTS
from llmops_langchain.analytics.questions import Bucket, bucket_of
from llmops_langchain.analytics.reports import Report
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger import BudgetStatus
from llmops_langchain.ledger.rollups import DAY, HOUR
from llmops_langchain.storage.hopping import hop

__all__ = ["COST", "Expected", "ForecastReport", "Foretelling"]

COST = "cost"
"""The metric that stands for US dollars spent."""

_MOST_STEPS = 1_000
_NANO = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected(Report):
    """One step to come."""

    mean: float | None
    """What is expected; `None`, here and below, if nothing can be said."""
    low: float | None
    """With `high` the bounds between which it lies with the report's `level`."""
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastReport(Report):
    """What is expected of a metric, step by step."""

    metric: str
    """`cost` is in US dollars; the sum of a step of any other metric is in its unit."""
    level: float
    """The share of truths that the bounds are to hold, 0 to 1."""
    series: Mapping[float, Expected]
    """By the beginning of the step, UTC seconds since the Unix epoch; the first one is under
    way."""
    method: str
    """How it was found, in words."""
    n: int
    """How many steps of the past it was found from."""

    @property
    def total(self) -> float | None:
        """The sum of what is expected."""
        means = [each.mean for each in self.series.values()]
        return None if None in means else sum(each for each in means if each is not None)


class Foretelling(Asking):
    """The part of `Analytics` that looks ahead."""

    def forecast(
        self,
        days: float = 14,
        *,
        metric: str = COST,
        history: float = 90,
        level: float = 0.95,
        **asked_for: Unpack[Asked],
    ) -> ForecastReport:
        """What the days (or hours) to come will take, with intervals.

        An ensemble weighed by its own past errors, intervals by conformal prediction; it knows
        hours of the day and days of the week once it has seen two of them.

        Args:
            days: How far ahead.
            metric: `"cost"`, or the name of a metric, whose sums are told.
            history: How many days back it learns from.
            level: The share of truths that the bounds are to hold.
            asked_for: See `Asked`: `workspace` to `tags` narrow it, `bucket` is `"day"` or
                `"hour"`; the days are those of UTC.

        Raises:
            ConfigurationError: If something asked for makes no sense.
            StorageError: If the database cannot answer.
        """
        bucket = _step(asked_for)
        width = HOUR if bucket == "hour" else DAY
        steps = int(-(-days * DAY // width)) if isinstance(days, (int, float)) and days > 0 else 0
        if not 0 < steps <= _MOST_STEPS:
            msg = f"`days` asks for 1 to {_MOST_STEPS} steps of a {bucket}, got {days!r}"
            raise ConfigurationError(msg)
        past = self._wanted(history, {**asked_for, "bucket": bucket, "timezone": "UTC"})
        begin, found = self._foretold(metric, past, steps, level)
        return ForecastReport(
            metric=metric,
            level=level,
            series={begin + width * at: _expected(found, at) for at in range(steps)},
            method=found.method,
            n=found.n,
        )

    def run_out(
        self, status: BudgetStatus, *, history: float = 90, level: float = 0.95
    ) -> RunOut | None:
        """When a budget will be spent, if its spending goes on as it is foretold.

        Args:
            status: Of `ops.budgets.get(…)`.
            history: How many days back it learns from.
            level: Of the bounds.

        Returns:
            `None` if that is not before its period ends.

        Raises:
            StorageError: If the database cannot answer.
        """
        now = self._clock()
        ends = now + 60 * DAY if status.resets_at is None else status.resets_at
        steps = max(1, min(_MOST_STEPS, int((ends - now) // DAY) + 1))
        of = status.budget
        named: Asked = {
            "workspace": of.workspace,
            "project": of.project,
            "user": of.user,
            "agent": of.agent,
        }
        past = self._wanted(history, {**named, "bucket": "day", "timezone": "UTC"})
        begin, found = self._foretold(COST, past, steps, level)
        # What is left of the day under way.
        part = 1 - (now - begin) / DAY
        for each in (found.mean, found.low, found.high):
            each[0] *= part
        reached = run_out(float(status.spent), float(status.limit), found, begin, DAY)
        if reached.date is None or reached.date >= ends:
            return None
        return reached

    def anomalies(
        self, days: float = 60, *, metric: str = COST, **asked_for: Unpack[Asked]
    ) -> dict[float, Anomaly]:
        """Days (or hours) whose sum was out of the ordinary, by their beginning.

        Each is compared with the same day of the week (hour of the day) once that was seen three
        times; the day under way is left out. Streams of single values have `AnomalyDetector`.

        Args:
            days: How far back.
            metric: `"cost"`, or the name of a metric, whose sums are looked at.
            asked_for: See `Asked`: `workspace` to `tags` narrow it, `bucket` is `"day"` or
                `"hour"`; the days are those of UTC.

        Raises:
            ConfigurationError: If something asked for makes no sense.
            StorageError: If the database cannot answer.
        """
        past = self._wanted(days, {**asked_for, "bucket": _step(asked_for), "timezone": "UTC"})
        is_hourly = past.span.bucket == "hour"
        width, season = (HOUR, 24) if is_hourly else (DAY, 7)
        begin = bucket_of(self._clock(), past.span.bucket, past.span.zone)
        values, start = self._past(metric, past, begin, width)
        return {start + each.index * width: each for each in anomalies(values, season=season)}

    aanomalies = hop(anomalies)
    aforecast = hop(forecast)
    arun_out = hop(run_out)

    def _foretold(
        self, metric: str, past: Wanted, steps: int, level: float
    ) -> tuple[float, Forecast]:
        """When the first step began, and what is foretold from the steps before it."""
        span = past.span
        begin = bucket_of(self._clock(), span.bucket, span.zone)
        width = HOUR if span.bucket == "hour" else DAY
        values, start = self._past(metric, past, begin, width)
        return begin, forecast(values, steps, level=level, start=start, step=width)

    def _past(
        self, metric: str, wanted: Wanted, begin: float, width: float
    ) -> tuple[list[float], float]:
        """Sums of the whole steps from the first one with an event, and when that began."""
        names = COSTS if metric == COST else (metric,)
        answer = self._ask(wanted, names, bucketed=True)
        sums = answer.by_bucket(*names)
        whole = [at for at in sums if answer.since <= at < begin]
        if not whole:
            return [], begin
        start = min(whole)
        times = np.arange(start, begin, width).tolist()
        if metric == COST:
            return [sums[at].cost / _NANO if at in sums else 0.0 for at in times], start
        return [sums[at].total if at in sums else 0.0 for at in times], start


def _step(asked_for: Asked) -> Bucket:
    bucket = asked_for.get("bucket") or "day"
    if bucket not in ("hour", "day"):
        msg = f"what is looked ahead or back at is by 'hour' or 'day', got {bucket!r}"
        raise ConfigurationError(msg)
    return bucket


def _expected(found: Forecast, at: int) -> Expected:
    mean, low, high = (
        None if np.isnan(each[at]) else float(each[at])
        for each in (found.mean, found.low, found.high)
    )
    return Expected(mean=mean, low=low, high=high)

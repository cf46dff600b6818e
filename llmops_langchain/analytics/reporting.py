"""Cost, performance, quality and any metric, as reports."""

from collections.abc import Sequence
from typing import Unpack

from llmops_langchain.analytics.asking import Asked, Asking, Wanted, names_in
from llmops_langchain.analytics.making import COSTS, cost_report, distribution, metric_report
from llmops_langchain.analytics.reading import Answer, Sums, names_of
from llmops_langchain.analytics.reports import (
    CostReport,
    MetricReport,
    PerformanceReport,
    QualityReport,
)
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.fits.sketches import summed
from llmops_langchain.ledger import LLM_CALL, TOOL_CALL
from llmops_langchain.storage.hopping import hop

__all__ = ["Reporting"]

_PERFORMANCE = (
    *("task.completion_time", "agent.response_time", "task.success"),
    *(LLM_CALL, TOOL_CALL),
)
_QUALITY = ("quality.score", "test.coverage")


class Reporting(Asking):
    """The part of `Analytics` that makes reports."""

    def cost(self, days: float = 30, **asked_for: Unpack[Asked]) -> CostReport:
        """What model calls used, cost and saved.

        Args:
            days: How far back, in days of 24 hours; the span begins with a whole hour.
            asked_for: See `Asked`.

        Raises:
            ConfigurationError: If something asked for makes no sense.
            StorageError: If the database cannot answer.
        """
        wanted = self._aligned(self._wanted(days, asked_for), "model")
        answer = self._ask(wanted, COSTS, by=("model",), bucketed=True)
        groups = self._ask(wanted, COSTS, by=wanted.by, top=wanted.top) if wanted.by else None
        return cost_report(answer, groups, self._before(wanted, COSTS), wanted.span)

    def performance(
        self, days: float = 30, *, metrics: Sequence[str] = (), **asked_for: Unpack[Asked]
    ) -> PerformanceReport:
        """How long tasks, agents and calls took, and how often they went well.

        Args:
            days: As for `cost`.
            metrics: Names of metrics to take in beside the usual ones.
            asked_for: See `Asked`.

        Raises:
            ConfigurationError: If something asked for makes no sense.
            StorageError: If the database cannot answer.
        """
        names = tuple(dict.fromkeys([*_PERFORMANCE, *names_in(metrics)]))
        answer, reports = self._metrics(names, self._wanted(days, asked_for))
        calls = answer.total(LLM_CALL)
        number, total = summed(calls.first_tokens)
        firsts = Sums(measured=number, total=total, sketches=calls.first_tokens)
        return PerformanceReport(
            since=answer.since,
            until=reports[LLM_CALL].until,
            metrics=reports,
            first_token=distribution(firsts),
            errors=calls.errors,
            calls=calls.events - calls.refused,
        )

    def quality(self, days: float = 30, **asked_for: Unpack[Asked]) -> QualityReport:
        """How good the work was: `quality.score` and `test.coverage`.

        Arguments and errors as for `cost`.
        """
        answer, reports = self._metrics(_QUALITY, self._wanted(days, asked_for))
        return QualityReport(
            since=answer.since,
            until=reports["quality.score"].until,
            scores=reports["quality.score"],
            coverage=reports["test.coverage"],
        )

    def metrics(
        self, *names: str, days: float = 30, **asked_for: Unpack[Asked]
    ) -> dict[str, MetricReport]:
        """Any metrics, by name.

        Args:
            names: Which; by default all of which there were values.
            days: As for `cost`.
            asked_for: See `Asked`.

        Raises:
            ConfigurationError: If something asked for makes no sense, or there never was such a
                metric in that time; the message names those that there were.
            StorageError: If the database cannot answer.
        """
        wanted = self._wanted(days, asked_for)
        known = names_of(self._database, self._question(wanted), self._clock())
        unknown = [each for each in names_in(names) if each not in known]
        if unknown:
            there = ", ".join(known) or "none at all"
            msg = f"no metric {unknown[0]!r} in this time; there were {there}"
            raise ConfigurationError(msg)
        return self._metrics(tuple(names or known), wanted)[1]

    acost = hop(cost)
    aperformance = hop(performance)
    aquality = hop(quality)
    ametrics = hop(metrics)

    def _metrics(
        self, names: tuple[str, ...], wanted: Wanted
    ) -> tuple[Answer, dict[str, MetricReport]]:
        wanted = self._aligned(wanted)
        answer = self._ask(wanted, names, bucketed=True, sketched=True)
        groups = None
        if wanted.by:
            groups = self._ask(wanted, names, by=wanted.by, sketched=True, top=wanted.top)
        before = self._before(wanted, names, sketched=True)
        made = {name: metric_report(name, answer, groups, before, wanted.span) for name in names}
        return answer, made

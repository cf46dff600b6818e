"""Questions to the events, answered as reports."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict, Unpack

from llmops_langchain.analytics.export import (
    Format,
    exported,
    format_of,
    imported,
    write_parquet,
    written,
)
from llmops_langchain.analytics.making import COSTS, cost_report, distribution, metric_report
from llmops_langchain.analytics.questions import (
    Bucket,
    Dimension,
    Question,
    Span,
    group_of,
    span_of,
    where_of,
)
from llmops_langchain.analytics.reading import TASK, Answer, Sums, asked, names_of
from llmops_langchain.analytics.reports import (
    CostReport,
    MetricReport,
    PerformanceReport,
    QualityReport,
)
from llmops_langchain.analytics.tracking import Tracking
from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger import LLM_CALL, TOOL_CALL, Ledger, Rebuilt, RollupTable
from llmops_langchain.ledger.importing import import_events
from llmops_langchain.ledger.rollups import HOUR
from llmops_langchain.storage import Database
from llmops_langchain.storage.hopping import hop
from llmops_langchain.storage.types import new_id

__all__ = ["Analytics", "Asked"]

_PERFORMANCE = (
    *("task.completion_time", "agent.response_time", "task.success"),
    *(LLM_CALL, TOOL_CALL),
)
_TOP = 100
_QUALITY = ("quality.score", "test.coverage")


class Asked(TypedDict, total=False):
    """What every report can be asked for.

    `start` and `end` are moments (seconds since the Unix epoch, or dates and times); without a
    `start`, `days` counts back from the end. `workspace` to `model` take only what belongs to them,
    `task` and `tags` likewise, but from the events themselves: slower, and as far back as those
    are kept. `bucket` (`hour`, `day`, `week`, `month`) and `timezone` make the series, `group_by`
    the groups: the `top` ones (100) that cost most, or of which there are most. `compare=True`
    adds the stretch of the same length before.
    """

    start: float | datetime | date | None
    end: float | datetime | date | None
    workspace: str | None
    project: str | None
    task: str | None
    user: str | None
    agent: str | None
    model: str | None
    tags: Mapping[str, str] | None
    group_by: Dimension | None
    top: int
    bucket: Bucket | None
    timezone: str
    compare: bool


class _Wanted(NamedTuple):
    """What was asked for, checked."""

    span: Span
    where: Mapping[str, str]
    tags: Mapping[str, str]
    by: tuple[str, ...]
    top: int
    compare: bool


class Analytics(Tracking):
    """Reports over the events in the database, of all processes that write to it.

    What this process recorded in the last second may still be on its way: `ops.flush()` first.
    Every report takes the arguments of `Asked`.

    Args:
        database: Where the events are.
        ledger: Takes metrics; `None` only reads.
        rollups: Makes the sums anew, for `rebuild`.
        clock: Returns seconds since the Unix epoch.

    Example:
        >>> Analytics(Database("sqlite://")).cost(days=7, project="shop").calls
        0
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger | None = None,
        rollups: RollupTable | None = None,
        *,
        clock: Clock = system_clock,
    ) -> None:
        self._database, self._ledger, self._clock = database, ledger, clock
        self._rollups = rollups or RollupTable(database, clock=clock)

    def cost(self, days: float = 30, **asked_for: Unpack[Asked]) -> CostReport:
        """What model calls used, cost and saved.

        Args:
            days: How far back, in days of 24 hours; the span begins with a whole hour.
            asked_for: See `Asked`.

        Raises:
            ConfigurationError: If something asked for makes no sense.
            StorageError: If the database cannot answer.
        """
        wanted = self._wanted(days, asked_for)
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
        names = tuple(dict.fromkeys([*_PERFORMANCE, *_names(metrics)]))
        answer, reports = self._metrics(names, self._wanted(days, asked_for))
        calls = answer.total(LLM_CALL)
        firsts = Sums(measured=1, sketches=calls.first_tokens)
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
        known = names_of(self._database, wanted.span.since)
        unknown = [each for each in _names(names) if each not in known]
        if unknown:
            there = ", ".join(known) or "none at all"
            msg = f"no metric {unknown[0]!r} in this time; there were {there}"
            raise ConfigurationError(msg)
        return self._metrics(tuple(names or known), wanted)[1]

    def export(
        self,
        target: str | Path,
        *names: str,
        format: Format | None = None,  # noqa: A002 - the word for it
        days: float = 30,
        **asked_for: Unpack[Asked],
    ) -> int:
        """Write events to a file, a page of them in memory at a time; how many.

        The file is there once it is whole. Money is in nano-dollars, times are UTC seconds since
        the Unix epoch, texts that a spreadsheet would take for a formula begin with `'`, and
        prompts and answers are not in it.

        Args:
            target: Where to; a file that is there is replaced.
            names: Of which events; by default all of them.
            format: `"json"`, `"ndjson"`, `"csv"` or `"parquet"` (`[export]`); by default the
                ending of the file's name.
            days: As for `cost`.
            asked_for: See `Asked`; groups, buckets and comparisons do not matter.

        Raises:
            ConfigurationError: If something asked for makes no sense.
            MissingExtraError: If `pyarrow` is needed and not installed.
            StorageError: If the database cannot answer; there is no file then.
        """
        path = Path(target)
        form, question = format_of(path, format), self._all_of(names, days, asked_for)
        unfinished = path.with_name(f".{path.name}.{new_id()}")
        try:
            if form == "parquet":
                number = write_parquet(self._database, question, unfinished)
            else:
                number = written(exported(self._database, question, form), form, unfinished)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return number

    def export_bytes(
        self,
        *names: str,
        format: Literal["json", "ndjson", "csv"] = "ndjson",  # noqa: A002 - as above
        days: float = 30,
        **asked_for: Unpack[Asked],
    ) -> Iterator[bytes]:
        """The same as a stream of bytes, such as for the answer to a request."""
        form = format_of(Path("-"), format)
        if form == "parquet":
            msg = "`parquet` is no stream: `export` it to a file"
            raise ConfigurationError(msg)
        return exported(self._database, self._all_of(names, days, asked_for), form)

    def load(
        self,
        source: str | Path,
        *,
        format: Format | None = None,  # noqa: A002 - as above
    ) -> tuple[int, int]:
        """Take in events of a file that `export` wrote; those that are there already stay.

        Budgets do not count them.

        Args:
            source: The file.
            format: By default the ending of its name.

        Returns:
            How many events it has, and how many of them were new.

        Raises:
            ConfigurationError: If a row is no event, or the format is none.
            MissingExtraError: If `pyarrow` is needed and not installed.
            StorageError: If the database cannot take them; what was stored stays so, and the file
                may be loaded again.
        """
        path = Path(source)
        found = imported(path, format_of(path, format))
        return import_events(self._database, found, clock=self._clock)

    def rebuild(self, *, verify: bool = False) -> Rebuilt:
        """Make the sums that reports are read from anew, from the events that are there.

        Args:
            verify: Change nothing, and tell what is wrong.

        Raises:
            StorageError: If the database cannot do it; days that were done stay so.
        """
        if self._ledger is not None:
            self._ledger.flush()
        return self._rollups.rebuild(verify=verify)

    acost = hop(cost)
    aperformance = hop(performance)
    aquality = hop(quality)
    ametrics = hop(metrics)
    aexport = hop(export)
    aload = hop(load)
    arebuild = hop(rebuild)

    def _wanted(self, days: float, asked_for: Asked) -> _Wanted:
        tags = dict(asked_for.get("tags") or {})
        task = asked_for.get("task")
        return _Wanted(
            span=span_of(
                self._clock(),
                days=days,
                start=asked_for.get("start"),
                end=asked_for.get("end"),
                bucket=asked_for.get("bucket"),
                timezone=asked_for.get("timezone", "UTC"),
            ),
            where=where_of(
                workspace=asked_for.get("workspace"),
                project=asked_for.get("project"),
                user=asked_for.get("user"),
                agent=asked_for.get("agent"),
                model=asked_for.get("model"),
            ),
            tags=where_of(**tags, **({TASK: task} if task is not None else {})),
            by=group_of(asked_for.get("group_by")),
            top=_top(asked_for.get("top", _TOP)),
            compare=asked_for.get("compare", False),
        )

    def _all_of(self, names: Sequence[str], days: float, asked_for: Asked) -> Question:
        """The events themselves."""
        wanted = self._wanted(days, asked_for)
        named, span = tuple(_names(names)), wanted.span
        if asked_for.get("end") is None:
            # With what was recorded this very moment, and by clocks that are a little ahead.
            span = replace(span, until=span.until + HOUR)
        return Question(names=named, span=span, where=wanted.where, tags=wanted.tags)

    def _metrics(
        self, names: tuple[str, ...], wanted: _Wanted
    ) -> tuple[Answer, dict[str, MetricReport]]:
        answer = self._ask(wanted, names, bucketed=True, sketched=True)
        groups = None
        if wanted.by:
            groups = self._ask(wanted, names, by=wanted.by, sketched=True, top=wanted.top)
        before = self._before(wanted, names, sketched=True)
        made = {name: metric_report(name, answer, groups, before, wanted.span) for name in names}
        return answer, made

    def _before(
        self, wanted: _Wanted, names: tuple[str, ...], *, sketched: bool = False
    ) -> Answer | None:
        if not wanted.compare:
            return None
        earlier = wanted._replace(span=wanted.span.before())
        return self._ask(earlier, names, sketched=sketched)

    def _ask(
        self,
        wanted: _Wanted,
        names: tuple[str, ...],
        *,
        by: tuple[str, ...] = (),
        bucketed: bool = False,
        sketched: bool = False,
        top: int | None = None,
    ) -> Answer:
        question = Question(
            names=names,
            span=wanted.span,
            where=wanted.where,
            tags=wanted.tags,
            by=by,
            bucketed=bucketed,
            sketched=sketched,
            top=top,
            ranked="events" if sketched else "cost",
        )
        return asked(self._database, question, self._clock())


def _top(given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        msg = f"`top` is how many groups are told, at least 1, got {given!r}"
        raise ConfigurationError(msg)
    return given


def _names(given: Sequence[str]) -> Sequence[str]:
    if isinstance(given, str) or not all(isinstance(each, str) for each in given):
        msg = f"metrics are named by texts in a list, got {given!r}"
        raise ConfigurationError(msg)
    return given

"""What every report can be asked for, checked and made a question."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import NamedTuple, TypedDict

from llmops_langchain.analytics.planning import planned
from llmops_langchain.analytics.questions import (
    Bucket,
    Dimension,
    Question,
    Ranked,
    Span,
    group_of,
    span_of,
    where_of,
)
from llmops_langchain.analytics.reading import TASK, Answer, asked
from llmops_langchain.clock import Clock
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.storage import Database

__all__ = ["Asked", "Asking", "Wanted", "names_in"]

_TOP = 100


class Asked(TypedDict, total=False):
    """What every report can be asked for.

    `start` and `end` are moments (seconds since the Unix epoch, or dates and times); without a
    `start`, `days` counts back from the end. `workspace` to `model` take only what belongs to them,
    `task` and `tags` likewise, but from the events themselves: slower, and as far back as those
    are kept. `bucket` (`hour`, `day`, `week`, `month`) and `timezone` make the series, `group_by`
    the groups: the `top` ones (100) that cost most, or of which there are most; what the rest of
    them cost is in `others`. `compare=True` adds the stretch of the same length before.
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


class Wanted(NamedTuple):
    """What was asked for, checked."""

    span: Span
    where: Mapping[str, str]
    tags: Mapping[str, str]
    by: tuple[str, ...]
    top: int
    compare: bool
    of_events: bool = False
    """Whether all parts of the report are read from the events."""


class Asking:
    """The part of `Analytics` that the others ask through."""

    _database: Database
    _clock: Clock

    def _wanted(self, days: float, asked_for: Asked) -> Wanted:
        tags = dict(asked_for.get("tags") or {})
        task = asked_for.get("task")
        now, by = self._clock(), group_of(asked_for.get("group_by"))
        span = span_of(
            now,
            days=days,
            start=asked_for.get("start"),
            end=asked_for.get("end"),
            bucket=asked_for.get("bucket"),
            timezone=asked_for.get("timezone", "UTC"),
        )
        return Wanted(
            # All users are told apart by days alone.
            span=span.whole_days(now) if by == ("user",) else span,
            where=where_of(
                workspace=asked_for.get("workspace"),
                project=asked_for.get("project"),
                user=asked_for.get("user"),
                agent=asked_for.get("agent"),
                model=asked_for.get("model"),
            ),
            tags=where_of(**tags, **({TASK: task} if task is not None else {})),
            by=by,
            top=_top(asked_for.get("top", _TOP)),
            compare=asked_for.get("compare", False),
        )

    def _aligned(self, wanted: Wanted, *by: str) -> Wanted:
        """The same, so that totals, told apart `by` these, groups and the time before add up.

        If one of them needs the events, all are read from them; if one begins with a whole day,
        as its hours are no longer kept, all do.
        """
        parts = [self._question(wanted, by=by, bucketed=True)]
        parts += [self._question(wanted, by=wanted.by)] if wanted.by else []
        plans = [planned(each, self._clock()) for each in parts]
        if any(segment.tier is None for plan in plans for segment in plan):
            return wanted._replace(of_events=True)
        span, ends = wanted.span, max(plan[-1].until for plan in plans)
        since = min(plan[0].since for plan in plans)
        until = span.until if ends >= self._clock() else ends
        return wanted._replace(span=replace(span, since=since, until=max(since, until)))

    def _before(
        self, wanted: Wanted, names: tuple[str, ...], *, sketched: bool = False
    ) -> Answer | None:
        if not wanted.compare:
            return None
        earlier = wanted._replace(span=wanted.span.before())
        if planned(self._question(earlier), self._clock())[-1].until > wanted.span.since:
            # Its hours are no longer kept: a day is not told twice.
            earlier = earlier._replace(span=earlier.span.up_to_midnight())
        return self._ask(earlier, names, sketched=sketched)

    def _ask(
        self,
        wanted: Wanted,
        names: tuple[str, ...],
        *,
        by: tuple[str, ...] = (),
        bucketed: bool = False,
        sketched: bool = False,
        top: int | None = None,
    ) -> Answer:
        question = self._question(wanted, names, by=by, bucketed=bucketed)
        ranked: Ranked = "events" if sketched else "cost"
        question = replace(question, sketched=sketched, top=top, ranked=ranked)
        return asked(self._database, question, self._clock())

    def _question(
        self,
        wanted: Wanted,
        names: tuple[str, ...] = (),
        *,
        by: tuple[str, ...] = (),
        bucketed: bool = False,
    ) -> Question:
        return Question(
            names=names,
            span=wanted.span,
            where=wanted.where,
            tags=wanted.tags,
            of_events=wanted.of_events,
            by=by,
            bucketed=bucketed,
        )


def _top(given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        msg = f"`top` is how many groups are told, at least 1, got {given!r}"
        raise ConfigurationError(msg)
    return given


def names_in(given: Sequence[str]) -> Sequence[str]:
    """Names of metrics as a caller gives them.

    Raises:
        ConfigurationError: If they are none.
    """
    if isinstance(given, str) or not all(isinstance(each, str) for each in given):
        msg = f"metrics are named by texts in a list, got {given!r}"
        raise ConfigurationError(msg)
    return given

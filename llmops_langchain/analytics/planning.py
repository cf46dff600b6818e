"""Which rows answer a question: the smallest ones that know enough, or the events themselves."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from llmops_langchain.analytics.questions import Question
from llmops_langchain.ledger.rollups import (
    DAY,
    GLOBAL_DAY,
    GLOBAL_HOUR,
    HOUR,
    USER_DAY,
    USER_HOUR,
    USERS_DAY,
    WORKSPACE_DAY,
    WORKSPACE_HOUR,
    Tier,
)

__all__ = ["Segment", "planned"]


class Segment(NamedTuple):
    """A part of the time, and where its sums are."""

    tier: Tier | None
    """`None`: the events themselves."""
    since: float
    """UTC seconds since the Unix epoch; of a tier by day, a whole day."""
    until: float
    """The same, exclusive."""


def planned(question: Question, now: float) -> list[Segment]:
    """The parts that make up the question's span.

    Days where they will do, hours at the ends and where days are not those of UTC; it ends with
    the whole hour. Where hours are no longer kept, it begins with the whole day.

    Args:
        question: What is asked.
        now: UTC seconds since the Unix epoch.
    """
    hours, days = _tiers(question)
    span = question.span
    # What ends now takes in what was recorded this very moment.
    until = _up(span.until, HOUR) if span.until < now else (now // HOUR + 1) * HOUR
    if question.tags or not _in_whole_hours(question):
        return [Segment(None, span.since, until)]
    oldest = max(0.0, (now - hours.kept) // DAY * DAY + DAY) if hours is not None else until
    if question.bucketed and not _days_will_do(question):
        if span.since < oldest or hours is None:
            return [Segment(None, span.since, until)]
        return [Segment(hours, span.since, until)]
    return list(_by_days(span.since, until, hours, days, oldest, open_end=span.until >= now))


def _tiers(question: Question) -> tuple[Tier | None, Tier]:
    """Those by hour and by day."""
    wanted = {*question.by, *question.where}
    if "user" in question.where:
        return USER_HOUR, USER_DAY
    if "user" in wanted:
        # The rows of single users are found by the user alone.
        return None, USERS_DAY if wanted <= USERS_DAY.dimensions else USER_DAY
    if wanted <= GLOBAL_DAY.dimensions:
        return GLOBAL_HOUR, GLOBAL_DAY
    return WORKSPACE_HOUR, WORKSPACE_DAY


def _by_days(
    since: float, until: float, hours: Tier | None, days: Tier, oldest: float, *, open_end: bool
) -> Iterator[Segment]:
    """Hours up to the first whole day, days, and hours after the last one."""
    first = _up(since, DAY) if hours is not None and since >= oldest else since // DAY * DAY
    last = _up(until, DAY) if open_end or hours is None or until < oldest else until // DAY * DAY
    if first >= last and hours is not None and since >= oldest:
        yield Segment(hours, since, until)
        return
    if since < first and hours is not None:
        yield Segment(hours, since, first)
    yield Segment(days, first, last)
    if last < until and hours is not None:
        yield Segment(hours, last, until)


def _days_will_do(question: Question) -> bool:
    return question.span.bucket != "hour" and _offset(question, question.span.since) == 0 == (
        _offset(question, question.span.until)
    )


def _in_whole_hours(question: Question) -> bool:
    span = question.span
    return all(_offset(question, moment) % HOUR == 0 for moment in (span.since, span.until))


def _offset(question: Question, moment: float) -> float:
    """Seconds that the zone is ahead of UTC at a moment; 0 where no bucket depends on it."""
    if not question.bucketed or question.span.bucket == "hour":
        return 0.0
    ahead = datetime.fromtimestamp(moment, question.span.zone).utcoffset()
    return ahead.total_seconds() if ahead is not None else 0.0


def _up(moment: float, width: float) -> float:
    return -(-moment // width) * width

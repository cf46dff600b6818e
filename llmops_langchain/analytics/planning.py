"""Which rows answer a question: the smallest ones that know enough, or the events themselves."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from llmops_langchain.analytics.questions import Question
from llmops_langchain.ledger.rollups import (
    AGENT_DAY,
    AGENT_HOUR,
    DAY,
    GLOBAL_DAY,
    GLOBAL_HOUR,
    HOUR,
    PROJECT_DAY,
    PROJECT_HOUR,
    USER_DAY,
    USER_HOUR,
    USERS_DAY,
    WORKSPACE_DAY,
    WORKSPACE_HOUR,
    Tier,
)

__all__ = ["Segment", "planned", "smallest"]

_QUARTER = 900.0
"""Seconds between two moments at which clocks may be changed."""


_PAIRS = (
    (GLOBAL_HOUR, GLOBAL_DAY),
    (AGENT_HOUR, AGENT_DAY),
    (PROJECT_HOUR, PROJECT_DAY),
    (WORKSPACE_HOUR, WORKSPACE_DAY),
)
"""Tiers without users, the smallest first."""


class Segment(NamedTuple):
    """A part of the time, and where its sums are."""

    tier: Tier | None
    """`None`: the events themselves."""
    since: float
    """UTC seconds since the Unix epoch; of a tier by day, a whole day."""
    until: float
    """The same, exclusive."""
    ahead: float = 0.0
    """Seconds that the zone is ahead of UTC meanwhile."""


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
    if span.since >= until:
        return [Segment(days, span.since, span.since)]  # it has not begun yet
    pieces = list(_pieces(question, until))
    if question.of_events or question.tags or any(each.ahead % HOUR for each in pieces):
        return [Segment(None, span.since, until)]
    oldest = max(0.0, (now - hours.kept) // DAY * DAY + DAY) if hours is not None else until
    if question.bucketed and (span.bucket == "hour" or any(each.ahead for each in pieces)):
        if span.since < oldest or hours is None:
            return [Segment(None, span.since, until)]
        return [each._replace(tier=hours) for each in pieces]
    return list(_by_days(span.since, until, hours, days, oldest, open_end=span.until >= now))


def smallest(question: Question) -> Tier:
    """The smallest tier by day that knows what is asked for."""
    return _tiers(question)[1]


def _tiers(question: Question) -> tuple[Tier | None, Tier]:
    """Those by hour and by day."""
    wanted = {*question.by, *question.where}
    if "user" in question.where:
        # Hours of nobody are those of the workspace, which are not told apart from others'.
        return USER_HOUR if question.where["user"] else None, USER_DAY
    if "user" in wanted:
        # The rows of single users are found by the user alone.
        return None, USERS_DAY if wanted <= USERS_DAY.dimensions else USER_DAY
    return next(pair for pair in _PAIRS if wanted <= pair[1].dimensions)


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


def _pieces(question: Question, until: float) -> Iterator[Segment]:
    """Stretches between which the zone's clocks were changed."""
    since = begin = question.span.since
    ahead = _ahead(question, since)
    while since < until:
        later = min(since + DAY, until)
        if _ahead(question, later - 1) != ahead:
            later = next(
                at for at in _steps(since, later) if _ahead(question, at + _QUARTER - 1) != ahead
            )
            yield Segment(None, begin, later, ahead)
            begin, ahead = later, _ahead(question, later)
        since = later
    if begin < until:
        yield Segment(None, begin, until, ahead)


def _steps(since: float, until: float) -> Iterator[float]:
    return (since + _QUARTER * each for each in range(int((until - since) // _QUARTER) + 1))


def _ahead(question: Question, moment: float) -> float:
    """Seconds that the zone is ahead of UTC; 0 where no bucket depends on it."""
    if not question.bucketed or question.span.bucket == "hour" or question.span.zone.key == "UTC":
        return 0.0
    ahead = datetime.fromtimestamp(moment, question.span.zone).utcoffset()
    return ahead.total_seconds() if ahead is not None else 0.0


def _up(moment: float, width: float) -> float:
    return -(-moment // width) * width

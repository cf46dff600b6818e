"""What is asked of the events: which ones, of which time, told apart by what."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from math import isfinite
from typing import Literal, cast, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger.rollups import DAY, DIMENSIONS, HOUR

__all__ = [
    "Bucket",
    "Dimension",
    "Question",
    "Ranked",
    "Span",
    "bucket_of",
    "group_of",
    "span_of",
    "where_of",
]

Dimension = Literal["workspace", "project", "user", "agent", "model"]
"""What reports are grouped by."""

Bucket = Literal["hour", "day", "week", "month"]
"""What a series is made of; weeks begin on Monday."""

_HOURLY_UP_TO = 2 * DAY
_UTC = ZoneInfo("UTC")
_FAR = 253_402_300_799.0  # the end of the year 9999


Ranked = Literal["cost", "events"]
"""By what the first groups are found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From when to when, and how it is cut."""

    since: float
    """UTC seconds since the Unix epoch, a whole hour."""
    until: float
    """The same, exclusive; it may be now."""
    bucket: Bucket
    """What a series is made of."""
    zone: ZoneInfo
    """Whose days they are."""

    @property
    def days(self) -> float:
        """How long it is, in days of 24 hours."""
        return (self.until - self.since) / DAY

    def whole_days(self, now: float) -> "Span":
        """The days of UTC that it touches; what ends now goes on to do so."""
        until = self.until if self.until >= now else -(-self.until // DAY) * DAY
        return replace(self, since=self.since // DAY * DAY, until=min(until, max(now, self.until)))

    def before(self) -> "Span":
        """The span of the same length before this one."""
        since = max(0.0, (2 * self.since - self.until) // HOUR * HOUR)
        return replace(self, since=since, until=self.since)

    def up_to_midnight(self) -> "Span":
        """The same, ending with the last whole day of UTC."""
        until = self.until // DAY * DAY
        return replace(self, since=min(self.since, until), until=until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which events are added up, and what is told apart."""

    names: tuple[str, ...]
    """Names of events."""
    span: Span
    """From when to when."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Only those of this workspace, project, user, agent and model."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Only those with these tags; `task` is one."""
    of_events: bool = False
    """Whether the events themselves are to be read, as another part of the report must."""
    by: tuple[str, ...] = ()
    """Dimensions that are told apart."""
    bucketed: bool = False
    """Whether the buckets of the span are told apart."""
    sketched: bool = False
    """Whether percentiles are wanted."""
    top: int | None = None
    """How many groups, those with the most of `ranked`; `None` takes all."""
    ranked: Ranked = "cost"
    """What groups are ranked by."""


def span_of(
    now: float,
    *,
    days: float | None,
    start: float | datetime | date | None,
    end: float | datetime | date | None,
    bucket: str | None,
    timezone: str,
) -> Span:
    """The span that a caller means.

    Args:
        now: UTC seconds since the Unix epoch.
        days: How far back from the end, in days of 24 hours, if there is no `start`.
        start: When it begins: seconds since the Unix epoch, or a date or time; without a zone of
            its own it is one of `timezone`.
        end: When it ends, likewise; by default now.
        bucket: What a series is made of; by default hours up to two days, then days.
        timezone: Whose days they are, such as `"Europe/Berlin"`.

    Raises:
        ConfigurationError: If there is no such time, zone or bucket, or it ends before it begins.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        msg = f"`timezone` is a name such as 'Europe/Berlin' or 'UTC', got {timezone!r}"
        raise ConfigurationError(msg) from error
    if bucket is not None and bucket not in get_args(Bucket):
        msg = f"`bucket` is one of {', '.join(get_args(Bucket))}, got {bucket!r}"
        raise ConfigurationError(msg)
    until = now if end is None else _moment(end, zone, "end")
    if start is not None:
        since = _moment(start, zone, "start")
    elif isinstance(days, (int, float)) and days > 0:
        since = max(0.0, until - days * DAY)
    else:
        msg = f"`days` must be positive, got {days!r}"
        raise ConfigurationError(msg)
    if since >= until:
        msg = f"it must begin before it ends, got {since!r} to {until!r}: swap `start` and `end`"
        raise ConfigurationError(msg)
    since = since // HOUR * HOUR
    usual = "hour" if until - since <= _HOURLY_UP_TO + HOUR else "day"
    chosen = cast("Bucket", bucket or usual)
    return Span(since=since, until=until, bucket=chosen, zone=zone)


def bucket_of(moment: float, bucket: Bucket, zone: ZoneInfo) -> float:
    """When the bucket began that a moment is in: UTC seconds since the Unix epoch."""
    if bucket == "hour":
        return moment // HOUR * HOUR
    if zone is _UTC and bucket == "day":
        return moment // DAY * DAY
    local = datetime.fromtimestamp(moment, zone)
    day = local.date()
    if bucket == "week":
        day -= timedelta(days=day.weekday())
    elif bucket == "month":
        day = day.replace(day=1)
    return datetime.combine(day, time(), zone).timestamp()


def where_of(**named: object) -> dict[str, str]:
    """The conditions that were named.

    Raises:
        ConfigurationError: If one is no text.
    """
    found = {}
    for name, value in named.items():
        if isinstance(value, str):
            found[name] = value
        elif value is not None:
            msg = f"`{name}` is a text, got {value!r}"
            raise ConfigurationError(msg)
    return found


def group_of(given: str | None) -> tuple[str, ...]:
    """The dimension that a caller groups by, if any.

    Raises:
        ConfigurationError: If there is none of this name.
    """
    if given is None:
        return ()
    if given not in DIMENSIONS:
        msg = f"`group_by` is one of {', '.join(DIMENSIONS)}, got {given!r}"
        raise ConfigurationError(msg)
    return (given,)


def _moment(given: float | datetime | date, zone: ZoneInfo, name: str) -> float:
    if isinstance(given, datetime):
        moment = (given if given.tzinfo else given.replace(tzinfo=zone)).timestamp()
    elif isinstance(given, date):
        moment = datetime.combine(given, time(), zone).timestamp()
    elif isinstance(given, (int, float)) and not isinstance(given, bool):
        moment = float(given)
    else:
        msg = f"`{name}` is a time, or seconds since 1970, got {given!r}"
        raise ConfigurationError(msg)
    if not (isfinite(moment) and 0 <= moment <= _FAR):
        msg = f"`{name}` lies between 1970 and 9999, got {given!r}"
        raise ConfigurationError(msg)
    return moment

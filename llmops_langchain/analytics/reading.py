"""Questions answered: sums by name, bucket and group, from rollups or from the events."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, select

from llmops_langchain.analytics.planning import Segment, planned, smallest
from llmops_langchain.analytics.questions import Question, bucket_of
from llmops_langchain.fits.sketches import quantiles
from llmops_langchain.ledger.rollups import (
    DAY,
    DIMENSIONS,
    HOUR,
    QUARTERS,
    Tier,
    key_text,
    rolled,
)
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import ROLLUP_KEY, ROLLUP_SUMS, events, rollups

__all__ = ["TASK", "Answer", "Sums", "asked", "conditions_of_events", "names_of"]

_AT_ONCE = 10_000
"""Events that are added up at a time."""

_SEEKS = 400
"""Days that are looked up one by one."""

TASK = "task"
"""A tag that stands for the task of the scope."""

_MOMENT = "moment"
_KEY = len(ROLLUP_KEY)
_WHOLE = len(ROLLUP_SUMS) - 1
_HOUR_AT, _DAY_AT, _NAME_AT = (ROLLUP_KEY.index(name) for name in ("hour", "day", "name"))

_NEEDED = tuple(
    events.c[name]
    for name in (
        *("name", "ts", "value", *DIMENSIONS, "error_class", "status", "cache_tier"),
        *("estimated", "unpriced", "input_tokens", "output_tokens", "cached_tokens"),
        *("written_tokens", "reasoning_tokens", "trimmed_tokens", "cost", "saved", "latency"),
        "time_to_first_token",
    )
)


@dataclass(slots=True)
class Sums:
    """What some events add up to; the names are those of the columns of `llmops_rollups`."""

    events: int = 0
    errors: int = 0
    refused: int = 0
    cache_hits: int = 0
    estimated: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    written_tokens: int = 0
    reasoning_tokens: int = 0
    trimmed_tokens: int = 0
    cost: int = 0
    saved: int = 0
    measured: int = 0
    total: float = 0.0
    least: float | None = None
    most: float | None = None
    sketches: list[bytes] = field(default_factory=list)
    """Of the values; empty unless percentiles were asked for."""
    first_tokens: list[bytes] = field(default_factory=list)
    """Of the time to the first token, likewise."""

    @property
    def mean(self) -> float | None:
        """Of what was measured."""
        return self.total / self.measured if self.measured else None

    def add(self, other: "Sums") -> None:
        """Add other events."""
        for name in ROLLUP_SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.bound(other.least, other.most)
        self.sketches += other.sketches
        self.first_tokens += other.first_tokens

    def without(self, others: Iterable["Sums"]) -> "Sums":
        """What is left without some of these events; neither bounds nor percentiles."""
        left = {name: getattr(self, name) for name in ROLLUP_SUMS}
        for each in others:
            for name in ROLLUP_SUMS:
                left[name] -= getattr(each, name)
        return Sums(**left)

    def bound(self, least: float | None, most: float | None) -> None:
        """Take the bounds of other events in."""
        lows = [each for each in (self.least, least) if each is not None]
        highs = [each for each in (self.most, most) if each is not None]
        self.least, self.most = min(lows, default=None), max(highs, default=None)

    def quantile(self, share: float) -> float | None:
        """The value that so large a share of all do not exceed, within 1 %."""
        if not self.measured or not self.sketches:
            return None
        found = float(quantiles(self.sketches, [share])[0])
        # The extremes are known exactly.
        low = found if self.least is None else max(found, self.least)
        return low if self.most is None else min(low, self.most)


_Key = tuple[str, float, tuple[str, ...]]
"""Name, beginning of the bucket, group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Sums by name of the event, beginning of the bucket, and group."""

    since: float
    """From when on events were looked at, UTC seconds since the Unix epoch."""
    cells: Mapping[_Key, Sums]
    """The beginning is 0 where buckets were not asked for."""

    def total(self, *names: str) -> Sums:
        """The sums of all events of these names."""
        return _together(sums for (name, *_), sums in self.cells.items() if name in names)

    def by_group(self, *names: str) -> dict[tuple[str, ...], Sums]:
        """The same by group."""
        return self._by(2, names)

    def by_bucket(self, *names: str) -> dict[float, Sums]:
        """The same by the beginning of the bucket, in order."""
        return dict(sorted(self._by(1, names).items()))

    def _by(self, at: int, names: Iterable[str]) -> dict[Any, Sums]:
        found: dict[Any, Sums] = {}
        for key, sums in self.cells.items():
            if key[0] in names:
                found.setdefault(key[at], Sums()).add(sums)
        return found


def asked(database: Database, question: Question, now: float) -> Answer:
    """The answer to a question.

    Args:
        database: Where the events are.
        question: What is asked.
        now: UTC seconds since the Unix epoch.

    Raises:
        StorageError: If the database cannot answer.
    """
    segments = planned(question, now)
    since, segments = segments[0].since, [each for each in segments if each.since < each.until]
    cells: dict[_Key, Sums] = {}
    with database.begin(read_only=True) as connection:
        chosen = _chosen(connection, question, segments)
        for segment in segments:
            for key, sums in _cells(connection, question, segment, chosen):
                known = cells.get(key)
                if known is None:
                    cells[key] = sums
                else:
                    known.add(sums)
    return Answer(since=since, cells=_bounded(question, cells))


def names_of(database: Database, question: Question, now: float) -> list[str]:
    """Names of the events on the days of a question, whatever tags they have, in order."""
    c, tier = rollups.c, smallest(question)
    days = Segment(tier, question.span.since, max(question.span.until, now))
    found = select(c.name).where(*_within(question, days, tier)).distinct().order_by(c.name)
    with database.begin(read_only=True) as connection:
        return list(connection.execute(found).scalars())


def _chosen(
    connection: Connection, question: Question, segments: Iterable[Segment]
) -> list[str] | None:
    """The groups that are told, if that is not all of them."""
    if question.top is None or not question.by:
        return None
    (by,) = question.by
    column = rollups.c[by]
    weights: dict[str, int] = {}
    for segment in segments:
        if segment.tier is None:
            return None
        found = (
            select(column, func.sum(rollups.c[question.ranked]))
            .where(*_conditions(question, segment, segment.tier))
            .group_by(column)
        )
        for group, weight in connection.execute(found):
            weights[group] = weights.get(group, 0) + int(weight)
    return None if len(weights) <= question.top else _heaviest(weights, question.top)


def _bounded(question: Question, cells: dict[_Key, Sums]) -> dict[_Key, Sums]:
    """The same, of the groups that are told: how many there are is known last for rows."""
    if question.top is None or not question.by:
        return cells
    weights: dict[str, int] = {}
    for (*_, (group,)), sums in cells.items():
        weights[group] = weights.get(group, 0) + getattr(sums, question.ranked)
    if len(weights) <= question.top:
        return cells
    told = frozenset(_heaviest(weights, question.top))
    return {key: sums for key, sums in cells.items() if key[2][0] in told}


def _heaviest(weights: Mapping[str, int], top: int) -> list[str]:
    return sorted(weights, key=lambda group: (-weights[group], group))[:top]


def _cells(
    connection: Connection, question: Question, segment: Segment, chosen: list[str] | None
) -> Iterator[tuple[_Key, Sums]]:
    if segment.tier is None:
        yield from _of_events(connection, question, segment)
        return
    only = [] if chosen is None else [rollups.c[question.by[0]].in_(chosen)]
    begin = _begins(question, segment)
    for name, at, *rest in connection.execute(_sums(question, segment, segment.tier).where(*only)):
        whole, (total, least, most, *group) = rest[:_WHOLE], rest[_WHOLE:]
        sums = _summed(*map(int, whole), float(total), least, most)
        yield (name, begin(at), tuple(group)), sums
    if question.sketched:
        found = connection.execute(_sketches(question, segment, segment.tier).where(*only))
        for name, at, sketch, first, *group in found:
            key = (name, begin(at), tuple(group))
            yield key, Sums(sketches=[sketch], first_tokens=[first])


def _sums(question: Question, segment: Segment, tier: Tier) -> Select[Any]:
    """Name, time, sums, bounds, group."""
    c = rollups.c
    time, groups = _time(question, segment), [c[name] for name in question.by]
    sums = [func.sum(c[name]) for name in ROLLUP_SUMS]
    return (
        select(c.name, time, *sums, func.min(c.least), func.max(c.most), *groups)
        .where(*_conditions(question, segment, tier))
        .group_by(c.name, literal_column(_MOMENT), *groups)
    )


def _sketches(question: Question, segment: Segment, tier: Tier) -> Select[Any]:
    """Name, time, both sketches, group: the bytes are joined here."""
    c = rollups.c
    groups = [c[name] for name in question.by]
    found = select(c.name, _time(question, segment), c.sketch, c.first_token, *groups)
    return found.where(*_conditions(question, segment, tier), c.measured > 0)


def _time(question: Question, segment: Segment) -> ColumnElement[Any]:
    """What is told apart: nothing, hours since the Unix epoch, or days of the zone."""
    day, hour = rollups.c.day, rollups.c.hour
    if not question.bucketed:
        return literal_column("0").label(_MOMENT)
    hours = day * 24 + hour
    if question.span.bucket == "hour":
        return hours.label(_MOMENT)
    if segment.ahead == 0:
        return day.label(_MOMENT)
    return ((hours + int(segment.ahead // HOUR)) // 24).label(_MOMENT)


def _conditions(question: Question, segment: Segment, tier: Tier) -> list[ColumnElement[bool]]:
    return [rollups.c.name.in_(question.names), *_within(question, segment, tier)]


def _within(question: Question, segment: Segment, tier: Tier) -> list[ColumnElement[bool]]:
    c = rollups.c
    first, last = int(segment.since // DAY), int((segment.until - 1) // DAY)
    where = {name: key_text(value) for name, value in question.where.items()}
    found: list[ColumnElement[bool]] = [
        c.tier == tier.number,
        *(c[name] == value for name, value in where.items()),
    ]
    if "user" not in tier.dimensions:
        found.append(c.user == "")
    is_narrow = "user" in where or ("workspace" in where and "user" not in tier.dimensions)
    if is_narrow and last - first < _SEEKS:
        # The key goes on with the user and the workspace: a look-up a day, not all of the days.
        found.append(c.day.in_(range(first, last + 1)))
    else:
        found.append(c.day.between(first, last))
    if tier.is_hourly:
        at = c.day * 24 + c.hour
        found += [at >= int(segment.since // HOUR), at < int(-(-segment.until // HOUR))]
    return found


def _of_events(
    connection: Connection, question: Question, segment: Segment
) -> Iterator[tuple[_Key, Sums]]:
    """The same, worked out from the events themselves."""
    begin = _begins(question, segment)
    by = [ROLLUP_KEY.index(name) for name in question.by]
    at_a_time = {"yield_per": _AT_ONCE}
    rows = connection.execute(_events(question, segment), execution_options=at_a_time)
    for batch in rows.partitions(_AT_ONCE):
        for row in rolled(batch, now=0.0, tiers=(QUARTERS,)):
            *sums, sketch, first = row[_KEY:]
            at = row[_DAY_AT] * DAY + row[_HOUR_AT] * QUARTERS.width
            key = (row[_NAME_AT], begin(at), tuple(row[each] for each in by))
            yield key, _summed(*sums, [sketch], [first])


def _events(question: Question, segment: Segment) -> Select[Any]:
    return select(*_NEEDED).where(
        events.c.name.in_(question.names),
        events.c.ts >= segment.since,
        events.c.ts < segment.until,
        *conditions_of_events(question),
    )


def conditions_of_events(question: Question) -> list[ColumnElement[bool]]:
    """Whose the events must be, and what their tags; `""` is nobody's, as groups have it."""
    whose = [
        events.c[name] == value if value else func.coalesce(events.c[name], "") == ""
        for name, value in question.where.items()
    ]
    return whose + [
        (events.c.task if name == TASK else events.c.tags[name].as_string()) == value
        for name, value in question.tags.items()
    ]


def _begins(question: Question, segment: Segment) -> Callable[[float], float]:
    """When the bucket began of what `_time` told, or of a moment; 0 without buckets."""
    span = question.span
    if not question.bucketed:
        return lambda _: 0.0
    if segment.tier is None:
        return cache(lambda moment: bucket_of(moment, span.bucket, span.zone))
    if span.bucket == "hour":
        return lambda hours: hours * HOUR
    # Noon is of the same day, whether clocks were changed in the night or not.
    noon = DAY / 2 - segment.ahead
    return cache(lambda day: bucket_of(day * DAY + noon, span.bucket, span.zone))


def _summed(*columns: Any) -> Sums:
    """In the order of the table's columns."""
    return Sums(*columns)


def _together(sums: Iterable[Sums]) -> Sums:
    whole = Sums()
    for each in sums:
        whole.add(each)
    return whole

"""Metrics of the app's own, checked and made events."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, cast

from llmops_langchain.clock import Clock
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger import (
    ABANDONED,
    CONTEXT_WARNING,
    EMBEDDING,
    LLM_CALL,
    TOOL_CALL,
    TRIM,
    Event,
    Ledger,
    current_scope,
)
from llmops_langchain.storage.hopping import hop

__all__ = ["MOST_TAGS", "Metric", "Tracking"]

MOST_TAGS = 32
"""Tags of one metric."""

_LONGEST = 200  # characters of a name, a unit, or a tag's name
_LONGEST_VALUE = 1_000  # characters of a tag's value
_DAY = 86_400.0
_PAST, _FUTURE = 10 * 365 * _DAY, _DAY
_OURS = frozenset({LLM_CALL, EMBEDDING, TOOL_CALL, TRIM, CONTEXT_WARNING, ABANDONED})
_OF_SCOPE = ("workspace", "project", "task", "user", "agent")
_SCOPE_TAGS = frozenset(
    {*_OF_SCOPE, *(f"{name}_id" for name in _OF_SCOPE), "session_id", "thread_id", "model"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One value, for `track_metrics`."""

    name: str
    """Which metric, such as `task.completion_time`."""
    value: float
    """In `unit`."""
    unit: str | None = None
    """`seconds`, `share` (0 to 1), `count`, or what you say."""
    tags: Mapping[str, str] | None = None
    """As for `track_metric`."""
    ts: float | None = None
    """When it was, UTC seconds since the Unix epoch; `None` is now."""


class Tracking:
    """The part of `Analytics` that records metrics."""

    _ledger: Ledger | None
    _clock: Clock

    def track_metric(
        self,
        name: str,
        value: float,
        unit: str | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        ts: float | None = None,
    ) -> None:
        """Record one value; it is in reports within a second, or after `flush()`.

        Args:
            name: Which metric. `task.completion_time` and `agent.response_time` (seconds),
                `task.success`, `quality.score` and `test.coverage` (shares, 0 to 1) have a place in
                the reports; any other name is yours.
            value: In `unit`.
            unit: `"seconds"`, `"share"`, `"count"`, or what you say.
            tags: What to filter by. `project_id`, `user_id`, `workspace_id`, `agent`, `task` and
                `thread_id` (`project`, `user`, … too) fill what `ops.track` left open of the scope,
                `model` is the model's name.
            ts: When it was, UTC seconds since the Unix epoch, by default now.

        Raises:
            ConfigurationError: If the name is one of the package's own, the value is no finite
                number, the time is more than a day ahead or ten years ago, or there are more than
                32 tags. Nothing is recorded then.
        """
        self._record([self._event(Metric(name=name, value=value, unit=unit, tags=tags, ts=ts))])

    def track_metrics(self, metrics: Iterable[Metric | Mapping[str, Any]]) -> int:
        """Record many values: all of them, or none if one of them is wrong.

        Args:
            metrics: `Metric`s, or mappings with their fields.

        Returns:
            How many there were.

        Raises:
            ConfigurationError: As for `track_metric`; the message says which one is wrong.
        """
        found = []
        for at, each in enumerate(metrics):
            try:
                found.append(self._event(_metric(each)))
            except ConfigurationError as error:
                error.add_note(f"it is metric {at} of the batch, counted from 0; none was recorded")
                raise
        self._record(found)
        return len(found)

    atrack_metric = hop(track_metric)
    atrack_metrics = hop(track_metrics)

    def _record(self, found: list[Event]) -> None:
        if self._ledger is None:
            msg = "metrics belong to an `LLMOps`: use `ops.analytics`, or `Analytics(…, ledger=…)`"
            raise ConfigurationError(msg)
        self._ledger.record_all(found)

    def _event(self, metric: Metric) -> Event:
        now = self._clock()
        scope, tags = current_scope(), metric.tags or {}
        given = _checked_tags(tags) if tags else tags
        if given:
            scope = scope.filled_from(given)
        free = {name: each for name, each in given.items() if name not in _SCOPE_TAGS}
        return Event(
            name=_checked_name(metric.name),
            value=_checked_value(metric.value),
            unit=_checked_unit(metric.unit),
            ts=now if metric.ts is None else _checked_time(metric.ts, now),
            **(replace(scope, tags={**scope.tags, **free}) if free else scope).of_event,
            model=given.get("model"),
        )


def _metric(given: Metric | Mapping[str, Any]) -> Metric:
    if isinstance(given, Metric):
        return given
    try:
        return Metric(**given)
    except TypeError as error:
        msg = f"a metric has name, value, unit, tags and ts: {error}"
        raise ConfigurationError(msg) from error


def _checked_name(name: object) -> str:
    is_text = isinstance(name, str) and 0 < len(name) <= _LONGEST and name.isprintable()
    if not is_text or name != str(name).strip():
        msg = f"a metric's name is a text of 1 to {_LONGEST} characters, got {name!r:.300}"
        raise ConfigurationError(msg)
    if name in _OURS:
        msg = f"{name!r} is recorded by the package itself: choose another name"
        raise ConfigurationError(msg)
    return name


def _checked_value(value: object) -> float:
    try:
        number = float(cast("Any", value))
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not isfinite(number) or isinstance(value, str):
        msg = f"a metric's value is a finite number, got {value!r:.300}"
        raise ConfigurationError(msg)
    return number


def _checked_unit(unit: object) -> str | None:
    if unit is not None and not (isinstance(unit, str) and len(unit) <= _LONGEST):
        msg = f"`unit` is a text of up to {_LONGEST} characters, got {unit!r:.300}"
        raise ConfigurationError(msg)
    return unit


def _checked_time(ts: object, now: float) -> float:
    is_number = isinstance(ts, (int, float)) and not isinstance(ts, bool)
    if not is_number or not now - _PAST <= cast("float", ts) <= now + _FUTURE:
        msg = (
            f"`ts` is in UTC seconds since 1970, from ten years ago to a day ahead, got {ts!r}, "
            f"which is not within {now - _PAST:.0f} and {now + _FUTURE:.0f}"
        )
        raise ConfigurationError(msg)
    return float(cast("float", ts))


def _checked_tags(tags: Mapping[Any, Any]) -> dict[str, str]:
    if len(tags) > MOST_TAGS:
        msg = f"a metric has at most {MOST_TAGS} tags, got {len(tags)}"
        raise ConfigurationError(msg)
    checked = {str(name): str(value) for name, value in tags.items() if value is not None}
    for name, value in checked.items():
        if not 0 < len(name) <= _LONGEST or len(value) > _LONGEST_VALUE:
            msg = (
                f"a tag's name has 1 to {_LONGEST} characters and its value up to "
                f"{_LONGEST_VALUE}, got {len(name)} and {len(value)}"
            )
            raise ConfigurationError(msg)
    return checked

"""Reports from sums are what the events say: of any span, zone, group and filter."""

import json
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from conftest import FakeClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from unit_tests.analytics.conftest import emptied

from llmops_langchain import Analytics, ConfigurationError
from llmops_langchain.analytics.reports import Report
from llmops_langchain.ledger import LLM_CALL, Event
from llmops_langchain.ledger.settlement import Settlement
from llmops_langchain.models import dollars
from llmops_langchain.storage import Database

# A Sunday in November, in which New York's clocks went back, as Berlin's had a week before.
NOW = datetime(2026, 11, 3, 15, 20, tzinfo=UTC).timestamp()
DAY, HOUR = 86_400.0, 3600.0
DIMENSIONS = ("workspace", "project", "user", "agent", "model")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham"]


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


@pytest.fixture
def analytics(database: Database, clock: FakeClock) -> Analytics:
    clock.now = NOW
    return Analytics(database, clock=clock)


def store(database: Database, *given: Event) -> None:
    with database.begin() as connection:
        Settlement(lambda: NOW).store(connection, given)


def call(**fields: object) -> Event:
    return Event(**({"name": LLM_CALL, "ts": NOW} | fields))


def shown(*reports: Report) -> str:
    """As a terminal of 120 columns has them."""
    console = Console(width=120, record=True, file=StringIO())
    console.print(*reports)
    return console.export_text()


def score(value: float, **fields: object) -> Event:
    return Event(**({"name": "quality.score", "value": value, "ts": NOW} | fields))


few = st.sampled_from([None, "a", "b"])
calls = st.builds(
    Event,
    name=st.just(LLM_CALL),
    ts=st.floats(NOW - 12 * DAY, NOW),
    cost=st.integers(1, 10**12),
    input_tokens=st.integers(0, 10**6),
    tags=st.none() | st.fixed_dictionaries({"env": st.sampled_from(["dev", "prod"])}),
    task=few,
    **dict.fromkeys(DIMENSIONS, few),
)


def begin_of(moment: float, bucket: str, zone: str) -> float:
    """Worked out another way than the package does: by the parts of the local date."""
    if bucket == "hour":
        return moment - moment % HOUR
    local = datetime.fromtimestamp(moment, ZoneInfo(zone))
    first = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if bucket == "week":
        first = first - timedelta(days=first.weekday())
    if bucket == "month":
        first = first.replace(day=1)
    return first.timestamp()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    made=st.lists(calls, max_size=30),
    where=st.dictionaries(st.sampled_from(DIMENSIONS), st.sampled_from("ab"), max_size=2),
    rest=st.fixed_dictionaries(
        {
            "tags": st.sampled_from([None, {"env": "dev"}]),
            "task": few,
            "group_by": st.none() | st.sampled_from(DIMENSIONS),
            "bucket": st.sampled_from(["hour", "day", "week", "month"]),
            "timezone": st.sampled_from(ZONES),
            "days": st.floats(0.01, 12),
            "end": st.none() | st.floats(NOW - 5 * DAY, NOW),
        }
    ),
)
def test_a_report_is_what_the_events_say(database, made, where, rest) -> None:
    emptied(database)
    store(database, *made)
    report = Analytics(database, clock=lambda: NOW).cost(**rest, **where)
    end = NOW if rest["end"] is None else rest["end"]
    # All users are told apart by whole days.
    width = DAY if rest["group_by"] == "user" else HOUR
    since = (end - rest["days"] * DAY) // HOUR * HOUR
    assert report.since == since // width * width
    whole_hour = -(-end // width) * width
    expected = [
        each
        for each in made
        if report.since <= each.ts < whole_hour
        and all(getattr(each, name) == value for name, value in where.items())
        and rest["tags"] in (None, each.tags)
        and rest["task"] in (None, each.task)
    ]
    assert report.calls == len(expected)
    assert report.total * 10**9 == sum(each.cost for each in expected)
    assert report.input_tokens == sum(each.input_tokens for each in expected)
    series, groups = defaultdict(int), defaultdict(int)
    for each in expected:
        series[begin_of(each.ts, rest["bucket"], rest["timezone"])] += each.cost
        groups[getattr(each, rest["group_by"] or "model") or ""] += each.cost
    assert {at: each.total * 10**9 for at, each in report.series.items()} == series
    if rest["group_by"] is not None:
        assert {name: each.total * 10**9 for name, each in report.groups.items()} == groups


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    values=st.lists(st.floats(0.001, 1e6), min_size=1, max_size=60),
    share=st.floats(0, 1),
    user=st.sampled_from([None, "a"]),
)
def test_percentiles_are_those_of_the_values(database, values, share, user) -> None:
    emptied(database)
    store(
        database,
        *(score(each, ts=NOW - at * HOUR, user="ab"[at % 2]) for at, each in enumerate(values)),
    )
    report = Analytics(database, clock=lambda: NOW).quality(days=4, user=user).scores
    mine = np.sort([each for at, each in enumerate(values) if user is None or at % 2 == 0])
    assert (report.count, report.minimum, report.maximum) == (len(mine), mine[0], mine[-1])
    assert report.mean == pytest.approx(mine.mean())
    exact = mine[max(1, int(np.ceil(share * len(mine) * (1 - 1e-12)))) - 1]
    assert report.percentile(share) == pytest.approx(exact, rel=0.01)


class TestCost:
    def test_what_is_worked_out(self, database, analytics) -> None:
        store(
            database,
            call(cost=3 * 10**9, input_tokens=900, output_tokens=100, ts=NOW - DAY),
            call(cost=0, saved=10**9, cache_tier="exact"),
        )
        report = analytics.cost(days=2)
        assert (report.cache_hit_rate, report.saved) == (0.5, 1)
        assert report.per_1k_tokens == 3
        assert float(report.daily_average) == pytest.approx(3 / report_days(report))

    def test_without_calls_there_are_no_ratios(self, analytics) -> None:
        report = analytics.cost()
        assert (report.cache_hit_rate, report.per_1k_tokens, report.trend) == (None, None, None)
        assert (report.total, report.daily_average, report.change) == (0, 0, None)

    @pytest.mark.parametrize(("bucket", "days"), [("hour", 2), ("day", 5), ("week", 40)])
    def test_even_spending_has_no_trend(self, database, analytics, bucket, days) -> None:
        hours = range(50 * 24)
        store(database, *(call(ts=NOW - at * HOUR, cost=10**9) for at in hours))
        for zone in ("UTC", "Europe/Berlin"):
            trend = analytics.cost(days=days, bucket=bucket, timezone=zone).trend
            assert trend == pytest.approx(0.0, abs=1e-6)

    def test_a_trend_is_the_slope_of_the_days(self, database, analytics) -> None:
        midnight = NOW // DAY * DAY
        store(
            database, *(call(cost=day * 10**9, ts=midnight - DAY * (9 - day)) for day in range(9))
        )
        assert analytics.cost(days=10).trend == pytest.approx(1.0)
        assert analytics.cost(days=10, user="nobody").trend is None

    def test_the_time_before_is_compared(self, database, analytics) -> None:
        store(database, call(cost=2), call(cost=1, ts=NOW - 30 * HOUR))
        report = analytics.cost(days=1, compare=True)
        assert (report.before.calls, report.change) == (1, 1.0)
        assert analytics.cost(days=1).before is None

    def test_far_back_it_begins_with_the_whole_day(self, database, analytics) -> None:
        store(database, call(user="u", ts=NOW - 20 * DAY - 2 * HOUR))
        report = analytics.cost(days=20, user="u")
        assert (report.calls, report.since % DAY) == (1, 0)

    def test_users_are_told_apart_by_whole_days_and_nobody_is_one(
        self, database, analytics
    ) -> None:
        midnight = NOW // DAY * DAY
        early = call(user="u", project="a", ts=midnight - DAY + 60)
        store(database, early, call(project="a"), call(user="u", project="a"))
        for named in ({}, {"project": "a"}):
            report = analytics.cost(days=1, group_by="user", **named)
            assert report.since == midnight - DAY
            assert {user: each.calls for user, each in report.groups.items()} == {"": 1, "u": 2}
            assert report.calls == 3
            assert analytics.cost(days=1, **named).calls == 2

    def test_no_more_groups_than_asked_for(self, database, analytics) -> None:
        dev = {"env": "dev"}
        named = [{"cost": at, "user": f"u{at}", "agent": f"a{at}"} for at in range(9)]
        store(database, *(call(**each, tags=dev) for each in named))
        for by, first in (("user", "u"), ("agent", "a")):
            for tags in (None, {"env": "dev"}):  # from the sums, and from the rows
                report = analytics.cost(days=1, group_by=by, top=2, tags=tags)
                assert list(report.groups) == [f"{first}7", f"{first}8"]
                assert report.others is not None
                assert (report.others.calls, report.others.total) == (7, dollars(sum(range(7))))
                assert "(others)" in shown(report)
            assert analytics.cost(days=1, group_by=by, top=9).others is None
        with pytest.raises(ConfigurationError, match="`top`"):
            analytics.cost(top=0)

    def test_parts_of_a_report_come_from_one_place(self, database, analytics) -> None:
        midnight = NOW // DAY * DAY
        early = midnight - 30 * DAY + 3600  # before the report begins, on its first day
        store(database, *(call(user="ann", model=f"m{at}", ts=early) for at in range(3)))
        store(database, call(user="ann", model="late"))
        for zone in ("UTC", "Europe/Berlin", "Asia/Kolkata"):
            asked = {"user": "ann", "group_by": "model", "timezone": zone, "compare": True}
            report = analytics.cost(days=30, top=1, **asked)
            told = [*report.groups.values(), *([report.others] if report.others else [])]
            assert sum(each.calls for each in told) == report.calls
            assert report.before is not None
            assert report.calls + report.before.calls == 4

    @pytest.mark.parametrize("named", ["user", "project"])
    def test_nobody_is_asked_for_by_an_empty_name(self, database, analytics, named) -> None:
        ages = [0.1, 3, 20, 29]
        store(database, *(call(ts=NOW - at * DAY) for at in ages))
        store(database, *(call(ts=NOW - at * DAY, **{named: "a"}) for at in ages))
        for zone in ("UTC", "Asia/Kolkata"):
            report = analytics.cost(days=30, timezone=zone, group_by=named, **{named: ""})
            assert (report.calls, report.groups[""].calls) == (4, 4)

    def test_the_time_before_ends_where_the_report_begins(self, database, analytics) -> None:
        day = NOW // DAY * DAY - 31 * DAY
        store(database, call(user="ann", ts=day + 20 * HOUR))
        report = analytics.cost(start=day + 6 * HOUR, end=day + 7 * HOUR, user="ann", compare=True)
        assert report.before is not None
        assert (report.calls, report.before.calls) == (0, 0)

    def test_what_has_not_begun_is_empty(self, database, analytics) -> None:
        store(database, call())
        assert analytics.cost(start=NOW + 2 * HOUR, end=NOW + 3 * HOUR).calls == 0
        assert analytics.cost(start=NOW + 3 * DAY, end=NOW + 9 * DAY).calls == 0

    def test_names_are_those_of_the_scope(self, database, analytics) -> None:
        store(database, score(1, workspace="acme"))
        store(database, Event(name="secret.score", ts=NOW, value=1, workspace="rival", user="u"))
        assert list(analytics.metrics(workspace="acme")) == ["quality.score"]
        assert list(analytics.metrics(user="u")) == ["secret.score"]
        with pytest.raises(ConfigurationError, match=r"there were quality\.score$"):
            analytics.metrics("other", workspace="acme")

    def test_first_tokens_are_counted(self, database, analytics) -> None:
        nothing = analytics.performance().first_token
        assert (nothing.count, nothing.mean) == (0, None)
        store(database, *(call(latency=1.0, time_to_first_token=each) for each in (0.2, 0.4)))
        found = analytics.performance().first_token
        assert found.count == 2
        assert found.mean == pytest.approx(0.3, rel=0.01)

    def test_dates_are_those_of_the_zone(self, database, analytics) -> None:
        store(database, call(ts=datetime(2026, 10, 24, 22, 30, tzinfo=UTC).timestamp()))
        on = {"start": date(2026, 10, 25), "end": date(2026, 10, 26)}
        assert analytics.cost(**on, timezone="Europe/Berlin").calls == 1  # half past midnight
        assert analytics.cost(**on).calls == 0

    def test_a_day_of_25_hours_is_one_bucket(self, database, analytics) -> None:
        first = datetime(2026, 10, 24, 22, tzinfo=UTC).timestamp()  # midnight in Berlin
        store(database, *(call(ts=first + HOUR * n + 60) for n in range(25)), call(ts=first - 60))
        series = analytics.cost(days=14, timezone="Europe/Berlin", bucket="day").series
        assert {at: each.calls for at, each in series.items()} == {first - DAY: 1, first: 25}


def report_days(report) -> float:
    return (report.until - report.since) / DAY


class TestPerformance:
    def test_tasks_agents_and_calls(self, database, analytics) -> None:
        store(
            database,
            *(
                Event(name="task.completion_time", value=v, ts=NOW, agent="coder")
                for v in (10.0, 20.0)
            ),
            *(Event(name="task.success", value=v, ts=NOW) for v in (1.0, 1.0, 0.0, 1.0)),
            Event(name="agent.response_time", value=2.5, ts=NOW, agent="coder"),
            call(latency=1.5, time_to_first_token=0.25),
            call(latency=0.5, status="error", error_class="Timeout"),
        )
        report = analytics.performance(days=1, group_by="agent")
        time = report.completion_time
        assert (time.mean, time.minimum, time.maximum) == (15.0, 10.0, 20.0)
        assert (report.success_rate, report.tasks) == (0.75, 4)
        assert report.response_time.groups["coder"].mean == 2.5
        assert (report.latency.total, report.calls, report.error_rate) == (2.0, 2, 0.5)
        assert report.first_token.percentile(0.5) == pytest.approx(0.25, rel=0.01)
        assert report.percentile(0.5) == pytest.approx(10.0, rel=0.01)

    def test_other_metrics_are_taken_in_by_name(self, database, analytics) -> None:
        store(database, Event(name="build.time", value=3.0, ts=NOW))
        with pytest.raises(ConfigurationError, match=r"performance\(metrics=\['build.time'\]\)"):
            analytics.performance().percentile(0.5, metric="build.time")
        report = analytics.performance(metrics=["build.time"])
        assert report.percentile(1, metric="build.time") == 3.0

    def test_with_nothing_recorded_nothing_is_known(self, analytics) -> None:
        report = analytics.performance()
        assert (report.success_rate, report.error_rate, report.percentile(0.95)) == (None,) * 3
        assert report.tasks == 0


class TestMetrics:
    def test_those_that_there_were(self, database, analytics) -> None:
        store(database, score(0.5), Event(name="a", value=1.0, ts=NOW))
        assert list(analytics.metrics(days=1)) == ["a", "quality.score"]
        assert analytics.metrics("a")["a"].total == 1.0

    def test_an_unknown_one_is_told_with_those_there_are(self, database, analytics) -> None:
        store(database, score(0.5))
        with pytest.raises(ConfigurationError, match=r"no metric 'b'.*quality\.score"):
            analytics.metrics("b")

    def test_its_change_and_trend(self, database, analytics) -> None:
        store(database, *(score(0.1 * day, ts=NOW - DAY * (8 - day)) for day in range(1, 9)))
        report = analytics.quality(days=4, compare=True).scores
        assert report.trend == pytest.approx(0.1, abs=1e-6)
        assert report.change == pytest.approx(2.0)  # 0.6 after 0.2


@pytest.mark.parametrize(
    ("odd", "match"),
    [
        ({"days": 0}, "`days` must be positive"),
        ({"days": "7"}, "`days` must be positive"),
        ({"start": 20.0, "end": 10.0}, "swap `start` and `end`"),
        ({"start": float("nan")}, "between 1970 and 9999"),
        ({"start": "yesterday"}, "`start` is a time"),
        ({"end": -1}, "between 1970 and 9999"),
        ({"timezone": "Mars/Base"}, "Europe/Berlin"),
        ({"timezone": "../etc"}, "Europe/Berlin"),
        ({"bucket": "minute"}, "`bucket` is one of"),
        ({"group_by": "colour"}, "`group_by` is one of"),
        ({"project": 5}, "`project` is a text"),
        ({"tags": {"env": 5}}, "`env` is a text"),
    ],
)
def test_bad_input_is_a_clear_error(odd, match) -> None:
    with Database("sqlite://") as database, pytest.raises(ConfigurationError, match=match):
        Analytics(database, clock=lambda: NOW).cost(**odd)


@pytest.mark.parametrize("share", [-0.1, 95, float("nan")])
def test_a_percentile_is_a_share(share) -> None:
    with (
        Database("sqlite://") as database,
        pytest.raises(ConfigurationError, match=r"0\.95 for p95"),
    ):
        Analytics(database).performance().percentile(share)


def test_reports_are_json_and_tables(database, analytics) -> None:
    store(database, call(cost=10**9, latency=1.0, model="gpt-4o", project="p"), score(0.5))
    found = [
        analytics.cost(days=1, group_by="project", compare=True),
        analytics.performance(days=3),
        analytics.quality(),
        analytics.metrics("quality.score")["quality.score"],
        analytics.cost().by_model["gpt-4o"],
    ]
    for report in found:
        said = json.loads(json.dumps(report.to_dict()))
        assert not any(name.startswith("_") for name in said)
    for words in ("gpt-4o", "$1.0000", "quality.score", "llm.call"):
        assert words in shown(*found)

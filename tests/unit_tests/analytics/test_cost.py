"""What the events add up to, on every kind of database."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from conftest import FakeClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_langchain import (
    Analytics,
    ConfigurationError,
    CostReport,
    Database,
    DatabaseUnavailableError,
    Event,
    Ledger,
)
from llmops_langchain.ledger import ABANDONED, EMBEDDING, LLM_CALL, TOOL_CALL, TRIM

NOW = 1_800_000_000.0
DAY = 86_400.0

counts = st.integers(0, 10**6)
money = st.integers(0, 10**15)
calls = st.fixed_dictionaries(
    {
        "name": st.just(LLM_CALL),
        "model": st.sampled_from([None, "unknown", "small", "large"]),
        "input_tokens": counts,
        "output_tokens": counts,
        "cached_tokens": counts,
        "cost": money,
        "saved": money,
        "status": st.sampled_from(["ok", "error"]),
        "cache_tier": st.sampled_from([None, "exact", "other"]),
        "estimated": st.booleans(),
        "unpriced": st.booleans(),
        "latency": st.none() | st.integers(0, 1000).map(float),
    }
)
cuts = st.fixed_dictionaries(
    {
        "name": st.just(TRIM),
        "model": st.sampled_from([None, "small"]),
        "trimmed_tokens": counts,
        "saved": money,
    }
)
metrics = st.fixed_dictionaries({"name": st.just("task.success"), "value": st.just(1.0)})


@pytest.fixture
def store(database: Database, tmp_path: Path) -> Callable[..., None]:
    """Bring events to the database, made a moment ago unless they say otherwise."""

    def bring(*events: dict[str, object]) -> None:
        with Ledger(database, journal_dir=tmp_path) as ledger:
            for each in events:
                ledger.record(Event(**{"name": LLM_CALL, "ts": NOW, **each}))

    return bring


@pytest.fixture
def analytics(database: Database, clock: FakeClock) -> Analytics:
    return Analytics(database, clock=clock)


def total(events: list[dict[str, object]], name: str) -> int:
    return sum(each.get(name) or 0 for each in events)


# The database is shared by the examples: each has a workspace of its own.
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
@given(events=st.lists(calls | cuts | metrics, max_size=12))
def test_totals_are_the_sums_of_the_events(store, analytics, events) -> None:
    workspace = uuid4().hex
    store(*({**each, "workspace": workspace} for each in events))
    report = analytics.cost(workspace=workspace)
    made = [each for each in events if each["name"] == LLM_CALL]
    cut = [each for each in events if each["name"] == TRIM]
    assert report.calls == len(made)
    assert report.cache_hits == sum(each["cache_tier"] is not None for each in made)
    assert report.errors == sum(each["status"] == "error" for each in made)
    assert (report.estimated_calls, report.unpriced_calls) == (
        total(made, "estimated"),
        total(made, "unpriced"),
    )
    for name in ("input_tokens", "output_tokens", "cached_tokens"):
        assert getattr(report, name) == total(made, name)
    assert report.trimmed_tokens == total(cut, "trimmed_tokens")
    assert report.total * 10**9 == total(made, "cost")
    assert report.saved_by_cache * 10**9 == total(made, "saved")
    assert report.saved_by_trimming * 10**9 == total(cut, "saved")
    assert report.latency == total(made, "latency")
    assert_models_add_up(report, events)


def assert_models_add_up(report: CostReport, events: list[dict[str, object]]) -> None:
    named = {each["model"] or "unknown" for each in events if each["name"] in (LLM_CALL, TRIM)}
    assert set(report.by_model) == named
    for name in ("calls", "cache_hits", "input_tokens", "output_tokens", "total", "saved"):
        parts = [getattr(each, name) for each in report.by_model.values()]
        assert sum(parts) == getattr(report, name)


def test_embeddings_and_abandoned_calls_cost_too(store, analytics) -> None:
    store(
        {"cost": 1},
        {"name": EMBEDDING, "cost": 10, "input_tokens": 5, "unpriced": True},
        {"name": ABANDONED, "cost": 100},
        {"name": ABANDONED, "cost": 1000},
        {"name": ABANDONED, "cost": -1000},
        {"name": TOOL_CALL, "latency": 3.0},
    )
    report = analytics.cost()
    assert (report.calls, report.embedding_calls, report.abandoned_calls) == (1, 1, 1)
    assert (report.total * 10**9, report.input_tokens, report.unpriced_calls) == (111, 5, 1)
    assert report.latency == 0


def test_nothing_happened_costs_nothing(analytics) -> None:
    report = analytics.cost()
    assert (report.calls, report.total, report.saved, report.by_model) == (0, 0, 0, {})
    assert report.since == NOW - 30 * DAY


def test_a_filter_takes_its_own_and_nothing_else(store, analytics) -> None:
    names = ("workspace", "project", "task", "user", "agent", "model")
    for name in names:
        store({name: "mine", "input_tokens": 1}, {name: "theirs", "input_tokens": 2})
    for name in names:
        assert analytics.cost(**{name: "mine"}).input_tokens == 1
        assert analytics.cost(**{name: "nobody's"}).calls == 0
    assert analytics.cost().calls == 12


def test_filters_narrow_each_other(store, analytics) -> None:
    store({"project": "a", "user": "u"}, {"project": "a"}, {"user": "u"})
    assert analytics.cost(project="a", user="u").calls == 1


def test_old_events_leave_the_window(store, analytics, clock) -> None:
    """With their whole hour."""
    store({"ts": NOW - DAY}, {"ts": NOW})
    assert analytics.cost(days=1).calls == 2
    clock.advance(3599)
    assert analytics.cost(days=1).calls == 2
    clock.advance(1)
    assert analytics.cost(days=1).calls == 1
    clock.advance(3600)
    assert analytics.cost(days=0.00001).calls == 0
    assert analytics.cost(days=float("inf")).calls == 2


def test_money_is_exact(store, analytics) -> None:
    store(*({"cost": 1, "model": "small"} for _ in range(3)), {"cost": 10**17, "model": "large"})
    report = analytics.cost()
    assert report.total == Decimal("100000000.000000003")
    assert report.by_model["small"].total == Decimal("0.000000003")


def test_a_report_can_be_written_as_json(store, analytics) -> None:
    store({"cost": 1_500_000_000, "saved": 500_000_000, "model": "small", "latency": 0.5})
    told = json.loads(json.dumps(analytics.cost().to_dict()))
    assert (told["total"], told["saved"], told["calls"]) == ("1.5", "0.5", 1)
    assert told["by_model"]["small"]["saved"] == "0.5"


@pytest.mark.parametrize("days", [0, -1, float("nan")])
def test_a_window_must_have_a_length(days) -> None:
    with pytest.raises(ConfigurationError, match="`days` must be positive"):
        Analytics(Database("sqlite://")).cost(days=days)


def test_a_closed_database_is_told() -> None:
    database = Database("sqlite://")
    database.close()
    with pytest.raises(DatabaseUnavailableError):
        Analytics(database).cost()

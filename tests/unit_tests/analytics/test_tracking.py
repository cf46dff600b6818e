"""Metrics of one's own: what they fill of the scope, and what is refused."""

from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pytest
from conftest import FakeClock
from unit_tests.ledger.reading import stored

from llmops_langchain import Analytics, ConfigurationError, Database, LLMOps, Metric, Settings

NOW = 1_800_000_000.0


@pytest.fixture
def ops(clock: FakeClock) -> Iterator[LLMOps]:
    with LLMOps("sqlite://", Settings(), clock=clock) as ops:
        yield ops


def recorded(ops: LLMOps):
    ops.flush()
    return stored(ops.database)


def test_tags_fill_the_scope(ops) -> None:
    tags = {"project_id": "p", "user_id": "u", "workspace": "w", "agent": "coder", "task": "t"}
    ops.analytics.track_metric("task.completion_time", 1200.5, "seconds", {**tags, "env": "dev"})
    (event,) = recorded(ops)
    assert (event.name, event.value, event.unit) == ("task.completion_time", 1200.5, "seconds")
    assert (event.workspace, event.project, event.user) == ("w", "p", "u")
    assert (event.agent, event.task, event.tags) == ("coder", "t", {"env": "dev"})
    assert event.ts == NOW


def test_what_track_said_stays(ops) -> None:
    """A tag that came from a client cannot write to another tenant."""
    with ops.track(workspace="mine", tags={"env": "dev"}):
        ops.analytics.track_metric("a", 1, tags={"workspace_id": "theirs", "project": "p"})
    (event,) = recorded(ops)
    assert (event.workspace, event.project, event.tags) == ("mine", "p", {"env": "dev"})


def test_a_model_can_be_named(ops) -> None:
    ops.analytics.track_metric("quality.score", 0.5, tags={"model": "gpt-4o"})
    assert ops.analytics.quality(model="gpt-4o").scores.count == 0  # not stored yet
    ops.flush()
    assert ops.analytics.quality(model="gpt-4o").scores.count == 1


@pytest.mark.parametrize("value", [1, True, np.float32(0.5), Decimal("0.25"), -3.5, 1e300])
def test_any_number_is_one(ops, value) -> None:
    ops.analytics.track_metric("a", value)
    assert recorded(ops)[0].value == float(value)


@pytest.mark.parametrize(
    ("odd", "match"),
    [
        ({"value": float("nan")}, "finite number"),
        ({"value": float("inf")}, "finite number"),
        ({"value": "1"}, "finite number"),
        ({"value": None}, "finite number"),
        ({"value": 10**400}, "finite number"),
        ({"name": ""}, "1 to 200 characters"),
        ({"name": "a" * 201}, "1 to 200 characters"),
        ({"name": " a"}, "1 to 200 characters"),
        ({"name": "a\n"}, "1 to 200 characters"),
        ({"name": 5}, "1 to 200 characters"),
        ({"name": "llm.call"}, "recorded by the package itself"),
        ({"unit": 5}, "`unit` is a text"),
        ({"ts": NOW + 2 * 86_400}, "ten years ago to a day ahead"),
        ({"ts": 0}, "ten years ago to a day ahead"),
        ({"ts": float("nan")}, "ten years ago to a day ahead"),
        ({"ts": "now"}, "ten years ago to a day ahead"),
        ({"tags": {f"t{n}": "" for n in range(33)}}, "at most 32 tags, got 33"),
        ({"tags": {"a": "x" * 1_001}}, "up to 1000"),
        ({"tags": {"": "x"}}, "1 to 200"),
    ],
)
def test_what_makes_no_sense_is_refused(ops, odd, match) -> None:
    given = {"name": "a", "value": 1.0, **odd}
    with pytest.raises(ConfigurationError, match=match):
        ops.analytics.track_metric(**given)
    with pytest.raises(ConfigurationError, match=match) as caught:
        ops.analytics.track_metrics([Metric(name="a", value=1.0), given])
    assert "metric 1 of the batch" in caught.value.__notes__[0]
    assert recorded(ops) == []


def test_many_at_once(ops) -> None:
    many = [Metric(name="a", value=n, ts=NOW - n, tags={"project": "p"}) for n in range(1_234)]
    assert ops.analytics.track_metrics(many) == 1_234
    assert ops.analytics.track_metrics([{"name": "b", "value": 1}]) == 1
    assert ops.analytics.track_metrics([]) == 0
    ops.flush()
    assert ops.analytics.metrics("a", project="p")["a"].count == 1_234


def test_fields_that_there_are_not_are_told(ops) -> None:
    with pytest.raises(ConfigurationError, match="a metric has name, value"):
        ops.analytics.track_metrics([{"name": "a", "value": 1, "colour": "red"}])


def test_who_only_reads_cannot_track() -> None:
    error = pytest.raises(ConfigurationError, match=r"ops\.analytics")
    with Database("sqlite://") as database, error:
        Analytics(database).track_metric("a", 1)


def test_more_names_than_anybody_reads_take_no_report_down(ops) -> None:
    ops.analytics.track_metrics(
        Metric(name=f"m{n}", value=n, tags={"user": f"u{n}", "agent": f"a{n}"})
        for n in range(2_000)
    )
    ops.flush()
    assert len(ops.analytics.metrics()) == 2_000
    assert len(ops.analytics.metrics("m7", group_by="user")["m7"].groups) == 1


async def test_the_async_twins(ops, tmp_path) -> None:
    await ops.analytics.atrack_metric("task.success", 1.0, "share")
    assert await ops.analytics.atrack_metrics([Metric(name="a", value=1)]) == 1
    await ops.aflush()
    assert (await ops.analytics.aperformance(1)).success_rate == 1.0
    assert (await ops.analytics.acost(1)).calls == 0
    assert (await ops.analytics.aquality(1)).assessments == 0
    assert list(await ops.analytics.ametrics()) == ["a", "task.success"]
    assert await ops.analytics.aexport(tmp_path / "a.csv") == 2
    assert await ops.analytics.aload(tmp_path / "a.csv") == (2, 0)
    assert await ops.analytics.ainsights() == []
    assert (await ops.analytics.aforecast(1)).n == 0
    assert await ops.analytics.aanomalies() == {}
    assert (await ops.analytics.arebuild(verify=True)).right

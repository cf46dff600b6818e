"""What is to come, and what was out of the ordinary, from the sums of days and hours."""

import json
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pytest
from conftest import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_langchain import Budget, ConfigurationError, LLMOps, Settings
from llmops_langchain.analytics.anomalies import ALARM, AnomalyDetector, anomalies
from llmops_langchain.ledger import LLM_CALL, Event
from llmops_langchain.ledger.importing import import_events

NOW = 1_800_000_000.0 - 1_800_000_000.0 % 86_400 + 43_200.0  # noon
DAY = 86_400.0


@pytest.fixture
def ops(clock: FakeClock) -> Iterator[LLMOps]:
    clock.now = NOW
    with LLMOps("sqlite://", Settings(), clock=clock) as ops:
        yield ops


def spend(ops: LLMOps, dollars, days: int = 60, **fields: object) -> None:
    """So many dollars on each of the last whole days."""
    midnight = NOW - NOW % DAY
    made = (
        Event(
            name=LLM_CALL,
            ts=midnight - (days - day) * DAY + 60,
            cost=round(1e9 * dollars(day)),
            **fields,
        )
        for day in range(days)
    )
    import_events(ops.database, made, clock=lambda: NOW)


class TestForecast:
    def test_days_of_the_week_are_seen(self, ops) -> None:
        spend(ops, lambda day: 2.0 if day % 7 in (5, 6) else 10.0)
        report = ops.analytics.forecast(7)
        said = [each.mean for each in report.series.values()]
        assert sorted(said) == pytest.approx([2, 2, 10, 10, 10, 10, 10], rel=0.05)
        assert next(iter(report.series)) == NOW - NOW % DAY
        assert report.total == pytest.approx(54, rel=0.05)
        assert all(each.low <= each.mean <= each.high for each in report.series.values())

    def test_of_one_project_and_of_a_metric(self, ops) -> None:
        spend(ops, lambda _: 3.0, project="a")
        spend(ops, lambda _: 50.0, project="b")
        assert ops.analytics.forecast(1, project="a").total == pytest.approx(3, rel=0.01)
        assert ops.analytics.forecast(1, metric="never").n == 0

    def test_by_the_hour(self, ops) -> None:
        hour = NOW // 3600 * 3600
        made = (
            Event(name="a", ts=hour - n * 3600, value=float(n % 24 < 12)) for n in range(1, 400)
        )
        import_events(ops.database, made, clock=lambda: NOW)
        report = ops.analytics.forecast(1, metric="a", bucket="hour", history=17)
        assert len(report.series) == 24
        assert report.total == pytest.approx(12, abs=2)

    def test_without_a_past_nothing_is_said(self, ops) -> None:
        report = ops.analytics.forecast(3)
        assert (report.total, report.n) == (None, 0)
        assert json.loads(json.dumps(report.to_dict()))["series"]

    @pytest.mark.parametrize(
        ("odd", "match"),
        [
            ({"days": 0}, "1 to 1000 steps"),
            ({"days": 5_000}, "1 to 1000 steps"),
            ({"days": "x"}, "1 to 1000 steps"),
            ({"bucket": "week"}, "by 'hour' or 'day'"),
            ({"history": -1}, "`days` must be positive"),
            ({"level": 2}, "`level`"),
        ],
    )
    def test_bad_input_is_a_clear_error(self, ops, odd, match) -> None:
        with pytest.raises(ConfigurationError, match=match):
            ops.analytics.forecast(**odd)


class TestRunOut:
    def test_it_is_when_the_rest_is_spent(self, ops) -> None:
        spend(ops, lambda _: 10.0, days=40, project="p")
        ops.budgets.set(Budget(project="p", limit=Decimal(1_000), period="total"))
        status = ops.budgets.get(project="p")
        left = float(status.limit - status.spent) / 10.0
        assert ops.analytics.run_out(status) is None or left < 61
        ops.budgets.set(Budget(project="p", limit=status.spent + 25, period="total"))
        reached = ops.analytics.run_out(ops.budgets.get(project="p"))
        assert (reached.date - NOW) / DAY == pytest.approx(2.5, abs=0.3)
        assert reached.earliest <= reached.date

    def test_one_that_lasts_has_no_date(self, ops) -> None:
        spend(ops, lambda _: 0.01, days=40, project="p")
        ops.budgets.set(Budget(project="p", limit=1_000, period="month"))
        assert ops.analytics.run_out(ops.budgets.get(project="p")) is None


class TestAnomalies:
    def test_a_day_is_told_with_what_was_expected(self, ops) -> None:
        rng = np.random.default_rng(1)
        spend(ops, lambda day: 300.0 if day == 50 else 10 * float(rng.lognormal(0, 0.2)))
        ((begin, anomaly),) = ops.analytics.anomalies().items()
        assert begin == NOW - NOW % DAY - 10 * DAY
        assert anomaly.value == 300
        assert anomaly.high < 300
        assert ops.analytics.anomalies(project="nobody's") == {}

    def test_calm_weeks_have_none(self) -> None:
        told = 0
        for seed in range(200):
            rng = np.random.default_rng(seed)
            week = 10 * np.tile([1, 1, 1, 1, 1, 0.3, 0.3], 9)
            told += len(anomalies(week * rng.lognormal(0, 0.3, 63), season=7))
        assert told <= 2

    @settings(max_examples=40)
    @given(st.lists(st.floats(1, 1e6), min_size=14, max_size=80), st.floats(0.01, 100))
    def test_units_do_not_matter(self, values, unit) -> None:
        found = anomalies(values), anomalies(np.multiply(values, unit))
        assert [each.index for each in found[0]] == [each.index for each in found[1]]

    @pytest.mark.parametrize(
        "values", [[], [1.0] * 13, [5.0] * 40, [0.0] * 40, [float("nan")] * 40]
    )
    def test_with_nothing_to_tell_nothing_is(self, values) -> None:
        assert anomalies(values, season=7) == []

    def test_missing_points_are_passed_over(self) -> None:
        values = [10.0, float("nan"), 11.0] * 10 + [500.0]
        assert [each.index for each in anomalies(values)] == [30]

    def test_below_zero_too(self) -> None:
        values = [*([-1.0, 0.0, 1.0] * 10), -80.0]
        assert [each.index for each in anomalies(values)] == [30]

    @pytest.mark.parametrize("odd", [[float("inf")], [[1.0]]])
    def test_bad_series_are_clear_errors(self, odd) -> None:
        with pytest.raises(ConfigurationError, match="one dimension"):
            anomalies(odd)
        with pytest.raises(ConfigurationError, match="`season`"):
            anomalies([1.0], season=1)


class TestDetector:
    def scores(self, values) -> list[float]:
        detector = AnomalyDetector()
        return [detector.update(each) for each in values]

    def test_a_spike_in_noise_is_told_once(self) -> None:
        values = np.random.default_rng(3).normal(100, 5, 1_000)
        values[700:720] = 400
        alarms = [at for at, score in enumerate(self.scores(values)) if score >= ALARM]
        assert alarms == [700]

    def test_noise_is_hardly_ever_told(self) -> None:
        told = sum(
            score >= ALARM
            for seed in range(10)
            for score in self.scores(np.random.default_rng(seed).normal(size=2_000))
        )
        assert told <= 1

    @settings(max_examples=30)
    @given(st.lists(st.floats(-1e9, 1e9), max_size=300))
    def test_scores_are_shares_and_the_same_again(self, values) -> None:
        first = self.scores(values)
        assert all(0 <= score < 1 for score in first)
        assert first == self.scores(values)

    def test_what_is_missing_changes_nothing(self) -> None:
        values = list(np.random.default_rng(4).normal(size=300))
        with_gaps = AnomalyDetector()
        for each in values:
            with_gaps.update(each)
            assert with_gaps.update(float("nan")) == 0
        plain = AnomalyDetector()
        for each in values:
            plain.update(each)
        assert with_gaps.update(50.0) == plain.update(50.0)

    def test_an_infinite_point_is_a_clear_error(self) -> None:
        with pytest.raises(ConfigurationError, match="finite"):
            AnomalyDetector().update(float("inf"))

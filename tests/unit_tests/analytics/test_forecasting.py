"""Forecasts keep their laws, find what was planted, and say when they know too little."""

import csv
from itertools import pairwise
from math import nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from llmops_langchain import ConfigurationError
from llmops_langchain.analytics.forecasting import Forecast, forecast, run_out

DAY, HOUR = 86_400.0, 3_600.0
MONDAY = 4 * DAY
"""The first one after the Unix epoch, a Thursday."""
M4 = Path(__file__).parents[4] / "shared/data/analytics/m4"

amounts = st.floats(0, 1e6, allow_subnormal=False)
gaps = st.just(nan)
histories = st.lists(st.one_of(amounts, amounts, amounts, gaps), max_size=60)
signed = st.lists(st.one_of(st.floats(-1e6, 1e6), gaps), max_size=60)
settled = settings(max_examples=60)


def working_week(number: int) -> np.ndarray:
    """A hundred on weekdays, ten at weekends, from a Monday on."""
    return np.where(np.arange(number) % 7 < 5, 100.0, 10.0)


def noisy(number: int, seed: int = 0) -> np.ndarray:
    return 100.0 + 10.0 * np.random.default_rng(seed).normal(size=number)


def hours(number: int, seed: int = 0) -> np.ndarray:
    """Days of hours, quieter at weekends, with noise."""
    times = np.arange(number)
    shape = 100.0 + 50.0 * np.sin(2 * np.pi * times / 24)
    weekend = np.where(times // 24 % 7 >= 5, 0.5, 1.0)
    return shape * weekend + np.random.default_rng(seed).normal(size=number)


def parts(found: Forecast) -> tuple[np.ndarray, ...]:
    return found.mean, found.low, found.high


class TestLaws:
    @settled
    @given(signed, st.integers(1, 20), st.sampled_from([None, 2, 7]))
    def test_the_mean_lies_in_its_interval(self, values, horizon, season) -> None:
        found = forecast(values, horizon, season=season)
        assert [len(each) for each in parts(found)] == [horizon] * 3
        if found.known:
            assert (found.low <= found.mean).all()
            assert (found.mean <= found.high).all()

    @settled
    @given(histories, st.integers(1, 20))
    def test_of_amounts_nothing_is_negative(self, values, horizon) -> None:
        found = forecast(values, horizon, step=DAY, start=MONDAY)
        assert all(not (each < 0).any() for each in parts(found))

    @settled
    @given(signed, st.sampled_from([2.0**-9, 0.5, 4.0, 2.0**30]))
    def test_in_another_unit_it_is_the_same(self, values, unit) -> None:
        ours, scaled = forecast(values, 5), forecast(np.array(values) * unit, 5)
        for each, other in zip(parts(ours), parts(scaled), strict=True):
            assert_allclose(other, each * unit, rtol=1e-12, atol=1e-300)

    @settled
    @given(histories, st.integers(-500, 2_000))
    def test_weeks_later_it_is_the_same(self, values, weeks) -> None:
        now = forecast(values, 9, start=MONDAY, step=DAY)
        later = forecast(values, 9, start=MONDAY + weeks * 7 * DAY, step=DAY)
        for each, other in zip(parts(now), parts(later), strict=True):
            assert_array_equal(other, each)

    @settled
    @given(histories, st.integers(1, 30))
    def test_steps_missing_before_the_first_change_nothing(self, values, missing) -> None:
        ours, shifted = forecast(values, 5), forecast([nan] * missing + values, 5)
        for each, other in zip(parts(ours), parts(shifted), strict=True):
            assert_array_equal(other, each)

    @settled
    @given(histories, st.integers(1, 10))
    def test_steps_missing_at_the_end_are_forecast_as_well(self, values, missing) -> None:
        late = forecast([*values, 1.0, *[nan] * missing], 5)
        ours = forecast([*values, 1.0], 5 + missing)
        for each, other in zip(parts(late), parts(ours), strict=True):
            assert_array_equal(each, other[missing:])

    @settled
    @given(histories)
    def test_asked_again_it_says_the_same_and_changes_nothing(self, values) -> None:
        history = np.array(values)
        first, second = forecast(history, 4), forecast(history, 4)
        assert first.method == second.method
        assert_array_equal(parts(first), parts(second))
        assert_array_equal(history, values)

    @settled
    @given(histories)
    def test_a_higher_level_is_never_narrower(self, values) -> None:
        found = [forecast(values, 3, level=level) for level in (0.5, 0.8, 0.95)]
        for narrow, wide in pairwise(found):
            if wide.known:
                assert (wide.high >= narrow.high).all()
                assert (wide.low <= narrow.low).all()


class TestShortHistories:
    def test_without_a_value_nothing_is_known(self) -> None:
        for found in (forecast([], 3), forecast([nan, nan], 3)):
            assert (found.known, found.n, found.method) == (False, 0, "no values")
            assert np.isnan(parts(found)).all()

    @pytest.mark.parametrize(("values", "mean"), [([5.0], 5.0), ([nan, 4.0, 8.0], 6.0)])
    def test_one_or_two_values_have_a_mean_and_no_interval(self, values, mean) -> None:
        found = forecast(values, 2)
        assert found.mean.tolist() == [mean, mean]
        assert np.isnan([found.low, found.high]).all()
        assert not found.known

    def test_three_values_have_a_wide_interval(self) -> None:
        found = forecast([9.0, 10.0, 11.0], 2)
        assert found.known
        assert ((found.mean > 8) & (found.mean < 13)).all()
        assert (found.high - found.low > 3).all()

    def test_three_equal_values_do_not_make_it_certain(self) -> None:
        three, thirty = forecast([10.0] * 3, 1), forecast([10.0] * 30, 1)
        assert_allclose([three.mean, thirty.mean], 10.0)
        assert three.high - three.low > 20 * (thirty.high - thirty.low) > 0

    def test_ten_days_of_a_trend_go_on(self) -> None:
        found = forecast(np.arange(1.0, 11.0), 3)
        assert ((found.mean > 9.5) & (found.mean < 13.5)).all()

    def test_only_zeros_stay_zero(self) -> None:
        assert_array_equal(parts(forecast([0.0] * 20, 3)), 0.0)

    @pytest.mark.parametrize("number", [10, 20, 60])
    def test_intervals_hold_what_happens_in_noise(self, number) -> None:
        held = list[float]()
        for seed in range(60):
            truth, found = (
                noisy(number + 7, seed)[number:],
                forecast(noisy(number + 7, seed)[:number], 7),
            )
            held += ((found.low <= truth) & (truth <= found.high)).tolist()
        assert np.mean(held) > 0.92


class TestPlanted:
    def test_a_named_season_repeats(self) -> None:
        pattern = np.array([5.0, 1.0, 3.0, 8.0])
        assert_allclose(
            forecast(np.tile(pattern, 12), 8, season=4).mean, np.tile(pattern, 2), atol=0.2
        )

    @pytest.mark.parametrize("options", [{}, {"step": DAY}])
    def test_a_season_nobody_named_is_found(self, options) -> None:
        values = np.tile([9.0, 1.0, 4.0, 2.0, 5.0], 20) + 0.1 * noisy(100)
        assert "seasons of 5 steps" in forecast(values, 5, **options).method

    def test_days_and_weeks_of_hours_are_found(self) -> None:
        values = hours(24 * 7 * 5 + 48)
        found = forecast(values[:-48], 48, step=HOUR)
        assert "seasons of 24 and 168 steps" in found.method
        assert np.abs(found.mean - values[-48:]).mean() < 5.0

    def test_noise_has_no_season(self) -> None:
        found = [forecast(noisy(90, seed), 1, step=DAY).method for seed in range(20)]
        assert sum("no season" in each for each in found) >= 17

    def test_weekends_are_told_from_ten_days(self) -> None:
        found = forecast(working_week(10), 11, start=MONDAY, step=DAY)
        # The eleventh day is a Thursday: two weekdays, a weekend, and five weekdays.
        weekdays, weekend = found.mean[[0, 1, 4, 5, 6, 7, 8]], found.mean[[2, 3]]
        assert weekend.max() < weekdays.min()

    def test_local_midnights_name_the_same_days(self) -> None:
        utc = forecast(working_week(12), 7, start=MONDAY, step=DAY)
        for offset in (-8 * HOUR, 9 * HOUR):
            local = forecast(working_week(12), 7, start=MONDAY + offset, step=DAY)
            assert_array_equal(parts(local), parts(utc))

    def test_one_freak_hardly_moves_the_mean(self) -> None:
        values = noisy(60)
        values[30] = 1e7
        found = forecast(values, 5)
        assert_allclose(found.mean, 100.0, atol=25.0)
        assert (found.high < 400).all()

    def test_gaps_are_bridged(self) -> None:
        values = working_week(70)
        values[[3, 20, 21, 22, 40]] = nan
        found = forecast(values, 7, start=MONDAY, step=DAY)
        assert_allclose(found.mean, working_week(7), atol=8.0)
        assert found.n == 65

    def test_values_far_apart_are_bridged_as_well(self) -> None:
        found = forecast([5.0, *[nan] * 900, 6.0, *[nan] * 900, 7.0], 2)
        assert (found.n, found.known) == (3, True)
        assert ((found.low < found.mean) & (found.mean < found.high)).all()

    def test_a_random_walk_stays_where_it_is_and_gets_less_sure(self) -> None:
        values = 1_000.0 + np.cumsum(np.random.default_rng(3).normal(size=200))
        found = forecast(values, 20)
        width = found.high - found.low
        assert_allclose(found.mean, values[-1], atol=4.0)
        assert (np.diff(width) >= -1e-9).all()
        assert width[-1] > 2 * width[0]

    def test_old_values_are_not_looked_at(self) -> None:
        recent = noisy(2_000)
        ours, longer = forecast(recent, 3), forecast(np.concatenate([[1e9] * 700, recent]), 3)
        assert_array_equal(parts(ours), parts(longer))

    def test_a_long_season_is_seen_often_enough(self) -> None:
        values = np.tile(noisy(1_200), 4)
        assert_allclose(forecast(values, 1_200, season=1_200).mean, values[:1_200], rtol=0.02)

    def test_numbers_near_the_largest_stay_finite(self) -> None:
        found = forecast(np.linspace(1e307, 1.7e308, 40), 30)
        assert np.isfinite(parts(found)).all()


class TestAgainstTheNaive:
    def test_what_repeats_without_fail_is_repeated(self) -> None:
        pattern = np.random.default_rng(5).exponential(size=24)
        found = forecast(np.tile(pattern, 3), 24, season=24)
        assert_allclose(found.mean, pattern, atol=1e-9)

    def test_where_the_others_are_no_better_it_stands_alone(self) -> None:
        found = forecast([10.0] * 30 + [500.0] + [10.0] * 20, 2)
        assert found.method.startswith("as the last step (100%)")
        assert found.mean.tolist() == [10.0, 10.0]

    def test_of_random_walks_it_is_nearly_as_good_as_the_best_there_is(self) -> None:
        ours, naive = list[float](), list[float]()
        for seed in range(40):
            walk = np.cumsum(np.random.default_rng(seed).normal(size=372))
            ours.append(np.abs(forecast(walk[:-7], 7).mean - walk[-7:]).mean())
            naive.append(np.abs(walk[-8] - walk[-7:]).mean())
        assert np.mean(ours) < 1.1 * np.mean(naive)

    @pytest.mark.skipif(not M4.exists(), reason="needs ../shared/data/analytics/m4")
    def test_hours_of_others_are_forecast_better(self) -> None:
        scaled, naive, held = list[float](), list[float](), list[float]()
        for past, truth in zip(series("train")[::7], series("test")[::7], strict=True):
            found, scale = forecast(past, 48, season=24), np.abs(past[24:] - past[:-24]).mean()
            scaled.append(np.abs(found.mean - truth).mean() / scale)
            naive.append(np.abs(np.tile(past[-24:], 2) - truth).mean() / scale)
            held.append(((found.low <= truth) & (truth <= found.high)).mean())
        assert np.mean(scaled) < 0.85 * np.mean(naive)
        assert 0.92 < np.mean(held) < 0.98


class TestRunOut:
    DAYS = forecast([10.0] * 30, 7)

    def test_a_budget_lasts_as_long_as_it_is_spent_evenly(self) -> None:
        found = run_out(75.0, 100.0, self.DAYS, start=MONDAY, step=DAY)
        assert found.date == pytest.approx(MONDAY + 2.5 * DAY)
        assert found.earliest < found.date < found.latest
        assert found.known

    def test_weekends_put_the_date_off(self) -> None:
        days = forecast(working_week(70), 7, start=MONDAY, step=DAY)
        found = run_out(0.0, 515.0, days, start=MONDAY + 70 * DAY, step=DAY)
        assert found.date == pytest.approx(MONDAY + 76.5 * DAY, abs=0.3 * DAY)

    @pytest.mark.parametrize("spent", [100.0, 130.0])
    def test_what_is_spent_already_is_spent_now(self, spent) -> None:
        found = run_out(spent, 100.0, self.DAYS, start=MONDAY, step=DAY)
        assert (found.date, found.earliest, found.latest) == (MONDAY,) * 3

    def test_a_limit_beyond_the_forecast_has_no_date(self) -> None:
        found = run_out(0.0, 1e6, self.DAYS, start=MONDAY, step=DAY)
        assert (found.date, found.earliest, found.latest) == (None,) * 3
        assert found.known

    def test_nothing_spent_never_runs_out(self) -> None:
        assert run_out(0.0, 1.0, forecast([0.0] * 9, 5), start=0.0, step=DAY).date is None

    def test_two_values_give_a_date_without_bounds(self) -> None:
        found = run_out(0.0, 12.0, forecast([4.0, 8.0], 5), start=0.0, step=DAY)
        assert found.date == pytest.approx(2 * DAY)
        assert (found.earliest, found.latest, found.known) == (None, None, False)

    def test_without_a_value_there_is_no_date(self) -> None:
        found = run_out(0.0, 1.0, forecast([], 5), start=0.0, step=DAY)
        assert (found.date, found.known) == (None, False)

    @settled
    @given(histories, st.floats(0, 1e6), st.floats(0, 1e7))
    def test_dates_are_in_order_and_within_the_forecast(self, values, spent, limit) -> None:
        found = run_out(spent, limit, forecast(values, 6), start=MONDAY, step=DAY)
        dates = [found.earliest, found.date, found.latest]
        if found.known:
            assert dates == sorted(dates, key=lambda each: np.inf if each is None else each)
        assert all(MONDAY <= each <= MONDAY + 6 * DAY + 1 for each in dates if each is not None)

    @pytest.mark.parametrize(
        "wrong", [{"spent": nan}, {"limit": np.inf}, {"start": nan}, {"step": 0.0}, {"step": -1.0}]
    )
    def test_wrong_numbers_are_refused(self, wrong) -> None:
        right = {"spent": 0.0, "limit": 1.0, "start": 0.0, "step": DAY}
        (given_,) = wrong.values()
        with pytest.raises(ConfigurationError, match=f"got .*{given_!r}"):
            run_out(forecast=self.DAYS, **(right | wrong))


@pytest.mark.parametrize(
    ("values", "options", "told"),
    [
        ([[1.0, 2.0]], {}, r"one dimension, got shape \(1, 2\)"),
        ([1.0, np.inf, -np.inf], {}, "got 2 infinite"),
        ([1.0], {"horizon": 0}, "at least 1, got 0"),
        ([1.0], {"season": 1}, "at least 2, got 1"),
        ([1.0], {"level": 1.0}, r"between 0 and 1, got 1\.0"),
        ([1.0], {"level": nan}, "between 0 and 1, got nan"),
        ([1.0], {"start": np.inf}, "must be finite, got inf"),
        ([1.0], {"step": 0.0}, r"must be positive, got 0\.0"),
        ([1.0], {"step": nan}, "must be positive, got nan"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_figures(values, options, told) -> None:
    with pytest.raises(ConfigurationError, match=told):
        forecast(values, **({"horizon": 3} | options))


def series(part: str) -> list[np.ndarray]:
    """Each row's numbers; rows differ in length."""
    with (M4 / f"hourly-{part}.csv").open(encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return [np.array([float(each) for each in row[1:] if each]) for row in rows]

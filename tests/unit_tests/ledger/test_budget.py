"""What a budget is: its limit, its name, and when its periods begin."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain import Budget, ConfigurationError
from llmops_langchain.ledger.budget import period_end, period_start

MOMENTS = st.floats(min_value=0, max_value=4_000_000_000)


@pytest.mark.parametrize(
    "limit", ["-1", -0.01, "nan", float("inf"), "much", None, 10**10, "1e-12", "5 dollars"]
)
def test_a_limit_is_an_amount_of_money(limit) -> None:
    with pytest.raises(ConfigurationError, match=r"limit|dollars"):
        Budget(project="p", limit=limit)


@pytest.mark.parametrize(
    "wrong", [{"period": "year"}, {"project": ""}, {"user": 7}, {"agent": " "}, {"hard": "no"}]
)
def test_periods_and_scopes_are_checked(wrong) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Budget(limit=1, **wrong)


@pytest.mark.parametrize("limit", ["20", 20, 20.0, Decimal("20.00")])
def test_a_limit_is_kept_exactly(limit) -> None:
    assert str(Budget(limit=limit).limit) == "20"


def test_a_tenth_is_a_tenth() -> None:
    assert Budget(limit=0.1).limit == Decimal("0.1")


def test_a_budget_says_whose_it_is() -> None:
    assert Budget(limit=1).name == "everything"
    assert Budget(limit=1, workspace="acme", user="mira").name == "workspace 'acme', user 'mira'"


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("day", "2026-11-23T00:00", "2026-11-24T00:00"),
        ("week", "2026-11-23T00:00", "2026-11-30T00:00"),  # a Monday
        ("month", "2026-11-01T00:00", "2026-12-01T00:00"),
        ("total", "1970-01-01T00:00", None),
    ],
)
def test_periods_are_of_utc(period, start, end) -> None:
    moment = datetime(2026, 11, 23, 13, 5, tzinfo=UTC).timestamp()
    began = period_start(period, moment)
    assert datetime.fromtimestamp(began, UTC).isoformat()[:16] == start
    ended = period_end(period, began)
    assert (ended and datetime.fromtimestamp(ended, UTC).isoformat()[:16]) == end


@given(moment=MOMENTS, period=st.sampled_from(["day", "week", "month"]))
def test_every_moment_lies_in_its_period(moment: float, period) -> None:
    start = period_start(period, moment)
    end = period_end(period, start)
    assert start <= moment < end
    assert period_start(period, start) == start
    assert period_start(period, end) == end

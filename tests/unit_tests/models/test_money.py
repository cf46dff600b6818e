"""Dollars and nano-dollars."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.models import dollars, nano_dollars


@given(st.integers(-(10**30), 10**30))
def test_nano_dollars_survive_the_way_to_dollars_and_back(nano) -> None:
    assert nano_dollars(dollars(nano)) == nano


@pytest.mark.parametrize(
    ("amount", "nano"),
    [
        (0.1, 100_000_000),
        ("3", 3_000_000_000),
        (3, 3_000_000_000),
        (Decimal("0.0000000005"), 1),
        (Decimal("-0.0000000005"), -1),
        (Decimal("0.00000000049"), 0),
        (1e-9, 1),
    ],
)
def test_a_dollar_amount_is_rounded_half_away_from_zero(amount, nano) -> None:
    assert nano_dollars(amount) == nano


def test_dollars_are_written_without_needless_zeros() -> None:
    assert [str(dollars(nano)) for nano in (20_000_000_000, 1)] == ["20", "1E-9"]


@pytest.mark.parametrize("amount", ["nan", "inf", float("-inf"), Decimal("sNaN"), "three", "1e200"])
def test_what_is_no_amount_is_refused(amount) -> None:
    with pytest.raises(ConfigurationError, match="finite number"):
        nano_dollars(amount)

"""Percentiles of joined sketches are those of all values, within a hundredth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.fits.sketches import ACCURACY, compacted, quantiles, rank, sketched

SHARES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
numbers = st.floats(-1e140, 1e140, allow_subnormal=False).map(
    lambda value: 0.0 if abs(value) < 1e-140 else value
)
lists = st.lists(numbers, min_size=1, max_size=200)


def exact(values: list[float], share: float) -> float:
    return sorted(values)[rank(share, len(values)) - 1]


@given(lists, st.integers(1, 5))
def test_a_percentile_of_parts_is_that_of_the_whole_within_a_hundredth(values, parts) -> None:
    joined = [sketched(part) for part in np.array_split(values, parts)]
    found = quantiles([b"".join(joined)], SHARES)
    wanted = np.array([exact(values, share) for share in SHARES])
    assert (np.abs(found - wanted) <= ACCURACY * np.abs(wanted) * (1 + 1e-9)).all()


@given(lists)
def test_a_compacted_sketch_says_the_same_in_fewer_bytes(values) -> None:
    joined = b"".join(sketched([value]) for value in values)
    small = compacted(joined)
    assert len(small) <= len(joined)
    assert np.array_equal(quantiles([small], SHARES), quantiles([joined], SHARES))
    assert compacted(small) == small == compacted(sketched(values))


@given(lists, st.floats(0, 1))
def test_a_rank_is_the_smallest_that_a_share_does_not_exceed(values, share) -> None:
    count = len(values)
    assert 1 <= rank(share, count) <= count
    assert rank(share, count) >= share * count * (1 - 1e-9)


@pytest.mark.parametrize(("share", "count", "place"), [(0.07, 100, 7), (0.5, 4, 2), (0, 9, 1)])
def test_a_rank_is_that_of_percentile_disc(share, count, place) -> None:
    assert rank(share, count) == place


@pytest.mark.parametrize("values", ["lognormal", "normal", "pareto"])
def test_it_is_as_near_as_the_peer_of_the_same_bins(values) -> None:
    peer = pytest.importorskip("ddsketch", reason="needs the package ddsketch")
    given = getattr(np.random.default_rng(5), values)(3.0, size=20_000)
    theirs = peer.DDSketch(ACCURACY)
    for value in given:
        theirs.add(value)
    ours = quantiles([sketched(given)], SHARES[1:-1])
    for share, found in zip(SHARES[1:-1], ours, strict=True):
        wanted = exact(list(given), share)
        # Its rank is that of interpolation, so it may name a neighbour in a sparse tail.
        assert abs(found - wanted) <= ACCURACY * abs(wanted)
        assert found == pytest.approx(theirs.get_quantile_value(share), rel=4 * ACCURACY)


def test_what_is_no_number_is_left_out() -> None:
    assert sketched([np.nan, np.inf, -np.inf]) == b""
    assert np.isnan(quantiles([], [0.5])).all()


def test_counts_beyond_four_billion_are_kept() -> None:
    many = np.array([(20_000, 2**32 - 1)] * 3, [("bin", "<u2"), ("count", "<u4")]).tobytes()
    assert quantiles([many, sketched([1e35])], [1.0])[0] == pytest.approx(1e35, rel=ACCURACY)
    assert np.array_equal(quantiles([compacted(many)], SHARES), quantiles([many], SHARES))


def test_a_damaged_end_tells_less_and_fails_nothing() -> None:
    sketch = sketched([1.0, 2.0, 3.0])
    assert quantiles([sketch[:-2]], [1.0])[0] == pytest.approx(2.0, rel=ACCURACY)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_0_and_1(share) -> None:
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        quantiles([sketched([1])], [share])

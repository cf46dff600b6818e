"""Percentiles that add up: a histogram in logarithmic bins whose bytes are simply joined."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmops_langchain.errors import ConfigurationError

__all__ = ["ACCURACY", "compacted", "quantiles", "rank", "sketched", "sketched_by_group", "summed"]

ACCURACY = 0.01
"""Largest relative error of a percentile."""

# A bin reaches as far up as down, by ratios, from a power of this; so 1 stands for itself.
_STEP = 2 * float(np.log1p(ACCURACY))
# 16 bits name a bin: 0 is zero, then 32,767 for positive values and as many for negative ones. In
# the middle of each half lies 1, so magnitudes from 1e-142 to 1e142 keep their accuracy.
_HALF, _MIDDLE = 32_768, 16_384
_PAIR = np.dtype([("bin", "<u2"), ("count", "<u4")])
_MOST = 2**32 - 1


def sketched(values: ArrayLike) -> bytes:
    """The sketch of some values; those that are not finite are left out.

    The bytes of two sketches, one behind the other, are the sketch of all their values. Bins and
    their accuracy as in DDSketch (Masson, Rim, Lee: VLDB 2019), with a fixed range of bins.

    Args:
        values: Numbers, any shape.
    """
    given = np.asarray(values, dtype=np.float64).ravel()
    bins, counts = np.unique(_bins(given[np.isfinite(given)]), return_counts=True)
    return _packed(bins, counts)


def sketched_by_group(values: NDArray[np.float64], group: NDArray[np.intp], n: int) -> list[bytes]:
    """The sketch of each group of values; those that are not finite are left out.

    Args:
        values: Numbers, shape `(k,)`.
        group: Which group each belongs to, below `n`, shape `(k,)`.
        n: How many groups there are.
    """
    is_number = np.isfinite(values)
    if not is_number.any():
        return [b""] * n
    places = group[is_number] * (2 * _HALF) + _bins(values[is_number])
    found, counts = np.unique(places, return_counts=True)
    packed = np.empty(len(found), _PAIR)
    packed["bin"], packed["count"] = found % (2 * _HALF), counts
    ends = np.searchsorted(found // (2 * _HALF), np.arange(n + 1)) * _PAIR.itemsize
    whole, edges = packed.tobytes(), ends.tolist()
    return [whole[begin:end] for begin, end in pairwise(edges)]


def compacted(sketch: bytes) -> bytes:
    """The same sketch in as few bytes as it takes: each bin once, in order."""
    counts = _counts([sketch])
    bins = np.flatnonzero(counts)
    return _packed(bins, counts[bins])


def quantiles(sketches: Iterable[bytes], shares: Sequence[float]) -> NDArray[np.float64]:
    """Percentiles of everything that is in some sketches.

    Args:
        sketches: Their bytes.
        shares: Which, 0 to 1.

    Returns:
        `float64` of shape `(len(shares),)`, each within `ACCURACY` of a value whose `rank` it is;
        NaN where there are no values.

    Raises:
        ConfigurationError: If a share is not between 0 and 1.

    Example:
        >>> quantiles([sketched([1, 2]), sketched([3, 4])], [0.5]).round(1)
        array([2.])
    """
    wanted = np.asarray(shares, dtype=np.float64)
    if not ((wanted >= 0) & (wanted <= 1)).all():
        msg = f"a share is between 0 and 1, got {shares!r}"
        raise ConfigurationError(msg)
    counts = _counts(sketches)[_ORDER]
    below = np.cumsum(counts)
    if not below[-1]:
        return np.full(len(wanted), np.nan)
    ranks = [rank(share, int(below[-1])) for share in wanted]
    found: NDArray[np.float64] = _VALUES[np.searchsorted(below, ranks)]
    return found


def summed(sketches: Iterable[bytes]) -> tuple[int, float]:
    """How many values are in some sketches, and their sum, within `ACCURACY` of magnitudes."""
    counts = _counts(sketches)
    return int(counts.sum()), float(counts @ _OF_BIN)


def rank(share: float, count: int) -> int:
    """Which value is a percentile: the smallest that a share of all do not exceed, from 1.

    SQL's `percentile_disc`. Products such as `0.07 * 100` come out a little above what is meant.
    """
    return max(1, int(np.ceil(share * count * (1 - 1e-12))))


def _bins(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each value."""
    magnitude = np.abs(values)
    with np.errstate(divide="ignore"):
        step = np.rint(np.log(magnitude) / _STEP)
    place = np.clip(np.nan_to_num(step, neginf=-_MIDDLE), 1 - _MIDDLE, _HALF - 1 - _MIDDLE)
    bins: NDArray[np.int64] = (place + _MIDDLE).astype(np.int64) + np.where(values < 0, _HALF, 0)
    bins[magnitude == 0] = 0
    return bins


def _values_of_bins() -> NDArray[np.float64]:
    """What each bin stands for: the value in its middle, by ratios."""
    place = np.arange(2 * _HALF) % _HALF - _MIDDLE
    magnitude = np.exp(place * _STEP)
    signed: NDArray[np.float64] = np.where(np.arange(2 * _HALF) >= _HALF, -magnitude, magnitude)
    signed[[0, _HALF]] = 0.0
    return signed


_OF_BIN = _values_of_bins()
_ORDER = np.argsort(_OF_BIN, kind="stable")
_VALUES = _OF_BIN[_ORDER]


def _counts(sketches: Iterable[bytes]) -> NDArray[np.int64]:
    """How many values each bin has."""
    joined = b"".join(sketches)
    # A row that was damaged tells a little less; it takes no report down.
    pairs = np.frombuffer(joined[: len(joined) // _PAIR.itemsize * _PAIR.itemsize], _PAIR)
    counts = np.bincount(pairs["bin"], weights=pairs["count"], minlength=2 * _HALF)
    whole: NDArray[np.int64] = counts.astype(np.int64)
    return whole


def _packed(bins: NDArray[np.int64], counts: NDArray[np.int64]) -> bytes:
    """Pairs of bin and count; a count that is too large for one pair takes several."""
    pairs = np.empty(len(bins), _PAIR)
    pairs["bin"], pairs["count"] = bins, np.minimum(counts, _MOST)
    left = counts - np.minimum(counts, _MOST)
    rest = _packed(bins[left > 0], left[left > 0]) if (left > 0).any() else b""
    return pairs.tobytes() + rest

"""Whether two stretches of time differ by more than chance."""

from collections.abc import Sequence
from math import inf, log, sqrt

from llmops_langchain.analytics.reports import Distribution

__all__ = ["ENOUGH", "error_of", "is_as_good", "ratio", "spread"]

_AS_GOOD, _MUCH_WORSE = 0.02, 0.05
"""Points that a mean may lack with room for its error, and without."""

ENOUGH = 20
"""Values from which on a mean says something."""


def ratio(now: Distribution, before: Distribution) -> tuple[float, float]:
    """How many times as large the middle is, and how sure that is in standard errors."""
    a, b = now.percentile(0.5), before.percentile(0.5)
    if not a or not b or a <= 0 or b <= 0:
        return 1.0, 0.0
    errors = [_log_spread(each) ** 2 / each.count for each in (now, before)]
    # The middle of a normal sample is 1.25 times as uncertain as its mean; sketches add 1 %.
    wide = sqrt(1.25**2 * sum(errors) + 0.01**2)
    return a / b, log(a / b) / wide


def _log_spread(values: Distribution) -> float:
    low, high = values.percentile(0.16), values.percentile(0.84)
    return log(high / low) / 2 if low and high and low > 0 else inf


def error_of(values: Distribution) -> float:
    """Standard error of the mean; of shares of successes exactly, else by percentiles."""
    if values.mean is not None and {values.minimum, values.maximum} <= {0.0, 1.0}:
        share = min(max(values.mean, 1 / values.count), 1 - 1 / values.count)
        return sqrt(share * (1 - share) / values.count)
    low, high = values.percentile(0.1) or 0.0, values.percentile(0.9) or 0.0
    return max((high - low) / 2.56, 0.01 * abs(values.mean or 0.0)) / sqrt(values.count)


def is_as_good(one: Distribution, other: Distribution) -> bool:
    """Not worse by more than two points, with room for the error."""
    if min(one.count, other.count) < ENOUGH or one.mean is None or other.mean is None:
        return False
    wide = sqrt(error_of(one) ** 2 + error_of(other) ** 2)
    worse = other.mean - one.mean
    return worse <= _AS_GOOD + 1.64 * wide and worse <= _MUCH_WORSE


def spread(values: Sequence[float]) -> float:
    """Standard deviation, of what a freak day does not change."""
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10]
    return max((high - low) / 2.56, 0.02 * sum(values) / len(values))

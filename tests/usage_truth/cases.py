"""Every case of the suite, in the order of the table."""

from usage_truth import (
    cases_of_caches,
    cases_of_calls,
    cases_of_failures,
    cases_of_graphs,
)
from usage_truth.run import Case

__all__ = ["CASES"]

CASES: tuple[Case, ...] = (
    *cases_of_calls.CASES,
    *cases_of_failures.CASES,
    *cases_of_caches.CASES,
    *cases_of_graphs.CASES,
)

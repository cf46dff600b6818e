"""Events added up by hour and day, by whom and what: the rows that some events make."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import inf, isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.fits.sketches import compacted, sketched_by_group
from llmops_langchain.ledger.event import LLM_CALL
from llmops_langchain.storage.schema import ROLLUP_KEY, ROLLUP_SUMS, rollups
from llmops_langchain.storage.types import storable_text

__all__ = [
    "AGENT_DAY",
    "AGENT_HOUR",
    "DAY",
    "DIMENSIONS",
    "GLOBAL_DAY",
    "GLOBAL_HOUR",
    "HOUR",
    "PROJECT_DAY",
    "PROJECT_HOUR",
    "QUARTERS",
    "REFUSALS",
    "TIERS",
    "USERS_DAY",
    "USER_DAY",
    "USER_HOUR",
    "WORKSPACE_DAY",
    "WORKSPACE_HOUR",
    "Tier",
    "key_text",
    "merged",
    "rolled",
]

HOUR, DAY = 3600.0, 86_400.0

DIMENSIONS = ("workspace", "project", "user", "agent", "model")
"""What rollups tell apart, beside the name and the time."""

REFUSALS = frozenset(
    {
        *("BudgetError", "BudgetExceededError", "BudgetUnavailableError"),
        *("UnpricedModelError", "UnscopedCallError"),
    }
)
"""Error classes of guarded calls that no budget let through: nobody was asked."""

_Facts = tuple[str, int, str, str, int, str, str, str]
"""Of an event: name, day, user, workspace, hour, project, agent, model."""


class Tier(NamedTuple):
    """One way to add events up."""

    number: int
    """What stands in the row."""
    dimensions: frozenset[str]
    """What its rows tell apart."""
    is_hourly: bool
    """Whether by hour; otherwise by day."""
    kept: float
    """Seconds that its rows stay."""
    of: Callable[[_Facts], tuple[Any, ...]]
    """The key of the row that an event belongs to."""
    width: float = HOUR
    """Seconds of what stands in the place of the hour."""


_ALL = frozenset(DIMENSIONS)
_BUT_USERS = _ALL - {"user"}

# Hours of users are almost as many as events, so they go first.
USER_HOUR = Tier(
    *(1, _ALL, True, 14 * DAY),
    lambda f: (1, *f),
)
USER_DAY = Tier(
    *(2, _ALL, False, inf),
    lambda f: (2, f[0], f[1], f[2], f[3], -1, f[5], f[6], f[7]),
)
USERS_DAY = Tier(
    *(3, frozenset({"workspace", "user"}), False, inf),
    lambda f: (3, f[0], f[1], f[2], f[3], -1, "", "", ""),
)
WORKSPACE_HOUR = Tier(
    *(4, _BUT_USERS, True, 92 * DAY),
    lambda f: (4, f[0], f[1], "", *f[3:]),
)
WORKSPACE_DAY = Tier(
    *(5, _BUT_USERS, False, inf),
    lambda f: (5, f[0], f[1], "", f[3], -1, f[5], f[6], f[7]),
)
GLOBAL_HOUR = Tier(
    *(6, frozenset({"model"}), True, inf),
    lambda f: (6, f[0], f[1], "", "", f[4], "", "", f[7]),
)
GLOBAL_DAY = Tier(
    *(7, frozenset({"model"}), False, inf),
    lambda f: (7, f[0], f[1], "", "", -1, "", "", f[7]),
)
AGENT_HOUR = Tier(
    *(10, frozenset({"agent"}), True, inf),
    lambda f: (10, f[0], f[1], "", "", f[4], "", f[6], ""),
)
PROJECT_HOUR = Tier(
    *(11, frozenset({"workspace", "project"}), True, 92 * DAY),
    lambda f: (11, f[0], f[1], "", f[3], f[4], f[5], "", ""),
)
AGENT_DAY = Tier(
    *(8, frozenset({"agent"}), False, inf),
    lambda f: (8, f[0], f[1], "", "", -1, "", f[6], ""),
)
PROJECT_DAY = Tier(
    *(9, frozenset({"workspace", "project"}), False, inf),
    lambda f: (9, f[0], f[1], "", f[3], -1, f[5], "", ""),
)
QUARTERS = Tier(*(0, _ALL, True, inf), lambda f: (0, *f), width=900.0)
"""Not in the database: by the quarter of an hour, where whole hours will not do."""

TIERS = (
    *(USER_HOUR, USER_DAY, USERS_DAY, WORKSPACE_HOUR, WORKSPACE_DAY, GLOBAL_HOUR, GLOBAL_DAY),
    *(AGENT_HOUR, AGENT_DAY, PROJECT_HOUR, PROJECT_DAY),
)

_LONGEST = 400  # bytes of a text: PostgreSQL takes 2,704 in a row of an index
_MOST = 2**57  # of one number in one event, so that sums stay within 64 bits
_LARGEST = 1e300  # likewise of what is measured: PostgreSQL refuses a sum beyond 64-bit floats
_FAR = 1e12  # hours from the epoch
_WHOLE = tuple(name for name in ROLLUP_SUMS if name != "total")
_KEY = len(ROLLUP_KEY)


def rolled(
    events: Sequence[Any], *, now: float, tiers: Iterable[Tier] = TIERS
) -> list[tuple[Any, ...]]:
    """The rows that some events add up to, each key once.

    Args:
        events: `Event`s, or rows with their columns.
        now: Seconds since the Unix epoch: hours that a tier keeps no longer are left out.
        tiers: Which rows.

    Returns:
        Tuples with the columns of `llmops_rollups`, in order.
    """
    if not events:
        return []
    facts = [_facts(each, HOUR) for each in events]
    batch = _Batch(
        counts=np.array([_counts(each) for each in events], np.int64),
        values=np.array([_measured(each) for each in events], np.float64),
        firsts=np.array([_finite(each.time_to_first_token) for each in events], np.float64),
    )
    of_users = [at for at, each in enumerate(facts) if each[2]]
    rows: list[tuple[Any, ...]] = []
    for tier in tiers:
        if tier.width != HOUR:
            facts = [_facts(each, tier.width) for each in events]
        # Hours of nobody in particular are those of the workspace.
        chosen: Sequence[int] = of_users if tier is USER_HOUR else range(len(facts))
        if tier.is_hourly and tier.kept < inf:
            oldest = int((now - tier.kept) // DAY)
            chosen = [at for at in chosen if facts[at][1] >= oldest]
        if chosen:
            rows += batch.rows(tier, facts, chosen)
    return rows


def merged(rows: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Rows of several batches as one, by key; sketches are compact."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        known = found.get(row[:_KEY])
        if known is None:
            found[row[:_KEY]] = list(row[_KEY:])
        else:
            _add(known, row[_KEY:])
    return {
        key: (*sums[:-2], compacted(sums[-2]), compacted(sums[-1])) for key, sums in found.items()
    }


@lru_cache(maxsize=100_000)
def key_text(value: object) -> str:
    """A name as it stands in a key: text of at most 400 bytes, empty for none."""
    if value is None:
        return ""
    text = storable_text(value)
    return text.encode()[:_LONGEST].decode(errors="ignore")


class _Batch(NamedTuple):
    """What is added up of some events, one row each."""

    counts: NDArray[np.int64]
    """Shape `(events, whole sums)`."""
    values: NDArray[np.float64]
    """What was measured, NaN if nothing was."""
    firsts: NDArray[np.float64]
    """Time to the first token, likewise."""

    def rows(
        self, tier: Tier, facts: Sequence[_Facts], chosen: Sequence[int]
    ) -> list[tuple[Any, ...]]:
        """The rows of one tier for some of the events."""
        keys: dict[tuple[Any, ...], int] = {}
        group = np.array([keys.setdefault(tier.of(facts[at]), len(keys)) for at in chosen], np.intp)
        order = np.argsort(group, kind="stable")
        at = np.asarray(chosen, np.intp)[order]
        starts = np.searchsorted(group[order], np.arange(len(keys)))
        values = self.values[at]
        missing = np.isnan(values)
        totals = np.add.reduceat(np.where(missing, 0.0, values), starts)
        least = np.minimum.reduceat(np.where(missing, inf, values), starts)
        most = np.maximum.reduceat(np.where(missing, -inf, values), starts)
        return [
            (*key, *counts, total, None if low == inf else low, None if high == -inf else high, *of)
            for key, counts, total, low, high, *of in zip(
                keys,
                np.add.reduceat(self.counts[at], starts).tolist(),
                totals.tolist(),
                least.tolist(),
                most.tolist(),
                sketched_by_group(values, group[order], len(keys)),
                sketched_by_group(self.firsts[at], group[order], len(keys)),
                strict=True,
            )
        ]


def _facts(event: Any, width: float) -> _Facts:
    hours = int(max(-_FAR, min(event.ts // width, _FAR)))
    a_day = int(DAY // width)
    return (
        key_text(event.name),
        hours // a_day,
        key_text(event.user),
        key_text(event.workspace),
        hours % a_day,
        key_text(event.project),
        key_text(event.agent),
        key_text(event.model),
    )


def _counts(event: Any) -> tuple[int, ...]:
    # What takes a guess back takes back its count too.
    one = -1 if event.cost < 0 else 1
    refused = event.name == LLM_CALL and event.error_class in REFUSALS
    return (
        one,
        one if event.status == "error" and not refused else 0,
        one if refused else 0,
        one if event.cache_tier is not None and not refused else 0,
        one if event.estimated else 0,
        one if event.unpriced else 0,
        event.input_tokens,
        event.output_tokens,
        event.cached_tokens,
        event.written_tokens,
        event.reasoning_tokens,
        *(
            max(-_MOST, min(each, _MOST))
            for each in (event.trimmed_tokens, event.cost, event.saved)
        ),
        0 if refused or _measured(event) != _measured(event) else 1,
    )


def _measured(event: Any) -> float:
    """A metric's value, the latency of whatever has none; NaN if there is neither."""
    if event.value is not None:
        return _finite(event.value)
    if event.name == LLM_CALL and event.error_class in REFUSALS:
        return float("nan")  # nobody was asked, in no time
    return _finite(event.latency)


def _finite(value: float | None) -> float:
    if value is None or not isfinite(value):
        return float("nan")
    return max(-_LARGEST, min(float(value), _LARGEST))


def _add(known: list[Any], more: Sequence[Any]) -> None:
    for at in range(len(ROLLUP_SUMS)):
        known[at] += more[at]
    *_, low, high, sketch, first = more
    known[-4] = low if known[-4] is None else known[-4] if low is None else min(known[-4], low)
    known[-3] = high if known[-3] is None else known[-3] if high is None else max(known[-3], high)
    known[-2] += sketch
    known[-1] += first


if tuple(rollups.c.keys()) != (
    *ROLLUP_KEY,
    *_WHOLE,
    *("total", "least", "most", "sketch", "first_token"),
):
    raise AssertionError  # the tuples above are in the order of the columns

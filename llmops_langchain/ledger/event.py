"""The one record that flows through the package."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from sys import float_info
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Boolean, Double, Integer, Text

from llmops_langchain.storage.schema import events
from llmops_langchain.storage.types import new_id, storable_text

__all__ = [
    "ABANDONED",
    "CONTEXT_WARNING",
    "EMBEDDING",
    "LLM_CALL",
    "TOOL_CALL",
    "TRIM",
    "CacheTier",
    "Event",
    "Status",
    "as_row",
    "from_row",
    "storable",
]

LLM_CALL = "llm.call"
"""Name of an event that stands for one call of a language model."""

TRIM = "context.trim"
"""Name of an event that stands for one prompt that a cut made shorter, by `trimmed_tokens`."""

CONTEXT_WARNING = "context.warning"
"""Name of an event that stands for a prompt that came to fill much of its window: a `value` in
`share`, and `tags["status"]` says whether it is `warning` or `critical`."""

EMBEDDING = "embedding.call"
"""Name of an event that stands for texts that were embedded."""

TOOL_CALL = "tool.call"
"""Name of an event that stands for one run of a tool; `tags["tool"]` says which."""

ABANDONED = "llm.abandoned"
"""Name of an event that stands for a guarded call nobody heard of again: what is counted as spent
for it. Should its own event come after all, another with the same amount below zero does too."""

Status = Literal["ok", "error"]
CacheTier = Literal["exact", "semantic", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, once: a model call, a cut, or a metric of the user's own.

    A model call is an event whose usage columns are filled; a metric is one with a name, a value
    and a unit. An event is stored once however often it is recorded: `id` decides.
    """

    name: str
    """What happened: `llm.call`, `context.trim`, or a metric's name such as `task.success`."""
    ts: float
    """When it ended, UTC seconds since the Unix epoch."""
    id: UUID = field(default_factory=new_id)
    """Equal ids are one event. A model call carries its `run_id`."""
    value: float | None = None
    """A metric's value, in `unit`."""
    unit: str | None = None
    """`seconds`, `share` (0 to 1), `count`, or what the user says."""

    workspace: str | None = None
    """The tenant."""
    project: str | None = None
    """What budgets and reports are usually cut by."""
    task: str | None = None
    """One piece of work inside a project."""
    user: str | None = None
    """On whose behalf."""
    agent: str | None = None
    """The agent, or the path of graph nodes that made the call, such as `team/writer`."""
    thread: str | None = None
    """The conversation."""
    tags: Mapping[str, str] | None = None
    """Anything else to filter by."""

    provider: str | None = None
    """Who served the model: `openai`, `anthropic`, …"""
    model: str | None = None
    """The model's name as the provider gave it."""
    tier: str | None = None
    """Service tier that changes the price: `flex`, `batch`, `priority`."""
    run_id: UUID | None = None
    """LangChain's run id of the call."""
    parent_run_id: UUID | None = None
    """LangChain's run id of what made the call."""

    input_tokens: int = 0
    """All input that was billed, cached and written tokens included; 0 for a cache hit."""
    output_tokens: int = 0
    """All output that was billed, reasoning included; 0 for a cache hit."""
    cached_tokens: int = 0
    """Input read from the provider's prompt cache."""
    written_tokens: int = 0
    """Input written to the provider's prompt cache."""
    reasoning_tokens: int = 0
    """Output spent on thinking."""
    audio_tokens: int = 0
    """Input and output that was sound."""
    cost: int = 0
    """What it cost, nano-dollars."""
    saved: int = 0
    """What it would have cost without the cache or the cut, nano-dollars."""
    price_version: str | None = None
    """Which price list `cost` and `saved` were made by."""

    latency: float | None = None
    """Seconds from start to end."""
    time_to_first_token: float | None = None
    """Seconds from start to the first chunk of a stream."""
    status: Status = "ok"
    """How it ended."""
    error_class: str | None = None
    """The exception's class name, never its text."""
    cache_tier: CacheTier | None = None
    """Which cache answered; `None` if the model did."""
    estimated: bool = False
    """The tokens were counted here, because the provider sent none."""
    unpriced: bool = False
    """No price is known for the model: `cost` and `saved` are 0 and may be too low."""
    aborted: bool = False
    """The consumer broke the stream off, or it was cancelled."""
    routed: bool = False
    """A router chose the model."""
    trimmed_tokens: int = 0
    """Tokens a cut removed from what would have been sent."""

    cache_key: bytes | None = None
    """Equal for equal calls; it is stored hashed once more, under a secret of the database."""
    features: bytes | None = None
    """A small `float16` vector of the last user turn, for replay."""
    reservation_id: UUID | None = None
    """What was set aside for it in budgets, which it settles."""


_NAMES = tuple(each.name for each in fields(Event))
_values = attrgetter(*_NAMES)
_UUIDS = ("id", "run_id", "parent_run_id", "reservation_id")
_FIELDS = {column.name: column.key for column in events.c}


def as_row(event: Event) -> dict[str, Any]:
    """Columns of `llmops_events` by their key, as `insert` takes them."""
    return dict(zip(_NAMES, _values(event), strict=True))


def from_row(row: Mapping[str, Any]) -> Event:
    """The event of `as_row`, of a line of a journal, or of a row that `select` found.

    Ids may be text, and columns of a later release are passed over.
    """
    by_field = {_FIELDS.get(name, name): value for name, value in row.items()}
    known = {name: by_field[name] for name in _NAMES if by_field.get(name) is not None}
    for name in _UUIDS:
        if isinstance(known.get(name), str):
            known[name] = UUID(known[name])
    return Event(**known)


def storable(event: Event) -> Event:
    """The event as every database takes it, whatever numbers and texts the caller put in.

    Text loses NUL and lone surrogates, and its end where it is too long for an index; numbers are
    of the type of their column and fit it.
    """
    row = as_row(event)
    fitted = {name: fit(row[name]) for name, fit in _FITS.items() if row[name] is not None}
    return replace(event, **fitted)


def _indexed_text(value: object) -> str:
    return storable_text(value)[:300]  # PostgreSQL takes 2,704 bytes in a row of an index


def _tags(value: Mapping[Any, Any]) -> dict[str, str]:
    return {storable_text(key): storable_text(each) for key, each in value.items()}


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float_info.max if value > 0 else -float_info.max


def _small(value: Any) -> int:
    return max(-(2**31), min(int(value), 2**31 - 1))


def _large(value: Any) -> int:
    return max(-(2**63), min(int(value), 2**63 - 1))


_BY_TYPE: dict[type, Callable[[Any], Any]] = {
    BigInteger: _large,
    Boolean: bool,
    Double: _number,
    Integer: _small,
    JSON: _tags,
    Text: storable_text,
}
_INDEXED = {column for index in events.indexes for column in index.columns}
_FITS: dict[str, Callable[[Any], Any]] = {
    column.key: _indexed_text if fit is storable_text and column in _INDEXED else fit
    for column in events.c
    if (fit := _BY_TYPE.get(type(column.type)))
}

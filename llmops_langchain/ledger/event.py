"""The one record that flows through the package."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, Literal
from uuid import UUID

from llmops_langchain.storage.types import new_id

__all__ = ["LLM_CALL", "TRIM", "CacheTier", "Event", "Status", "as_row", "from_row", "storable"]

LLM_CALL = "llm.call"
"""Name of an event that stands for one call of a language model."""

TRIM = "context.trim"
"""Name of an event that stands for one cut of a history; `trimmed_tokens` says how much left."""

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
    """HMAC of the call's key under a secret of the database; equal calls have equal ones."""
    features: bytes | None = None
    """A small `float16` vector of the last user turn, for replay."""


_NAMES = tuple(each.name for each in fields(Event))
_values = attrgetter(*_NAMES)
_UUIDS = ("id", "run_id", "parent_run_id")


def as_row(event: Event) -> dict[str, Any]:
    """Columns of `llmops_events` by name."""
    return dict(zip(_NAMES, _values(event), strict=True))


def from_row(row: Mapping[str, Any]) -> Event:
    """The event of a row; ids may be text, and columns of a later release are passed over."""
    known = {name: row[name] for name in _NAMES if row.get(name) is not None}
    for name in _UUIDS:
        if isinstance(known.get(name), str):
            known[name] = UUID(known[name])
    return Event(**known)


def storable(event: Event) -> Event:
    """The event without what no database takes: lone surrogates, NUL, numbers over 64 bits."""
    changed: dict[str, Any] = {}
    for name, value in as_row(event).items():
        if isinstance(value, str):
            changed[name] = _clean(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            changed[name] = max(-(2**63), min(value, 2**63 - 1))
    tags = event.tags and {_clean(key): _clean(value) for key, value in event.tags.items()}
    return replace(event, **changed, tags=tags)


def _clean(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode().replace("\0", "")

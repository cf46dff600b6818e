"""Everything that can be set, in one frozen record that the environment can fill."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger import Durability, Share

__all__ = ["Settings"]


Dollars = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
_POSITIVE = (
    "budget_lease",
    "budget_slice",
    "content_retention",
    "decision_retention",
    "event_retention",
    "experience_retention",
    "history_retention",
    "workspace_retention",
)


def _amounts(value: object) -> object:
    """Several amounts in one text, as the environment has them."""
    return tuple(map(str.strip, value.split(","))) if isinstance(value, str) else value


_PLACES = ("journal_dir", "embeddings_dir", "chroma_dir", "audit_key_file", "audit_anchor_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the parts of one `LLMOps` behave.

    Example:
        >>> Settings.from_env({"LLMOPS_CACHE_TTL": "60"}).cache_ttl
        60.0
    """

    disabled: bool = False
    """Every part passes through: nothing is cached, cut, counted or stored."""
    auto_migrate: bool = True
    """Bring the tables up to date at first use; else run `llmops db upgrade`."""
    db_schema: str | None = None
    """PostgreSQL schema the tables live in."""
    lock_timeout: float = 10.0
    """Seconds to wait for another process's write lock on SQLite."""
    durability: Durability = "journal"
    """What an acknowledged event survives: `journal` a killed process, `fsync` a power cut too,
    `commit` is both, without a thread or a file, at a transaction an event."""
    journal_dir: Path | None = None
    """Where journals lie; by default beside the SQLite file, or in the user's state folder."""
    encryption_key: str | tuple[str, ...] = field(default=(), repr=False)
    """Fernet keys for what is stored: the first encrypts, all decrypt. Several as a tuple, or in
    one text with commas between them."""
    require_encryption: bool = False
    """Store no text without an `encryption_key`."""
    cache_ttl: float | None = 3600.0
    """Seconds until a cached answer expires; `None` (or `inf`) keeps it until it is cleared."""
    cache_max_items: int = 1000
    """Answers kept in memory in front of the store; 0 for none."""
    cache_max_bytes: int | None = None
    """Bytes of answers kept in the database; what was not used for longest goes first."""
    cache_share: Share = "workspace"
    """Who may be given a cached answer: everybody of the `workspace`, one `project`, one `user`."""
    cache_wait: float = 60.0
    """Seconds a call waits for an equal one that is being made; 0 lets each ask the model."""
    embeddings_dir: Path | None = None
    """Folder with a MiniLM model (ONNX) for the parts that compare by meaning, unless they are
    given `Embeddings`; without one the best is taken that is on this machine."""
    cache_url: str | None = field(default=None, repr=False)
    """`redis://…` of a Valkey or Redis server that keeps the answers instead of the database."""
    chroma_dir: Path | None = None
    """Folder for Chroma's index of experiences. By default it lies beside an SQLite file, once
    there are 1,000 of them, unless there is an `encryption_key`: vectors in it are plain."""
    chroma_url: str | None = field(default=None, repr=False)
    """`http://host:8000` of a Chroma server that keeps the index instead; `https://token@host`
    for one that asks for a token."""

    fallback_price: Annotated[tuple[Dollars, Dollars] | None, BeforeValidator(_amounts)] = None
    """US dollars per million tokens in and out of a model nobody knows a price of; as text `3,15`.
    Without it such a model's calls cost 0 and say `unpriced`, and hard budgets refuse them."""
    unscoped: Literal["refuse", "allow"] = "refuse"
    """What becomes of a guarded call that nobody named a scope for, while hard budgets exist."""
    on_store_failure: Literal["refuse", "allow"] = "refuse"
    """What becomes of a guarded call while the budgets' database does not answer."""
    budget_lease: float = 600.0
    """Seconds until a call nobody heard of again is counted with its estimate; a stream's tokens
    prolong it. Not shorter than the longest call."""
    budget_slice: Decimal | None = None
    """US dollars of a hard budget that a process takes at a time and spends by itself, also while
    the database is away; without it each call asks the database."""
    capture_content: bool = False
    """Keep prompts and answers with their events; needs an `encryption_key`."""
    content_retention: float = 30 * 86_400.0
    """Seconds that captured prompts and answers are kept."""
    decision_retention: float = 30 * 86_400.0
    """Seconds that a router's decisions are kept; what was learnt of them stays."""
    event_retention: float | None = None
    """Seconds that events are kept; `None` keeps them."""
    experience_retention: float | None = None
    """Seconds that what was learnt of a run is kept; `None` keeps it."""
    history_retention: float | None = None
    """Seconds that a chat history is kept after its last message; `None` keeps it."""
    workspace_retention: float = 30 * 86_400.0
    """Seconds that a deleted workspace can be restored, before it is purged."""
    audit_key: str | tuple[str, ...] = field(default=(), repr=False)
    """Secrets of 32 characters or more that sign the audit log: the first signs, all verify.
    Several as a tuple, or in one text with commas between them."""
    audit_key_file: Path | None = None
    """A file with these secrets, one a line, that only its owner may read."""
    audit_anchor_file: Path | None = None
    """A file that `ops.maintain()` adds the ends of the audit logs to, to be kept elsewhere."""

    def __post_init__(self) -> None:
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        for name, value in _checked(given, {name: f"`{name}`" for name in given}).items():
            object.__setattr__(self, name, value)
        for name in ("encryption_key", "audit_key"):
            object.__setattr__(self, name, _listed(getattr(self, name)))
        if self.capture_content and not self.encryption_key:
            msg = "`capture_content` needs an `encryption_key`: prompts and answers are text"
            raise ConfigurationError(msg)
        for name in _POSITIVE:
            if (value := getattr(self, name)) is not None and not value > 0:
                msg = f"`{name}` must be positive, got {value!r}"
                raise ConfigurationError(msg)
        for name in _PLACES:
            if (folder := getattr(self, name)) is not None:
                object.__setattr__(self, name, folder.expanduser().absolute())

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Settings from variables such as `LLMOPS_DISABLED=1`; unset ones keep their default.

        Raises:
            ConfigurationError: If a value is not of its setting's type; it names the variable.
        """
        given = os.environ if environment is None else environment
        names = {each.name: f"LLMOPS_{each.name.upper()}" for each in fields(cls)}
        found = {name: given[key] for name, key in names.items() if given.get(key)}
        return cls(**_checked(found, names))


def _listed(secrets: str | tuple[str, ...]) -> tuple[str, ...]:
    """Secrets one by one, from a tuple or a text with commas."""
    each = secrets.split(",") if isinstance(secrets, str) else secrets
    return tuple(filter(None, map(str.strip, each)))


def _checked(given: Mapping[str, Any], called: Mapping[str, str]) -> dict[str, Any]:
    """The values as their settings' types; a wrong one is named, not quoted."""
    checked, wrong = {}, []
    for name, value in given.items():
        try:
            checked[name] = _adapters()[name].validate_python(value)
        except ValidationError as error:
            first, *_ = error.errors(include_url=False, include_input=False)
            wrong.append(f"{called[name]}: {first['msg']}")
    if wrong:
        raise ConfigurationError("; ".join(wrong))
    return checked


@cache
def _adapters() -> dict[str, TypeAdapter[Any]]:
    return {
        name: TypeAdapter(kind)
        for name, kind in get_type_hints(Settings, include_extras=True).items()
    }

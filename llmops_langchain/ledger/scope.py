"""For whom a call is made: `track(...)` says it, `config["metadata"]` fills the rest."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, cast

import orjson

__all__ = ["Scope", "Share", "current_scope", "holding", "track"]

Share = Literal["workspace", "project", "user"]
"""Who may see what was kept: everybody of the workspace, of one project in it, or one user."""

T = TypeVar("T")

# Field and key, the plainer key last: it wins where a config has both.
_METADATA_KEYS = (
    *((name, f"{name}_id") for name in ("workspace", "project", "task", "user", "agent")),
    *((name, name) for name in ("workspace", "project", "task", "user", "agent")),
    ("thread", "session_id"),
    ("thread", "thread_id"),
)
_SCOPE_KEYS = frozenset(key for _, key in _METADATA_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whom a call is attributed to. `None` means: nobody said."""

    workspace: str | None = None
    project: str | None = None
    task: str | None = None
    user: str | None = None
    agent: str | None = None
    thread: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def filled_from(self, metadata: Mapping[str, Any]) -> "Scope":
        """The same scope, with what is `None` taken from LangChain's `config["metadata"]`.

        What `track` said stays: a config that comes from a client cannot pick another tenant.
        """
        if _SCOPE_KEYS.isdisjoint(metadata):
            return self
        found = {
            name: str(metadata[key])
            for name, key in _METADATA_KEYS
            if metadata.get(key) is not None and getattr(self, name) is None
        }
        return replace(self, **cast("Any", found)) if found else self

    @property
    def of_event(self) -> dict[str, Any]:
        """The fields of an `Event` that say whose it is."""
        return {
            "workspace": self.workspace,
            "project": self.project,
            "task": self.task,
            "user": self.user,
            "agent": self.agent,
            "thread": self.thread,
            "tags": self.tags or None,
        }

    def owner(self, share: Share) -> str | None:
        """To whom something kept belongs; `None` if the scope does not name its project or user."""
        if share == "workspace":
            return orjson.dumps((share, self.workspace)).decode()
        within = self.project if share == "project" else self.user
        return orjson.dumps((share, self.workspace, within)).decode() if within else None


_NOBODY = Scope()
_scope: ContextVar[Scope] = ContextVar("llmops_scope", default=_NOBODY)


def current_scope() -> Scope:
    """The scope of the innermost `track`; an empty one outside of any.

    It follows asyncio tasks and LangChain's executors; a plain `threading.Thread` starts empty.
    """
    return _scope.get()


@contextmanager
def track(
    *,
    workspace: str | None = None,
    project: str | None = None,
    task: str | None = None,
    user: str | None = None,
    agent: str | None = None,
    thread: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[Scope]:
    """Attribute everything inside to this scope; what is `None` is inherited, tags are added.

    Yields:
        The scope that is in force inside.

    Example:
        >>> with track(workspace="acme", tags={"env": "dev"}), track(project="shop") as scope:
        ...     print(scope.workspace, scope.project, scope.tags)
        acme shop {'env': 'dev'}
    """
    outer = _scope.get()
    named = {
        "workspace": workspace,
        "project": project,
        "task": task,
        "user": user,
        "agent": agent,
        "thread": thread,
    }
    # Ids are text: a number would not be the one that a budget names.
    given = {name: str(value) for name, value in named.items() if value is not None}
    inner = replace(outer, **cast("Any", given), tags={**outer.tags, **(tags or {})})
    with holding(_scope, inner):
        yield inner


@contextmanager
def holding(variable: ContextVar[T], value: T) -> Iterator[None]:
    """Give `variable` a value inside the block.

    A block may be left in another context than it was entered in (a web framework's `yield`
    dependency, an async generator that the loop closes): there is nothing to take back there.
    """
    token = variable.set(value)
    try:
        yield
    finally:
        with suppress(ValueError):
            variable.reset(token)

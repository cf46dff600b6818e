"""Who does something: a person, an API key, or the app itself."""

from dataclasses import dataclass
from typing import Literal, cast

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.workspaces.checking import identifier

__all__ = ["SYSTEM", "Actor", "ActorKind", "actor_of"]

ActorKind = Literal["user", "key", "system"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks, as the credential said, never as a request's body says.

    A text stands for a person wherever an actor is asked for: `actor="ann"`.
    """

    kind: ActorKind
    """A person, a key (from `authenticate`), or the app itself (`SYSTEM`)."""
    id: str
    """The person's or the key's id; empty for the app."""
    workspace: str | None = None
    """Where a key belongs to."""
    project: str | None = None
    """The only project that a key is for; `None` for all of the workspace."""


SYSTEM = Actor(kind="system", id="")
"""The app itself, which may do everything but leave a workspace without an owner. Not for what a
user asks for."""


def actor_of(given: Actor | str | None) -> Actor | None:
    """The actor that is meant; nobody is `None`, and may do nothing.

    Raises:
        ConfigurationError: If it is neither an actor nor an id.
    """
    if given is None or isinstance(given, Actor):
        return given
    if not isinstance(cast("object", given), str):
        msg = f"an actor is a user's id or an `Actor`, got {type(given).__name__!r}"
        raise ConfigurationError(msg)
    return Actor(kind="user", id=identifier(given, "actor"))

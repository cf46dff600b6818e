"""What an actor may do in a workspace, read from its rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, and_

from llmops_langchain.errors import NotFoundError, PermissionDeniedError
from llmops_langchain.storage.schema import api_keys, members, project_shares, projects, roles
from llmops_langchain.workspaces.actors import Actor
from llmops_langchain.workspaces.checking import uuid_of
from llmops_langchain.workspaces.permissions import Vocabulary
from llmops_langchain.workspaces.roles import OWNER, ROLES
from llmops_langchain.workspaces.statements import Within

__all__ = [
    "Standing",
    "need",
    "own_permissions",
    "patterns_of",
    "sees",
    "standing",
    "unknown_project",
    "unknown_workspace",
]

_NOTHING: frozenset[str] = frozenset()
_SEES_ALL = "projects.read_all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What an actor may do in one workspace."""

    workspace: str
    """Where."""
    actor: Actor
    """Who."""
    role: str
    """The member's role; `"key"` or `"system"`."""
    held: frozenset[str]
    """Every permission, and every pattern that they fill."""
    person: str | None
    """The member: the actor, or the maker of a key."""
    sees_all: bool
    """Whether that member sees projects that are not shared, whatever the key is for."""
    expires_at: float | None = None
    """When a key ends."""

    @property
    def is_owner(self) -> bool:
        """Whether it is a person who owns the workspace."""
        return self.role == OWNER

    def may(self, permission: str) -> bool:
        """Whether this is allowed, in projects that the actor sees."""
        return permission in self.held

    def refusal(
        self, permission: str, project: str | None = None, *, filtered: bool = False
    ) -> PermissionDeniedError | None:
        """Why this is not allowed, if it is not; whether a project is seen is asked apart.

        Args:
            permission: What is wanted.
            project: Where; a key for one project may do nothing outside of it.
            filtered: Whether only what belongs to the actor's project is given anyway.
        """
        if permission not in self.held:
            return self.denied(permission)
        if project is None and self.actor.project is not None and not filtered:
            return self.denied(permission, "the key is for one project alone")
        return None

    def denied(self, permission: str, why: str | None = None) -> PermissionDeniedError:
        """The error that says so."""
        return PermissionDeniedError(permission, workspace=self.workspace, role=self.role, why=why)


def standing(
    connection: Connection, workspace: str, actor: Actor | None, vocabulary: Vocabulary, now: float
) -> Standing | None:
    """What an actor may do; `None` if it has no business there.

    The scopes of a key count as far as its maker may do the same today.
    """
    if actor is None:
        return None
    if actor.kind == "system":
        everything = vocabulary.held(["*"])
        return Standing(
            workspace=workspace,
            actor=actor,
            role="system",
            held=everything,
            person=None,
            sees_all=True,
        )
    if actor.kind == "user":
        return _of_member(connection, workspace, actor, vocabulary)
    return _of_key(connection, workspace, actor, vocabulary, now)


def own_permissions(connection: Connection, workspace: str, role: str) -> tuple[str, ...] | None:
    """What a role of the workspace's own may do; `None` if there is none of this name."""
    asked = Within(workspace).select(roles, roles.c.permissions).where(roles.c.name == role)
    found = connection.execute(asked).scalar()
    return None if found is None else tuple(orjson.loads(found))


def patterns_of(role: str, own: str | None) -> Iterable[str]:
    """What a role may do: one of the five, or one of the workspace's own, whose JSON this is."""
    if role in ROLES:
        return ROLES[role]
    return () if own is None else [str(each) for each in orjson.loads(own)]


def sees(connection: Connection, who: Standing, project: str) -> bool:
    """Whether a project is there for an actor."""
    within = Within(who.workspace)
    asked = within.select(projects, projects.c.made_by, projects.c.shared)
    found = connection.execute(asked.where(projects.c.id == project)).one_or_none()
    if found is None or who.actor.project not in (None, project):
        return False
    # A key that was made for it sees what its maker does, as long as that does.
    is_for_it = who.actor.project == project and who.sees_all
    if found.shared or is_for_it or who.person == found.made_by or who.may(_SEES_ALL):
        return True
    share = within.select(project_shares, project_shares.c.user_id).where(
        project_shares.c.project == project, project_shares.c.user_id == who.person
    )
    return connection.execute(share).first() is not None


def need(
    connection: Connection,
    who: Standing,
    permission: str,
    project: str | None = None,
    *,
    filtered: bool = False,
) -> None:
    """Refuse what is not allowed; arguments as for `Standing.refusal`.

    Raises:
        PermissionDeniedError: If so.
        NotFoundError: If the actor sees no such project.
    """
    refusal = who.refusal(permission, project, filtered=filtered)
    if refusal is not None:
        raise refusal
    if project is not None and not sees(connection, who, project):
        raise unknown_project(project)


def unknown_workspace(workspace: str) -> NotFoundError:
    """The same for one that is not there, was deleted, or is somebody else's."""
    msg = f"no workspace {workspace!r}"
    return NotFoundError(msg)


def unknown_project(project: str) -> NotFoundError:
    """The same for one that is not there, and one that is not shared."""
    msg = f"no project {project!r} in this workspace"
    return NotFoundError(msg)


def _of_member(
    connection: Connection, workspace: str, actor: Actor, vocabulary: Vocabulary
) -> Standing | None:
    asked = _role_of(Within(workspace)).where(members.c.user_id == actor.id)
    found = connection.execute(asked).one_or_none()
    if found is None:
        return None
    held = vocabulary.held(patterns_of(found.role, found.permissions))
    return Standing(
        workspace=workspace,
        actor=actor,
        role=found.role,
        held=held,
        person=actor.id,
        sees_all=_SEES_ALL in held,
    )


def _of_key(
    connection: Connection, workspace: str, actor: Actor, vocabulary: Vocabulary, now: float
) -> Standing | None:
    within = Within(workspace)
    asked = within.select(
        api_keys, api_keys.c.scopes, api_keys.c.made_by, api_keys.c.expires_at, api_keys.c.project
    )
    live = (api_keys.c.id == uuid_of(actor.id), api_keys.c.revoked_at.is_(None))
    key = connection.execute(asked.where(*live)).one_or_none()
    if key is None or (key.expires_at is not None and key.expires_at <= now):
        return None
    may = _maker_may(connection, within, key.made_by, vocabulary)
    return Standing(
        workspace=workspace,
        # As the row has it: an actor that was made by hand frees itself of no project.
        actor=Actor(kind="key", id=actor.id, workspace=workspace, project=key.project),
        role="key",
        held=vocabulary.held(orjson.loads(key.scopes)) & may,
        person=key.made_by,
        sees_all=_SEES_ALL in may,
        expires_at=key.expires_at,
    )


def _maker_may(
    connection: Connection, within: Within, made_by: str, vocabulary: Vocabulary
) -> frozenset[str]:
    """What the member may do who answers for a key; nobody answers for one of the app's own."""
    if not made_by:
        return vocabulary.held(["*"])
    asked = _role_of(within).where(members.c.user_id == made_by)
    maker = connection.execute(asked).one_or_none()
    return _NOTHING if maker is None else vocabulary.held(patterns_of(*maker))


def _role_of(within: Within) -> Any:
    """A member's role, and the permissions of one of the workspace's own."""
    own = and_(within.also(roles), roles.c.name == members.c.role)
    joined = members.outerjoin(roles, own)
    return within.select(members, members.c.role, roles.c.permissions).select_from(joined)

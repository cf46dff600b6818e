"""Whether somebody may do something: `require`, remembered until the workspace changes."""

import threading
from collections import OrderedDict
from typing import Any

from llmops_langchain.storage.fork import on_fork
from llmops_langchain.workspaces.actors import Actor, actor_of
from llmops_langchain.workspaces.checking import identifier
from llmops_langchain.workspaces.roles import ROLES
from llmops_langchain.workspaces.standing import (
    Standing,
    own_permissions,
    sees,
    standing,
    unknown_project,
    unknown_workspace,
)
from llmops_langchain.workspaces.statements import VERSION
from llmops_langchain.workspaces.tenants import Tenants

__all__ = ["Gate"]

_MOST = 10_000
"""Answers that are remembered."""

_Asked = tuple[str, Actor, str | None]


class Gate:
    """The part of `Workspaces` that says who may do what."""

    _tenants: Tenants

    def _open_gate(self) -> None:
        self._known: OrderedDict[_Asked, tuple[int, Standing | None, bool]] = OrderedDict()
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Make the locks anew, which another thread may have held."""
        self._lock = threading.Lock()
        self._tenants.after_fork()

    def require(
        self, actor: Actor | str | None, permission: str, workspace: str, project: str | None = None
    ) -> Standing:
        """What an actor may do, if this is part of it; else an error, which is recorded.

        A change of a role holds from its commit on, in every process: each call reads the
        workspace's version, and the rest only if that has changed.

        Args:
            actor: A user's id, or what `authenticate` returned.
            permission: Such as `"projects.create"`.
            workspace: Where.
            project: In which project; it must be shared with the actor.

        Raises:
            NotFoundError: If there is no such workspace or project for the actor: what belongs to
                others is as unknown as what does not exist.
            PermissionDeniedError: If the actor may not; an unknown permission is denied.
            ConfigurationError: If an id is none.
            StorageError: If the database does not answer.
        """
        who_asks = actor_of(actor)
        who, is_seen = self._standing_of(who_asks, workspace, project)
        if who is None:
            raise unknown_workspace(workspace)
        error = who.refusal(permission, project)
        if error is not None:
            if permission not in self._tenants.vocabulary.held(["*"]):
                error = who.denied(permission, f"there is no permission {permission!r}")
            self._tenants.note_denial(workspace, who_asks, error, project)
            raise error
        if not is_seen and project is not None:
            raise unknown_project(project)
        return who

    def allowed(
        self, actor: Actor | str | None, permission: str, workspace: str, project: str | None = None
    ) -> bool:
        """Whether `require` would let it pass; nothing is recorded.

        Raises:
            StorageError: If the database does not answer.
        """
        who, is_seen = self._standing_of(actor_of(actor), workspace, project)
        return who is not None and is_seen and who.refusal(permission, project) is None

    def check_permission(self, role: str, permission: str, *, workspace: str | None = None) -> bool:
        """Whether a role may do something; the unknown is denied.

        Args:
            role: One of the five, or one of the workspace's own.
            permission: Such as `"projects.create"`.
            workspace: Whose own roles count too.

        Raises:
            StorageError: If the database does not answer.
        """
        patterns = ROLES.get(role)
        if patterns is None and workspace is not None:
            with self._tenants.begin(read_only=True, workspace=workspace) as connection:
                patterns = own_permissions(connection, workspace, role)
        return patterns is not None and permission in self._tenants.vocabulary.held(patterns)

    def _standing_of(
        self, actor: Actor | None, workspace: str, project: str | None
    ) -> tuple[Standing | None, bool]:
        """What the actor may do, and whether it sees the project."""
        identifier(workspace, "workspace")
        if project is not None:
            identifier(project, "project")
        version = None if actor is None else self._version(workspace)
        if actor is None or version is None:
            return None, False
        asked = (workspace, actor, project)
        remembered = self._known.get(asked)
        if remembered is None or remembered[0] != version:
            remembered = self._learn(asked, version)
        _, who, is_seen = remembered
        if who is not None and who.expires_at is not None:
            who = who if who.expires_at > self._tenants.clock() else None
        return who, is_seen

    def _version(self, workspace: str) -> int | None:
        """What changes with the workspace; `None` if it is not there."""
        database = self._tenants.database
        if database.is_sqlite:
            found: Any = database.read_one(VERSION, workspace=workspace)
        else:
            with self._tenants.begin(read_only=True, workspace=workspace) as connection:
                found = connection.execute(VERSION, {"workspace": workspace}).one_or_none()
        return None if found is None or found[1] is not None else int(found[0])

    def _learn(self, asked: _Asked, version: int) -> tuple[int, Standing | None, bool]:
        """Read the rows; they are at least as new as the version that was read before them."""
        workspace, actor, project = asked
        tenants = self._tenants
        with tenants.begin(read_only=True, workspace=workspace) as connection:
            who = standing(connection, workspace, actor, tenants.vocabulary, tenants.clock())
            is_seen = project is None or (who is not None and sees(connection, who, project))
        learnt = (version, who, is_seen)
        with self._lock:
            self._known[asked] = learnt
            self._known.move_to_end(asked)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return learnt

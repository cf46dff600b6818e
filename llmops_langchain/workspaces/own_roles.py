"""Roles that a workspace makes for itself, never above their maker."""

from collections.abc import Iterable

import orjson

from llmops_langchain.errors import ConflictError, NotFoundError
from llmops_langchain.storage.schema import invitations, members, roles
from llmops_langchain.workspaces.actors import Actor, actor_of
from llmops_langchain.workspaces.chain import Target
from llmops_langchain.workspaces.checking import role_name
from llmops_langchain.workspaces.permissions import told
from llmops_langchain.workspaces.records import Role
from llmops_langchain.workspaces.roles import ROLES, outranks
from llmops_langchain.workspaces.standing import own_permissions
from llmops_langchain.workspaces.statements import Within, added
from llmops_langchain.workspaces.tenants import Change, Tenants

__all__ = ["OwnRoles"]


class OwnRoles:
    """The part of `Workspaces` that is about roles."""

    _tenants: Tenants

    def roles(self, workspace: str, *, actor: Actor | str | None) -> list[Role]:
        """The five roles, and the workspace's own by name; needs `roles.read`.

        Raises:
            NotFoundError: If there is no such workspace for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database does not answer.
        """
        with self._tenants.reading(workspace, actor_of(actor), "roles.read") as (connection, _):
            rows = connection.execute(Within(workspace).select(roles).order_by(roles.c.name))
            own = [_role(row.name, orjson.loads(row.permissions)) for row in rows]
        return [*(_role(name, held, built_in=True) for name, held in ROLES.items()), *own]

    def create_role(
        self, workspace: str, name: str, permissions: Iterable[str], *, actor: Actor | str | None
    ) -> Role:
        """Make a role; needs `roles.create`, and all that the role may do and more.

        Args:
            workspace: Where.
            name: Such as `"release_manager"`.
            permissions: Permissions or patterns, such as `["deployments.*", "projects.read"]`.
            actor: Who makes it.

        Raises:
            ConfigurationError: If a value makes no sense.
            ConflictError: If there is a role of this name.
            NotFoundError: If there is no such workspace for the actor.
            PermissionDeniedError: If the actor may not, or does not stand above the role.
            StorageError: If the database cannot keep it.
        """
        made = _role(role_name(name), self._tenants.vocabulary.checked(permissions))
        with self._tenants.changing(workspace, actor_of(actor), "roles.create") as change:
            self._need_above(change, "roles.create", made.permissions)
            row = {
                "name": made.name,
                "permissions": orjson.dumps(made.permissions).decode(),
                "made_by": change.who.person or "",
                "created_at": change.now,
            }
            is_new = made.name not in ROLES
            if not is_new or not added(change.connection, roles, {"workspace": workspace, **row}):
                msg = f"there is a role {made.name!r} already"
                raise ConflictError(msg)
            said = {"permissions": list(made.permissions)}
            change.note("role.created", Target("role", made.name), after=said)
        return made

    def update_role(
        self, workspace: str, name: str, permissions: Iterable[str], *, actor: Actor | str | None
    ) -> Role:
        """Let a role of the workspace's own do something else; needs `roles.update`.

        The actor must stand above it as it was and as it becomes; it holds for its members at once.

        Raises:
            ConfigurationError: If a value makes no sense.
            NotFoundError: If there is no such workspace for the actor, or no role of its own.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database cannot do it.
        """
        made = _role(role_name(name), self._tenants.vocabulary.checked(permissions))
        with self._tenants.changing(workspace, actor_of(actor), "roles.update") as change:
            old = self._own(change, name)
            self._need_above(change, "roles.update", old.permissions)
            self._need_above(change, "roles.update", made.permissions)
            changed = change.within.update(roles).where(roles.c.name == name)
            kept = orjson.dumps(made.permissions).decode()
            change.connection.execute(changed.values(permissions=kept))
            change.note(
                "role.changed",
                Target("role", name),
                before={"permissions": list(old.permissions)},
                after={"permissions": list(made.permissions)},
            )
        return made

    def delete_role(self, workspace: str, name: str, *, actor: Actor | str | None) -> None:
        """End a role that nobody has; needs `roles.delete`, and to stand above it.

        Raises:
            ConflictError: If somebody has it, or is invited to it.
            NotFoundError: If there is no such workspace for the actor, or no role of its own.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database cannot do it.
        """
        with self._tenants.changing(workspace, actor_of(actor), "roles.delete") as change:
            old = self._own(change, name)
            self._need_above(change, "roles.delete", old.permissions)
            asked = change.within.select(members, members.c.user_id)
            having = change.connection.execute(asked.where(members.c.role == name)).first()
            asked = change.within.select(invitations, invitations.c.id)
            pending = (
                invitations.c.role == name,
                invitations.c.status == "pending",
                invitations.c.expires_at > change.now,
            )
            if having is not None or change.connection.execute(asked.where(*pending)).first():
                msg = f"members or invitations have the role {name!r}: give them another one first"
                raise ConflictError(msg)
            gone = change.within.delete(roles).where(roles.c.name == name)
            change.connection.execute(gone)
            change.note(
                "role.deleted",
                Target("role", name),
                before={"permissions": list(old.permissions)},
            )

    def _own(self, change: Change, name: str) -> Role:
        found = own_permissions(change.connection, change.workspace, name)
        if found is None:
            why = "is one of the five that nobody changes" if name in ROLES else "is not there"
            msg = f"the role {name!r} {why}"
            raise NotFoundError(msg)
        return _role(name, found)

    def _need_above(self, change: Change, permission: str, patterns: Iterable[str]) -> None:
        held = self._tenants.vocabulary.held(patterns)
        if not outranks(change.who.held, held):
            lacks = f": it lacks {told(more)}" if (more := held - change.who.held) else ""
            why = f"{change.who.role!r} does not stand above a role that may do this{lacks}"
            change.refuse(permission, why)


def _role(name: str, permissions: Iterable[str], *, built_in: bool = False) -> Role:
    return Role(name=name, permissions=tuple(permissions), built_in=built_in)

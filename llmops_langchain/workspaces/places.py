"""Make, rename, list and delete workspaces."""

import builtins
from dataclasses import replace
from typing import Any

from sqlalchemy import Row

from llmops_langchain.errors import ConflictError
from llmops_langchain.storage.schema import members, workspaces
from llmops_langchain.storage.types import new_id
from llmops_langchain.workspaces.actors import Actor, actor_of
from llmops_langchain.workspaces.chain import START, Target
from llmops_langchain.workspaces.checking import identifier, label
from llmops_langchain.workspaces.emails import address
from llmops_langchain.workspaces.ending import close_workspace, end_workspace
from llmops_langchain.workspaces.records import Workspace
from llmops_langchain.workspaces.roles import OWNER
from llmops_langchain.workspaces.standing import Standing
from llmops_langchain.workspaces.statements import WORKSPACES_OF, Within, added
from llmops_langchain.workspaces.tenants import Tenants

__all__ = ["Places"]


class Places:
    """The part of `Workspaces` that is about workspaces themselves."""

    _tenants: Tenants

    def create(
        self, *, name: str, owner_id: str, owner_email: str, workspace: str | None = None
    ) -> Workspace:
        """Make a workspace with its first owner.

        Args:
            name: What people call it.
            owner_id: The user who owns it.
            owner_email: The owner's address.
            workspace: Its id, where the app has one for this team; it then takes over what was
                recorded under that id, so never let a user choose it. By default a new UUID.

        Raises:
            ConfigurationError: If a value makes no sense.
            ConflictError: If there is, or was, a workspace of this id.
            StorageError: If the database cannot keep it.
        """
        name, owner = label(name, "name"), Actor(kind="user", id=identifier(owner_id, "owner_id"))
        mail, chosen = address(owner_email), workspace or str(new_id())
        identifier(chosen, "workspace")
        with self._tenants.begin(workspace=chosen) as connection:
            now = self._tenants.clock()
            row = {"id": chosen, "name": name, "created_at": now, "version": 0, "audit_seq": 0}
            if not added(connection, workspaces, {**row, "audit_hash": START}):
                msg = f"there is, or was, a workspace {chosen!r}: choose another id"
                raise ConflictError(msg)
            first = Within(chosen).insert(members)
            forms = {"email": mail.email, "email_key": mail.key, "email_shape": mail.shape}
            connection.execute(first.values(user_id=owner.id, role=OWNER, joined_at=now, **forms))
            change = self._tenants.within(connection, chosen, owner)
            change.note("workspace.created", Target("workspace", chosen), after={"name": name})
            change.note("member.joined", Target("user", owner.id), after={"role": OWNER})
            self._tenants.conclude(change)
            return _workspace(change.row, change.who)

    def get(self, workspace: str, *, actor: Actor | str | None) -> Workspace:
        """A workspace; needs `workspace.read`.

        Raises:
            NotFoundError: If there is none for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database does not answer.
        """
        with self._tenants.reading(workspace, actor_of(actor), "workspace.read") as (
            connection,
            who,
        ):
            return _workspace(connection.execute(Within(workspace).select(workspaces)).one(), who)

    def list(self, user_id: str, *, deleted: bool = False) -> builtins.list[Workspace]:
        """The workspaces that a user is a member of, by name.

        Args:
            user_id: The user who asks.
            deleted: Those too that were deleted and are not purged yet.

        Raises:
            ConfigurationError: If `user_id` is no id.
            StorageError: If the database does not answer.
        """
        person = identifier(user_id, "user_id")
        with self._tenants.begin(read_only=True, person=person) as connection:
            rows = connection.execute(WORKSPACES_OF, {"user": person})
            return [
                Workspace(
                    id=row.id,
                    name=row.name,
                    created_at=row.created_at,
                    role=row.role,
                    deleted_at=row.deleted_at,
                )
                for row in rows
                if deleted or row.deleted_at is None
            ]

    def update(self, workspace: str, *, name: str, actor: Actor | str | None) -> Workspace:
        """Rename a workspace; needs `workspace.update`. Errors as for `get`."""
        name = label(name, "name")
        with self._tenants.changing(workspace, actor_of(actor), "workspace.update") as change:
            change.connection.execute(change.within.update(workspaces).values(name=name))
            change.note(
                "workspace.renamed",
                Target("workspace", workspace),
                before={"name": change.row.name},
                after={"name": name},
            )
            return replace(_workspace(change.row, change.who), name=name)

    def delete(self, workspace: str, *, actor: Actor | str | None) -> None:
        """Close a workspace to everybody at once; needs `workspace.delete`. Errors as for `get`.

        An owner can `restore` it until it is purged: by `ops.maintain()`, once it has been deleted
        for `workspace_retention` seconds.
        """
        with self._tenants.changing(workspace, actor_of(actor), "workspace.delete") as change:
            close_workspace(change)

    def restore(self, workspace: str, *, actor: Actor | str | None) -> Workspace:
        """Undo `delete`; needs the same permission. Errors as for `get`."""
        tenants = self._tenants
        with tenants.changing(
            workspace, actor_of(actor), "workspace.delete", deleted=True
        ) as change:
            back = change.within.update(workspaces).values(deleted_at=None)
            change.connection.execute(back)
            if change.row.deleted_at is not None:
                change.note("workspace.restored", Target("workspace", workspace))
            return replace(_workspace(change.row, change.who), deleted_at=None)

    def purge(self, workspace: str, *, actor: Actor | str | None) -> None:
        """Delete for good what a deleted workspace holds; needs `workspace.delete`.

        Its audit log stays, with nobody's name in it, and its id is not given again. What the other
        parts keep under the id (events, answers, experiences) is left to their own retention.

        Raises:
            ConflictError: If it was not deleted before.
            NotFoundError: If there is none for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database cannot do it.
        """
        tenants = self._tenants
        with tenants.changing(
            workspace, actor_of(actor), "workspace.delete", deleted=True
        ) as change:
            if change.row.deleted_at is None:
                msg = f"workspace {workspace!r} is in use: `delete` it first"
                raise ConflictError(msg)
            end_workspace(change)


def _workspace(row: Row[Any], who: Standing) -> Workspace:
    return Workspace(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        role=who.role,
        deleted_at=row.deleted_at,
    )

"""Who belongs to a workspace, and as what."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Row, and_, func

from llmops_langchain.errors import ConflictError, LastOwnerError, NotFoundError
from llmops_langchain.storage.schema import api_keys, members
from llmops_langchain.workspaces.actors import Actor, actor_of
from llmops_langchain.workspaces.chain import Target
from llmops_langchain.workspaces.checking import identifier, role_name
from llmops_langchain.workspaces.records import Member
from llmops_langchain.workspaces.roles import OWNER, ROLES, outranks
from llmops_langchain.workspaces.standing import Standing, own_permissions
from llmops_langchain.workspaces.statements import Within
from llmops_langchain.workspaces.tenants import Change, Tenants

__all__ = [
    "Members",
    "assignable",
    "held_by_role",
    "may_give",
    "member_of",
    "need_another_owner",
    "take_out",
]


class Members:
    """The part of `Workspaces` that is about members."""

    _tenants: Tenants

    def members(self, workspace: str, *, actor: Actor | str | None) -> list[Member]:
        """Everybody, in the order they joined; needs `members.read`.

        Raises:
            NotFoundError: If there is no such workspace for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database does not answer.
        """
        with self._tenants.reading(workspace, actor_of(actor), "members.read") as (connection, _):
            asked = Within(workspace).select(members)
            rows = connection.execute(asked.order_by(members.c.joined_at, members.c.user_id))
            return [_member(row) for row in rows]

    def change_role(
        self, workspace: str, user_id: str, role: str, *, actor: Actor | str | None
    ) -> Member:
        """Give a member another role; needs `members.update`.

        Only who outranks both the member and the new role may do it: nobody rises by themselves,
        or touches an equal. Owners alone make owners. Everybody may step down.

        Args:
            workspace: Where.
            user_id: Whose role.
            role: One of the five, or one of the workspace's own.
            actor: Who does it.

        Raises:
            ConfigurationError: If an id or a name is none.
            NotFoundError: If there is no such workspace, member or role.
            PermissionDeniedError: If the actor may not.
            LastOwnerError: If the workspace would be left without an owner.
            StorageError: If the database cannot do it.
        """
        person, role = identifier(user_id, "user_id"), role_name(role)
        with self._tenants.changing(workspace, actor_of(actor)) as change:
            is_self = change.who.actor == Actor(kind="user", id=person)
            if not is_self:
                change.need("members.update")
            old = member_of(change, person)
            new = held_by_role(self._tenants, change, role)
            if is_self:
                # Down is what is left of one's own permissions, or the role one has.
                if not (outranks(change.who.held, new) or role == old.role):
                    change.refuse("members.update", "nobody promotes themselves")
            else:
                _need_rank(self._tenants, change, old.role)
                assignable(self._tenants, change, role)
            if old.role == OWNER and role != OWNER:
                need_another_owner(change)
            if role != old.role:
                _set_role(change, person, old.role, role)
            return replace(_member(old), role=role)

    def remove_member(
        self,
        workspace: str,
        user_id: str,
        *,
        actor: Actor | str | None,
        keep_keys: bool = False,
    ) -> None:
        """Take a member out, at once and everywhere; needs `members.remove` and a higher rank.

        Args:
            workspace: Where.
            user_id: Whom.
            actor: Who does it.
            keep_keys: Let the API keys that the member made go on, and answer for them from now
                on: they may do what the actor may. By default they are revoked.

        Raises:
            NotFoundError: If there is no such workspace or member.
            PermissionDeniedError: If the actor may not, or is the member: see `leave`.
            LastOwnerError: If the workspace would be left without an owner.
            StorageError: If the database cannot do it.
        """
        person = identifier(user_id, "user_id")
        with self._tenants.changing(workspace, actor_of(actor), "members.remove") as change:
            old = member_of(change, person)
            _need_rank(self._tenants, change, old.role)
            if old.role == OWNER:
                need_another_owner(change)
            take_out(change, old, heir=change.who.person or "" if keep_keys else None)

    def leave(self, workspace: str, *, actor: Actor | str | None) -> None:
        """Take oneself out; the API keys one made are revoked.

        Raises:
            NotFoundError: If there is no such workspace for the actor.
            PermissionDeniedError: If the actor is no person.
            LastOwnerError: If the workspace would be left without an owner.
            StorageError: If the database cannot do it.
        """
        with self._tenants.changing(workspace, actor_of(actor)) as change:
            if change.who.actor.kind != "user":
                change.refuse("members.remove", "only a member can leave")
            old = member_of(change, change.who.actor.id)
            if old.role == OWNER:
                need_another_owner(change)
            take_out(change, old, heir=None)

    def transfer_ownership(
        self, workspace: str, user_id: str, *, actor: Actor | str | None
    ) -> None:
        """Make another member the owner in one's place, and become an admin.

        Raises:
            NotFoundError: If there is no such workspace or member.
            PermissionDeniedError: If the actor does not own the workspace.
            ConflictError: If the member owns it already.
            StorageError: If the database cannot do it.
        """
        heir = identifier(user_id, "user_id")
        with self._tenants.changing(workspace, actor_of(actor), "workspace.transfer") as change:
            if not change.who.is_owner:
                why = "only an owner passes the ownership on; others use `change_role`"
                change.refuse("workspace.transfer", why)
            old = member_of(change, heir)
            if old.role == OWNER:
                msg = f"{heir!r} owns workspace {workspace!r} already"
                raise ConflictError(msg)
            _set_role(change, heir, old.role, OWNER)
            _set_role(change, change.who.actor.id, OWNER, "admin")


def member_of(change: Change, user_id: str) -> Row[Any]:
    """The row of a member.

    Raises:
        NotFoundError: If there is none.
    """
    asked = change.within.select(members).where(members.c.user_id == user_id)
    found = change.connection.execute(asked).one_or_none()
    if found is None:
        msg = f"no member {user_id!r} in workspace {change.workspace!r}"
        raise NotFoundError(msg)
    return found


def held_by_role(tenants: Tenants, change: Change, role: str) -> frozenset[str]:
    """What a role may do.

    Raises:
        NotFoundError: If the workspace has no such role.
    """
    patterns = ROLES.get(role) or own_permissions(change.connection, change.workspace, role)
    if patterns is None:
        msg = f"no role {role!r}: there are {', '.join(ROLES)}, and the workspace's own"
        raise NotFoundError(msg)
    return tenants.vocabulary.held(patterns)


def assignable(tenants: Tenants, change: Change, role: str) -> None:
    """Refuse to give a role that the actor does not outrank; owners may make owners.

    Raises:
        NotFoundError: If the workspace has no such role.
        PermissionDeniedError: If the actor may not give it.
    """
    if not may_give(change.who, role, held_by_role(tenants, change, role)):
        why = f"{change.who.role!r} does not stand above the role {role!r}"
        change.refuse("members.update", why)


def may_give(who: Standing, role: str, held: frozenset[str]) -> bool:
    """Whether somebody may give a role, which may do that; owners may make owners."""
    if role == OWNER:
        return who.is_owner or who.role == "system"
    return outranks(who.held, held)


def _need_rank(tenants: Tenants, change: Change, role: str) -> None:
    """Refuse to touch an equal; the app itself may."""
    if change.who.role == "system":
        return
    if not outranks(change.who.held, held_by_role(tenants, change, role)):
        why = f"{change.who.role!r} does not stand above a member who is {role!r}"
        change.refuse("members.update", why)


def need_another_owner(change: Change) -> None:
    """Refuse to take the last owner away.

    Raises:
        LastOwnerError: If there is one alone.
    """
    asked = change.within.select(members, func.count()).where(members.c.role == OWNER)
    if change.connection.execute(asked).scalar_one() <= 1:
        raise LastOwnerError(change.workspace)


def _set_role(change: Change, user_id: str, old: str, new: str) -> None:
    changed = change.within.update(members).where(members.c.user_id == user_id)
    change.connection.execute(changed.values(role=new))
    change.note(
        "member.role_changed", Target("user", user_id), before={"role": old}, after={"role": new}
    )


def take_out(change: Change, old: Row[Any], *, heir: str | None) -> None:
    """Delete a member, with what it was given; its keys end, or the heir answers for them."""
    theirs = and_(api_keys.c.made_by == old.user_id, api_keys.c.revoked_at.is_(None))
    ended = {"revoked_at": change.now} if heir is None else {"made_by": heir}
    asked = change.within.select(api_keys, api_keys.c.id).where(theirs)
    keys = list(change.connection.execute(asked.order_by(api_keys.c.id)).scalars())
    change.connection.execute(change.within.update(api_keys).where(theirs).values(ended))
    for each in keys:
        change.note("key.revoked" if heir is None else "key.handed_over", Target("key", str(each)))
    gone = change.within.delete(members).where(members.c.user_id == old.user_id)
    change.connection.execute(gone)
    is_self = change.who.actor == Actor(kind="user", id=old.user_id)
    action = "member.left" if is_self else "member.removed"
    change.note(action, Target("user", old.user_id), before={"role": old.role})


def _member(row: Row[Any]) -> Member:
    return Member(user_id=row.user_id, email=row.email, role=row.role, joined_at=row.joined_at)

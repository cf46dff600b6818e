"""Ask people in by a token that works once."""

import hmac
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row

from llmops_langchain.errors import (
    ConfigurationError,
    ConflictError,
    InvitationError,
    NotFoundError,
)
from llmops_langchain.storage.schema import invitations, members
from llmops_langchain.storage.types import new_id
from llmops_langchain.workspaces.actors import SYSTEM, Actor, actor_of
from llmops_langchain.workspaces.chain import Target
from llmops_langchain.workspaces.checking import duration, identifier, role_name, uuid_of
from llmops_langchain.workspaces.emails import Address, address
from llmops_langchain.workspaces.members import assignable, held_by_role, may_give
from llmops_langchain.workspaces.records import (
    Invitation,
    InvitationStatus,
    Member,
    NewInvitation,
)
from llmops_langchain.workspaces.standing import standing
from llmops_langchain.workspaces.statements import INVITATION_OF, Within, added
from llmops_langchain.workspaces.tenants import Change, Tenants
from llmops_langchain.workspaces.tokens import digest, is_whole, new_token

__all__ = ["Deliver", "Invitations", "end_pending"]

logger = logging.getLogger(__name__)

Deliver = Callable[[NewInvitation], None]
"""Brings an invitation to whom it is for: a mail, a message."""

_WEEK = 7 * 86_400.0


class Invitations:
    """The part of `Workspaces` that is about invitations."""

    _tenants: Tenants
    _deliverers: list[Deliver]

    def on_invitation(self, deliver: Deliver) -> Deliver:
        """Call `deliver` with each new invitation once it is stored; may be used as a decorator.

        Several are called in turn. One that fails does not undo the invitation:
        `NewInvitation.delivered` is then `False`.

        Raises:
            ConfigurationError: If it cannot be called, or is a coroutine function.
        """
        if not callable(deliver) or inspect.iscoroutinefunction(deliver):
            msg = f"invitations are brought by a plain function of one argument, got {deliver!r}"
            raise ConfigurationError(msg)
        self._deliverers.append(deliver)
        return deliver

    def invite(
        self,
        workspace: str,
        email: str,
        role: str,
        *,
        actor: Actor | str | None,
        expires_in: float = _WEEK,
    ) -> NewInvitation:
        """Let an address join once; needs `members.invite` and a role above the one it is given.

        Who is invited again gets a new token, and the earlier one ends.

        Args:
            workspace: Where to.
            email: Whom.
            role: As what.
            actor: Who invites.
            expires_in: Seconds until it ends by itself.

        Raises:
            ConfigurationError: If a value makes no sense.
            ConflictError: If the address, or one that looks like it, is a member's already.
            NotFoundError: If there is no such workspace or role.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database cannot keep it.
        """
        mail, lasts = address(email), duration(expires_in, "expires_in")
        role = role_name(role)
        with self._tenants.changing(workspace, actor_of(actor), "members.invite") as change:
            assignable(self._tenants, change, role)
            _need_new_address(change, mail)
            end_pending(change, "revoked", invitations.c.email_shape == mail.shape)
            token = new_token("llmops_inv_")
            made = Invitation(
                id=new_id(),
                workspace=workspace,
                email=mail.email,
                role=role,
                invited_by=change.who.person or "",
                created_at=change.now,
                expires_at=change.now + lasts,
                status="pending",
            )
            _keep(change, made, mail, token)
            change.note("member.invited", Target("email", mail.key), after={"role": role})
            new = NewInvitation(invitation=made, workspace_name=change.row.name, token=token)
        return self._delivered(new)

    def invitations(self, workspace: str, *, actor: Actor | str | None) -> list[Invitation]:
        """Every invitation, the newest first; needs `members.invite`.

        Raises:
            NotFoundError: If there is no such workspace for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database does not answer.
        """
        with self._tenants.reading(workspace, actor_of(actor), "members.invite") as (connection, _):
            asked = Within(workspace).select(invitations).order_by(invitations.c.id.desc())
            now = self._tenants.clock()
            return [_invitation(row, now) for row in connection.execute(asked)]

    def revoke_invitation(
        self, workspace: str, invitation_id: UUID | str, *, actor: Actor | str | None
    ) -> None:
        """End an invitation that was not used; needs `members.invite`.

        Raises:
            NotFoundError: If there is no such workspace or invitation.
            InvitationError: If it is over already.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database cannot do it.
        """
        with self._tenants.changing(workspace, actor_of(actor), "members.invite") as change:
            row = _row(change, invitation_id)
            if row.status != "pending":
                raise InvitationError(reason=row.status)
            end_pending(change, "revoked", invitations.c.id == row.id)

    def accept(self, token: str, *, user_id: str, email: str | None = None) -> Member:
        """Join by an invitation; of two who use one token, one does.

        Args:
            token: As it was delivered.
            user_id: Who joins.
            email: An address that this user is known to have; give it if the app has verified it,
                and it must be the invited one.

        Raises:
            NotFoundError: If nobody was given such a token.
            InvitationError: If it was used, ended, has expired, or is for another address.
            ConflictError: If the user is a member already.
            ConfigurationError: If `user_id` or `email` makes no sense.
            StorageError: If the database cannot do it.
        """
        person = identifier(user_id, "user_id")
        mail = None if email is None else address(email)
        with self._used(token, person) as (change, row):
            if mail is not None and mail.key != row.email_key:
                raise InvitationError(reason="address")
            forms = {"email": row.email, "email_key": row.email_key, "email_shape": row.email_shape}
            joined = {"user_id": person, "role": row.role, "joined_at": change.now}
            whose = {"workspace": change.workspace}
            if not added(change.connection, members, {**whose, **joined, **forms}):
                msg = f"{person!r}, or the address, is a member of this workspace already"
                raise ConflictError(msg)
            _end(change, row, "accepted", accepted_by=person)
            change.note("member.joined", Target("user", person), after={"role": row.role})
            return Member(user_id=person, email=row.email, role=row.role, joined_at=change.now)

    def decline(self, token: str, *, user_id: str | None = None) -> None:
        """Refuse an invitation; errors as for `accept`.

        Args:
            token: As it was delivered.
            user_id: Who refuses, if the app knows.
        """
        person = None if user_id is None else identifier(user_id, "user_id")
        with self._used(token, person) as (change, row):
            _end(change, row, "declined")
            change.note("invitation.declined", Target("email", row.email_key))

    @contextmanager
    def _used(self, token: str, person: str | None) -> Iterator[tuple[Change, Row[Any]]]:
        """The pending invitation of a token, in a transaction in which it is used."""
        workspace, found = self._found(token)
        with self._tenants.begin(workspace=workspace) as connection:
            try:
                change = self._tenants.within(connection, workspace, SYSTEM)
            except NotFoundError:  # it was deleted, which a stranger need not learn
                raise _unknown() from None
            if person is not None:
                change.who = replace(change.who, actor=Actor(kind="user", id=person))
            row = _row(change, found)
            _need_pending(self._tenants, change, row)
            yield change, row
            self._tenants.conclude(change)

    def _found(self, token: str) -> tuple[str, UUID]:
        """Where the token belongs to."""
        given = token.strip() if isinstance(token, str) else ""
        if not is_whole("llmops_inv_", given):
            raise _unknown()
        hashed = digest(given)
        with self._tenants.begin(read_only=True, token=hashed.hex()) as connection:
            found = connection.execute(INVITATION_OF, {"token": hashed}).one_or_none()
        if found is None or not hmac.compare_digest(found.token_hash, hashed):
            raise _unknown()
        return found.workspace, found.id

    def _delivered(self, new: NewInvitation) -> NewInvitation:
        try:
            for deliver in self._deliverers:
                deliver(new)
        except Exception as error:  # noqa: BLE001 - whatever an app's mailer raises
            # Its class alone: the text of the error may quote the address or the token.
            told = (new.invitation.id, new.invitation.workspace, type(error).__name__)
            logger.warning("invitation %s of workspace %s was not delivered: %s", *told)
            return new
        return replace(new, delivered=bool(self._deliverers))


def end_pending(change: Change, status: InvitationStatus, *which: ColumnElement[bool]) -> int:
    """End invitations that nobody used; how many."""
    theirs = (invitations.c.status == "pending", *which)
    asked = change.within.select(invitations, invitations.c.email_key).where(*theirs)
    emails = list(change.connection.execute(asked.order_by(invitations.c.id)).scalars())
    ended = change.within.update(invitations).where(*theirs)
    change.connection.execute(ended.values(status=status, ended_at=change.now))
    for each in emails:
        change.note(f"invitation.{status}", Target("email", each))
    return len(emails)


def _need_new_address(change: Change, mail: Address) -> None:
    asked = change.within.select(members, members.c.email_key)
    found = change.connection.execute(asked.where(members.c.email_shape == mail.shape)).scalar()
    if found is not None:
        like = "is" if found == mail.key else "looks like that of"
        msg = f"the address {like} a member of this workspace"
        raise ConflictError(msg)


def _need_pending(tenants: Tenants, change: Change, row: Row[Any]) -> None:
    """Refuse an invitation that is over, or that its maker could not make today."""
    if row.status != "pending":
        raise InvitationError(reason=row.status)
    if row.expires_at <= change.now:
        raise InvitationError(reason="expired")
    maker = Actor(kind="user", id=row.invited_by) if row.invited_by else SYSTEM
    who = standing(change.connection, change.workspace, maker, tenants.vocabulary, change.now)
    if who is None or not who.may("members.invite"):
        raise InvitationError(reason="revoked")
    held = held_by_role(tenants, change, row.role)
    if not may_give(who, row.role, held):
        raise InvitationError(reason="revoked")


def _keep(change: Change, made: Invitation, mail: Address, token: str) -> None:
    forms = {"email": mail.email, "email_key": mail.key, "email_shape": mail.shape}
    new = change.within.insert(invitations).values(
        id=made.id,
        role=made.role,
        invited_by=made.invited_by,
        token_hash=digest(token),
        created_at=made.created_at,
        expires_at=made.expires_at,
        status=made.status,
        **forms,
    )
    change.connection.execute(new)


def _end(
    change: Change, row: Row[Any], status: InvitationStatus, *, accepted_by: str | None = None
) -> None:
    ended = change.within.update(invitations).where(invitations.c.id == row.id)
    values = {"status": status, "ended_at": change.now, "accepted_by": accepted_by}
    change.connection.execute(ended.values(values))


def _row(change: Change, invitation_id: UUID | str) -> Row[Any]:
    asked = change.within.select(invitations).where(invitations.c.id == uuid_of(invitation_id))
    found = change.connection.execute(asked).one_or_none()
    if found is None:
        raise _unknown()
    return found


def _unknown() -> NotFoundError:
    msg = "no such invitation: it is not whole, or was replaced by a newer one"
    return NotFoundError(msg)


def _invitation(row: Row[Any], now: float) -> Invitation:
    over = row.status == "pending" and row.expires_at <= now
    return Invitation(
        id=row.id,
        workspace=row.workspace,
        email=row.email,
        role=row.role,
        invited_by=row.invited_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        status="expired" if over else row.status,
    )

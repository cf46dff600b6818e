"""Housekeeping of workspaces, and the end of a person in them."""

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, or_

from llmops_langchain.errors import ConfigurationError, LastOwnerError, NotFoundError
from llmops_langchain.storage.kept import Done, Subject
from llmops_langchain.storage.schema import (
    api_keys,
    invitations,
    members,
    projects,
    roles,
    workspaces,
)
from llmops_langchain.workspaces.actors import SYSTEM
from llmops_langchain.workspaces.audits import Audits
from llmops_langchain.workspaces.emails import address
from llmops_langchain.workspaces.ending import close_workspace, end_workspace, erase_names
from llmops_langchain.workspaces.invitations import end_pending
from llmops_langchain.workspaces.members import need_another_owner, take_out
from llmops_langchain.workspaces.statements import MEETINGS_OF, due, everywhere
from llmops_langchain.workspaces.tenants import Change

__all__ = ["Upkeep"]

logger = logging.getLogger(__name__)


class Upkeep(Audits):
    """The part of `Workspaces` that looks after what is stored."""

    _retention: float

    def maintain(self, now: float) -> Done:
        """End invitations past their time, purge what was deleted long ago, hand out anchors.

        Raises:
            StorageError: If the database cannot do it; what was done before stays done.
        """
        late = (invitations.c.status == "pending", invitations.c.expires_at <= now)
        expired = sum(self._expired(each, now) for each in self._due(invitations, *late))
        gone = (workspaces.c.purged_at.is_(None), workspaces.c.deleted_at <= now - self._retention)
        purged = sum(self._purged(each, now) for each in self._due(workspaces, *gone))
        return {
            "invitations expired": expired,
            "workspaces purged": purged,
            **self._told_anchors(),
        }

    def _told_anchors(self) -> Done:
        """What came of handing out anchors; one who takes none does not undo the rest."""
        try:
            return {"chains anchored": self._anchored()}
        except Exception as error:  # noqa: BLE001 - whatever an app's function raises
            logger.warning("anchors were not taken: %s", type(error).__name__)
            return {"chains anchored": 0, "anchors refused": 1}

    def forget(self, whom: Subject) -> int:
        """Take a person out of every workspace, and the name out of the audit logs; how many rows.

        Who was invited and never joined is named by the address. The entries stay, without the
        name. A workspace that nobody else is a member of is deleted: until it is purged, `SYSTEM`
        may restore it.

        Raises:
            LastOwnerError: If other members would be left without an owner; all else is done.
            StorageError: If the database cannot do it.
        """
        if whom.user is None:
            return 0
        with self._tenants.begin(
            read_only=True, workspace=everywhere, person=whom.user
        ) as connection:
            mail = _email_key(whom.user)
            named = {"user": whom.user, "name": f"user:{whom.user}", "email": mail}
            met = {row.workspace for row in connection.execute(MEETINGS_OF, named)}
        touched, left = 0, list[str]()
        for each in sorted(met if whom.workspace is None else met & {whom.workspace}):
            try:
                touched += self._forgotten(each, whom.user)
            except LastOwnerError:
                left.append(each)
        if left:
            raise LastOwnerError(left[0])
        return touched

    def _due(self, table: Table, *conditions: ColumnElement[bool]) -> list[str]:
        with self._tenants.begin(read_only=True, workspace=everywhere) as connection:
            return list(connection.execute(due(table, *conditions)).scalars())

    def _expired(self, workspace: str, now: float) -> int:
        """End what is past its time in one workspace, unless it was purged meanwhile."""
        try:
            with self._tenants.changing(workspace, SYSTEM, deleted=True) as change:
                return end_pending(change, "expired", invitations.c.expires_at <= now)
        except NotFoundError:
            return 0

    def _purged(self, workspace: str, now: float) -> int:
        """Purge a workspace, unless it was restored meanwhile."""
        try:
            with self._tenants.changing(workspace, SYSTEM, deleted=True) as change:
                since = change.row.deleted_at
                if since is None or since > now - self._retention:
                    return 0
                end_workspace(change)
        except NotFoundError:
            return 0
        return 1

    def _forgotten(self, workspace: str, user: str) -> int:
        """Forget a person in one workspace, all of it or nothing."""
        with self._tenants.begin(workspace=workspace) as connection:
            row = self._tenants.locked(connection, workspace)
            if row is None or row.purged_at is not None:
                return 0
            change = self._tenants.within(connection, workspace, SYSTEM, deleted=True)
            asked = change.within.select(members)
            everybody = connection.execute(asked).all()
            mine = [each for each in everybody if each.user_id == user]
            if mine and len(everybody) == 1 and row.deleted_at is None:
                close_workspace(change)
            touched = sum(_member_forgotten(change, each, everybody) for each in mine)
            emails = {each.email_key for each in mine} | _joined_by(change, user)
            emails |= {_email_key(user)} - {""}
            touched += _taken_out(change, user, emails)
            touched += erase_names(change, {f"user:{user}", *(f"email:{each}" for each in emails)})
            self._tenants.conclude(change)
            return touched


def _email_key(user: str) -> str:
    """The address that somebody is named by; empty for another name."""
    try:
        return address(user).key
    except ConfigurationError:
        return ""


def _member_forgotten(change: Change, row: Any, everybody: Sequence[Any]) -> int:
    if row.role == "owner" and len(everybody) > 1:
        need_another_owner(change)
    take_out(change, row, heir=None)
    return 1


def _joined_by(change: Change, user: str) -> set[str]:
    """The addresses by which somebody joined, also when that was long ago."""
    asked = change.within.select(invitations, invitations.c.email_key)
    return set(change.connection.execute(asked.where(invitations.c.accepted_by == user)).scalars())


def _taken_out(change: Change, user: str, emails: set[str]) -> int:
    """The name from rows that stay, and the invitations to the person's addresses."""
    gone = or_(invitations.c.email_key.in_(emails), invitations.c.invited_by == user)
    touched = change.connection.execute(change.within.delete(invitations).where(gone)).rowcount
    for table in (api_keys, projects, roles):
        theirs = change.within.update(table).where(table.c.made_by == user)
        touched += change.connection.execute(theirs.values(made_by=_NOBODY)).rowcount
    return touched


_NOBODY = " (forgotten)"
"""Stands for a maker who was forgotten. No id begins with a space, and none at all is the app's."""

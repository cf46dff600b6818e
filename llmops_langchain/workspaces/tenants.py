"""Transactions on one workspace: who asks is checked, and what changes is recorded with it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from sqlalchemy import Connection, Delete, Row

from llmops_langchain.clock import Clock
from llmops_langchain.errors import PermissionDeniedError
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import workspaces
from llmops_langchain.workspaces.actors import SYSTEM, Actor
from llmops_langchain.workspaces.chain import Head, Target
from llmops_langchain.workspaces.checking import identifier
from llmops_langchain.workspaces.permissions import Vocabulary
from llmops_langchain.workspaces.refusals import Refusals
from llmops_langchain.workspaces.signing import AuditKeys
from llmops_langchain.workspaces.standing import (
    Standing,
    need,
    standing,
    unknown_workspace,
)
from llmops_langchain.workspaces.statements import Within, claim
from llmops_langchain.workspaces.trail import Happened, append

__all__ = ["Change", "Tenants"]

logger = logging.getLogger(__name__)


class Change:
    """One transaction that changes a workspace, whose row is locked until it ends.

    Args:
        connection: Inside the transaction.
        row: The workspace.
        who: What the actor may do.
        now: UTC seconds since the Unix epoch.
    """

    def __init__(self, connection: Connection, row: Row[Any], who: Standing, now: float) -> None:
        self.connection, self.row, self.who, self.now = connection, row, who, now
        self.within = Within(row.id)
        self.happened: list[Happened] = []
        self.is_news = True
        """Whether what others remember of the workspace is out of date afterwards."""
        self.at_last: list[Delete] = []
        """What is deleted once everything is recorded."""

    @property
    def workspace(self) -> str:
        """Its id."""
        return self.within.workspace

    def note(
        self,
        action: str,
        target: Target,
        *,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        """Record with the change what was done."""
        did = Happened(
            actor=self.who.actor, action=action, target=target, before=before, after=after
        )
        self.happened.append(did)

    def refuse(self, permission: str, why: str) -> NoReturn:
        """Raise the error that says why not.

        Raises:
            PermissionDeniedError: Always.
        """
        raise self.who.denied(permission, why)

    def need(self, permission: str, project: str | None = None) -> None:
        """Refuse what the actor may not do.

        Raises:
            PermissionDeniedError: If so.
            NotFoundError: If it sees no such project.
        """
        need(self.connection, self.who, permission, project)


class Tenants:
    """The way to the rows of workspaces.

    Args:
        database: Where they are.
        vocabulary: All permissions there are.
        keys: What signs the audit log.
        clock: Returns seconds since the Unix epoch.
    """

    def __init__(
        self, database: Database, vocabulary: Vocabulary, keys: AuditKeys, clock: Clock
    ) -> None:
        self.database, self.vocabulary, self.keys, self.clock = database, vocabulary, keys, clock
        self._refusals = Refusals()

    def after_fork(self) -> None:
        """Forget what was refused, with the lock that another thread may have held."""
        self._refusals = Refusals()

    @contextmanager
    def begin(self, *, read_only: bool = False, **claims: str) -> Iterator[Connection]:
        """A transaction for one workspace, person or token; PostgreSQL's row security is told.

        Raises:
            StorageError: If the database cannot do it.
        """
        with self.database.begin(read_only=read_only) as connection:
            claim(connection, {"workspace": "", "person": "", "token": "", **claims})
            yield connection

    @contextmanager
    def reading(
        self,
        workspace: str,
        actor: Actor | None,
        permission: str,
        project: str | None = None,
        *,
        filtered: bool = False,
    ) -> Iterator[tuple[Connection, Standing]]:
        """A transaction that reads what the actor may see; arguments as for `need`.

        Raises:
            ConfigurationError: If an id is none.
            NotFoundError: If there is no such workspace or project for the actor.
            PermissionDeniedError: If the actor may not; that is recorded.
            StorageError: If the database cannot do it.
        """
        _check(workspace, project)
        with (
            self.noting_denials(workspace, actor),
            self.begin(read_only=True, workspace=workspace) as connection,
        ):
            asked = Within(workspace).select(workspaces, workspaces.c.deleted_at)
            found = connection.execute(asked).one_or_none()
            who = self._standing(connection, workspace, actor)
            if found is None or found.deleted_at is not None or who is None:
                raise unknown_workspace(workspace)
            need(connection, who, permission, project, filtered=filtered)
            yield connection, who

    @contextmanager
    def changing(
        self,
        workspace: str,
        actor: Actor | None,
        permission: str | None = None,
        *,
        project: str | None = None,
        deleted: bool = False,
    ) -> Iterator[Change]:
        """A transaction that changes a workspace; what it notes is recorded with it, or neither.

        Args:
            workspace: Which.
            actor: Who.
            permission: What the actor needs; `None` if the block sees to it.
            project: Which must be there for the actor.
            deleted: Whether the workspace may have been deleted.

        Raises:
            ConfigurationError: If an id is none.
            NotFoundError: If there is no such workspace or project for the actor.
            PermissionDeniedError: If the actor may not; that is recorded.
            AuditError: If it cannot be recorded.
            StorageError: If the database cannot do it.
        """
        _check(workspace, project)
        with (
            self.noting_denials(workspace, actor),
            self.begin(workspace=workspace) as connection,
        ):
            change = self.within(connection, workspace, actor, deleted=deleted)
            if permission is not None:
                change.need(permission, project)
            yield change
            self.conclude(change)

    @contextmanager
    def noting_denials(self, workspace: str, actor: Actor | None) -> Iterator[None]:
        """A block whose refusals are recorded, each in a transaction of its own."""
        try:
            yield
        except PermissionDeniedError as error:
            self.note_denial(workspace, actor, error)
            raise

    def claimed(self, connection: Connection, workspace: str, actor: Actor | None) -> Change:
        """A change inside a transaction that another part began; otherwise as `within`."""
        claim(connection, {"workspace": workspace})
        return self.within(connection, workspace, actor)

    def within(
        self,
        connection: Connection,
        workspace: str,
        actor: Actor | None,
        *,
        deleted: bool = False,
    ) -> Change:
        """A change inside a transaction that is under way; the workspace is locked.

        Raises:
            NotFoundError: If there is no such workspace for the actor.
        """
        row = self.locked(connection, workspace)
        who = self._standing(connection, workspace, actor)
        is_gone = row is None or row.purged_at is not None
        if row is None or is_gone or who is None or (row.deleted_at is not None and not deleted):
            raise unknown_workspace(workspace)
        return Change(connection, row, who, self.clock())

    def locked(self, connection: Connection, workspace: str) -> Row[Any] | None:
        """The row of a workspace, which nobody else changes until the transaction ends."""
        asked = Within(workspace).select(workspaces).with_for_update()
        return connection.execute(asked).one_or_none()

    def conclude(self, change: Change) -> None:
        """Write down what a change noted, and tell other processes of it.

        Raises:
            AuditError: If it cannot be recorded.
        """
        row = change.row
        head = append(
            change.connection,
            change.workspace,
            Head(row.audit_seq, row.audit_hash),
            change.happened,
            last_key=row.audit_key,
            keys=self.keys,
            now=change.now,
        )
        ended = {"audit_seq": head.seq, "audit_hash": head.hash}
        if change.happened:
            ended["audit_key"] = self.keys.signing
        told = {"version": row.version + 1} if change.is_news else {}
        change.connection.execute(change.within.update(workspaces).values(ended | told))
        for each in change.at_last:
            change.connection.execute(each)

    def _standing(
        self, connection: Connection, workspace: str, actor: Actor | None
    ) -> Standing | None:
        return standing(connection, workspace, actor, self.vocabulary, self.clock())

    def note_denial(
        self,
        workspace: str,
        actor: Actor | None,
        error: PermissionDeniedError,
        project: str | None = None,
    ) -> None:
        """Record what was refused; the refusal stands even if that fails."""
        refused = (workspace, actor, error.permission, project)
        times = self._refusals.count(refused, self.clock())
        if times is None:
            return
        said = {"role": error.role, "times": times} | ({"project": project} if project else {})
        try:
            with self.begin(workspace=workspace) as connection:
                change = self.within(connection, workspace, SYSTEM)
                change.is_news = False
                target = Target("permission", error.permission)
                change.happened.append(
                    Happened(
                        actor=actor or SYSTEM, action="access.denied", target=target, after=said
                    )
                )
                self.conclude(change)
        except Exception as failed:  # noqa: BLE001 - whatever it is, the answer stays no
            name = type(failed).__name__
            logger.warning("a refusal in workspace %s was not recorded: %s", workspace, name)


def _check(workspace: str, project: str | None) -> None:
    """Refuse ids that no database takes, before it is asked."""
    identifier(workspace, "workspace")
    if project is not None:
        identifier(project, "project")

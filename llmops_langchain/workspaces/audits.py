"""Read the audit log, add to it, prove it, and take its end to a safe place."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import orjson
from sqlalchemy import Connection

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.storage.schema import workspaces
from llmops_langchain.workspaces.actors import SYSTEM, Actor, actor_of
from llmops_langchain.workspaces.chain import START, Head, Link, Target, json_of
from llmops_langchain.workspaces.checking import identifier
from llmops_langchain.workspaces.redaction import redacted
from llmops_langchain.workspaces.standing import unknown_workspace
from llmops_langchain.workspaces.statements import ENDS, Within, everywhere
from llmops_langchain.workspaces.tenants import Tenants
from llmops_langchain.workspaces.trail import AuditEntry, entries, entry, links, names_of, people
from llmops_langchain.workspaces.verifying import Anchor, AuditReport, Verification

__all__ = ["Audits"]

_PAGE = 1_000
_LARGEST = 16_384  # bytes of JSON that an app may record with an entry

OnAnchor = Callable[[Sequence[Anchor]], None]
"""Takes anchors to where the database's owner cannot change them."""


class Audits:
    """The part of `Workspaces` that is about the audit log."""

    _tenants: Tenants
    _takers: list[OnAnchor]

    def audit(
        self,
        workspace: str,
        *,
        actor: Actor | str | None,
        limit: int = 100,
        before: int | None = None,
        action: str | None = None,
    ) -> list[AuditEntry]:
        """What was done and refused, the newest first; needs `audit.read`.

        Args:
            workspace: Where.
            actor: Who reads.
            limit: Entries at most, 1 to 1,000.
            before: Only entries with a lower number: the last one of the page before.
            action: Only this, such as `"member.role_changed"`.

        Raises:
            ConfigurationError: If `limit` is out of range.
            NotFoundError: If there is no such workspace for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database does not answer.
        """
        if not 1 <= limit <= _PAGE:
            msg = f"`limit` is between 1 and {_PAGE}, got {limit!r}"
            raise ConfigurationError(msg)
        with self._tenants.reading(workspace, actor_of(actor), "audit.read") as (connection, _):
            return entries(connection, workspace, limit=limit, before=before, action=action)

    def record(
        self,
        workspace: str,
        action: str,
        *,
        actor: Actor | str | None,
        target: tuple[str, str] | None = None,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Add what an app did to the same chain; needs `audit.record`.

        Args:
            workspace: Where.
            action: Such as `"deployment.approved"`; stored as `"app.deployment.approved"`.
            actor: Who did it.
            target: To what: a kind and an id, such as `("deployment", "d-7")`; the kinds `user` and
                `email` are people, whose names can be erased.
            before: How it was; values of secret names, and secrets in texts, are taken out.
            after: How it became, likewise.

        Raises:
            ConfigurationError: If a value makes no sense, or is too large.
            NotFoundError: If there is no such workspace for the actor.
            PermissionDeniedError: If the actor may not.
            AuditError: If it cannot be recorded.
            StorageError: If the database cannot keep it.
        """
        said = [_said(each) for each in (before, after)]
        place, done = _place(target), f"app.{identifier(action, 'action')}"
        with self._tenants.changing(workspace, actor_of(actor), "audit.record") as change:
            change.is_news = False
            change.note(done, place, before=said[0], after=said[1])

    def export_audit(self, workspace: str, *, actor: Actor | str | None) -> Iterator[str]:
        """Every entry as a line of JSON, the oldest first, with names and hashes.

        Needs `audit.export`; that it was exported is an entry too. Rows are read as they are asked
        for, a thousand at a time. What a purged workspace left, `SYSTEM` may export.

        Raises:
            NotFoundError: If there is no such workspace for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database does not answer.
        """
        who = actor_of(actor)
        if who == SYSTEM and (last := self._end_of_purged(workspace)) is not None:
            return self._lines(workspace, last)  # a chain that nothing is added to any more
        with self._tenants.changing(workspace, who, "audit.export") as change:
            change.is_news = False
            last = change.row.audit_seq
            change.note("audit.exported", Target("workspace", workspace), after={"entries": last})
        return self._lines(workspace, last + 1)

    async def aexport_audit(
        self, workspace: str, *, actor: Actor | str | None
    ) -> AsyncIterator[str]:
        """`export_audit`, whose rows are read in a worker thread."""
        lines = await asyncio.to_thread(self.export_audit, workspace, actor=actor)
        while page := await asyncio.to_thread(lambda: list(islice(lines, _PAGE))):
            for line in page:
                yield line

    def verify_audit(
        self, workspace: str | None = None, *, anchors: Sequence[Anchor] = ()
    ) -> list[AuditReport]:
        """Read chains from their beginning and say where they were tampered with.

        For whoever runs the app: nobody's permission is asked. What it finds: every row whose
        columns are not what was written, rows that are gone, names that were put in or taken out.
        That the newest rows are gone together with the workspace's note of them, only an anchor
        shows.

        Args:
            workspace: Which; by default all, also those that were deleted.
            anchors: As `anchors()` returned them at some time.

        Raises:
            NotFoundError: If there is no such workspace.
            StorageError: If the database does not answer.
        """
        told = {each.workspace for each in anchors}
        if workspace is not None:
            wanted = [identifier(workspace, "workspace")]
        else:
            wanted = sorted({*self._all_workspaces(), *told})
        return [self._verified(each, anchors) for each in wanted]

    def anchors(self) -> list[Anchor]:
        """The end of every chain now; keep them where the database's owner cannot reach them.

        Raises:
            StorageError: If the database does not answer.
        """
        now = self._tenants.clock()
        with self._tenants.begin(read_only=True, workspace=everywhere) as connection:
            return [_anchor(row, now) for row in connection.execute(ENDS) if row.audit_seq]

    def on_anchor(self, take: OnAnchor) -> OnAnchor:
        """Call `take` in each round of `ops.maintain()` with the ends of the chains that grew.

        It is to keep them where the database's owner cannot reach them: another host, an object
        store, a printed page. If it raises, the next round gives them again, to
        all who take them. May be used as a decorator, and more than once.

        Raises:
            ConfigurationError: If it cannot be called, or is a coroutine function.
        """
        if not callable(take) or inspect.iscoroutinefunction(take):
            msg = f"anchors are taken by a plain function of one argument, got {take!r}"
            raise ConfigurationError(msg)
        self._takers.append(take)
        return take

    def _anchored(self) -> int:
        """Give the ends of the chains that grew to whoever takes them; how many."""
        if not self._takers:
            return 0
        now = self._tenants.clock()
        with self._tenants.begin(read_only=True, workspace=everywhere) as connection:
            grown = [row for row in connection.execute(ENDS) if row.audit_seq != row.anchored_seq]
        if grown:
            ends = [_anchor(row, now) for row in grown]
            for take in self._takers:
                take(ends)
        for row in grown:
            with self._tenants.begin(workspace=row.id) as connection:
                done = Within(row.id).update(workspaces).values(anchored_seq=row.audit_seq)
                connection.execute(done)
        return len(grown)

    def _end_of_purged(self, workspace: str) -> int | None:
        """How many entries a purged workspace left; `None` for another."""
        asked = Within(identifier(workspace, "workspace")).select(
            workspaces, workspaces.c.audit_seq
        )
        with self._tenants.begin(read_only=True, workspace=workspace) as connection:
            purged = asked.where(workspaces.c.purged_at.is_not(None))
            found: int | None = connection.execute(purged).scalar()
        return found

    def _all_workspaces(self) -> list[str]:
        with self._tenants.begin(read_only=True, workspace=everywhere) as connection:
            return [row.id for row in connection.execute(ENDS)]

    def _verified(self, workspace: str, anchors: Sequence[Anchor]) -> AuditReport:
        theirs = [each for each in anchors if each.workspace == workspace]
        walk = Verification(workspace, self._tenants.keys, theirs)
        with self._tenants.begin(read_only=True, workspace=workspace) as connection:
            while True:
                for link in links(connection, workspace, after=walk.last.seq):
                    walk.step(link)
                known = people(connection, workspace)
                row = connection.execute(Within(workspace).select(workspaces)).one_or_none()
                if row is None and not (theirs or walk.last.seq):
                    raise unknown_workspace(workspace)
                head = Head(0, START) if row is None else Head(row.audit_seq, row.audit_hash)
                # PostgreSQL shows each statement what was committed before it: there may be more.
                if head.seq <= walk.last.seq or not _more(connection, workspace, walk.last.seq):
                    noted = 0 if row is None else row.anchored_seq
                    return walk.report(head, known, anchored=noted)

    def _lines(self, workspace: str, until: int) -> Iterator[str]:
        last = 0
        while last < until:
            with self._tenants.begin(read_only=True, workspace=workspace) as connection:
                page = list(islice(links(connection, workspace, after=last, until=until), _PAGE))
                names = names_of(connection, Within(workspace), page)
            if not page:
                return
            for each in page:
                yield _line(each, names)
            last = page[-1].seq


def _more(connection: Connection, workspace: str, last: int) -> bool:
    return next(links(connection, workspace, after=last), None) is not None


def _line(link: Link, names: Mapping[str, str]) -> str:
    """An entry with what proves it: each column as it is stored, and the names in it."""
    stored = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in link.values().items()
    }
    read = entry(link, names)
    named = {"actor_name": read.actor, "target_name": read.target}
    return orjson.dumps({**stored, **named}).decode()


def _said(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What an app wants recorded, without secrets."""
    if given is None:
        return None
    if not isinstance(cast("object", given), Mapping):
        msg = f"`before` and `after` are dicts, got {type(given).__name__!r}"
        raise ConfigurationError(msg)
    said = redacted(given)
    if len(json_of(said)) > _LARGEST:
        msg = f"an entry holds {_LARGEST:,} bytes of JSON at most: record an id of the rest"
        raise ConfigurationError(msg)
    return said


def _place(target: tuple[str, str] | None) -> Target:
    """What an app did something to."""
    if target is None:
        return Target("", "")
    if not isinstance(cast("object", target), (tuple, list)) or len(target) != 2:  # noqa: PLR2004 - a pair
        msg = f"`target` is a kind and an id, such as `('prompt', 'p1')`, got {target!r}"
        raise ConfigurationError(msg)
    return Target(identifier(target[0], "target"), identifier(target[1], "target"))


def _anchor(row: Any, now: float) -> Anchor:
    return Anchor(workspace=row.id, seq=row.audit_seq, hash=row.audit_hash.hex(), ts=now)

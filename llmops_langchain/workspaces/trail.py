"""Rows of the audit log: written at the end of a chain, and read back with the names."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row

from llmops_langchain.errors import AuditError
from llmops_langchain.storage.schema import audit_log, audit_people
from llmops_langchain.workspaces.actors import Actor, ActorKind
from llmops_langchain.workspaces.chain import (
    Head,
    Link,
    Target,
    json_of,
    linked,
    new_salt,
    pseudonym,
)
from llmops_langchain.workspaces.signing import AuditKeys
from llmops_langchain.workspaces.statements import Within
from llmops_langchain.workspaces.verifying import Named

__all__ = [
    "AuditEntry",
    "Happened",
    "append",
    "entries",
    "entry",
    "links",
    "names_of",
    "people",
]

_PEOPLE = ("user", "email")
_AT_ONCE = 1_000
"""Rows read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that was done, or refused, in a workspace."""

    workspace: str
    """Where."""
    seq: int
    """Its number, from 1."""
    ts: float
    """When, UTC seconds since the Unix epoch."""
    actor_kind: ActorKind
    """`user`, `key` or `system`."""
    actor: str | None
    """The user's or key's id; empty for the app, `None` for somebody who was forgotten."""
    action: str
    """What, such as `member.role_changed`."""
    target_kind: str
    """To what kind of thing: `user`, `email`, `project`, `key`, `role`, …."""
    target: str | None
    """To which; `None` for somebody who was forgotten."""
    before: dict[str, Any] | None
    """How it was."""
    after: dict[str, Any] | None
    """How it became."""
    hash: str
    """What ends the chain here, hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """What an entry is to say."""

    actor: Actor
    action: str
    target: Target
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


def append(
    connection: Connection,
    workspace: str,
    head: Head,
    happened: Sequence[Happened],
    *,
    last_key: str | None,
    keys: AuditKeys,
    now: float,
) -> Head:
    """Add entries at the end of a chain whose workspace is locked; where it ends now.

    Raises:
        AuditError: If the chain is signed with a key that this process does not have.
    """
    within = Within(workspace)
    _check_key(workspace, last_key, keys)
    known = _pseudonyms(connection, within, happened)
    rows = list[dict[str, Any]]()
    for each in happened:
        actor = _said(Target(each.actor.kind, each.actor.id), known)
        link = linked(
            head,
            keys,
            workspace=workspace,
            ts=now,
            actor_kind=each.actor.kind,
            actor=actor,
            action=each.action,
            target_kind=each.target.kind,
            target=_said(each.target, known),
            before=json_of(each.before),
            after=json_of(each.after),
        )
        head = Head(link.seq, link.hash)
        rows.append(link.values())
    if rows:
        connection.execute(within.insert(audit_log), rows)
    return head


def links(
    connection: Connection, workspace: str, *, after: int = 0, until: int | None = None
) -> Iterator[Link]:
    """The rows of a chain by rising number, a thousand at a time; none behind `until`."""
    within, last = Within(workspace), after
    while True:
        asked = within.select(audit_log).where(audit_log.c.seq > last)
        if until is not None:
            asked = asked.where(audit_log.c.seq <= until)
        rows = connection.execute(asked.order_by(audit_log.c.seq).limit(_AT_ONCE)).all()
        # SQLite takes a text for a number: such a row is missing where it was.
        found = [_link(row) for row in rows if isinstance(row.seq, int)]
        yield from found
        if len(rows) < _AT_ONCE or not found:
            return
        last = found[-1].seq


def people(connection: Connection, workspace: str) -> dict[str, Named]:
    """Who stands behind the pseudonyms of a chain."""
    asked = Within(workspace).select(audit_people)
    return {row.pseudonym: Named(name=row.name, salt=row.salt) for row in connection.execute(asked)}


def entries(
    connection: Connection,
    workspace: str,
    *,
    limit: int,
    before: int | None = None,
    action: str | None = None,
) -> list[AuditEntry]:
    """The newest entries below a number, the newest first."""
    within = Within(workspace)
    asked = within.select(audit_log).order_by(audit_log.c.seq.desc()).limit(limit)
    if before is not None:
        asked = asked.where(audit_log.c.seq < before)
    if action is not None:
        asked = asked.where(audit_log.c.action == action)
    rows = [_link(row) for row in connection.execute(asked)]
    names = names_of(connection, within, rows)
    return [entry(each, names) for each in rows]


def names_of(connection: Connection, within: Within, rows: Iterable[Link]) -> dict[str, str]:
    """Who the people in some rows are, as far as they were not forgotten."""
    wanted = {each for row in rows for each in (row.actor, row.target)}
    listed = within.select(audit_people, audit_people.c.pseudonym, audit_people.c.name)
    found = connection.execute(listed.where(audit_people.c.pseudonym.in_(wanted)))
    return {row.pseudonym: row.name.partition(":")[2] for row in found}


def entry(link: Link, names: Mapping[str, str]) -> AuditEntry:
    """A row as people read it."""
    return AuditEntry(
        workspace=link.workspace,
        seq=link.seq,
        ts=link.ts,
        actor_kind=link.actor_kind,  # type: ignore[arg-type] # as it was written
        actor=names.get(link.actor) if link.actor_kind in _PEOPLE else link.actor,
        action=link.action,
        target_kind=link.target_kind,
        target=names.get(link.target) if link.target_kind in _PEOPLE else link.target,
        before=orjson.loads(link.before) if link.before else None,
        after=orjson.loads(link.after) if link.after else None,
        hash=link.hash.hex(),
    )


def _link(row: Row[Any]) -> Link:
    return Link(**row._asdict())


def _check_key(workspace: str, last_key: str | None, keys: AuditKeys) -> None:
    """Neither unsigned nor with another key alone is a signed chain gone on with."""
    if last_key and (not keys.signing or last_key not in keys):
        has = f"has only the key {keys.signing!r}" if keys.signing else "has none"
        msg = (
            f"the audit log of workspace {workspace!r} is signed with the key {last_key!r}, and "
            f"this process {has}: set `LLMOPS_AUDIT_KEY` or `LLMOPS_AUDIT_KEY_FILE` to the keys of "
            "the other processes, the newest one first"
        )
        raise AuditError(msg)


def _name(target: Target) -> str | None:
    return f"{target.kind}:{target.id}" if target.kind in _PEOPLE else None


def _said(target: Target, known: dict[str, str]) -> str:
    name = _name(target)
    return target.id if name is None else known[name]


def _pseudonyms(
    connection: Connection, within: Within, happened: Iterable[Happened]
) -> dict[str, str]:
    """A pseudonym for everybody who is named, made where there is none yet."""
    named = [Target(each.actor.kind, each.actor.id) for each in happened]
    wanted = {_name(each) for each in [*named, *(it.target for it in happened)]} - {None}
    if not wanted:
        return {}
    asked = within.select(audit_people, audit_people.c.name, audit_people.c.pseudonym)
    found = connection.execute(asked.where(audit_people.c.name.in_(wanted)))
    known = {row.name: row.pseudonym for row in found}
    new = []
    for name in sorted(filter(None, wanted - known.keys())):
        salt = new_salt()
        known[name] = pseudonym(salt, name)
        new.append({"pseudonym": known[name], "name": name, "salt": salt})
    if new:
        connection.execute(within.insert(audit_people), new)
    return known

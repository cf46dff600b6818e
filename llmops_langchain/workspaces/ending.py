"""The end of a workspace, and of a person's name in it."""

from llmops_langchain.storage.schema import (
    api_keys,
    audit_people,
    invitations,
    members,
    project_shares,
    projects,
    roles,
    workspaces,
)
from llmops_langchain.workspaces.chain import Target
from llmops_langchain.workspaces.tenants import Change

__all__ = ["close_workspace", "end_workspace", "erase_names"]

_IN_ORDER = (project_shares, api_keys, invitations, roles, projects, members)
"""A table before those that it points at."""


def close_workspace(change: Change) -> None:
    """Let nobody in any more; it can be restored until it is purged."""
    gone = change.within.update(workspaces).values(deleted_at=change.now)
    change.connection.execute(gone)
    change.note("workspace.deleted", Target("workspace", change.workspace))


def end_workspace(change: Change) -> None:
    """Delete what a workspace holds but its audit log, and every name in that."""
    for table in _IN_ORDER:
        change.connection.execute(change.within.delete(table))
    gone = {"name": "", "purged_at": change.now, "deleted_at": change.now}
    change.connection.execute(change.within.update(workspaces).values(gone))
    change.at_last.append(change.within.delete(audit_people))
    change.note("workspace.purged", Target("workspace", change.workspace))


def erase_names(change: Change, names: set[str]) -> int:
    """Let the audit log forget who stands behind pseudonyms; how many.

    The entries stay as they are, so the chain holds; that names were erased is an entry itself.
    """
    theirs = audit_people.c.name.in_(names)
    asked = change.within.select(audit_people, audit_people.c.pseudonym, audit_people.c.name)
    found = change.connection.execute(asked.where(theirs)).all()
    change.at_last.append(change.within.delete(audit_people).where(theirs))
    for row in found:
        change.note("person.erased", Target("pseudonym", row.pseudonym))
    return len(found)

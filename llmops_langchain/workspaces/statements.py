"""The only place where statements on tenants' tables are built: each names its workspace."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Delete, Insert, Select, Table, Update
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.storage.schema import api_keys, audit_people, invitations, members, workspaces

__all__ = [
    "ENDS",
    "INVITATION_OF",
    "KEY_OF",
    "MEETINGS_OF",
    "VERSION",
    "WORKSPACES_OF",
    "Within",
    "added",
    "claim",
    "due",
    "everywhere",
]


class Within:
    """Statements on the rows of one workspace, whatever the table.

    Args:
        workspace: Its id.
    """

    __slots__ = ("workspace",)

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace

    def select(self, table: Table, *columns: ColumnElement[Any]) -> Select[Any]:
        """Rows of a table; by default with all columns."""
        return sa.select(*(columns or (table,))).where(self._is_ours(table))

    def update(self, table: Table) -> Update:
        """A change of its rows."""
        return sa.update(table).where(self._is_ours(table))

    def delete(self, table: Table) -> Delete:
        """An end of its rows."""
        return sa.delete(table).where(self._is_ours(table))

    def insert(self, table: Table) -> Insert:
        """A new row of a table other than the workspaces'; values name the other columns."""
        return sa.insert(table).values(workspace=self.workspace)

    def also(self, table: Table) -> ColumnElement[bool]:
        """The condition for a table that is joined."""
        return self._is_ours(table)

    def _is_ours(self, table: Table) -> ColumnElement[bool]:
        return _tenant(table) == self.workspace


def _tenant(table: Table) -> ColumnElement[str]:
    column: ColumnElement[str] = table.c.id if table is workspaces else table.c.workspace
    return column


VERSION = sa.select(workspaces.c.version, workspaces.c.deleted_at).where(
    workspaces.c.id == sa.bindparam("workspace")
)
"""For each check: what changes with every change of the workspace."""

# What no workspace can be named for, as it is looked for. By a hash of 256 random bits, which
# nobody has who was not given it; by the person who asks; and for the housekeeping of all.

KEY_OF = sa.select(
    *(api_keys.c.workspace, api_keys.c.id, api_keys.c.token_hash, api_keys.c.project),
    *(api_keys.c.expires_at, api_keys.c.revoked_at, api_keys.c.last_used_at),
).where(api_keys.c.token_hash == sa.bindparam("token"))

INVITATION_OF = sa.select(
    invitations.c.workspace, invitations.c.id, invitations.c.token_hash
).where(invitations.c.token_hash == sa.bindparam("token"))

WORKSPACES_OF = (
    sa.select(workspaces, members.c.role)
    .join(members, members.c.workspace == workspaces.c.id)
    .where(members.c.user_id == sa.bindparam("user"))
    .order_by(workspaces.c.name, workspaces.c.id)
)

MEETINGS_OF = sa.union(
    sa.select(members.c.workspace).where(members.c.user_id == sa.bindparam("user")),
    sa.select(audit_people.c.workspace).where(audit_people.c.name == sa.bindparam("name")),
    sa.select(invitations.c.workspace).where(invitations.c.email_key == sa.bindparam("email")),
)
"""Where somebody is a member, stands in the audit log, or was invited."""


def added(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row that names its workspace, unless there is one of its key; whether it is new."""
    into: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    made = into(table).values(values).on_conflict_do_nothing()
    counted = {"preserve_rowcount": True}
    return connection.execute(made, execution_options=counted).rowcount == 1


ENDS = sa.select(
    *(workspaces.c.id, workspaces.c.audit_seq, workspaces.c.audit_hash, workspaces.c.anchored_seq)
).order_by(workspaces.c.id)
"""Where each audit log ends."""


def due(table: Table, *conditions: ColumnElement[bool]) -> Select[Any]:
    """The ids of the workspaces that have such rows, for the housekeeping."""
    column = _tenant(table)
    return sa.select(column).where(*conditions).distinct().order_by(column)


everywhere = "*"
"""What the housekeeping claims, which goes from workspace to workspace."""


def claim(connection: Connection, claims: Mapping[str, str]) -> None:
    """Tell PostgreSQL's row security for whom the transaction is; it ends with the transaction."""
    if connection.dialect.name == "postgresql":
        told = [sa.func.set_config(f"llmops.{name}", value, True) for name, value in claims.items()]  # noqa: FBT003 - its third argument: for this transaction alone
        connection.execute(sa.select(*told))

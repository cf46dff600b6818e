"""Who works together: workspaces, their members, what they share, and what they did."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
    true,
)

from llmops_langchain.storage.schema.base import metadata
from llmops_langchain.storage.types import Id, Seconds

__all__ = [
    "TENANT_TABLES",
    "api_keys",
    "audit_log",
    "audit_people",
    "invitations",
    "members",
    "project_shares",
    "projects",
    "roles",
    "workspaces",
]

# Every change of what belongs to a workspace locks its row here, so that changes come one after
# another; the row also tells readers that something changed, and where the audit chain ends.
workspaces = Table(
    "llmops_workspaces",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", Seconds, nullable=False),
    Column("deleted_at", Seconds, index=True),
    Column("purged_at", Seconds),
    Column("version", BigInteger, nullable=False),
    Column("audit_seq", BigInteger, nullable=False),
    Column("audit_hash", LargeBinary, nullable=False),
    # Which key signed the last entry; none or empty for a plain chain.
    Column("audit_key", Text),
    # The last entry that an anchor was made of.
    Column("anchored_seq", BigInteger, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)

members = Table(
    "llmops_members",
    metadata,
    Column("workspace", Text, ForeignKey(workspaces.c.id), primary_key=True),
    Column("user_id", Text, primary_key=True, index=True),
    Column("email", Text, nullable=False),
    # The address as it is compared, and as it looks.
    Column("email_key", Text, nullable=False),
    Column("email_shape", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("joined_at", Seconds, nullable=False),
    UniqueConstraint("workspace", "email_key"),
    UniqueConstraint("workspace", "email_shape"),
    sqlite_with_rowid=False,
)

invitations = Table(
    "llmops_invitations",
    metadata,
    Column("workspace", Text, ForeignKey(workspaces.c.id), primary_key=True),
    Column("id", Id, primary_key=True),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False),
    Column("email_shape", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("invited_by", Text, nullable=False),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", Seconds, nullable=False),
    Column("expires_at", Seconds, nullable=False, index=True),
    # `pending` until it is accepted, declined, revoked or expired.
    Column("status", Text, nullable=False),
    Column("ended_at", Seconds),
    # Who joined by it: whose address it is.
    Column("accepted_by", Text),
    Index(
        "uq_llmops_invitations_pending",
        "workspace",
        "email_shape",
        unique=True,
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
    sqlite_with_rowid=False,
)

# Roles that a workspace made for itself.
roles = Table(
    "llmops_roles",
    metadata,
    Column("workspace", Text, ForeignKey(workspaces.c.id), primary_key=True),
    Column("name", Text, primary_key=True),
    # A JSON array.
    Column("permissions", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("created_at", Seconds, nullable=False),
    sqlite_with_rowid=False,
)

projects = Table(
    "llmops_projects",
    metadata,
    Column("workspace", Text, ForeignKey(workspaces.c.id), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    # With everybody of the workspace.
    Column("shared", Boolean, nullable=False, server_default=true()),
    Column("created_at", Seconds, nullable=False),
    sqlite_with_rowid=False,
)

# With whom a project is shared that is not shared with everybody.
project_shares = Table(
    "llmops_project_shares",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("project", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("created_at", Seconds, nullable=False),
    ForeignKeyConstraint(
        ["workspace", "project"], [projects.c.workspace, projects.c.id], ondelete="CASCADE"
    ),
    ForeignKeyConstraint(
        ["workspace", "user_id"],
        [members.c.workspace, members.c.user_id],
        ondelete="CASCADE",
    ),
    Index(None, "workspace", "user_id"),
    sqlite_with_rowid=False,
)

api_keys = Table(
    "llmops_api_keys",
    metadata,
    Column("workspace", Text, ForeignKey(workspaces.c.id), primary_key=True),
    Column("id", Id, primary_key=True),
    Column("name", Text, nullable=False),
    # The first characters, to tell keys apart by.
    Column("hint", Text, nullable=False),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    # A JSON array of permissions.
    Column("scopes", Text, nullable=False),
    Column("project", Text),
    Column("made_by", Text, nullable=False),
    Column("created_at", Seconds, nullable=False),
    Column("expires_at", Seconds),
    Column("revoked_at", Seconds),
    Column("last_used_at", Seconds),
    # The key that this one takes the place of.
    Column("replaces", Id),
    ForeignKeyConstraint(
        ["workspace", "project"], [projects.c.workspace, projects.c.id], ondelete="CASCADE"
    ),
    Index(None, "workspace", "made_by"),
    Index(None, "workspace", "project"),
    sqlite_with_rowid=False,
)

# One chain a workspace: each row's hash covers its columns and the hash before it. Triggers refuse
# to change or delete a row, and no key points at the workspace, so that rows outlive it.
audit_log = Table(
    "llmops_audit_log",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("ts", Seconds, nullable=False),
    # `user`, `key` or `system`; a person by a pseudonym.
    Column("actor_kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target_kind", Text, nullable=False),
    Column("target", Text, nullable=False),
    # JSON.
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    # Which key signed it; empty for none.
    Column("key_id", Text, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Index(None, "workspace", "action", "seq"),
    sqlite_with_rowid=False,
)

# Who stands behind a pseudonym of the audit log. The pseudonym is a hash of the name under the
# salt: an altered name shows, and with the row gone nobody can tell whose it was.
audit_people = Table(
    "llmops_audit_people",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("pseudonym", Text, primary_key=True),
    Column("name", Text, nullable=False, index=True),
    Column("salt", LargeBinary, nullable=False),
    UniqueConstraint("workspace", "name"),
    sqlite_with_rowid=False,
)

TENANT_TABLES = (
    workspaces,
    members,
    invitations,
    roles,
    projects,
    project_shares,
    api_keys,
    audit_log,
    audit_people,
)
"""What belongs to one workspace each: no statement may reach into two of them."""

"""Workspaces with members, invitations, roles, projects and keys; the audit log."""

import sqlalchemy as sa
from alembic import op

from llmops_langchain.storage.types import Id, Seconds

revision = "1.8"
down_revision = "1.7"
branch_labels = None
depends_on = None

_REFUSED = "the audit log is only added to"


def upgrade() -> None:
    """Create the tables, and let the database itself refuse to change the log."""
    _create_workspaces()
    _create_members()
    _create_invitations()
    _create_roles()
    _create_projects()
    _create_keys()
    _create_audit()
    if op.get_context().dialect.name == "postgresql":
        _guard_on_postgresql()
    else:
        _guard_on_sqlite()


def _create_workspaces() -> None:
    op.create_table(
        "llmops_workspaces",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", Seconds, nullable=False),
        sa.Column("deleted_at", Seconds),
        sa.Column("purged_at", Seconds),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("audit_seq", sa.BigInteger, nullable=False),
        sa.Column("audit_hash", sa.LargeBinary, nullable=False),
        sa.Column("audit_key", sa.Text),
        sa.Column("anchored_seq", sa.BigInteger, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llmops_workspaces")),
        sqlite_with_rowid=False,
    )
    _index("llmops_workspaces", "deleted_at")


def _create_members() -> None:
    table = "llmops_members"
    op.create_table(
        table,
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        *_texts("email", "email_key", "email_shape", "role"),
        sa.Column("joined_at", Seconds, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "user_id", name=op.f(f"pk_{table}")),
        _in_workspace(table),
        *(_unique(table, "workspace", name) for name in ("email_key", "email_shape")),
        sqlite_with_rowid=False,
    )
    _index(table, "user_id")


def _create_invitations() -> None:
    table = "llmops_invitations"
    op.create_table(
        table,
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("id", Id, nullable=False),
        *_texts("email", "email_key", "email_shape", "role", "invited_by"),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at", Seconds, nullable=False),
        sa.Column("expires_at", Seconds, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("ended_at", Seconds),
        sa.Column("accepted_by", sa.Text),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f(f"pk_{table}")),
        _in_workspace(table),
        _unique(table, "token_hash"),
        sqlite_with_rowid=False,
    )
    _index(table, "expires_at")
    op.create_index(
        "uq_llmops_invitations_pending",
        table,
        ["workspace", "email_shape"],
        unique=True,
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )


def _create_roles() -> None:
    table = "llmops_roles"
    op.create_table(
        table,
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        *_texts("permissions", "made_by"),
        sa.Column("created_at", Seconds, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "name", name=op.f(f"pk_{table}")),
        _in_workspace(table),
        sqlite_with_rowid=False,
    )


def _create_projects() -> None:
    table, shares = "llmops_projects", "llmops_project_shares"
    op.create_table(
        table,
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        *_texts("name", "made_by"),
        sa.Column("shared", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("created_at", Seconds, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f(f"pk_{table}")),
        _in_workspace(table),
        sqlite_with_rowid=False,
    )
    op.create_table(
        shares,
        *_texts("workspace", "project", "user_id"),
        sa.Column("created_at", Seconds, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "project", "user_id", name=op.f(f"pk_{shares}")),
        _of_project(shares),
        sa.ForeignKeyConstraint(
            ["workspace", "user_id"],
            ["llmops_members.workspace", "llmops_members.user_id"],
            name=op.f(f"fk_{shares}_workspace_user_id_llmops_members"),
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )
    _index(shares, "workspace", "user_id")


def _create_keys() -> None:
    table = "llmops_api_keys"
    op.create_table(
        table,
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("id", Id, nullable=False),
        *_texts("name", "hint"),
        sa.Column("token_hash", sa.LargeBinary, nullable=False),
        *_texts("scopes"),
        sa.Column("project", sa.Text),
        *_texts("made_by"),
        sa.Column("created_at", Seconds, nullable=False),
        *(sa.Column(name, Seconds) for name in ("expires_at", "revoked_at", "last_used_at")),
        sa.Column("replaces", Id),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f(f"pk_{table}")),
        _in_workspace(table),
        _of_project(table),
        _unique(table, "token_hash"),
        sqlite_with_rowid=False,
    )
    _index(table, "workspace", "made_by")
    _index(table, "workspace", "project")


def _create_audit() -> None:
    log, people = "llmops_audit_log", "llmops_audit_people"
    op.create_table(
        log,
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("ts", Seconds, nullable=False),
        *_texts("actor_kind", "actor", "action", "target_kind", "target"),
        *_texts("before", "after", "key_id"),
        sa.Column("previous", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "seq", name=op.f(f"pk_{log}")),
        sqlite_with_rowid=False,
    )
    _index(log, "workspace", "action", "seq")
    op.create_table(
        people,
        *_texts("workspace", "pseudonym", "name"),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "pseudonym", name=op.f(f"pk_{people}")),
        _unique(people, "workspace", "name"),
        sqlite_with_rowid=False,
    )
    _index(people, "name")


def _guard_on_sqlite() -> None:
    for table, verb in (
        ("llmops_audit_log", "update"),
        ("llmops_audit_log", "delete"),
        ("llmops_audit_people", "update"),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )

    # `INSERT OR REPLACE` deletes without a DELETE trigger.
    for table, key in (("llmops_audit_log", "seq"), ("llmops_audit_people", "pseudonym")):
        there = f"SELECT 1 FROM {table} WHERE workspace = NEW.workspace AND {key} = NEW.{key}"  # noqa: S608 - constants
        op.execute(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN EXISTS ({there}) "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )


def _guard_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION llmops_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_REFUSED}' USING ERRCODE = 'integrity_constraint_violation'; "
        "END $$"
    )
    for table, name, when in (
        ("llmops_audit_log", "row", "UPDATE OR DELETE ON llmops_audit_log FOR EACH ROW"),
        ("llmops_audit_log", "all", "TRUNCATE ON llmops_audit_log FOR EACH STATEMENT"),
        ("llmops_audit_people", "row", "UPDATE ON llmops_audit_people FOR EACH ROW"),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_no_{name} BEFORE {when} EXECUTE FUNCTION llmops_audit_refuse()"
        )


def _texts(*names: str) -> list["sa.Column[str]"]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _in_workspace(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_workspace_llmops_workspaces")
    return sa.ForeignKeyConstraint(["workspace"], ["llmops_workspaces.id"], name=name)


def _of_project(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace", "project"],
        ["llmops_projects.workspace", "llmops_projects.id"],
        name=op.f(f"fk_{table}_workspace_project_llmops_projects"),
        ondelete="CASCADE",
    )


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))

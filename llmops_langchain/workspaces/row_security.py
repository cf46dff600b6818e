"""A second fence on PostgreSQL: the database itself shows a transaction one workspace alone."""

import re
from collections.abc import Iterator

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.storage.schema import TENANT_TABLES, VERSION_TABLE, metadata

__all__ = ["row_security_sql"]

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

_IS_MEMBER = "EXISTS (SELECT 1 FROM llmops_members AS m WHERE m.workspace = llmops_workspaces.id)"

# What may be seen though no workspace was named: by who asks, and by a token that was shown.
_MORE = {
    "llmops_members": "user_id = {person}",
    "llmops_audit_people": "name = 'user:' || {person}",
    "llmops_workspaces": f"{{person}} <> '' AND {_IS_MEMBER}",
    "llmops_api_keys": "encode(token_hash, 'hex') = {token}",
    "llmops_invitations": "encode(token_hash, 'hex') = {token}",
}
_EVERYWHERE = frozenset(
    ("llmops_workspaces", "llmops_invitations", "llmops_members", "llmops_audit_people")
)
"""Where the housekeeping looks for workspaces that have something due."""


def row_security_sql(role: str, *, schema: str | None = None) -> str:
    """SQL that lets an app's login reach one workspace's rows at a time, for an owner to run.

    The app must log in as `role`, which owns no table: owners pass every policy. It may then add
    to the audit log and read it, and do nothing else to it.

    Args:
        role: The login of the app.
        schema: The PostgreSQL schema of the tables, if it is not the login's own.

    Raises:
        ConfigurationError: If a name is no lower-case identifier.
    """
    for name in (role, schema):
        if name is not None and not _NAME.fullmatch(name):
            msg = f"a lower-case identifier is needed, got {name!r}"
            raise ConfigurationError(msg)
    return "\n".join(_lines(role, schema))


def _lines(role: str, schema: str | None) -> Iterator[str]:
    if schema is not None:
        yield f'SET search_path TO "{schema}";'
        yield f'GRANT USAGE ON SCHEMA "{schema}" TO {role};'
    for table in sorted(metadata.tables):
        only_added_to = table == "llmops_audit_log"
        rights = "SELECT, INSERT" if only_added_to else "SELECT, INSERT, UPDATE, DELETE"
        yield f"GRANT {rights} ON {table} TO {role};"
    yield f"GRANT SELECT ON {VERSION_TABLE} TO {role};"
    for each in TENANT_TABLES:
        yield from _policy(each.name, "id" if each.name == "llmops_workspaces" else "workspace")


def _policy(table: str, column: str) -> Iterator[str]:
    ours = f"{column} = {_setting('workspace')}"
    more = _MORE.get(table, "").format(person=_setting("person"), token=_setting("token"))
    seen = [ours, *([more] if more else [])]
    if table in _EVERYWHERE:
        seen.append(f"{_setting('workspace')} = '*'")
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
    for name, what in (("read", "FOR SELECT USING"), ("write", "FOR ALL USING")):
        yield f"DROP POLICY IF EXISTS llmops_{name} ON {table};"
        rows = " OR ".join(f"({each})" for each in seen) if name == "read" else ours
        yield f"CREATE POLICY llmops_{name} ON {table} {what} ({rows});"


def _setting(name: str) -> str:
    """What the transaction was said to be for; nothing at all shows no rows."""
    return f"coalesce(current_setting('llmops.{name}', true), '')"

"""Teams: workspaces with roles, invitations, projects, API keys and an audit log."""

from llmops_langchain.workspaces.actors import SYSTEM, Actor
from llmops_langchain.workspaces.anchoring import anchors_of_lines, anchors_to_file, line_of
from llmops_langchain.workspaces.permissions import PERMISSIONS
from llmops_langchain.workspaces.records import (
    ApiKey,
    Invitation,
    Member,
    NewApiKey,
    NewInvitation,
    Project,
    Role,
    Workspace,
)
from llmops_langchain.workspaces.roles import ROLES, check_permission
from llmops_langchain.workspaces.row_security import row_security_sql
from llmops_langchain.workspaces.signing import keys_of_file, write_new_key
from llmops_langchain.workspaces.standing import Standing
from llmops_langchain.workspaces.trail import AuditEntry
from llmops_langchain.workspaces.verifying import Anchor, AuditFinding, AuditReport
from llmops_langchain.workspaces.workspaces import Workspaces

__all__ = [
    "PERMISSIONS",
    "ROLES",
    "SYSTEM",
    "Actor",
    "Anchor",
    "ApiKey",
    "AuditEntry",
    "AuditFinding",
    "AuditReport",
    "Invitation",
    "Member",
    "NewApiKey",
    "NewInvitation",
    "Project",
    "Role",
    "Standing",
    "Workspace",
    "Workspaces",
    "anchors_of_lines",
    "anchors_to_file",
    "check_permission",
    "keys_of_file",
    "line_of",
    "row_security_sql",
    "write_new_key",
]

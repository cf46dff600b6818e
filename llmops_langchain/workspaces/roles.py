"""The five roles, what each may do, and who stands above whom."""

from collections.abc import Mapping
from types import MappingProxyType

from llmops_langchain.workspaces.permissions import Vocabulary

__all__ = ["OWNER", "ROLES", "check_permission", "outranks"]

OWNER = "owner"

_VIEWER = (
    *("workspace.read", "members.read", "roles.read", "projects.read", "budgets.read"),
    *("analytics.read", "insights.read", "cache.read", "learning.read"),
    *("reviews.read", "deployments.read"),
)
_REVIEWER = (*_VIEWER, "reviews.*", "deployments.approve", "feedback.write", "audit.record")
_DEVELOPER = (
    *_VIEWER,
    *("projects.create", "projects.update", "projects.share"),
    *("analytics.*", "learning.*", "context.*", "router.*", "feedback.*"),
    *("reviews.create", "deployments.create", "audit.record"),
)
_ADMIN = (
    *("workspace.read", "workspace.update", "members.*", "roles.*", "projects.*", "budgets.*"),
    *("keys.*", "audit.*", "analytics.*", "insights.*", "context.*", "router.*", "cache.*"),
    *("learning.*", "feedback.*", "reviews.*", "deployments.*", "metrics.*", "traces.*"),
)

ROLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        OWNER: ("*",),
        "admin": _ADMIN,
        "developer": _DEVELOPER,
        "reviewer": _REVIEWER,
        "viewer": _VIEWER,
    }
)
"""Patterns of what each role may do, the mightiest first."""

_NOTHING: frozenset[str] = frozenset()
_held = {role: Vocabulary().held(patterns) for role, patterns in ROLES.items()}


def check_permission(role: str, permission: str) -> bool:
    """Whether one of the five roles may do something; the unknown is denied.

    Args:
        role: `"owner"`, `"admin"`, `"developer"`, `"reviewer"` or `"viewer"`.
        permission: Such as `"projects.create"`; a pattern asks for all that it fits.

    Example:
        >>> check_permission("developer", "projects.create"), check_permission("viewer", "keys.*")
        (True, False)
    """
    return permission in _held.get(role, _NOTHING)


def outranks(mine: frozenset[str], theirs: frozenset[str]) -> bool:
    """Whether one may do all that the other may, and more: who may change the other's role."""
    return mine > theirs

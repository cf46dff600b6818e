"""What is known of a workspace, a member, an invitation, a project and a key."""

from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

__all__ = [
    "ApiKey",
    "Invitation",
    "InvitationStatus",
    "Member",
    "NewApiKey",
    "NewInvitation",
    "Project",
    "Role",
    "Workspace",
]

InvitationStatus = Literal["pending", "accepted", "declined", "revoked", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A team's place; times are UTC seconds since the Unix epoch."""

    id: str
    """What `ops.track(workspace=…)` names."""
    name: str
    """What people call it."""
    created_at: float
    """When it was made."""
    role: str
    """The role of who asked: the member's, `"key"` or `"system"`."""
    deleted_at: float | None = None
    """When it was deleted; until it is purged it can be restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One person in one workspace."""

    user_id: str
    """As the app knows the person."""
    email: str
    """The address that was invited."""
    role: str
    """One of the five roles, or one of the workspace's own."""
    joined_at: float
    """UTC seconds since the Unix epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """An address that may join once."""

    id: UUID
    """For `revoke_invitation`."""
    workspace: str
    """Where to."""
    email: str
    """Whom."""
    role: str
    """As what."""
    invited_by: str
    """The member who did, or who answers for the key that did; empty for the app."""
    created_at: float
    """UTC seconds since the Unix epoch."""
    expires_at: float
    """Likewise."""
    status: InvitationStatus
    """What became of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInvitation:
    """An invitation with its token, which is shown this once."""

    invitation: Invitation
    """What was made."""
    workspace_name: str
    """For the letter."""
    token: str = field(repr=False)
    """What `accept` and `decline` ask for: whoever holds it may join."""
    delivered: bool = False
    """Whether the function of `on_invitation` took it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role and what it may do."""

    name: str
    """As members have it."""
    permissions: tuple[str, ...]
    """Patterns such as `projects.*`."""
    built_in: bool
    """Whether it is one of the five that each workspace has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project of a workspace."""

    id: str
    """What `ops.track(project=…)` names."""
    name: str
    """What people call it."""
    made_by: str
    """The member who did, or who answers for the key that did; empty for the app."""
    shared: bool
    """Whether everybody of the workspace sees it; else its maker, with whom it is shared, and
    whoever may `projects.read_all`."""
    created_at: float
    """UTC seconds since the Unix epoch."""
    shared_with: tuple[str, ...] = ()
    """The members it is shared with one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is known of a key; the key itself is not stored."""

    id: UUID
    """For `rotate_key` and `revoke_key`."""
    name: str
    """What it is for."""
    hint: str
    """How it begins."""
    scopes: tuple[str, ...]
    """Patterns of what it may do, as long as its maker may do that too."""
    project: str | None
    """The only project it is for."""
    made_by: str
    """The member who answers for it; empty for the app."""
    created_at: float
    """UTC seconds since the Unix epoch, as are the next three."""
    expires_at: float | None
    """When it ends by itself."""
    revoked_at: float | None
    """When it was ended."""
    last_used_at: float | None
    """When it was last used, to the minute."""
    replaces: UUID | None
    """The key it was rotated from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """A key that was just made."""

    key: ApiKey
    """What is stored of it."""
    token: str = field(repr=False)
    """The key itself, shown this once."""

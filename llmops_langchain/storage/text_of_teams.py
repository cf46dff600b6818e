"""The columns of workspaces that can hold text; rows of the table in `text_at_rest.py`."""

__all__ = ["TEXT_OF_TEAMS"]

_PLAIN = "plain"
_HASH = "a hash"
_MEMBER = "until the member leaves, or the workspace is purged"
_TEAM = "until the workspace is purged (`workspace_retention` after it was deleted)"

TEXT_OF_TEAMS: dict[str, tuple[tuple[tuple[str, ...], str, str, str, str], ...]] = {
    "llmops_workspaces": (
        (("id", "name"), "names you give", _TEAM, _PLAIN, "stay"),
        (("audit_hash", "audit_key"), "where the audit log ends", "for ever", _HASH, "stay"),
    ),
    "llmops_members": (
        (
            ("user_id", "email", "email_key", "email_shape"),
            "who belongs to a workspace, and the address that was invited",
            _MEMBER,
            _PLAIN,
            "deleted",
        ),
        (("workspace", "role"), "names you give", _MEMBER, _PLAIN, "deleted"),
    ),
    "llmops_invitations": (
        (
            ("email", "email_key", "email_shape", "invited_by", "accepted_by"),
            "who was invited, by whom, and who joined",
            _TEAM,
            _PLAIN,
            "deleted: those to the user's addresses, and by the user",
        ),
        (("token_hash",), "a hash of 256 random bits", _TEAM, _HASH, "deleted"),
        (("workspace", "role", "status"), "names you give", _TEAM, _PLAIN, "deleted"),
    ),
    "llmops_roles": (
        (
            ("workspace", "name", "permissions", "made_by"),
            "roles of a workspace's own, and who made them",
            "until `delete_role`",
            _PLAIN,
            "the name of who made it is taken out",
        ),
    ),
    "llmops_projects": (
        (
            ("workspace", "id", "name", "made_by"),
            "projects, and who made them",
            "until `delete_project`",
            _PLAIN,
            "the name of who made it is taken out",
        ),
    ),
    "llmops_project_shares": (
        (
            ("workspace", "project", "user_id"),
            "with whom a project is shared",
            "until `unshare_project`",
            _PLAIN,
            "deleted",
        ),
    ),
    "llmops_api_keys": (
        (
            ("token_hash",),
            "a hash of 256 random bits: the key itself is not stored",
            _TEAM,
            _HASH,
            "stays, of a key that is revoked",
        ),
        (
            ("workspace", "name", "hint", "scopes", "project", "made_by"),
            "what a key is for, its first characters, who made it",
            _TEAM,
            _PLAIN,
            "the name of who made it is taken out",
        ),
    ),
    "llmops_audit_log": (
        (
            ("actor", "target"),
            "pseudonyms of people; ids of keys, projects and roles",
            "for ever",
            "a hash under a random salt, for people",
            "stay, and lead to nobody any more",
        ),
        (
            ("before", "after", "action", "workspace"),
            "what was changed: roles, names of things, limits; secrets taken out",
            "for ever",
            _PLAIN,
            "stay",
        ),
        (
            ("actor_kind", "target_kind", "key_id", "previous", "hash"),
            "words and hashes of this package",
            "for ever",
            _PLAIN,
            "nothing personal",
        ),
    ),
    "llmops_audit_people": (
        (
            ("name", "pseudonym", "salt"),
            "who stands behind a pseudonym of the audit log: user ids and addresses",
            "until the workspace is purged",
            _PLAIN,
            "deleted",
        ),
        (("workspace",), "names you give", "likewise", _PLAIN, "deleted"),
    ),
}

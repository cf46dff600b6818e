"""The audit log as values: an entry, what its hash covers, and who stands in it."""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import orjson

from llmops_langchain.errors import AuditError
from llmops_langchain.workspaces.signing import AuditKeys

__all__ = [
    "START",
    "Head",
    "Link",
    "Target",
    "expected_hash",
    "json_of",
    "linked",
    "new_salt",
    "pseudonym",
]

START = bytes(32)
"""What stands before the first entry of a chain."""


class Head(NamedTuple):
    """The end of a chain."""

    seq: int
    hash: bytes


class Target(NamedTuple):
    """What an action was done to; a `user` and an `email` are people, who may be forgotten."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A row of the audit log as it is stored."""

    workspace: str
    seq: int
    ts: float
    actor_kind: str
    actor: str
    action: str
    target_kind: str
    target: str
    before: str
    after: str
    key_id: str
    previous: bytes
    hash: bytes

    def values(self) -> dict[str, Any]:
        """By column."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


def linked(head: Head, keys: AuditKeys, **columns: Any) -> Link:
    """The entry that follows the end of a chain.

    Args:
        head: The end.
        keys: The first one signs.
        columns: What happened: all columns but `seq`, `key_id`, `previous` and `hash`.
    """
    bare = Link(**columns, seq=head.seq + 1, key_id=keys.signing, previous=head.hash, hash=b"")
    return Link(**{**bare.values(), "hash": expected_hash(bare, keys)})


def expected_hash(link: Link, keys: AuditKeys) -> bytes:
    """What the hash of a row must be: over every other column, the one before it among them.

    Raises:
        KeyError: If it was signed with a key that is not here.
    """
    covered = [
        value.hex() if isinstance(value, (bytes, float)) else value
        for name, value in link.values().items()
        if name != "hash"
    ]
    # JSON puts marks between the columns: what moved from one into the next is another message.
    return keys.mac(link.key_id, orjson.dumps(covered))


def pseudonym(salt: bytes, name: str) -> str:
    """A person in the log: with the salt it proves the name, without it it tells nothing."""
    return hmac.digest(salt, name.encode(), "sha256").hex()[:32]


def new_salt() -> bytes:
    """256 random bits."""
    return secrets.token_bytes(32)


def json_of(said: Mapping[str, Any] | None) -> str:
    """A dict as the log keeps it.

    Raises:
        AuditError: If it is no JSON.
    """
    if said is None:
        return ""
    try:
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError as error:
        msg = f"what is recorded must be JSON: {error}"
        raise AuditError(msg) from None

"""The keys that sign the audit log; they never stand in the database."""

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

from llmops_langchain.errors import ConfigurationError

__all__ = ["AuditKeys", "keys_of_file", "write_new_key"]

_SHORTEST = 32  # characters; `llmops audit new-key` writes 64, of 256 random bits


class AuditKeys:
    """Keys by their ids: the first one signs, all of them verify.

    Args:
        keys: Secrets of at least 32 characters; to change keys, put the new one in front. With
            none of them the log is a plain chain of hashes, which whoever may write to the
            database can compute anew.

    Raises:
        ConfigurationError: If a key is too short.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        if any(len(each) < _SHORTEST for each in keys):
            msg = (
                f"an audit key is a secret of {_SHORTEST} characters or more: make one with "
                "`llmops audit new-key FILE`"
            )
            raise ConfigurationError(msg)
        self._keys = {_id(each): each.encode() for each in keys}
        self.signing = next(iter(self._keys), "")
        """The id of the key that signs; empty without one."""

    def __contains__(self, key_id: str) -> bool:
        """Whether what this key signed can be verified; the plain chain always can."""
        return not key_id or key_id in self._keys

    def mac(self, key_id: str, message: bytes) -> bytes:
        """HMAC-SHA256 under a key (RFC 2104), or SHA-256 without one.

        Raises:
            KeyError: If the key is not here.
        """
        if not key_id:
            return hashlib.sha256(message).digest()
        return hmac.digest(self._keys[key_id], message, "sha256")


def keys_of_file(path: Path) -> tuple[str, ...]:
    """The keys in a file, one a line, that only its owner may read.

    Raises:
        ConfigurationError: If it is not there, others may read it, or it holds no key.
    """
    try:
        mode = path.stat().st_mode
        lines = tuple(filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())))
    except (OSError, ValueError) as error:
        msg = f"`audit_key_file`: {path} cannot be read: {type(error).__name__}"
        raise ConfigurationError(msg) from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        msg = f"`audit_key_file`: others may read {path}: run `chmod 600` on it, and change the key"
        raise ConfigurationError(msg)
    if any(len(each) < _SHORTEST for each in lines):
        msg = f"`audit_key_file`: {path} holds a line that is no key of {_SHORTEST} characters"
        raise ConfigurationError(msg)
    if not lines:
        msg = f"`audit_key_file`: {path} holds no key: make one with `llmops audit new-key FILE`"
        raise ConfigurationError(msg)
    return lines


def write_new_key(path: Path) -> str:
    """Put a new key in front of those in a file that only its owner may read; the new key's id.

    Raises:
        ConfigurationError: If there is such a file and others may read it, or it cannot be written.
    """
    earlier = keys_of_file(path) if path.exists() else ()
    new, beside = secrets.token_hex(32), path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write("\n".join([new, *earlier, ""]))
        beside.replace(path)  # all of it or nothing
    except OSError as error:
        msg = f"{path} cannot be written: {type(error).__name__}"
        raise ConfigurationError(msg) from None
    return _id(new)


def _id(key: str) -> str:
    """What rows name a key by: enough to know it by, and no help to find it."""
    return hashlib.sha256(b"llmops audit key\0" + key.encode()).hexdigest()[:16]

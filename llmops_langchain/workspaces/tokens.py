"""Secrets that are shown once: 256 random bits, a prefix to find leaks by, and a checksum."""

import hashlib
import secrets
import zlib
from typing import Literal

__all__ = ["HINT", "Kind", "digest", "is_whole", "new_token"]

Kind = Literal["llmops_key_", "llmops_inv_"]
"""What a token is for: an API key, or an invitation."""

HINT = 16
"""Characters of a token that are kept to tell keys apart: the prefix and five random ones."""

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM, _SUM = 43, 6  # characters of 256 and of 32 bits


def new_token(kind: Kind) -> str:
    """A new secret; each is written with letters and digits alone, so a double click takes it."""
    body = kind + _written(int.from_bytes(secrets.token_bytes(32)), _RANDOM)
    return body + _checksum(body)


def is_whole(kind: Kind, token: str) -> bool:
    """Whether a text is a token of this kind, as far as its checksum tells; no secret is needed."""
    if not token.isascii() or len(token) != len(kind) + _RANDOM + _SUM:
        return False
    return token.startswith(kind) and token[-_SUM:] == _checksum(token[:-_SUM])


def digest(token: str) -> bytes:
    """What is stored: of 256 random bits nobody finds the token again, however fast the hash is."""
    return hashlib.sha256(token.encode()).digest()


def _checksum(body: str) -> str:
    return _written(zlib.crc32(body.encode()), _SUM)


def _written(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, rest = divmod(number, len(_LETTERS))
        digits.append(_LETTERS[rest])
    return "".join(reversed(digits))

"""What a call is made of, part by part: one key for the whole, a short digest of each part."""

from collections.abc import Iterable
from hashlib import sha256
from struct import pack
from typing import NamedTuple

__all__ = ["PARTS", "CallParts", "digest"]

_FORM = b"call/2"  # of the bytes below; another one makes every key a new one
_WIDTH = 8  # bytes of a fingerprint for each part


class CallParts(NamedTuple):
    """A call in parts, each in its one form: equal exactly if the answer must be the same.

    A tuple: one is made for every lookup, and a frozen dataclass takes a microsecond more.
    """

    scope: bytes
    """Whose answer it is."""
    model: bytes
    """The model's class and settings."""
    parameters: bytes
    """What goes with the call and stands in no other part: `stop`, a temperature."""
    tools: bytes
    """Tools, and how they are to be chosen."""
    schema: bytes
    """What the answer must look like."""
    system: bytes
    """The system messages at the beginning."""
    history: bytes
    """What was said between them and the last message."""
    question: bytes
    """The last message; the whole prompt of a text model."""

    @property
    def key(self) -> bytes:
        """32 bytes that name the call."""
        return digest((_FORM, *self))

    @property
    def fingerprint(self) -> bytes:
        """8 bytes for each of `PARTS`, side by side: two fingerprints tell which parts differ."""
        return b"".join(sha256(part).digest()[:_WIDTH] for part in self)


PARTS = CallParts._fields
"""The parts of a call, in the order of a fingerprint."""


def digest(parts: Iterable[bytes]) -> bytes:
    """SHA-256 over parts with their lengths, so that text moved between parts is another key."""
    given = tuple(parts)
    lengths = pack(f">{len(given) + 1}Q", len(given), *map(len, given))
    return sha256(b"".join((lengths, *given))).digest()

"""What is stored of an answer: packed where it pays, encrypted if wished, bound to its key.

A row is one byte for its form and what the form says. Without encryption that is a checksum of the
key and the packed answer; with it, the same thing inside a Fernet token.
"""

import hashlib
import json
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
import zstandard

from llmops_langchain.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

__all__ = ["Packer", "read_back", "written"]

_PLAIN, _ZSTD, _ENCRYPTED = b"P", b"Z", b"E"
_WORTH_PACKING = 1024  # bytes; below, zstd saves little and costs as much as decoding the JSON
_MAX_BYTES = 64 * 2**20  # of an answer; a row that claims to hold more is refused unopened
_CHECKSUM = 16  # bytes


class Packer:
    """Answers as rows and back; a row that was damaged or moved is noticed, never misread.

    Threads may share it. The checksum finds accidents; only encryption keeps somebody who can write
    to the store from planting an answer. So with keys a row that is not encrypted is damaged too.

    Args:
        encryption_keys: Fernet keys (`cryptography.fernet.Fernet.generate_key()`). The first one
            encrypts, all of them decrypt: to change keys, put the new one in front.

    Raises:
        ConfigurationError: If a key is none.
        MissingExtraError: If there are keys and `cryptography` is not installed.
    """

    def __init__(self, encryption_keys: Sequence[str] = ()) -> None:
        self._fernet = _fernet(encryption_keys) if encryption_keys else None

    @property
    def encrypts(self) -> bool:
        """Whether rows are written under a key."""
        return self._fernet is not None

    def pack(self, key: bytes, body: bytes) -> bytes:
        """The row that holds `body` under `key`.

        Args:
            key: What names the row, at most 64 bytes.
            body: The answer, at most 64 MiB.

        Raises:
            ValueError: If either is longer.
        """
        if len(body) > _MAX_BYTES:
            msg = f"an answer of {len(body):,} bytes is too long to be kept"
            raise ValueError(msg)
        form, packed = _packed(body)
        row = form + _checksum(key, form, packed) + packed
        if self._fernet is None:
            return row
        # A token is base64: stored as the bytes it stands for, it is a quarter smaller.
        return _ENCRYPTED + urlsafe_b64decode(self._fernet.encrypt(row))

    def unpack(self, key: bytes, packed: bytes) -> bytes:
        """The body that was packed under `key`.

        Raises:
            ValueError: If the row is damaged, stands under another key, is of another format, or is
                not encrypted with one of the keys.
        """
        row = packed if self._fernet is None else _decrypted(self._fernet, packed)
        form, checksum, rest = row[:1], row[1 : 1 + _CHECKSUM], row[1 + _CHECKSUM :]
        if form not in (_PLAIN, _ZSTD) or checksum != _checksum(key, form, rest):
            msg = "the row is damaged, encrypted, or stands under another key"
            raise ValueError(msg)
        return rest if form == _PLAIN else _decompressed(rest)


def written(said: Mapping[str, Any]) -> bytes:
    """JSON of what was said, whatever was said; what no JSON has a word for as its `str`."""
    try:
        return orjson.dumps(said, default=str)
    except TypeError:  # a lone surrogate, or a number over 64 bits
        return json.dumps(said, default=str).encode()


def read_back(body: bytes) -> dict[str, Any]:
    """What `written` wrote.

    Raises:
        ValueError: If it is no JSON.
    """
    try:
        found: dict[str, Any] = orjson.loads(body)
    except ValueError:  # as above
        found = json.loads(body)
    return found


class _Zstd(threading.local):
    """Contexts for one thread: making one costs more than using it, and threads must not share."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor()
        self.decompressor = zstandard.ZstdDecompressor()


_zstd = _Zstd()


def _packed(body: bytes) -> tuple[bytes, bytes]:
    if len(body) >= _WORTH_PACKING:
        packed = _zstd.compressor.compress(body)
        if len(packed) < len(body):
            return _ZSTD, packed
    return _PLAIN, body


def _decompressed(packed: bytes) -> bytes:
    """The body, whose size the frame must tell: memory for it is taken at once."""
    try:
        size = zstandard.frame_content_size(packed)
        if not 0 <= size <= _MAX_BYTES:
            msg = "the row does not say how long its answer is, or it is too long"
            raise ValueError(msg)
        return _zstd.decompressor.decompress(packed)
    except zstandard.ZstdError as error:
        msg = "the row cannot be decompressed"
        raise ValueError(msg) from error


def _checksum(key: bytes, form: bytes, packed: bytes) -> bytes:
    return hashlib.blake2b(packed, digest_size=_CHECKSUM, key=key, person=form).digest()


def _decrypted(fernet: "MultiFernet", packed: bytes) -> bytes:
    from cryptography.fernet import InvalidToken

    if packed[:1] != _ENCRYPTED:
        msg = "the row is not encrypted"
        raise ValueError(msg)
    try:
        return fernet.decrypt(urlsafe_b64encode(packed[1:]))
    except InvalidToken as error:
        msg = "the row is damaged, or encrypted with a key that is not known"
        raise ValueError(msg) from error


def _fernet(keys: Sequence[str]) -> "MultiFernet":
    try:
        from cryptography.fernet import Fernet, MultiFernet
    except ImportError as error:
        package = "cryptography"
        raise MissingExtraError(package, extra="crypto") from error
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except (TypeError, ValueError):
        msg = (
            "`encryption_keys` must be Fernet keys, each of 32 bytes in url-safe base64: make one "
            "with `Fernet.generate_key().decode()`"
        )
        # `from None`: whatever the decoder says of a secret stays out of logs.
        raise ConfigurationError(msg) from None

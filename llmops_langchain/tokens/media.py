"""Tokens of what is no text in a message: images, sound, films, documents."""

import re
import struct
import zlib
from base64 import b64decode
from binascii import Error
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from llmops_langchain.tokens.images import UNKNOWN_SIZE, ImageRule, Size, image_size

__all__ = [
    "AUDIO_TOKENS",
    "FILE_TOKENS",
    "VIDEO_TOKENS",
    "Media",
    "document_tokens",
    "image_tokens",
    "mime_type",
    "payload",
    "sound_tokens",
    "text_in",
]

AUDIO_TOKENS = 1_000
"""A sound whose length cannot be seen: a stated guess, half a minute to two minutes of speech."""
VIDEO_TOKENS = 8_000
"""A film, whatever its length: a stated guess, about half a minute."""
FILE_TOKENS = 2_000
"""A document of unknown length that is not plain text: a stated guess, about a page."""

_HEAD = 65_536
"""Bytes at the start of a JPEG in which its size is looked for."""
_MOST_UNPACKED = 32_000_000
"""Bytes that are unpacked of a PDF at most."""

_HOLDERS = ("image_url", "source", "file", "input_audio", "image", "document", "video", "audio")
_DATA = ("base64", "data", "bytes", "file_data")
_URLS = ("url", "image_url", "file_url")
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_OBJECTS = re.compile(rb"/Type\s*/ObjStm.{0,400}?stream\r?\n", re.DOTALL)
_LINEARIZED = re.compile(rb"/Linearized\b[^>]*?/N\s+(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What a provider's models take for what is no text."""

    image: ImageRule
    """Tokens of an image by its size."""
    page: int = FILE_TOKENS
    """Tokens of a page of a PDF, text and picture."""
    sound: int = 10
    """Tokens of a second of sound."""


def image_tokens(block: Mapping[str, Any], media: Media) -> int:
    """Return the tokens of an image block, by its size where the block holds the image."""
    found = payload(block)
    size = None if found is None else _size(found)
    return media.image(size or UNKNOWN_SIZE, _detail(block))


def sound_tokens(block: Mapping[str, Any], media: Media) -> int:
    """Return the tokens of a sound block, by its seconds where it holds a WAV."""
    found = payload(block)
    seconds = None if found is None else _wav_seconds(_head(found, 4_096), _length(found))
    return AUDIO_TOKENS if seconds is None else ceil(seconds * media.sound)


def document_tokens(block: Mapping[str, Any], media: Media) -> int:
    """Return the tokens of a document, by its pages where the block holds a PDF."""
    found = payload(block)
    if found is None or not _head(found, 1_024).lstrip().startswith(b"%PDF"):
        return FILE_TOKENS
    pages = _pages(_head(found, _length(found)))
    return pages * media.page if pages else FILE_TOKENS


def mime_type(block: Mapping[str, Any]) -> str:
    """Return what a block says about its content (`application/pdf`); empty if nothing."""
    for key in ("mime_type", "media_type"):
        if isinstance(said := block.get(key), str):
            return said
    for key in _DATA + _URLS:
        if isinstance(url := block.get(key), str) and url.startswith("data:"):
            return url[5:].partition(";")[0].partition(",")[0]
    inner = next((block[key] for key in _HOLDERS if isinstance(block.get(key), Mapping)), None)
    return "" if inner is None else mime_type(inner)


def payload(block: Mapping[str, Any]) -> str | bytes | None:
    """Return the content that a block holds itself, in base64 or as bytes; `None` for a link."""
    for key in _DATA + _URLS:
        value = block.get(key)
        if isinstance(value, bytes) and value:
            return value
        if isinstance(value, str) and value:
            if value.startswith("data:"):
                return value[value.find(",") + 1 :]
            if key in _DATA:
                return value
    inner = next((block[key] for key in _HOLDERS if isinstance(block.get(key), Mapping)), None)
    return None if inner is None else payload(inner)


def text_in(found: str | bytes) -> str:
    """Return the text of a document that is plain text."""
    return _head(found, _length(found)).decode("utf-8", "replace")


def _detail(block: Mapping[str, Any]) -> str:
    image = block.get("image_url")
    return str((image if isinstance(image, Mapping) else block).get("detail") or "")


def _length(found: str | bytes) -> int:
    """Return about how many bytes there are."""
    return len(found) if isinstance(found, bytes) else len(found) * 3 // 4


def _head(found: str | bytes, size: int) -> bytes:
    """Return the first bytes; of what is no base64, none."""
    if isinstance(found, bytes):
        return found[:size]
    start = found[: ceil(size / 3) * 4]
    try:
        return b64decode(
            start[: len(start) // 4 * 4 or 4] + "==", altchars="-_" if _url_safe(start) else None
        )
    except (Error, ValueError):
        return b""


def _url_safe(start: str) -> bool:
    return "-" in start or "_" in start


def _size(found: str | bytes) -> Size | None:
    # Most formats state it at once; a JPEG may carry a preview before it.
    return image_size(_head(found, 64)) or image_size(_head(found, _HEAD))


def _wav_seconds(head: bytes, length: int) -> float | None:
    """Return how long a WAV lasts: its length by the bytes a second that its header states."""
    at = head.find(b"fmt ")
    if not (head.startswith(b"RIFF") and head[8:12] == b"WAVE") or at < 0 or len(head) < at + 20:
        return None
    (rate,) = struct.unpack_from("<I", head, at + 16)
    return length / rate if rate else None


def _pages(pdf: bytes) -> int:
    """Return the pages of a PDF: as its first object says, else counted, also in packed objects."""
    if said := _LINEARIZED.search(pdf[:2_048]):
        return int(said[1])
    return sum(len(_PAGE.findall(part)) for part in (pdf, *_unpacked(pdf)))


def _unpacked(pdf: bytes) -> Iterator[bytes]:
    left = _MOST_UNPACKED
    for start in _OBJECTS.finditer(pdf):
        try:
            part = zlib.decompressobj().decompress(pdf[start.end() :], left or 1)
        except zlib.error:
            continue
        left = max(0, left - len(part))
        yield part

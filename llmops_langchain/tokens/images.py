"""What an image costs, from its size: each provider's own formula, and the size from its header."""

import struct
from collections.abc import Callable, Iterator
from math import ceil, floor, sqrt
from typing import NamedTuple

__all__ = [
    "UNKNOWN_SIZE",
    "ImageRule",
    "Size",
    "by_area",
    "cropped",
    "flat",
    "image_size",
    "patched",
    "tiled",
]

_MARK = 0xFF
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG that a frame begins with; the three are tables."""


class Size(NamedTuple):
    """Pixels."""

    width: int
    height: int

    def within(self, width: float, height: float) -> "Size":
        """Return the size scaled down to fit, never up."""
        scale = min(1.0, width / self.width, height / self.height)
        return Size(max(1, round(self.width * scale)), max(1, round(self.height * scale)))


ImageRule = Callable[[Size, str], int]
"""Tokens of an image of a size, sent with a `detail` (`low`, `high`, `auto` or empty)."""

UNKNOWN_SIZE = Size(1024, 1024)
"""What an image is taken for whose size cannot be seen, e.g. behind a URL."""


def tiled(base: int, tile: int) -> ImageRule:
    """Return OpenAI's rule by tiles of 512 pixels: "Calculating costs" in its guide on vision.

    The image is fitted into 2,048 x 2,048 and its shorter side into 768; low detail is `base`.
    """

    def tokens(size: Size, detail: str) -> int:
        if detail == "low":
            return base
        fitted = size.within(2048, 2048)
        scale = min(1.0, 768 / min(fitted))
        across, down = (ceil(round(side * scale) / 512) for side in fitted)
        return base + tile * across * down

    return tokens


def patched(multiplier: float, most: int = 1_536) -> ImageRule:
    """Return OpenAI's rule by patches of 32 pixels, at most `most`, for its smaller models."""

    def tokens(size: Size, _: str) -> int:
        if (patches := _patches(*size)) > most:
            scale = 32 * sqrt(most / (size.width * size.height))
            across, down = size.width * scale / 32, size.height * scale / 32
            # Scaled a little further, so that whole patches cover one of the sides.
            scale *= min(max(1, floor(across)) / across, max(1, floor(down)) / down)
            patches = min(most, _patches(size.width * scale, size.height * scale))
        return ceil(patches * multiplier)

    return tokens


def by_area(edge: int, most: int) -> ImageRule:
    """Return Anthropic's rule: a token for 750 pixels, once the longer side fits into `edge`."""

    def tokens(size: Size, _: str) -> int:
        width, height = size.within(edge, edge)
        return min(most, ceil(width * height / 750))

    return tokens


def cropped(tile: int, small: int = 384) -> ImageRule:
    """Return Google's rule: one tile for a small image, else crops of two thirds of its side."""

    def tokens(size: Size, _: str) -> int:
        if max(size) <= small:
            return tile
        unit = max(1, floor(min(size) / 1.5))
        # Beyond that the provider scales down: no image is seen in more than 3 x 16 crops.
        return tile * min(48, ceil(size.width / unit) * ceil(size.height / unit))

    return tokens


def flat(tokens_: int) -> ImageRule:
    """Return the rule that each image costs the same."""
    return lambda _, __: tokens_


def image_size(head: bytes) -> Size | None:
    """Return the size that a PNG, JPEG, GIF or WebP states in its first bytes; else `None`."""
    try:
        size = _stated(head)
    except (struct.error, StopIteration):
        return None
    return size if size is not None and min(size) > 0 else None


def _stated(head: bytes) -> Size | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Size(*struct.unpack_from(">II", head, 16))
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Size(*struct.unpack_from("<HH", head, 6))
    if head.startswith(b"\xff\xd8"):
        return next(_jpeg_sizes(head))
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _webp_size(head)
    return None


def _jpeg_sizes(head: bytes) -> Iterator[Size]:
    """Yield the size of each frame header: the markers of ITU T.81, annex B."""
    at = 2
    while at + 9 <= len(head) and head[at] == _MARK:
        code = head[at + 1]
        if code in _FRAMES:
            height, width = struct.unpack_from(">HH", head, at + 5)
            yield Size(width, height)
        at += 1 if code == _MARK else 2 + struct.unpack_from(">H", head, at + 2)[0]


def _webp_size(head: bytes) -> Size | None:
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
        return Size(width, height)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return Size(width & 0x3FFF, height & 0x3FFF)
    return None


def _patches(width: float, height: float) -> int:
    return ceil(width / 32) * ceil(height / 32)

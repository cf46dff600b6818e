"""What a text is made of, as far as a vocabulary cares: bytes by kind, scripts, words.

In UTF-8 the first byte of a character tells its script, so one histogram of the bytes counts the
letters of most scripts at once; a few more are told by their first two bytes.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEATURES", "KINDS", "SCRIPTS", "features", "histogram"]

Floats = NDArray[np.float64]

_SIGNS = bytes(code for code in range(33, 127) if not chr(code).isalnum())
_DIGITS = b"0123456789"
_LOWER = b"abcdefghijklmnopqrstuvwxyz"

KINDS: Mapping[str, bytes] = MappingProxyType(
    {
        "lower": _LOWER,
        "upper": _LOWER.upper(),
        "digit": _DIGITS,
        "space": b" ",
        "line": b"\t\n\v\f\r",
        "sign": _SIGNS,
        "latin": bytes(range(0xC2, 0xC4)),
        "latin_extended": bytes(range(0xC4, 0xCB)),
        "accent": bytes(range(0xCB, 0xCE)),
        "greek": bytes(range(0xCE, 0xD0)),
        "cyrillic": bytes(range(0xD0, 0xD4)),
        "hebrew": bytes(range(0xD4, 0xD8)),
        "arabic": bytes(range(0xD8, 0xDC)),
        "indic": b"\xe0",
        "asian": b"\xe1",
        "symbol": b"\xe2",
        "kana": b"\xe3",
        "chinese": bytes(range(0xE4, 0xEA)),
        "hangul": bytes(range(0xEA, 0xEE)),
        "wide": b"\xee\xef",
        "emoji": bytes(range(0xF0, 0xF5)),
        "rare": bytes({*range(9), *range(14, 32), 0x7F, *range(0xDC, 0xE0)}),
    }
)
"""Kinds of characters by their first byte in UTF-8, named after what most of them are."""

SCRIPTS: Mapping[str, tuple[bytes, ...]] = MappingProxyType(
    {
        "devanagari": (b"\xe0\xa4", b"\xe0\xa5"),
        "bengali": (b"\xe0\xa6", b"\xe0\xa7"),
        "gurmukhi": (b"\xe0\xa8", b"\xe0\xa9"),
        "gujarati": (b"\xe0\xaa", b"\xe0\xab"),
        "tamil": (b"\xe0\xae", b"\xe0\xaf"),
        "telugu": (b"\xe0\xb0", b"\xe0\xb1"),
        "kannada": (b"\xe0\xb2", b"\xe0\xb3"),
        "malayalam": (b"\xe0\xb4", b"\xe0\xb5"),
        "thai": (b"\xe0\xb8", b"\xe0\xb9"),
        "georgian": (b"\xe1\x83",),
        "vietnamese": (b"\xe1\xba", b"\xe1\xbb"),
        "syllables": (b"\xe3\x81", b"\xe3\x82", b"\xe3\x83"),
    }
)
"""Scripts within `indic`, `asian` and `kana` by the first two bytes of their characters."""

FEATURES = ("o200k", "words", *KINDS, *SCRIPTS)
"""What `features` returns: the stand-in's tokens, words between spaces, characters by kind."""


def features(text: str, counted: int) -> Floats:
    """Return the figures of a text, shape `(len(FEATURES),)`.

    Args:
        text: Without lone surrogates.
        counted: Its tokens in the vocabulary that stands in.
    """
    raw = text.encode()
    counts = histogram(raw)
    kinds = [int(counts[list(each)].sum()) for each in KINDS.values()]
    scripts = [sum(map(raw.count, pairs)) for pairs in SCRIPTS.values()]
    return np.array([counted, len(text.split()), *kinds, *scripts], np.float64)


def histogram(raw: bytes) -> NDArray[np.intp]:
    """Return how often each byte is there, shape `(256,)`."""
    return np.bincount(np.frombuffer(raw, np.uint8), minlength=256)

"""Count the tokens of a text with the best vocabulary on this machine; none is downloaded."""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import tiktoken

from llmops_langchain.tokens.estimates import estimate_tokens

__all__ = ["Vocabulary", "vocabulary"]

_logger = logging.getLogger(__name__)

_QUICKTOK_ENCODINGS = frozenset({"cl100k_base", "o200k_base"})
_TIKTOKEN_FILES = {
    # encoding: (name of the file in tiktoken's cache, SHA-256 of its content)
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A way to count the tokens of a text that holds no lone surrogates."""

    backend: str
    """`quicktok`, `tiktoken` or `estimate`."""
    count: Callable[[str], int]


@cache
def vocabulary(encoding: str) -> Vocabulary:
    """Return quicktok's vocabulary, tiktoken's if its file is on this machine, or an estimate."""
    return _quicktok(encoding) or _tiktoken(encoding) or _estimate(encoding)


def _quicktok(encoding: str) -> Vocabulary | None:
    if encoding not in _QUICKTOK_ENCODINGS:
        return None
    try:
        import quicktok
    except ImportError:
        return None
    return Vocabulary(backend="quicktok", count=quicktok.get_encoding(encoding).count)


def _tiktoken(encoding: str) -> Vocabulary | None:
    """Load through tiktoken only what it would not fetch: a cached file with the right content."""
    name, expected = _TIKTOKEN_FILES.get(encoding, ("", ""))
    file = _tiktoken_cache() / name
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != expected:
        return None
    loaded = tiktoken.get_encoding(encoding)
    return Vocabulary(backend="tiktoken", count=lambda text: len(loaded.encode_ordinary(text)))


def _tiktoken_cache() -> Path:
    """Where tiktoken keeps its files; an empty variable means that it keeps none."""
    default = str(Path(tempfile.gettempdir()) / "data-gym-cache")
    chosen = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR", default))
    return Path(chosen or os.devnull)


def _estimate(encoding: str) -> Vocabulary:
    _logger.warning(
        "no %s vocabulary on this machine, tokens are estimated: "
        "`pip install 'llmops-langchain[tokens]'` counts them",
        encoding,
    )
    return Vocabulary(backend="estimate", count=partial(estimate_tokens, encoding=encoding))

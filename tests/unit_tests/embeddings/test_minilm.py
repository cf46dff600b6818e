"""What is said of MiniLM alone: its files, what it cuts, and forks."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from unit_tests.storage.processes import run

from llmops_langchain import ConfigurationError, MissingExtraError
from llmops_langchain.embeddings import MiniLMEmbeddings

FILES = ("model.onnx", "tokenizer.json")


def empty_files(directory: Path, *names: str) -> Path:
    for name in names:
        (directory / name).touch()
    return directory


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path, name) -> None:
    (other,) = set(FILES) - {name}
    with pytest.raises(ConfigurationError, match=f"it lacks `{name}`$"):
        MiniLMEmbeddings(empty_files(tmp_path, other))


def test_all_missing_files_are_named(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match=r"lacks `model\.onnx` and `tokenizer\.json`"):
        MiniLMEmbeddings(tmp_path / "nowhere")


def test_another_model_is_refused(tmp_path) -> None:
    told = {"hidden_size": 384, "num_hidden_layers": 12, "vocab_size": 30_522}
    empty_files(tmp_path, *FILES)
    (tmp_path / "config.json").write_text(json.dumps(told))
    with pytest.raises(ConfigurationError, match=r"another model.*`num_hidden_layers` 12"):
        MiniLMEmbeddings(tmp_path)


def test_nothing_is_read_before_the_first_use(tmp_path) -> None:
    """These files are empty, and could not be."""
    MiniLMEmbeddings(str(empty_files(tmp_path, *FILES)))


def test_threads_must_be_positive(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match="`threads`"):
        MiniLMEmbeddings(empty_files(tmp_path, *FILES), threads=0)


@pytest.mark.parametrize("package", ["onnxruntime", "tokenizers"])
def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, package) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=package) as raised:
        MiniLMEmbeddings(empty_files(tmp_path, *FILES))
    assert raised.value.extra == "semantic"


def test_what_comes_after_256_tokens_does_not_count(minilm) -> None:
    start = "word " * 254  # and two tokens for the beginning and the end
    assert minilm.embed_query(start + "password") == minilm.embed_query(start + "weather")
    assert minilm.embed_query(start[5:] + "password") != minilm.embed_query(start[5:] + "weather")


def test_two_threads_give_the_same_vectors(minilm, minilm_files) -> None:
    texts = ["one", "two words", "and three words"]
    other = MiniLMEmbeddings(minilm_files, threads=2).embed_documents(texts)
    assert np.allclose(other, minilm.embed_documents(texts), atol=1e-5)


def test_a_forked_child_embeds_too(minilm_files) -> None:
    source = """
    from llmops_langchain.embeddings import MiniLMEmbeddings
    embeddings = MiniLMEmbeddings(sys.argv[1], threads=2)
    known = embeddings.embed_query("reset")
    if (child := os.fork()) == 0:
        os._exit(0 if embeddings.embed_query("reset") == known else 1)
    print(os.waitpid(child, 0)[1])
    """
    assert run(source, minilm_files) == "0\n"

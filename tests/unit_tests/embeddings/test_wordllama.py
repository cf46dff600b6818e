"""What is said of WordLlama alone: where its weights come from, and what it leaves alone."""

import sys
from importlib.machinery import ModuleSpec

import pytest
from unit_tests.storage.processes import run

from llmops_langchain import ConfigurationError, MissingExtraError
from llmops_langchain.embeddings import WordLlamaEmbeddings


@pytest.mark.parametrize("package", ["wordllama", "tokenizers", "safetensors"])
def test_a_missing_package_names_the_extra(monkeypatch, package) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=package) as raised:
        WordLlamaEmbeddings()
    assert raised.value.extra == "semantic"


@pytest.mark.usefixtures("wordllama")  # it is installed
def test_a_package_without_weights_is_refused(monkeypatch, tmp_path) -> None:
    elsewhere = ModuleSpec("wordllama", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("llmops_langchain.embeddings.wordllama.find_spec", lambda _: elsewhere)
    with pytest.raises(ConfigurationError, match=r"lacks l2_supercat_256\.safetensors"):
        WordLlamaEmbeddings()


@pytest.mark.usefixtures("wordllama")  # it is installed
def test_the_package_is_not_imported() -> None:
    """On import it sets up logging for the whole process."""
    source = """
    import logging
    from llmops_langchain.embeddings import WordLlamaEmbeddings
    WordLlamaEmbeddings().embed_query("reset")
    print("wordllama" in sys.modules, logging.getLogger().handlers)
    """
    assert run(source) == "False []\n"

"""The vectors are those that Chroma and WordLlama give themselves, up to rounding."""

from pathlib import Path

import numpy as np
import pytest
from unit_tests.storage.processes import run

from llmops_langchain.embeddings import MiniLMEmbeddings, WordLlamaEmbeddings

TEXTS = [
    "How do I reset my password?",
    "Wie ändere ich mein Passwort? 如何重置密码",
    "",
    "  spaces\tand\nlines  ",
    "a long text about many things, " * 60,
    "x" * 300,
    "don't @mention #tags! €5.00",
]


def chromas_own(directory: Path) -> np.ndarray:
    """By a process of its own: importing Chroma warns."""
    source = f"""
    import json
    from pathlib import Path
    from chromadb.utils.embedding_functions import ONNXMiniLM_L6_V2
    ONNXMiniLM_L6_V2.DOWNLOAD_PATH = Path(sys.argv[1])
    embed = ONNXMiniLM_L6_V2(["CPUExecutionProvider"])
    print(json.dumps([vector.tolist() for vector in embed({TEXTS!r})]))
    """
    return np.array(eval(run(source, directory.parent)))  # noqa: S307 - lists of numbers


def wordllamas_own() -> np.ndarray:
    """By a process of its own: importing it sets up logging. It has no vector for no text."""
    source = f"""
    import json
    from pathlib import Path
    import wordllama
    folder = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    print(json.dumps(model.embed({[text for text in TEXTS if text]!r}, norm=True).tolist()))
    """
    return np.array(eval(run(source)))  # noqa: S307 - lists of numbers


def test_minilm_equals_chromas_own(minilm_files) -> None:
    pytest.importorskip("onnxruntime", reason="needs the package chromadb")
    ours = MiniLMEmbeddings(minilm_files).embed_documents(TEXTS)
    assert np.allclose(ours, chromas_own(minilm_files), atol=1e-5)


def test_word_vectors_equal_wordllamas_own() -> None:
    pytest.importorskip("safetensors", reason="needs the package wordllama")
    ours = WordLlamaEmbeddings().embed_documents([text for text in TEXTS if text])
    assert np.allclose(ours, wordllamas_own(), atol=1e-5)

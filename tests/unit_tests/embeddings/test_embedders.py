"""Every embedder on this machine gives unit vectors of any text, the same each time."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from minilm import NEEDS, minilm_directory

from llmops_langchain.embeddings import (
    HashedEmbeddings,
    MiniLMEmbeddings,
    WordLlamaEmbeddings,
    identity,
)

DIMENSIONS = {MiniLMEmbeddings: 384, WordLlamaEmbeddings: 256, HashedEmbeddings: 512}
ODD = {
    "empty": "",
    "blank": " \t\n",
    "nothing but NUL": "\0",
    "NUL inside": "reset\0password",
    "a lone surrogate": "\ud800",
    "a split emoji": "thanks \ud83d\ude00",
    "an emoji": "👩‍👩‍👧‍👦",
    "a stray accent": "\u0301",
    "right to left": "\u202eكيف أغير كلمة المرور؟",
    "Chinese": "如何重置我的密码",
    "punctuation": "?!…",
    "an endless word": "a" * 50_000,
    "endless words": "reset the password " * 20_000,
}
ROUNDING = 1e-5


def assert_unit(vectors: list[list[float]], dimensions: int) -> None:
    array = np.array(vectors)
    assert array.shape == (len(vectors), dimensions)
    assert np.allclose(np.linalg.norm(array, axis=1), 1, atol=ROUNDING)


class OfMiniLM:
    @property
    def embeddings_class(self) -> type[MiniLMEmbeddings]:
        return MiniLMEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Path]:
        directory = minilm_directory()
        return {"directory": directory} if directory else pytest.skip(f"needs {', '.join(NEEDS)}")


class OfWordLlama:
    @property
    def embeddings_class(self) -> type[WordLlamaEmbeddings]:
        return WordLlamaEmbeddings


class OfHashed:
    @property
    def embeddings_class(self) -> type[HashedEmbeddings]:
        return HashedEmbeddings


class TestMiniLMUnit(OfMiniLM, EmbeddingsUnitTests): ...


class TestMiniLMIntegration(OfMiniLM, EmbeddingsIntegrationTests): ...


class TestWordLlamaUnit(OfWordLlama, EmbeddingsUnitTests): ...


class TestWordLlamaIntegration(OfWordLlama, EmbeddingsIntegrationTests): ...


class TestHashedUnit(OfHashed, EmbeddingsUnitTests): ...


class TestHashedIntegration(OfHashed, EmbeddingsIntegrationTests): ...


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_any_text_has_a_unit_vector(embeddings, text) -> None:
    assert_unit([embeddings.embed_query(text)], DIMENSIONS[type(embeddings)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(texts=st.lists(st.text(st.characters(), max_size=40), max_size=5))
def test_any_texts_have_a_unit_vector_each(embeddings, texts) -> None:
    vectors = embeddings.embed_documents(texts)
    assert len(vectors) == len(texts)
    if texts:
        assert_unit(vectors, DIMENSIONS[type(embeddings)])


def test_no_texts_have_no_vectors(embeddings) -> None:
    assert embeddings.embed_documents([]) == []


def test_company_does_not_change_a_vector(embeddings) -> None:
    texts = ["short", "a somewhat longer text about passwords " * 5, "", "short", "x " * 300, *ODD]
    together = np.array(embeddings.embed_documents(texts))
    alone = np.array([embeddings.embed_query(text) for text in texts])
    assert np.allclose(together, alone, atol=ROUNDING)


def test_what_is_said_alike_is_nearer_than_what_is_not(embeddings) -> None:
    one, alike, other = np.array(
        embeddings.embed_documents(
            ["How do I reset my password?", "I need to reset my password", "Is it sunny in Rome?"]
        )
    )
    assert one @ alike > one @ other + 0.2


def test_threads_share_one_object(embeddings) -> None:
    texts = [f"question {number} about passwords" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        vectors = np.array(list(pool.map(embeddings.embed_query, texts)))
    assert np.allclose(vectors, embeddings.embed_documents(texts), atol=ROUNDING)


async def test_async_gives_the_same(embeddings) -> None:
    query, (document,) = await asyncio.gather(
        embeddings.aembed_query("reset"), embeddings.aembed_documents(["reset"])
    )
    assert query == document == embeddings.embed_query("reset")


def test_each_has_a_name_of_its_own(minilm, wordllama, hashed) -> None:
    assert [identity(each) for each in (minilm, wordllama, hashed)] == [
        "llmops_langchain.MiniLMEmbeddings:all-MiniLM-L6-v2",
        "llmops_langchain.WordLlamaEmbeddings:l2_supercat_256",
        "llmops_langchain.HashedEmbeddings:hashed-words-1;dimensions=512",
    ]

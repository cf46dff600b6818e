"""One name for vectors that can be compared, another for all others, and no secret in it."""

from enum import StrEnum
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from llmops_langchain.embeddings import HashedEmbeddings, identity

HERE = __name__


class Plain(Embeddings):
    """An embedder of somebody else's, with the attributes it is given."""

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise NotImplementedError

    def embed_query(self, text: str) -> list[float]:
        raise NotImplementedError


class Other(Plain): ...


class Task(StrEnum):
    QUERY = "query"


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.text(max_size=150),
        "model_name": st.text(max_size=5) | st.none(),
        "deployment": st.sampled_from(["a", "a;dimensions=1"]),
        "dimensions": st.integers(0, 3) | st.none(),
        "task_type": st.sampled_from(["query", "document"]),
    },
)


def told(attributes: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in attributes.items() if value is not None}


@example(one={"model": "m;deployment=a"}, other={"model": "m", "deployment": "a"})
@given(one=SETTINGS, other=SETTINGS)
def test_names_are_equal_when_the_settings_are_and_only_then(one, other) -> None:
    if not ambiguous(one) and not ambiguous(other):
        same = told(one) == told(other)
        assert (identity(Plain(**one)) == identity(Plain(**other))) == same


def ambiguous(attributes: dict[str, object]) -> bool:
    """The first name of a model stands without its attribute: a class has always the same."""
    return not isinstance(attributes.get("model"), str) or "://" in str(attributes["model"])


@given(settings=SETTINGS)
def test_the_class_is_part_of_the_name(settings) -> None:
    assert identity(Plain(**settings)) != identity(Other(**settings))


def test_a_class_without_settings_is_its_name() -> None:
    assert identity(Plain()) == f"{HERE}.Plain"


def test_model_and_settings_follow() -> None:
    settings = {"dimensions": 256, "deployment": "eu", "task_type": Task.QUERY, "size": None}
    embeddings = Plain(model="BAAI/bge-small", **settings)
    expected = f"{HERE}.Plain:BAAI/bge-small;deployment=eu;dimensions=256;task_type=query"
    assert identity(embeddings) == expected


def test_settings_alone_will_do() -> None:
    expected = "langchain_core.embeddings.fake.DeterministicFakeEmbedding:size=3"
    assert identity(DeterministicFakeEmbedding(size=3)) == expected


def test_keys_and_addresses_stay_out() -> None:
    secrets = {"api_key": "sk-1", "openai_api_key": "sk-2", "base_url": "https://u:sk-3@host"}
    embeddings = Plain(model="https://u:sk-4@host/model", **secrets, client=SimpleNamespace())
    assert "sk-" not in identity(embeddings)
    assert "host" not in identity(embeddings)


def test_two_addresses_are_two_models() -> None:
    one, other = Plain(model="https://host/one"), Plain(model="https://host/two")
    assert identity(one) != identity(other)


def test_a_long_instruction_counts_and_does_not_show() -> None:
    told_to = "Represent this question for finding an answer to it. " * 5
    one = identity(Plain(model="m", query_instruction=told_to))
    other = identity(Plain(model="m", query_instruction=told_to + "!"))
    assert one != other
    assert "Represent" not in one
    assert len(one) < 120


def test_a_wrapper_has_the_name_of_what_it_wraps() -> None:
    inner = HashedEmbeddings()
    assert identity(Plain(underlying_embeddings=Plain(underlying_embeddings=inner))) == identity(
        inner
    )


def test_no_wrapper_is_seen_where_there_is_none() -> None:
    assert identity(Plain(underlying_embeddings="none")) == f"{HERE}.Plain"


def test_langchains_own_wrapper() -> None:
    reason = "needs the package langchain-classic"
    wrapping = pytest.importorskip("langchain_classic.embeddings", reason=reason)
    stores = pytest.importorskip("langchain_core.stores")
    inner = HashedEmbeddings()
    cached = wrapping.CacheBackedEmbeddings.from_bytes_store(
        inner, stores.InMemoryByteStore(), key_encoder="blake2b"
    )
    assert identity(cached) == identity(inner)


def test_openai_is_told_by_model_and_dimensions() -> None:
    openai = pytest.importorskip("langchain_openai", reason="needs the package langchain-openai")
    name = identity(
        openai.OpenAIEmbeddings(
            model="text-embedding-3-small",
            dimensions=256,
            api_key="sk-secret",
            base_url="http://localhost/v1",
        )
    )
    assert "text-embedding-3-small" in name
    assert name.endswith("dimensions=256")
    assert "secret" not in name
    assert "localhost" not in name

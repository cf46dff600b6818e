"""Texts that are embedded are events too, with an embedder of any kind."""

import asyncio
import copy
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.stores import InMemoryByteStore
from langchain_core.vectorstores import InMemoryVectorStore

from llmops_langchain.callbacks import TrackedEmbeddings, track_embeddings
from llmops_langchain.embeddings import HashedEmbeddings, identity
from llmops_langchain.ledger import track

TEXTS = ["Hello, world!", "Rome lies on the Tiber."]
TOKENS = 4 + 8


class OpenAIEmbeddings(Embeddings):
    """Goes by the names of OpenAI's and asks nobody."""

    def __init__(self, model: str = "text-embedding-3-small", error: Any = None) -> None:
        self.model, self.error, self.asked = model, error, []

    def embed_documents(self, texts: list[str], chunk_size: int | None = None) -> Any:
        self.asked.append(("sync", chunk_size))
        if self.error:
            raise self.error
        return [[1.0, 0.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str], chunk_size: int | None = None) -> Any:
        self.asked.append(("async", chunk_size))
        if self.error:
            raise self.error
        return [[1.0, 0.0] for _ in texts]


class SyncEmbeddings(DeterministicFakeEmbedding):
    """Has no async methods of its own."""

    size: int = 2
    model_name: str = "house-embedder"


def tracked(book, embeddings: Embeddings) -> TrackedEmbeddings:
    return track_embeddings(embeddings, book.ledger, book.prices, clock=book.handler._clock)


async def embedded(tracked: TrackedEmbeddings, way: str) -> Any:
    if way == "documents":
        return tracked.embed_documents(TEXTS)
    if way == "adocuments":
        return await tracked.aembed_documents(TEXTS)
    return tracked.embed_query(TEXTS[0]) if way == "query" else await tracked.aembed_query(TEXTS[0])


WAYS = pytest.mark.parametrize("way", ["documents", "adocuments", "query", "aquery"])


@WAYS
@pytest.mark.parametrize("kind", [OpenAIEmbeddings, SyncEmbeddings])
async def test_a_call_is_one_event(book, kind, way) -> None:
    with track(project="p", tags={"env": "dev"}):
        vectors = await embedded(tracked(book, kind()), way)
    assert vectors == await embedded(kind(), way)
    event = book.only()
    assert (event.name, event.project, event.tags) == ("embedding.call", "p", {"env": "dev"})
    assert (event.status, event.output_tokens) == ("ok", 0)
    assert event.latency >= 0


def test_tokens_are_counted_and_priced(book) -> None:
    tracked(book, OpenAIEmbeddings()).embed_documents(TEXTS)
    event = book.only()
    assert (event.provider, event.model) == ("openai", "text-embedding-3-small")
    assert (event.input_tokens, event.cost) == (TOKENS, TOKENS * 20)  # $0.02 per million
    assert (event.estimated, event.unpriced) == (False, False)


async def test_a_long_text_is_counted_beside_the_loop(book) -> None:
    await tracked(book, OpenAIEmbeddings()).aembed_documents(["word " * 10_000])
    assert book.only().input_tokens > 9_000


def test_another_vocabulary_is_an_estimate_and_another_model_unpriced(book) -> None:
    tracked(book, SyncEmbeddings()).embed_documents(TEXTS)
    event = book.only()
    assert (event.provider, event.model) == ("sync", "house-embedder")
    assert (event.estimated, event.unpriced) == (True, True)
    assert event.input_tokens > 0


def test_what_this_machine_embeds_is_free(book) -> None:
    tracked(book, HashedEmbeddings(8)).embed_documents(TEXTS)
    event = book.only()
    assert (event.provider, event.cost, event.unpriced) == ("local", 0, False)
    assert event.input_tokens > 0


@WAYS
@pytest.mark.parametrize(
    ("error", "is_billed", "is_cut_off"),
    [
        (ConnectionError(), False, False),
        (TimeoutError(), True, False),
        (asyncio.CancelledError(), True, True),
    ],
    ids=repr,
)
async def test_a_failed_call_is_an_event(book, way, error, is_billed, is_cut_off) -> None:
    with pytest.raises(type(error)):
        await embedded(tracked(book, OpenAIEmbeddings(error=error)), way)
    event = book.only()
    assert (event.status, event.error_class) == ("error", type(error).__name__)
    assert (event.input_tokens > 0, event.estimated, event.aborted) == (
        is_billed,
        is_billed,
        is_cut_off,
    )


def test_no_texts_cost_nothing(book) -> None:
    assert tracked(book, OpenAIEmbeddings()).embed_documents([]) == []
    assert (book.only().input_tokens, book.only().unpriced) == (0, False)


def test_a_text_that_cannot_be_counted_still_has_its_vector(book) -> None:
    assert tracked(book, OpenAIEmbeddings()).embed_documents([None]) == [[1.0, 0.0]]
    assert book.only().input_tokens == 0


async def test_arguments_of_the_embedder_are_passed_on(book) -> None:
    embeddings = OpenAIEmbeddings()
    both = tracked(book, embeddings)
    both.embed_documents(TEXTS, chunk_size=7)
    await both.aembed_documents(TEXTS, chunk_size=8)
    assert embeddings.asked == [("sync", 7), ("async", 8)]


def test_what_it_does_not_know_the_embedder_answers(book) -> None:
    embeddings = OpenAIEmbeddings()
    assert tracked(book, embeddings).asked is embeddings.asked
    with pytest.raises(AttributeError, match="nothing"):
        _ = tracked(book, embeddings).nothing


def test_its_vectors_are_those_of_the_embedder(book) -> None:
    assert identity(tracked(book, HashedEmbeddings(8))) == identity(HashedEmbeddings(8))


def test_tracked_twice_it_counts_once(book) -> None:
    once = tracked(book, OpenAIEmbeddings())
    assert tracked(book, once) is once


def test_a_copy_tracks_too(book) -> None:
    copy.copy(tracked(book, OpenAIEmbeddings())).embed_query(TEXTS[0])
    assert book.only().input_tokens == 4


def test_a_vector_store_takes_it(book) -> None:
    store = InMemoryVectorStore(tracked(book, SyncEmbeddings()))
    store.add_texts(TEXTS)
    store.similarity_search("Rome?", k=1)
    assert len(book.events()) == 2


def test_what_a_cache_of_vectors_has_is_not_paid_again(book) -> None:
    classic = pytest.importorskip(
        "langchain_classic.embeddings", reason="needs the package langchain-classic"
    )
    cache = classic.CacheBackedEmbeddings.from_bytes_store(
        tracked(book, OpenAIEmbeddings()), InMemoryByteStore(), key_encoder="blake2b"
    )
    for _ in range(2):
        cache.embed_documents(TEXTS)
    assert book.only().input_tokens == TOKENS


def test_around_a_cache_of_vectors_the_model_is_known_too(book) -> None:
    classic = pytest.importorskip(
        "langchain_classic.embeddings", reason="needs the package langchain-classic"
    )
    cache = classic.CacheBackedEmbeddings.from_bytes_store(
        OpenAIEmbeddings(), InMemoryByteStore(), key_encoder="blake2b"
    )
    tracked(book, cache).embed_documents(TEXTS)
    assert (book.only().provider, book.only().model) == ("openai", "text-embedding-3-small")


def named(kind: str, **attributes: Any) -> Embeddings:
    made = type(kind, (DeterministicFakeEmbedding,), {"__annotations__": {}})
    embeddings = made(size=2)
    for name, value in attributes.items():
        object.__setattr__(embeddings, name, value)
    return embeddings


@pytest.mark.parametrize(
    ("kind", "attributes", "told"),
    [
        ("BedrockEmbeddings", {"model_id": "amazon.titan"}, ("amazon_bedrock", "amazon.titan")),
        ("CohereEmbeddings", {"model": "embed-v4.0"}, ("cohere", "embed-v4.0")),
        ("GoogleGenerativeAIEmbeddings", {"model": "models/e"}, ("google_genai", "models/e")),
        ("HuggingFaceEmbeddings", {"model_name": "bge"}, ("huggingface", "bge")),
        ("MistralAIEmbeddings", {"model": "mistral-embed"}, ("mistral", "mistral-embed")),
        ("VoyageAIEmbeddings", {"model": "voyage-3"}, ("voyageai", "voyage-3")),
        ("Embeddings", {}, (None, None)),
        ("Other", {"model": 7}, (None, None)),
    ],
)
def test_who_serves_it_and_under_which_name(book, kind, attributes, told) -> None:
    tracked(book, named(kind, **attributes)).embed_query("a")
    assert (book.only().provider, book.only().model) == told


@pytest.mark.parametrize("said", [{"azure_deployment": "text-embedding-3-large"}, {}])
def test_azures_deployment_is_the_model_where_no_model_is_named(book, said) -> None:
    kind = pytest.importorskip(
        "langchain_openai", reason="needs the package langchain-openai"
    ).AzureOpenAIEmbeddings
    made = kind(
        azure_endpoint="https://azure.test",
        api_key="key",
        api_version="1",
        **(said or {"model": "text-embedding-3-large"}),
    )
    embeddings = tracked(book, made)
    assert (embeddings._model, embeddings._provider) == ("text-embedding-3-large", "azure")

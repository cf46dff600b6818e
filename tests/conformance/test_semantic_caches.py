"""With the semantic tier on, every place passes LangChain's suite, and mixes no calls up."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import FakeClock
from langchain_core.caches import BaseCache
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_tests.integration_tests import AsyncCacheTestSuite, SyncCacheTestSuite
from models import CountingModel
from sqlalchemy import text

from llmops_langchain import Database, ResponseCache
from llmops_langchain.cache import MemoryStore, RedisStore, SemanticPolicy, cached
from llmops_langchain.embeddings import HashedEmbeddings
from llmops_langchain.ledger import track

CONVERSATIONS = Path(__file__).parents[3] / "shared/data/cache"

PLACES = ["memory store", "memory", "file", "postgresql", "pgvector", "valkey"]


class EveryPlace:
    """One more place in `PLACES` meets every test below."""

    @pytest.fixture(params=PLACES)
    def cache(
        self, request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
    ) -> Iterator[BaseCache]:
        # Serves from the beginning, whatever the verifier is sure enough of.
        many = 20_000 if request.param == "pgvector" else 10_000
        policy = SemanticPolicy(
            embeddings=HashedEmbeddings(), start="shipped", sampling=0.0, max_items=many
        )
        with self.database(request, tmp_path) as database, track(workspace="acme"):
            store = {
                "memory store": MemoryStore,
                "valkey": lambda: RedisStore(request.getfixturevalue("valkey_url")),
            }.get(request.param, lambda: database)()
            cache = ResponseCache(store, rows=database, semantic=policy, ttl=60, clock=clock)
            yield cache
            cache.close()

    def database(self, request: pytest.FixtureRequest, tmp_path: Path) -> Database:
        if request.param in ("postgresql", "pgvector"):
            database = Database(request.getfixturevalue("postgres_url"))
            if request.param == "pgvector":
                with database.begin() as connection:
                    connection.execute(text("CREATE EXTENSION vector"))
            return database
        return Database(f"sqlite:///{tmp_path}/a.db" if request.param == "file" else "sqlite://")


class TestSync(EveryPlace, SyncCacheTestSuite): ...


class TestAsync(EveryPlace, AsyncCacheTestSuite): ...


class TestMeaning(EveryPlace):
    def test_a_question_that_means_the_same_is_answered(self, cache) -> None:
        model = cached(CountingModel(), cache)
        model.invoke("How do I reset my password?")
        hit = model.invoke("how do i reset my password")
        assert hit.response_metadata["llmops_cache"]["tier"] == "semantic"

    def test_an_invalidated_answer_is_not(self, cache) -> None:
        model = cached(CountingModel(), cache)
        model.invoke("How do I reset my password?")
        cache.clear()
        model.invoke("how do i reset my password")
        assert model.calls == 2


def conversations() -> Iterator[tuple[str, list[dict], list[dict]]]:
    for file in sorted(CONVERSATIONS.glob("conv-*/*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            row = json.loads(line)
            yield row["id"], row["a"], row["b"]


def messages_of(turns: list[dict]) -> list[HumanMessage | AIMessage | SystemMessage]:
    kinds = {"user": HumanMessage, "assistant": AIMessage, "system": SystemMessage}
    return [kinds[turn["role"]](turn["content"]) for turn in turns]


@pytest.mark.skipif(not CONVERSATIONS.exists(), reason="needs ../shared/data/cache")
def test_real_conversations_that_differ_before_the_question_never_share_an_answer() -> None:
    policy = SemanticPolicy(
        embeddings=HashedEmbeddings(), start="shipped", max_error=0.2, sampling=0.0, max_chars=10**6
    )
    cache = ResponseCache(MemoryStore(), semantic=policy)
    model, compared = cached(CountingModel(), cache), 0
    with track(workspace="acme"):
        for _, first, second in conversations():
            for before, after in pairwise([first, second, first]):
                if before[:-1] == after[:-1]:
                    continue
                model.invoke(messages_of(before))
                hit = model.invoke(messages_of(after)).response_metadata.get("llmops_cache", {})
                assert hit.get("tier", "exact") == "exact"
                compared += 1
    cache.close()
    assert compared > 20

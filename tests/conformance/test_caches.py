"""Every cache passes LangChain's suite and, on top, what we promise ourselves."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from conftest import FakeClock
from cryptography.fernet import Fernet
from langchain_core.caches import BaseCache
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_tests.integration_tests import AsyncCacheTestSuite, SyncCacheTestSuite
from models import USAGE

from llmops_langchain import CacheStats, Database, ResponseCache
from llmops_langchain.cache import MemoryStore, RedisStore, SqlStore, Store, cache_options
from llmops_langchain.ledger import Scope, track
from llmops_langchain.models import PriceBook
from llmops_langchain.wrapping import core_parts


def said(text: str = "answer", **kwargs: object) -> list[Generation]:
    """One chat answer with usage, as a provider gives it."""
    message = AIMessage(text, usage_metadata=USAGE, id="run-1", **kwargs)
    return [ChatGeneration(message=message)]


def spoil(store: Store, value: bytes) -> None:
    """Overwrite the answer to "prompt", as a damaged disk or another program would."""
    key = core_parts("prompt", "model", scope=Scope().owner("workspace")).key
    entry = store.get(key)
    assert entry is not None
    store.put(key, replace(entry, value=value))


class EveryCache:
    """One more place in `places` meets every test below, sync and async."""

    @pytest.fixture(params=["memory store", "memory", "file", "postgresql", "valkey"])
    def place(
        self, request: pytest.FixtureRequest, tmp_path: Path
    ) -> Iterator[Callable[[], Store]]:
        """Opens the same place anew, as another process would."""
        if request.param == "memory store":
            store = MemoryStore()
            yield lambda: store
        elif request.param == "valkey":
            url = request.getfixturevalue("valkey_url")
            yield lambda: RedisStore(url)
        else:
            urls = {"memory": "sqlite://", "file": f"sqlite:///{tmp_path}/a.db"}
            url = urls.get(request.param) or request.getfixturevalue("postgres_url")
            with Database(url) as database:
                yield lambda: SqlStore(database)

    @pytest.fixture
    def cache(self, place: Callable[[], Store], clock: FakeClock) -> BaseCache:
        return ResponseCache(place(), ttl=60, clock=clock)

    @pytest.fixture
    def other(self, place: Callable[[], Store], clock: FakeClock) -> ResponseCache:
        """What another process sees: the same place, nothing in memory."""
        return ResponseCache(place(), ttl=60, clock=clock)


class TestSync(EveryCache, SyncCacheTestSuite): ...


class TestAsync(EveryCache, AsyncCacheTestSuite): ...


class TestOurPromises(EveryCache):
    def test_an_answer_lives_for_its_ttl(self, cache, clock) -> None:
        cache.update("prompt", "model", said())
        clock.advance(59.9)
        assert cache.lookup("prompt", "model") is not None
        clock.advance(0.1)
        assert cache.lookup("prompt", "model") is None

    def test_an_answer_lives_for_its_ttl_in_the_store_too(self, cache, other, clock) -> None:
        cache.update("prompt", "model", said())
        clock.advance(59.9)
        assert other.lookup("prompt", "model") is not None
        clock.advance(0.1)
        assert other.lookup("prompt", "model") is None

    @pytest.mark.parametrize("ttl", [None, float("inf")])
    def test_without_a_ttl_an_answer_stays(self, place, clock, ttl) -> None:
        cache = ResponseCache(place(), ttl=ttl, clock=clock)
        cache.update("prompt", "model", said())
        clock.advance(1e9)
        assert cache.lookup("prompt", "model") is not None

    def test_a_fresh_answer_of_another_process_replaces_a_stale_one(
        self, cache, other, clock
    ) -> None:
        cache.update("prompt", "model", said("old"))
        clock.advance(60)
        other.update("prompt", "model", said("new"))
        assert cache.lookup("prompt", "model")[0].text == "new"

    def test_text_moved_between_key_parts_is_another_key(self, cache) -> None:
        cache.update("ab", "c", said())
        moved = [("a", "bc"), ("abc", ""), ("", "abc"), ("c", "ab")]
        assert [cache.lookup(*parts) for parts in moved] == [None] * 4

    def test_hits_are_copies(self, cache) -> None:
        cache.update("prompt", "model", said())
        hit = cache.lookup("prompt", "model")[0].message
        hit.response_metadata["edited"] = True
        hit.content = "edited"
        again = cache.lookup("prompt", "model")[0].message
        assert again.content == "answer"
        assert "edited" not in again.response_metadata

    def test_what_was_stored_is_not_changed_by_storing_it(self, cache) -> None:
        answer = said()
        cache.update("prompt", "model", answer)
        cache.lookup("prompt", "model")
        assert answer == said()

    def test_each_hit_has_an_id_of_its_own(self, cache) -> None:
        cache.update("prompt", "model", said())
        ids = {cache.lookup("prompt", "model")[0].message.id for _ in range(3)}
        assert len(ids) == 3
        assert "run-1" not in ids

    def test_a_hit_bills_nothing_and_says_where_it_is_from(self, cache, clock) -> None:
        cache.update("prompt", "model", said())
        clock.advance(7)
        hit = cache.lookup("prompt", "model")[0].message
        zero = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        mark = {"tier": "exact", "age": 7.0, "usage_metadata": USAGE}
        assert (hit.usage_metadata, hit.response_metadata["llmops_cache"]) == (zero, mark)

    def test_workspaces_do_not_share_an_answer(self, cache) -> None:
        with track(workspace="acme"):
            cache.update("prompt", "model", said())
            assert cache.lookup("prompt", "model") is not None
        with track(workspace="rival"):
            assert cache.lookup("prompt", "model") is None
        assert cache.lookup("prompt", "model") is None

    def test_projects_of_a_workspace_share_an_answer(self, cache) -> None:
        with track(workspace="acme", project="shop"):
            cache.update("prompt", "model", said())
        with track(workspace="acme", project="blog"):
            assert cache.lookup("prompt", "model") is not None

    def test_another_process_finds_the_answer(self, cache, other) -> None:
        cache.update("prompt", "model", said("größer than life \N{SNOWMAN}"))
        assert other.lookup("prompt", "model")[0].text == "größer than life \N{SNOWMAN}"

    def test_the_latest_answer_counts(self, cache, other) -> None:
        cache.update("prompt", "model", said("first"))
        cache.update("prompt", "model", said("second"))
        assert cache.lookup("prompt", "model")[0].text == "second"
        assert other.lookup("prompt", "model")[0].text == "second"

    def test_a_cleared_cache_is_empty_for_everybody(self, cache, other) -> None:
        with track(workspace="acme"):
            cache.update("prompt", "model", said())
        cache.clear()
        with track(workspace="acme"):
            assert cache.lookup("prompt", "model") is None
            assert other.lookup("prompt", "model") is None

    def test_a_row_that_is_no_answer_is_a_miss(self, cache, other, place) -> None:
        cache.update("prompt", "model", said())
        spoil(place(), b"\x80\x05K\x01.")
        assert other.lookup("prompt", "model") is None
        assert (other.stats().misses, other.stats().unreadable) == (1, 1)

    def test_a_row_of_another_call_is_a_miss(self, cache, other, place) -> None:
        cache.update("another", "model", said("of another call"))
        cache.update("prompt", "model", said())
        key = core_parts("another", "model", scope=Scope().owner("workspace")).key
        spoil(place(), place().get(key).value)
        assert other.lookup("prompt", "model") is None

    def test_a_spoiled_row_is_mended_by_the_next_answer(self, cache, other, place) -> None:
        cache.update("prompt", "model", said())
        spoil(place(), b"junk")
        other.lookup("prompt", "model")
        other.update("prompt", "model", said("new"))
        assert other.lookup("prompt", "model")[0].text == "new"

    def test_a_row_that_is_gone_is_a_miss(self, cache, other, place) -> None:
        cache.update("prompt", "model", said())
        place().clear()
        assert other.lookup("prompt", "model") is None

    def test_what_one_process_clears_another_drops(self, cache, other) -> None:
        cache.update("prompt", "model", said())
        assert other.lookup("prompt", "model") is not None
        cache.clear()
        other._shelf.look_around()  # twice a second, a thread does it
        assert other.lookup("prompt", "model") is None

    def test_what_one_process_invalidates_another_drops(self, cache, other) -> None:
        with cache_options(tags=["doc:1"]):
            cache.update("prompt", "model", said())
        cache.update("another", "model", said())
        assert other.lookup("prompt", "model") is not None
        cache.invalidate("doc:1")
        other._shelf.look_around()
        assert other.lookup("prompt", "model") is None
        assert other.lookup("another", "model") is not None

    def test_an_answer_that_was_under_way_during_a_clear_is_not_kept(self, cache, other) -> None:
        assert cache.lookup("prompt", "model") is None
        other.clear()
        cache.update("prompt", "model", said("from before"))
        assert cache.lookup("prompt", "model") is None
        assert other.lookup("prompt", "model") is None

    def test_what_is_encrypted_is_read_with_the_key_alone(self, place, clock) -> None:
        old, new = (Fernet.generate_key().decode() for _ in range(2))

        def opened(*keys: str) -> ResponseCache:
            return ResponseCache(place(), encryption_keys=keys, clock=clock)

        opened(old).update("prompt", "model", said("the secret of life"))
        assert opened(old).lookup("prompt", "model")[0].text == "the secret of life"
        assert opened(new, old).lookup("prompt", "model") is not None
        assert opened(new).lookup("prompt", "model") is None
        assert opened().lookup("prompt", "model") is None

    def test_what_is_not_encrypted_is_a_miss_where_there_is_a_key(self, cache, place) -> None:
        cache.update("prompt", "model", said())
        sealed = ResponseCache(place(), encryption_keys=[Fernet.generate_key().decode()])
        assert sealed.lookup("prompt", "model") is None

    def test_stats_count_what_happened(self, cache) -> None:
        cache.lookup("prompt", "model")
        cache.update("prompt", "model", said())
        cache.lookup("prompt", "model")
        cache.update("prompt", "model", said(""))
        found = cache.stats()
        assert (found.hits, found.misses, found.stored, found.refused) == (1, 1, 1, 1)
        assert (found.hit_rate, found.hits_by_tier) == (0.5, {"exact": 1})

    def test_stats_tell_what_was_saved(self, place, clock) -> None:
        prices = PriceBook(clock=clock)
        prices.set("hosted", input_per_million=3, output_per_million=15)
        cache = ResponseCache(place(), prices=prices, clock=clock)
        cache.update("prompt", "model", said(response_metadata={"model_name": "hosted"}))
        for seconds in (10, 20):
            clock.advance(seconds)
            cache.lookup("prompt", "model")
        found = cache.stats()
        assert (found.saved_input_tokens, found.saved_output_tokens) == (20, 10)
        assert (found.saved, found.mean_age) == (Decimal("0.00021"), 20.0)

    def test_a_disabled_cache_finds_and_keeps_nothing(self, cache, place) -> None:
        cache.update("prompt", "model", said())
        off = ResponseCache(place(), disabled=True)
        off.update("other", "model", said())
        assert off.lookup("prompt", "model") is None
        assert off.stats() == CacheStats()
        assert cache.lookup("other", "model") is None

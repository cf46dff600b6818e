"""Every cache passes LangChain's suite and, on top, what we promise ourselves."""

import logging
from collections.abc import Iterator

import pytest
from conftest import FakeClock
from langchain_core.caches import BaseCache
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_tests.integration_tests import AsyncCacheTestSuite, SyncCacheTestSuite
from models import USAGE
from sqlalchemy import delete, update

from llmops_langchain import CacheStats, Database, ResponseCache
from llmops_langchain.ledger import track
from llmops_langchain.storage.schema import cache_entries


def said(text: str = "answer", **kwargs: object) -> list[Generation]:
    """One chat answer with usage, as a provider gives it."""
    message = AIMessage(text, usage_metadata=USAGE, id="run-1", **kwargs)
    return [ChatGeneration(message=message)]


def spoil(database: Database, value: bytes) -> None:
    """Overwrite every stored answer, as a damaged disk or another program would."""
    with database.begin() as connection:
        connection.execute(update(cache_entries).values(value=value))


class EveryCache:
    """One more kind of database in `conftest.py` meets every test below, sync and async."""

    @pytest.fixture
    def cache(self, database: Database, clock: FakeClock) -> Iterator[BaseCache]:
        return ResponseCache(database, ttl=60, clock=clock)

    @pytest.fixture
    def other(self, database: Database, clock: FakeClock) -> ResponseCache:
        """What another process sees: the same database, nothing in memory."""
        return ResponseCache(database, ttl=60, clock=clock)


class TestSync(EveryCache, SyncCacheTestSuite): ...


class TestAsync(EveryCache, AsyncCacheTestSuite): ...


class TestOurPromises(EveryCache):
    def test_an_answer_lives_for_its_ttl(self, cache, clock) -> None:
        cache.update("prompt", "model", said())
        clock.advance(59.9)
        assert cache.lookup("prompt", "model") is not None
        clock.advance(0.1)
        assert cache.lookup("prompt", "model") is None

    def test_an_answer_lives_for_its_ttl_in_the_database_too(self, cache, other, clock) -> None:
        cache.update("prompt", "model", said())
        clock.advance(59.9)
        assert other.lookup("prompt", "model") is not None
        clock.advance(0.1)
        assert other.lookup("prompt", "model") is None

    def test_without_a_ttl_an_answer_stays(self, database, clock) -> None:
        cache = ResponseCache(database, ttl=None, clock=clock)
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

    def test_a_row_that_is_no_answer_is_a_miss(self, cache, other, database) -> None:
        cache.update("prompt", "model", said())
        spoil(database, b"\x80\x05K\x01.")
        assert other.lookup("prompt", "model") is None
        assert other.stats() == CacheStats(misses=1, errors=1)

    def test_a_spoiled_row_is_mended_by_the_next_answer(self, cache, other, database) -> None:
        cache.update("prompt", "model", said())
        spoil(database, b"junk")
        other.lookup("prompt", "model")
        other.update("prompt", "model", said("new"))
        assert other.lookup("prompt", "model")[0].text == "new"

    def test_a_row_that_is_gone_is_a_miss(self, cache, other, database) -> None:
        cache.update("prompt", "model", said())
        with database.begin() as connection:
            connection.execute(delete(cache_entries))
        assert other.lookup("prompt", "model") is None

    def test_a_closed_database_never_breaks_a_call(self, cache, database, clock, caplog) -> None:
        database.close()
        caplog.set_level(logging.WARNING)
        for _ in range(3):
            assert cache.lookup("secret prompt", "model") is None
        cache.update("secret prompt", "model", said("secret answer"))
        # After the first failure the store is left alone for a while.
        assert cache.stats() == CacheStats(misses=3, stored=1, errors=1)
        assert len(caplog.records) == 1
        assert "secret" not in caplog.text
        clock.advance(60)
        cache.lookup("other", "model")
        assert len(caplog.records) == 2

    def test_what_the_database_did_not_take_is_served_from_memory(self, cache, database) -> None:
        database.close()
        cache.update("prompt", "model", said())
        assert cache.lookup("prompt", "model") is not None

    def test_stats_count_what_happened(self, cache) -> None:
        cache.lookup("prompt", "model")
        cache.update("prompt", "model", said())
        cache.lookup("prompt", "model")
        cache.update("prompt", "model", said(""))
        assert cache.stats() == CacheStats(hits=1, misses=1, stored=1, refused=1)
        assert cache.stats().hit_rate == 0.5

    def test_a_disabled_cache_finds_and_keeps_nothing(self, cache, database) -> None:
        cache.update("prompt", "model", said())
        off = ResponseCache(database, disabled=True)
        off.update("other", "model", said())
        assert off.lookup("prompt", "model") is None
        assert off.stats() == CacheStats()
        assert cache.lookup("other", "model") is None

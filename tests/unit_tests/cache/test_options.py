"""`cache_options`: time to live, bypass, refresh, tags and whose answers they are."""

import pytest
from models import CountingModel

from llmops_langchain import CacheStats, ConfigurationError, ResponseCache
from llmops_langchain.cache import MemoryStore, cache_options, cached
from llmops_langchain.ledger import track


def test_an_answer_lives_for_the_ttl_of_its_block(model, clock) -> None:
    with cache_options(ttl=60):
        model.invoke("q")
    clock.advance(59)
    model.invoke("q")
    assert model.calls == 1
    clock.advance(1)
    model.invoke("q")
    assert model.calls == 2


def test_an_answer_may_outlive_the_ttl_of_the_cache(model, clock) -> None:
    with cache_options(ttl=float("inf")):
        model.invoke("q")
    clock.advance(10 * 365 * 86_400)
    model.invoke("q")
    assert model.calls == 1


def test_a_block_is_not_given_what_is_older_than_its_ttl(model, clock) -> None:
    model.invoke("q")
    clock.advance(60)
    with cache_options(ttl=60):
        model.invoke("q")
    assert model.calls == 2
    clock.advance(30)
    with cache_options(ttl=60):
        model.invoke("q")
    assert model.calls == 2


def test_bypass_neither_finds_nor_keeps(model, cache) -> None:
    with cache_options(bypass=True):
        model.invoke("q")
        model.invoke("q")
    model.invoke("q")
    assert model.calls == 3
    assert (cache.stats().stored, cache.stats().misses) == (1, 1)


def test_refresh_asks_and_replaces(model) -> None:
    model.invoke("q")
    model.answer = "newer"
    with cache_options(refresh=True):
        assert model.invoke("q").content == "newer"
    assert (model.invoke("q").content, model.calls) == ("newer", 2)


def test_what_has_a_tag_can_be_invalidated(model, cache) -> None:
    with cache_options(tags=["doc:1"]):
        model.invoke("one")
    with cache_options(tags=["doc:2"]):
        model.invoke("two")
    cache.invalidate("doc:1")
    model.invoke("one")
    model.invoke("two")
    assert model.calls == 3


def test_several_tags_are_invalidated_together(model, cache) -> None:
    for tag in ("a", "b", "c"):
        with cache_options(tags=[tag]):
            model.invoke(tag)
    cache.invalidate(["a", "b"])
    for tag in ("a", "b", "c"):
        model.invoke(tag)
    assert model.calls == 5


def test_a_hit_takes_the_tags_of_who_is_given_it(model, cache) -> None:
    model.invoke("q")
    with cache_options(tags=["doc:1"]):
        model.invoke("q")
    assert model.calls == 1
    cache.invalidate("doc:1")
    model.invoke("q")
    assert model.calls == 2


async def test_async_invalidation_is_the_same(model, cache) -> None:
    with cache_options(tags=["doc:1"]):
        await model.ainvoke("q")
    await cache.ainvalidate("doc:1")
    await model.ainvoke("q")
    assert model.calls == 2


def test_an_answer_given_while_its_tag_was_invalidated_is_not_kept(cache) -> None:
    class Interrupted(CountingModel):
        def _ask(self, how: str) -> None:
            super()._ask(how)
            if self.calls == 1:
                cache.invalidate("doc:1")

    model = cached(Interrupted(), cache)
    with cache_options(tags=["doc:1"]):
        for _ in range(3):
            model.invoke("q")
    assert (model.calls, cache.stats().refused) == (2, 1)


@pytest.mark.parametrize("share", ["project", "user"])
def test_what_one_has_is_not_given_to_another(model, share) -> None:
    with cache_options(share=share):
        for name in ("a", "b", "a"):
            with track(workspace="w", **{share: name}):
                model.invoke("q")
    assert model.calls == 2


def test_a_project_of_one_workspace_is_not_that_of_another(model) -> None:
    with cache_options(share="project"):
        for workspace in ("a", "b"):
            with track(workspace=workspace, project="p"):
                model.invoke("q")
    assert model.calls == 2


def test_projects_of_a_workspace_share_unless_told_otherwise(model) -> None:
    for project in ("a", "b"):
        with track(workspace="w", project=project):
            model.invoke("q")
    assert model.calls == 1


def test_who_is_not_named_shares_with_nobody(model, cache) -> None:
    with cache_options(share="user"):
        model.invoke("q")
        model.invoke("q")
    assert (model.calls, cache.stats().stored) == (2, 0)


def test_a_cache_may_share_by_project_from_the_start() -> None:
    model = cached(CountingModel(), ResponseCache(MemoryStore(), share="project"))
    for project in ("a", "b"):
        with track(workspace="w", project=project):
            model.invoke("q")
    assert model.calls == 2


def test_an_inner_block_overrides_what_it_names_and_inherits_the_rest() -> None:
    outer = cache_options(ttl=60, bypass=True, tags=["a"], share="user")
    with outer, cache_options(bypass=False, tags=["b"]) as options:
        assert (options.ttl, options.bypass, options.share) == (60, False, "user")
        assert options.tags == {"a", "b"}


@pytest.mark.parametrize(
    "wrong",
    [{"ttl": 0}, {"ttl": -1}, {"tags": "doc:1"}, {"tags": [""]}, {"tags": [1]}, {"share": "all"}],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(wrong) -> None:
    with pytest.raises(ConfigurationError), cache_options(**wrong):
        pass


def test_stats_tell_what_was_passed_by(cache) -> None:
    model = cached(CountingModel(), cache)
    with cache_options(bypass=True):
        model.invoke("q")
    assert cache.stats() == CacheStats(bypassed=1)

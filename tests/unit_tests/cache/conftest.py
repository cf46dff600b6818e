"""One cache over a database in memory, and a model that uses it."""

from collections.abc import Iterator

import pytest
from conftest import FakeClock
from langchain_core.globals import set_llm_cache
from models import CountingModel

from llmops_langchain import Database, ResponseCache
from llmops_langchain.cache import cached


@pytest.fixture
def cache(clock: FakeClock) -> Iterator[ResponseCache]:
    with Database("sqlite://") as database:
        yield ResponseCache(database, clock=clock)


@pytest.fixture(params=["cached", "set_llm_cache"])
def model(request: pytest.FixtureRequest, cache: ResponseCache) -> Iterator[CountingModel]:
    """A model with the cache, laid over it or set for all."""
    if request.param == "cached":
        yield cached(CountingModel(), cache)
        return
    set_llm_cache(cache)
    yield CountingModel()
    set_llm_cache(None)

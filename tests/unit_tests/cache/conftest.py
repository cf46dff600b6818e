"""One cache over a database in memory."""

from collections.abc import Iterator

import pytest
from conftest import FakeClock

from llmops_langchain import Database, ResponseCache


@pytest.fixture
def cache(clock: FakeClock) -> Iterator[ResponseCache]:
    with Database("sqlite://") as database:
        yield ResponseCache(database, clock=clock)

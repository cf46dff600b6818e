"""Databases that the tests of one file share, emptied for each test."""

from collections.abc import Callable, Iterator

import pytest
from conftest import one_of_each_kind
from sqlalchemy import delete

from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import events, rollups

NOTHING_STORED = (events, rollups)


def emptied(database: Database) -> Database:
    with database.begin() as connection:
        for table in NOTHING_STORED:
            connection.execute(delete(table))
    return database


@pytest.fixture(scope="module")
def opened(request, tmp_path_factory) -> Iterator[Callable[[str], Database]]:
    """Opens `sqlite_memory` and `postgresql`, each once."""
    name = request.module.__name__.rpartition("test_")[2]
    with one_of_each_kind(request, tmp_path_factory.mktemp(name), schema=name) as open_:
        yield open_


@pytest.fixture(params=["sqlite_memory", "postgresql"])
def shared_database(request, opened) -> Database:
    """Each of them in turn."""
    return emptied(opened(request.param))

"""Databases that the tests of one file share: each makes workspaces of its own."""

from collections.abc import Callable, Iterator

import pytest
from conftest import one_of_each_kind

from llmops_langchain.storage import Database


@pytest.fixture(scope="module")
def opened(request, tmp_path_factory) -> Iterator[Callable[[str], Database]]:
    """Opens `sqlite_memory`, `sqlite_file` and `postgresql`, each once."""
    name = request.module.__name__.rpartition("test_")[2]
    with one_of_each_kind(request, tmp_path_factory.mktemp(name), schema=name) as open_:
        yield open_


@pytest.fixture(params=["sqlite_memory", "sqlite_file", "postgresql"])
def shared_database(request, opened) -> Database:
    """Each of them in turn."""
    return opened(request.param)

"""A cache that is written to all day stays within its bound, and keeps what was used last."""

import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration
from sqlalchemy import func, select

from llmops_langchain import Database, ResponseCache
from llmops_langchain.cache import SqlStore
from llmops_langchain.storage.schema import cache_entries

_BOUND = {3_000: 500_000, 100_000: 20_000_000}


@pytest.mark.parametrize("answers", [3_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_bound_holds_however_many_answers_come(tmp_path, clock, answers: int) -> None:
    bound = _BOUND[answers]
    with Database(f"sqlite:///{tmp_path}/empty.db") as empty:
        empty.upgrade()
    with Database(f"sqlite:///{tmp_path}/a.db") as database:
        cache = ResponseCache(SqlStore(database, max_bytes=bound), max_items=10, clock=clock)
        for number in range(answers):
            clock.advance(0.001)
            said = ChatGeneration(message=AIMessage(f"answer {number} " * 20))
            cache.update(str(number), "model", [said])
        with database.begin(read_only=True) as connection:
            size = connection.execute(select(func.sum(cache_entries.c.size))).scalar_one()
            kept = connection.execute(select(func.count()).select_from(cache_entries)).scalar_one()
        assert 0.95 * bound < size < 1.02 * bound
        newest = range(answers - kept, answers)
        assert all(cache.lookup(str(each), "model") for each in newest[:: max(1, kept // 50)])
        assert cache.lookup("0", "model") is None
        assert (cache.stats().errors, cache.stats().stored) == (0, answers)
    tables = (tmp_path / "empty.db").stat().st_size
    assert (tmp_path / "a.db").stat().st_size - tables < 1.3 * bound

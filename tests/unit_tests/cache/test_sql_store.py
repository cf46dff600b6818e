"""What the database adds to a `Store`: a bound that is looked after, and races between writers.

What every store promises stands in `conformance/test_stores.py`.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from conftest import locked_by_another
from sqlalchemy import func, select, text
from unit_tests.storage.processes import run

from llmops_langchain import Database
from llmops_langchain.cache import sql_store
from llmops_langchain.cache.sql_store import SqlStore
from llmops_langchain.cache.store import Entry, Store
from llmops_langchain.errors import (
    ConfigurationError,
    DatabaseLockedError,
    DatabaseUnavailableError,
)
from llmops_langchain.storage.schema import cache_entries, generations, leases

KEY, OTHER = b"k" * 32, b"o" * 32
SWEEPING = b"\x01" * 31 + b"\x00"  # one key in 256 ends in a zero
DAY = 86_400

SIZE = select(func.coalesce(func.sum(cache_entries.c.size), 0))
KEYS = select(cache_entries.c.key)


def entry(value: bytes = b"answer", *tags: str, at: float = 0, **fields: Any) -> Entry:
    return Entry(value=value, created_at=at, tags=frozenset(tags), **fields)


def key(number: int) -> bytes:
    return number.to_bytes(31) + b"\x01"


def fill(store: Store, numbers: range, value: bytes = bytes(700)) -> None:
    for number in numbers:
        assert store.put(key(number), entry(value, at=number))


def kept(database: Database) -> set[int]:
    return {int.from_bytes(found[:31]) for (found,) in database.read(KEYS)}


def size(database: Database) -> int:
    return database.read(SIZE)[0][0]


@pytest.fixture
def store(database: Database) -> SqlStore:
    return SqlStore(database)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path}/a.db") as database:
        yield database


@pytest.mark.parametrize("options", [{"max_bytes": 0}, {"max_bytes": -1}, {"space": "a:b"}])
def test_options_that_cannot_be_honoured_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        SqlStore(Database("sqlite://"), **options)


# The bound.


def test_a_bound_is_never_passed_by_one_process(database: Database) -> None:
    store = SqlStore(database, max_bytes=100_000)
    for start in range(0, 300, 10):
        fill(store, range(start, start + 10))
        assert size(database) <= 100_000
    assert size(database) >= 97_000


def test_the_least_recently_used_are_let_go(database: Database) -> None:
    store = SqlStore(database, max_bytes=100_000)
    fill(store, range(90))
    store.touch([key(number) for number in range(5)], now=1000)
    fill(store, range(90, 140))
    assert kept(database) == {*range(5), *range(140 - len(kept(database)) + 5, 140)}


def test_more_than_one_batch_is_let_go_and_no_more_than_needed(database: Database) -> None:
    fill(SqlStore(database), range(500))
    SqlStore(database, max_bytes=99_000).put(key(500), entry(bytes(700), at=500))
    assert kept(database) == set(range(403, 501))


def test_several_processes_pass_it_by_a_percent_each(database: Database) -> None:
    stores = [SqlStore(database, max_bytes=100_000) for _ in range(4)]
    for number in range(400):
        fill(stores[number % 4], range(number, number + 1), bytes(100))
        assert size(database) <= 104_000


def test_a_process_that_adds_little_looks_after_the_bound_too(database: Database) -> None:
    for number in range(110):
        fill(SqlStore(database, max_bytes=40_000), range(number, number + 1), bytes(90))
    assert size(database) <= 40_000


def test_an_entry_larger_than_the_bound_is_not_kept_and_costs_nobody_a_place(
    database: Database,
) -> None:
    store = SqlStore(database, max_bytes=10_000)
    fill(store, range(5))
    store.claim(KEY, "me", now=0, until=10)
    assert not store.put(KEY, entry(bytes(10_000)), owner="me")
    assert kept(database) == set(range(5))
    assert store.claim(KEY, "you", now=0, until=10)


def test_stale_entries_are_let_go_before_any_other(database: Database) -> None:
    store = SqlStore(database, max_bytes=10_000)
    fill(store, range(5))
    for number in range(5, 9):
        store.put(key(number), entry(bytes(700), at=number, expires_at=number + 10))
    fill(store, range(20, 24))
    assert kept(database) == {*range(5), *range(20, 24)}


def test_spaces_are_bounded_apart(database: Database) -> None:
    fill(SqlStore(database, space="nodes"), range(100, 130))
    fill(SqlStore(database, max_bytes=5_000), range(20))
    assert kept(database) >= set(range(100, 130))


def test_entries_of_an_earlier_release_are_let_go_first(database: Database) -> None:
    old = cache_entries.insert().values(key=key(99), value=b"", created_at=1e9)
    with database.begin() as connection:
        connection.execute(old)
    fill(SqlStore(database, max_bytes=10_000), range(12))
    assert 99 not in kept(database)


def test_an_entry_of_an_earlier_release_has_no_fingerprint(store, database: Database) -> None:
    old = cache_entries.insert().values(key=KEY, value=b"old", created_at=1.5)
    with database.begin() as connection:
        connection.execute(old)
    assert store.get(KEY) == entry(b"old", at=1.5)
    assert store.newest(1) == [entry(b"", at=1.5)]


def test_what_is_used_just_then_is_not_let_go(database: Database, monkeypatch) -> None:
    store = SqlStore(database)
    fill(store, range(10))
    read = database.read

    def used_meanwhile(statement: Any, **values: Any) -> list[tuple[Any, ...]]:
        found = read(statement, **values)
        if key(0) in found[0]:
            store.touch([key(0)], now=1000)
        return found

    monkeypatch.setattr(database, "read", used_meanwhile)
    SqlStore(database, max_bytes=10_000).put(key(10), entry(bytes(700), at=10))
    monkeypatch.undo()
    assert 0 in kept(database)


def test_what_others_clear_meanwhile_need_not_be_let_go(database: Database, monkeypatch) -> None:
    fill(SqlStore(database), range(20))
    read = database.read

    def cleared_meanwhile(statement: Any, **values: Any) -> list[tuple[Any, ...]]:
        found = read(statement, **values)
        SqlStore(database).clear()
        return found

    monkeypatch.setattr(database, "read", cleared_meanwhile)
    assert SqlStore(database, max_bytes=10_000).put(KEY, entry())
    monkeypatch.undo()
    assert kept(database) == set()


def test_more_keys_than_one_statement_takes_are_touched(store, database: Database) -> None:
    fill(store, range(450), b"")
    store.touch([key(number) for number in range(449)], now=1000)
    used = select(func.count()).where(cache_entries.c.used_at == 1000)
    assert database.read(used) == [(449,)]


def test_a_use_is_never_set_back(store, database: Database) -> None:
    fill(store, range(2))
    store.touch([key(0)], now=1000)
    store.touch([key(0)], now=500)
    assert database.read(select(func.max(cache_entries.c.used_at))) == [(1000,)]


def test_room_that_cannot_be_made_now_is_made_by_the_next_entry(
    database: Database, monkeypatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DatabaseLockedError

    fill(SqlStore(database), range(200))
    store = SqlStore(database, max_bytes=100_000)
    monkeypatch.setattr(database, "read", refuse)
    fill(store, range(200, 201), b"")
    monkeypatch.undo()
    assert kept(database) == set(range(201))
    fill(store, range(201, 202), b"")
    assert size(database) <= 100_000


# What is stale goes, bound or not.


def test_stale_entries_claims_and_marks_are_swept_now_and_then(store, database: Database) -> None:
    store.invalidate(["a"], now=0)
    fill(store, range(1), b"")
    for number in range(1, 450):
        store.put(key(number), entry(at=0, expires_at=DAY - 1))
    store.claim(KEY, "gone", now=0, until=DAY - 1)
    store.claim(OTHER, "here", now=0, until=DAY + 1)
    with database.begin() as connection:
        connection.execute(leases.insert().values(name="another", owner="gone", expires_at=5))
    store.put(SWEEPING, entry(at=DAY))
    assert {found for (found,) in database.read(KEYS)} == {key(0), SWEEPING}
    assert database.read(select(leases.c.owner)) == [("here",)]
    ours = select(generations.c.name).where(generations.c.name.like("cache:%"))
    assert database.read(ours) == [("cache:answers",)]


def test_the_mark_of_a_tag_stays_for_a_day(store: Store) -> None:
    store.invalidate(["a"], now=10)
    store.put(SWEEPING, entry(at=DAY))
    assert not store.put(KEY, entry(b"old", "a", at=DAY), seen=0)


# A place that cannot do it.

CALLS: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get(KEY),
    "put": lambda store: store.put(KEY, entry()),
    "put with tags": lambda store: store.put(KEY, entry(b"1", "a"), owner="me"),
    "tag": lambda store: store.tag(KEY, ["a"]),
    "clear": lambda store: store.clear(),
    "invalidate": lambda store: store.invalidate(["a"], now=0),
    "generation": lambda store: store.generation(),
    "claim": lambda store: store.claim(KEY, "me", now=0, until=1),
    "renew": lambda store: store.renew("me", until=1),
    "release": lambda store: store.release(KEY, "me"),
    "touch": lambda store: store.touch([KEY], now=0),
    "newest": lambda store: store.newest(1),
}
WRITES = CALLS.keys() - {"get", "generation", "newest", "clear", "invalidate"}


@pytest.mark.parametrize("name", CALLS)
def test_a_place_that_is_gone_is_a_typed_error(database: Database, name: str) -> None:
    database.close()
    with pytest.raises(DatabaseUnavailableError):
        CALLS[name](SqlStore(database, max_bytes=1000))


@pytest.mark.parametrize("name", sorted(WRITES))
def test_a_call_waits_for_another_writer_only_briefly(tmp_path: Path, name: str) -> None:
    with locked_by_another(tmp_path) as database, pytest.raises(DatabaseLockedError):
        CALLS[name](SqlStore(database))


# Several processes on one file.


def test_processes_keep_and_clear_side_by_side(tmp_path: Path) -> None:
    """Each entry bears the generation its call saw: none may be older than the last clear."""
    url = f"sqlite:///{tmp_path}/a.db"
    run(
        """
        from llmops_langchain.cache.sql_store import SqlStore
        from llmops_langchain.cache.store import Entry
        from llmops_langchain.storage import Database

        def work(number):
            with Database(sys.argv[1]) as database:
                store = SqlStore(database, max_bytes=20_000)
                for each in range(300):
                    seen = store.generation()
                    told = {"fingerprint": seen.to_bytes(8), "tags": frozenset("a")}
                    entry = Entry(value=bytes(300), created_at=each, **told)
                    store.put(os.urandom(32), entry, seen=seen)
                    if number and each % 10 == 0:
                        store.clear() if each % 20 else store.invalidate(["a"], now=each)
                    least = store.generation().to_bytes(8)
                    assert all(kept.fingerprint >= least for kept in store.newest(99))

        at_once(2, work)
        """,
        url,
    )
    with Database(url) as database:
        store = SqlStore(database)
        assert store.generation() == 30
        assert {each.fingerprint for each in store.newest(99)} == {(30).to_bytes(8)}
        assert size(database) <= 20_000 * 1.02


# PostgreSQL, where a transaction does not see what another one has not committed yet.


@contextmanager
def held(url: str, found: bytes) -> Iterator[None]:
    """Somebody holds the row of this entry: whoever wants to delete it waits."""
    import psycopg

    with psycopg.connect(url) as holder:
        lock = "SELECT 1 FROM llmops_cache_entries WHERE key = %s FOR UPDATE"
        assert holder.execute(lock, [found]).fetchone()
        yield


def wait_for(database: Database, waiting: int, future: Future[Any]) -> None:
    """Until so many transactions wait for a lock, or `future` is done without."""
    blocked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while not future.done():
        with database.begin(read_only=True) as connection:
            if connection.execute(blocked).scalar_one() >= waiting:
                return


@pytest.mark.parametrize("drop", ["clear", "invalidate"])
def test_an_answer_waits_for_a_clear_that_has_not_committed(postgres_url: str, drop: str) -> None:
    with Database(postgres_url) as database, ThreadPoolExecutor(2) as threads:
        store = SqlStore(database)
        store.put(OTHER, entry(b"1", "a"))
        seen = store.generation()
        with held(postgres_url, OTHER):
            clearing = threads.submit(CALLS[drop], store)
            wait_for(database, 1, clearing)
            putting = threads.submit(store.put, KEY, entry(b"old", "a"), seen=seen)
            wait_for(database, 2, putting)
        assert clearing.result() == seen + 1
        assert not putting.result()
        assert store.newest(9) == []


def test_a_clear_waits_for_an_answer_that_has_not_been_committed(postgres_url: str) -> None:
    with Database(postgres_url) as database, ThreadPoolExecutor(2) as threads:
        store = SqlStore(database)
        store.put(KEY, entry(b"first"))
        with held(postgres_url, KEY):
            putting = threads.submit(store.put, KEY, entry(b"second"), seen=0)
            wait_for(database, 1, putting)
            clearing = threads.submit(store.clear)
            wait_for(database, 2, clearing)
        assert putting.result()
        assert clearing.result() == 1
        assert store.get(KEY) is None


def test_an_answer_does_not_wait_for_the_clear_of_another_space(postgres_url: str) -> None:
    with Database(postgres_url) as database, ThreadPoolExecutor(1) as threads:
        store, nodes = SqlStore(database), SqlStore(database, space="nodes")
        store.put(OTHER, entry())
        with held(postgres_url, OTHER):
            clearing = threads.submit(store.clear)
            wait_for(database, 1, clearing)
            assert nodes.put(KEY, entry())
        assert clearing.result() == 1


def test_what_another_transaction_holds_is_neither_touched_nor_waited_for(
    postgres_url: str,
) -> None:
    with Database(postgres_url) as database:
        fill(SqlStore(database), range(5))
        with held(postgres_url, key(0)):
            SqlStore(database).touch([key(0), key(1)], now=1000)
            SqlStore(database, max_bytes=3_000).put(key(5), entry(bytes(700), at=5))
        assert {0, 1, 5} <= kept(database)
        assert len(kept(database)) < 6


def test_calls_in_any_order_at_once_never_deadlock(database: Database, monkeypatch) -> None:
    monkeypatch.setattr(sql_store, "_PATIENCE", 60.0)  # a busy machine is no deadlock
    start = Barrier(8)

    def work(number: int) -> None:
        store = SqlStore(database, max_bytes=4_000)
        start.wait()
        for each in range(15):
            tags = ("a", "b", "c") if (number + each) % 2 else ("c", "b")
            some = [bytes([each % 3]) * 32, bytes([each % 2]) * 32]
            store.put(some[0], entry(bytes(600), *tags, at=each), owner=str(number))
            store.claim(some[1], str(number % 3), now=each, until=each + 2)
            store.tag(some[1], tags)
            store.touch(some[:: 1 if number % 2 else -1], now=each)
            store.invalidate(tags[number % 2 :], now=each)
            store.renew(str(number % 3), until=each + 3)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert SqlStore(database).generation() == 8 * 15

"""What the database adds to a `SemanticIndex`: a bound that is looked after, damage, late commits.

What every index promises stands in `conformance/test_semantic_indexes.py`.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache as once
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from conftest import locked_by_another
from sqlalchemy import func, select, text, update
from unit_tests.storage.processes import run

from llmops_langchain import Database
from llmops_langchain.cache import index_rows, mirrors
from llmops_langchain.cache.index_rows import IndexRows
from llmops_langchain.cache.semantic_index import SemanticIndex
from llmops_langchain.cache.sql_index import SqlIndex
from llmops_langchain.embeddings import unit
from llmops_langchain.errors import (
    ConfigurationError,
    DatabaseLockedError,
    DatabaseUnavailableError,
)
from llmops_langchain.storage.packing import Packer
from llmops_langchain.storage.schema import semantic_vectors

SCOPE, ANOTHER = b"s" * 32, b"t" * 32
KEY = b"k" * 32
VECTORS = unit(np.random.default_rng(0).normal(size=(1_000, 8)))
SWEEPING = b"\x01" * 31 + b"\x00"  # one key in 256 ends in a zero
DAY = 86_400

row = semantic_vectors.c
KEYS = select(row.key)


def key(number: int) -> bytes:
    return number.to_bytes(31) + b"\x01"


def open_index(database: Database, *, embedder: str = "e", **options: Any) -> SqlIndex:
    given = {"packer": Packer(), "space": "answers", "pgvector": False}
    return SqlIndex(database, embedder=embedder, **given | options)


def learn(index: SemanticIndex, *numbers: int, scope: bytes = SCOPE, **told: Any) -> None:
    for number in numbers:
        given = {"now": float(number), "expires_at": None} | told
        index.add(scope, key(number), f"question {number}", VECTORS[number], **given)


def known(index: SemanticIndex, *, scope: bytes = SCOPE, at: float = 0) -> set[int]:
    found = index.nearest(scope, VECTORS[0], k=1_000, now=at)
    return {int.from_bytes(each.key[:31]) for each in found}


def kept(database: Database) -> set[int]:
    return {int.from_bytes(found[:31]) for (found,) in database.read(KEYS)}


@pytest.fixture(scope="module")
def postgres_urls(postgres_server: str) -> Iterator[Callable[[str], str]]:
    """URLs of databases by name, one for all tests; the one called `vector` has pgvector."""
    import psycopg

    def made(name: str) -> str:
        admin.execute(f"CREATE DATABASE of_{name}")
        url = postgres_server.replace("/postgres?", f"/of_{name}?")
        if name == "vector":
            with psycopg.connect(url, autocommit=True) as owner:
                owner.execute("CREATE EXTENSION vector")
        return url

    with psycopg.connect(postgres_server, autocommit=True) as admin:
        yield (made := once(made))
        for name in ("plain", "vector"):
            admin.execute(f"DROP DATABASE IF EXISTS of_{name} WITH (FORCE)")


@pytest.fixture(scope="module")
def places(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Database]]:
    """One of each kind for all tests: to make the tables takes longer than a test."""

    def opened(kind: str) -> Database:
        url = "sqlite://"
        if kind != "memory":
            url = request.getfixturevalue("postgres_urls")(kind)
        return stack.enter_context(Database(url))

    with ExitStack() as stack:
        yield once(opened)


def emptied(database: Database) -> Database:
    with database.begin() as connection:
        connection.execute(semantic_vectors.delete())
    return database


@pytest.fixture(params=["memory", "plain"], ids=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, places: Callable[[str], Database]) -> Database:
    return emptied(places(request.param))


@pytest.fixture
def postgres(places: Callable[[str], Database]) -> Database:
    return emptied(places("plain"))


@pytest.fixture
def with_pgvector(places: Callable[[str], Database]) -> Database:
    return emptied(places("vector"))


@pytest.fixture
def index(database: Database) -> SqlIndex:
    return open_index(database)


@pytest.fixture
def other(database: Database) -> SqlIndex:
    return open_index(database)


@pytest.fixture
def fernet_key() -> str:
    fernet = pytest.importorskip("cryptography.fernet", reason="needs the package cryptography")
    return fernet.Fernet.generate_key().decode()


def test_a_space_is_an_identifier() -> None:
    with pytest.raises(ConfigurationError, match="`space` must be an identifier, got 'a:b'"):
        open_index(Database("sqlite://"), space="a:b")


# The bound.


def test_a_bound_is_never_passed_by_one_process(database: Database) -> None:
    index = open_index(database, max_items=200)
    for number in range(0, 500, 5):
        learn(index, *range(number, number + 5))
        assert len(kept(database)) <= 200
    assert len(kept(database)) >= 197
    assert kept(database) == set(range(500 - len(kept(database)), 500))


def test_several_processes_pass_it_by_a_percent_each(database: Database) -> None:
    indexes = [open_index(database, max_items=200) for _ in range(3)]
    for number in range(400):
        learn(indexes[number % 3], number)
        assert len(kept(database)) <= 206


def test_another_embedder_s_rows_are_not_let_go_for_ours(database: Database) -> None:
    others, index = open_index(database, embedder="f"), open_index(database, max_items=3)
    learn(others, *range(5))
    learn(index, *range(10, 20))
    assert kept(database) == {*range(5), 17, 18, 19}


def test_stale_rows_are_let_go_before_any_other(database: Database) -> None:
    index = open_index(database, max_items=6)
    learn(index, 0, 1, 2)
    learn(index, 3, 4, 5, expires_at=10)
    learn(index, 6, now=100)
    assert kept(database) == {0, 1, 2, 6}


def test_what_is_used_just_then_is_not_let_go(database: Database, monkeypatch) -> None:
    learn(index := open_index(database), *range(10))
    read = database.read

    def used_meanwhile(statement: Any, **values: Any) -> list[tuple[Any, ...]]:
        found = read(statement, **values)
        if "excess" in values:
            index.touch([(SCOPE, key(0))], now=1000)
            learn(index, 0, now=1000)
        return found

    monkeypatch.setattr(database, "read", used_meanwhile)
    learn(open_index(database, max_items=5), 10)
    monkeypatch.undo()
    assert 0 in kept(database)


def test_room_that_cannot_be_made_now_is_made_by_the_next_question(
    database: Database, monkeypatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DatabaseLockedError

    learn(open_index(database), *range(300))
    index = open_index(database, max_items=200)
    monkeypatch.setattr(database, "read", refuse)
    learn(index, 300)
    monkeypatch.undo()
    assert kept(database) == set(range(301))
    learn(index, 301)
    assert len(kept(database)) <= 200


def test_counts_of_very_many_scopes_begin_anew(database: Database, monkeypatch) -> None:
    monkeypatch.setattr(index_rows, "_SCOPES_COUNTED", 3)
    index = open_index(database, max_items=1)
    for number in range(20):
        learn(index, number, scope=bytes([number % 5]) * 32)
        assert len(index._rows._added) <= 4
    assert kept(database) == set(range(15, 20))


def test_uses_are_told_once_a_minute(index: SqlIndex, database: Database) -> None:
    learn(index, 0, 1)
    index.touch([(SCOPE, key(0)), (SCOPE, key(9))], now=50)
    for _ in range(119):
        index.look_around()
    assert database.read(select(func.max(row.used_at))) == [(1,)]
    index.look_around()
    assert database.read(select(row.used_at).order_by(row.id)) == [(50,), (1,)]


def in_memory(index: SemanticIndex, other: SemanticIndex) -> list[bool]:
    """Which of five scopes, asked in turn, are still in memory: what others add does not show."""
    scopes = [bytes([number]) * 32 for number in range(5)]
    for scope in scopes:
        learn(other, *range(10), scope=scope)
    for scope in scopes:
        known(index, scope=scope)
    for scope in scopes:
        learn(other, 10, scope=scope)
    return [10 not in known(index, scope=scope) for scope in reversed(scopes)]


def test_scopes_in_memory_are_bounded_in_bytes(index, other, monkeypatch) -> None:
    monkeypatch.setattr(mirrors, "_MAX_BYTES", 3 * 10 * (500 + 8 * 4 + 11))
    assert in_memory(index, other) == [True] * 3 + [False] * 2


def test_scopes_in_memory_are_bounded_in_number(database: Database, other) -> None:
    index = open_index(database, max_scopes=3)
    assert in_memory(index, other) == [True] * 3 + [False] * 2


# What is stale goes.


def test_stale_dropped_and_abandoned_rows_are_swept_now_and_then(
    index: SqlIndex, database: Database
) -> None:
    learn(open_index(database, embedder="gone"), 1, 2, now=0)
    learn(open_index(database, embedder="here"), 3, now=DAY)
    learn(index, *range(10, 450), expires_at=29 * DAY)
    learn(index, 5, 6)
    index.touch([], now=29 * DAY)
    index.drop(SCOPE, [key(6)])
    assert 6 in kept(database)
    vector = VECTORS[0]
    index.add(SCOPE, SWEEPING, "?", vector, now=30 * DAY, expires_at=None)
    assert kept(database) == {3, 5, int.from_bytes(SWEEPING[:31])}


def test_a_dropped_row_is_seen_before_it_is_swept(index, other, database: Database) -> None:
    learn(index, 1, 2)
    assert known(other, at=1_000) == {1, 2}
    index.touch([], now=1_000)
    index.drop(SCOPE, [key(1)])
    index.add(SCOPE, SWEEPING, "?", VECTORS[0], now=1_059, expires_at=None)
    other.look_around()
    assert 1 not in known(other, at=1_059)
    index.add(SCOPE, SWEEPING, "?", VECTORS[0], now=1_060, expires_at=None)
    assert 1 not in kept(database)


# Rows that cannot be read.


def spoil(database: Database, number: int, body: bytes) -> None:
    with database.begin() as connection:
        connection.execute(update(semantic_vectors).where(row.key == key(number)).values(body=body))


def body(database: Database, number: int) -> bytes:
    return database.read(select(row.body).where(row.key == key(number)))[0][0]


def test_a_damaged_or_moved_row_is_passed_by_and_counted(index, database: Database) -> None:
    learn(index, 1, 2, 3)
    spoil(database, 1, body(database, 2))
    spoil(database, 3, body(database, 3)[:-1] + b"!")
    counted: list[int] = []
    other = open_index(database, on_unreadable=lambda: counted.append(1))
    assert known(other) == {2}
    assert len(counted) == 2


@pytest.mark.parametrize("place", ["space", "scope", "embedder"])
def test_a_row_moved_to_another_place_is_passed_by(database: Database, place: str) -> None:
    there: dict[str, Any] = {"space": "nodes", "scope": ANOTHER, "embedder": "f"}
    learn(open_index(database), 1)
    with database.begin() as connection:
        connection.execute(update(semantic_vectors).values({place: there[place]}))
    scope = there.pop("scope") if place == "scope" else SCOPE
    options = {place: there[place]} if place in there else {}
    assert known(open_index(database, **options), scope=scope) == set()


def test_pgvector_passes_a_damaged_row_by_too(with_pgvector: Database) -> None:
    counted: list[int] = []
    options = {"pgvector": True, "on_unreadable": lambda: counted.append(1)}
    learn(index := open_index(with_pgvector, **options), 1, 2)
    spoil(with_pgvector, 1, b"\x00")
    assert known(index) == {2}
    assert len(counted) == 1


def test_a_row_that_a_look_cannot_read_is_no_candidate(index, other, database) -> None:
    learn(index, 1, 2)
    assert known(other) == {1, 2}
    learn(index, 1)
    spoil(database, 1, b"\x00")
    other.look_around()
    assert known(other) == {2}


def test_unreadable_rows_hold_up_no_other_that_is_outdated(database: Database) -> None:
    learn(open_index(database, embedder="f"), *range(1, 8))
    for number in (1, 2, 3, 5):
        spoil(database, number, b"\x00")
    index = open_index(database)
    assert [offered.question for offered in index.outdated(2)] == ["question 4", "question 6"]
    assert [offered.question for offered in index.outdated(2)] == ["question 7"]


def test_what_others_encrypted_cannot_be_read(database: Database, fernet_key: str) -> None:
    counted: list[int] = []
    encrypting = Packer([fernet_key])
    learn(hidden := open_index(database, packer=encrypting), 1)
    learn(open_index(database), 2)
    for packer, expected in ((encrypting, {1}), (Packer(), {2})):
        counted.clear()
        index = open_index(database, packer=packer, on_unreadable=lambda: counted.append(1))
        assert known(index) == expected
        assert len(counted) == 1
    assert known(hidden) == {1}


def test_with_a_key_neither_question_nor_vector_can_be_read(
    database: Database, fernet_key: str
) -> None:
    learn(open_index(database, packer=Packer([fernet_key])), 1)
    ((stored, embedding),) = database.read(select(row.body, row.embedding))
    assert b"question" not in stored
    assert VECTORS[1].tobytes()[:8] not in stored
    assert embedding is None


def test_without_a_key_postgresql_can_read_the_vector(postgres: Database) -> None:
    learn(open_index(postgres), 1)
    ((embedding,),) = postgres.read(select(row.embedding))
    assert embedding == pytest.approx(VECTORS[1].tolist())


# Who searches.


def sees_at_once(index: SemanticIndex, other: SemanticIndex) -> bool:
    """Whether it needs no look to find what others add: then the database searches."""
    learn(other, 1)
    assert known(index) == {1}
    learn(other, 2)
    return known(index) == {1, 2}


def test_pgvector_searches_where_it_is(with_pgvector: Database) -> None:
    index = open_index(with_pgvector, pgvector=True)
    assert sees_at_once(index, open_index(with_pgvector))


def test_memory_is_searched_where_pgvector_is_not(database: Database) -> None:
    assert not sees_at_once(open_index(database, pgvector=True), open_index(database))


def test_memory_is_searched_where_rows_are_encrypted(
    with_pgvector: Database, fernet_key: str
) -> None:
    options = {"pgvector": True, "packer": Packer([fernet_key])}
    index, other = open_index(with_pgvector, **options), open_index(with_pgvector, **options)
    assert not sees_at_once(index, other)


def test_memory_is_searched_if_that_is_wished(with_pgvector: Database) -> None:
    assert not sees_at_once(open_index(with_pgvector), open_index(with_pgvector))


def test_nothing_is_asked_of_the_database_before_the_first_question() -> None:
    index = open_index(database := Database("sqlite://"), pgvector=True)
    database.close()
    index.look_around()
    index.forget()
    with pytest.raises(DatabaseUnavailableError):
        index.nearest(SCOPE, VECTORS[0], k=1, now=0)


# A place that cannot do it.

CALLS: dict[str, Callable[[SemanticIndex], object]] = {
    "add": lambda index: learn(index, 1),
    "nearest": lambda index: index.nearest(SCOPE, VECTORS[0], k=1, now=0),
    "drop": lambda index: index.drop(SCOPE, [KEY]),
    "clear": lambda index: index.clear(),
    "outdated": lambda index: index.outdated(1),
}


def test_a_place_that_is_gone_is_a_typed_error(database_url: str) -> None:
    with Database(database_url) as database:
        index = open_index(database)
        learn(index, 2)
        known(index)
    for call in CALLS.values():
        with pytest.raises(DatabaseUnavailableError):
            call(open_index(database))
    with pytest.raises(DatabaseUnavailableError):
        index.look_around()


def test_a_scope_that_could_not_be_read_is_read_by_the_next_question(
    index, other, monkeypatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DatabaseUnavailableError

    learn(other, 1)
    monkeypatch.setattr(IndexRows, "known", fail)
    with pytest.raises(DatabaseUnavailableError):
        known(index)
    index.look_around()
    monkeypatch.undo()
    assert known(index) == {1}


@pytest.mark.parametrize("name", ["add", "drop"])
def test_a_call_waits_for_another_writer_only_briefly(tmp_path: Path, name: str) -> None:
    with locked_by_another(tmp_path) as database, pytest.raises(DatabaseLockedError):
        CALLS[name](open_index(database))


# What is written while somebody looks.


def test_a_row_that_comes_between_a_scope_and_a_look_is_not_missed(
    index, other, monkeypatch
) -> None:
    learn(other, 1)
    known(index)
    changed = IndexRows.changed

    def meanwhile(rows: IndexRows, *args: Any) -> Any:
        monkeypatch.undo()
        known(index, scope=ANOTHER)
        learn(other, 2, scope=ANOTHER)
        learn(other, 3)
        return changed(rows, *args)

    monkeypatch.setattr(IndexRows, "changed", meanwhile)
    index.look_around()
    assert known(index) == {1, 3}
    index.look_around()
    assert (known(index), known(index, scope=ANOTHER)) == ({1, 3}, {2})


def test_a_clear_while_a_scope_is_read_is_not_missed(index, other, monkeypatch) -> None:
    learn(other, 1)
    read = IndexRows.known

    def cleared_meanwhile(rows: IndexRows, *args: Any, **told: Any) -> Any:
        found = read(rows, *args, **told)
        monkeypatch.undo()
        other.clear()
        return found

    monkeypatch.setattr(IndexRows, "known", cleared_meanwhile)
    known(index)
    index.look_around()
    assert known(index) == set()


def by_hand(database: Database) -> Any:
    """A connection past this package; what it does is committed, or not, when it is left."""
    import psycopg

    return psycopg.connect(where(database).replace("+psycopg", ""))


def wait_for_lock(database: Database, future: Future[Any]) -> None:
    """Until a transaction waits for another one, or `future` is done without."""
    blocked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while not future.done():
        with database.begin(read_only=True) as connection:
            if connection.execute(blocked).scalar_one():
                return


def test_what_is_committed_late_is_not_missed(postgres: Database) -> None:
    """Its number is drawn, others commit and are seen, and then it commits."""
    index, other, late = (open_index(postgres) for _ in range(3))
    learn(other, 1)
    known(index)
    rival = (
        "INSERT INTO llmops_semantic_vectors"
        " (space, scope, key, embedder, change, created_at, used_at, body)"
        " SELECT space, scope, %s, embedder, change, 0, 0, body FROM llmops_semantic_vectors"
    )
    with ThreadPoolExecutor(1) as threads, by_hand(postgres) as holder:
        holder.execute(rival, [key(2)])
        adding = threads.submit(learn, late, 2)
        wait_for_lock(postgres, adding)
        for number in (3, 4, 5):
            learn(other, number)
            index.look_around()
            assert known(index) == {1, *range(3, number + 1)}
        holder.rollback()
        adding.result()
    learn(other, 6)
    index.look_around()
    assert known(index) == {*range(1, 7)}


def test_what_is_committed_late_is_offered_to_another_embedder(
    postgres: Database,
) -> None:
    index, others = open_index(postgres), open_index(postgres, embedder="f")
    learn(others, 1)
    late = "UPDATE llmops_semantic_vectors SET change = pg_current_xact_id()::text::bigint"
    with by_hand(postgres) as holder:
        holder.execute(late)
        learn(others, 2)
        index.outdated(9)
        holder.commit()
    learn(others, 3)
    index.outdated(9)
    assert index.outdated(9) == []
    fresh = open_index(postgres)
    assert {offered.question[-1] for offered in fresh.outdated(9)} == {"1", "2", "3"}


def test_rows_restored_from_a_busier_server_are_not_new_at_each_look(postgres: Database) -> None:
    counted: list[int] = []
    learn(open_index(postgres), 1, 2)
    index = open_index(postgres, on_unreadable=lambda: counted.append(1))
    with postgres.begin() as connection:
        connection.execute(update(semantic_vectors).values(change=row.change + 10**9))
    assert known(index) == {1, 2}
    spoil(postgres, 1, b"\x00")
    for _ in range(3):
        index.look_around()
    assert counted == []


def test_what_a_look_has_shown_is_not_read_again(postgres: Database) -> None:
    """As long as somebody's transaction is under way, all that was written since comes again."""
    counted: list[int] = []
    index = open_index(postgres, on_unreadable=lambda: counted.append(1))
    other = open_index(postgres)
    learn(other, 1)
    known(index)
    with by_hand(postgres) as holder:
        holder.execute("SELECT pg_current_xact_id()")
        learn(other, 2)
        spoil(postgres, 2, b"\x00")
        for _ in range(3):
            index.look_around()
        assert known(index) == {1}
    assert len(counted) == 1


def test_calls_in_any_order_at_once_never_deadlock(database: Database, monkeypatch) -> None:
    monkeypatch.setattr(index_rows, "_PATIENCE", 60.0)  # a busy machine is no deadlock
    start = Barrier(6)

    def work(number: int) -> None:
        index = open_index(database, max_items=5, embedder=f"e{number % 2}")
        start.wait()
        for each in range(12):
            numbers = range(8) if number % 2 else range(7, -1, -1)
            learn(index, numbers[each % 8], now=each)
            known(index, at=each)
            index.touch([(SCOPE, key(some)) for some in numbers], now=each)
            index.drop(SCOPE, [key(some) for some in numbers[each % 3 :: 3]])
            index.look_around()
            index.outdated(3)
            if each % 6 == number:
                index.clear()

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))


# Real processes.

_INDEX = """
    import numpy as np
    from llmops_langchain.cache import index_rows
    from llmops_langchain.storage.packing import Packer
    from llmops_langchain.cache.sql_index import SqlIndex
    from llmops_langchain.embeddings import unit
    from llmops_langchain.storage import Database

    index_rows._PATIENCE = 60.0  # a busy machine is no error
    scope, vectors = b"s" * 32, unit(np.random.default_rng(0).normal(size=(1_000, 8)))

    def key(number):
        return number.to_bytes(31) + bytes([1])

    def opened(database):
        return SqlIndex(database, Packer(), space="answers", embedder="e", pgvector=False)

    def learn(index, number):
        told = {"now": float(number), "expires_at": None}
        index.add(scope, key(number), f"question {number}", vectors[number], **told)

    def known(index):
        found = index.nearest(scope, vectors[0], k=1_000, now=0)
        return {int.from_bytes(each.key[:31]) for each in found}
"""


@pytest.fixture
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database that processes share: a file, or as the test says."""
    kind = getattr(request, "param", "file")
    file = f"sqlite:///{tmp_path}/a.db"
    with Database(file if kind == "file" else request.getfixturevalue("postgres_url")) as opened:
        yield opened


def where(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


def test_what_another_process_and_its_child_do_is_seen_by_one_look(shared: Database) -> None:
    index = open_index(shared)
    learn(index, 1, 2)
    known(index)
    source = """
    with Database(sys.argv[1]) as database:
        index = opened(database)
        assert known(index) == {1, 2}
        index.touch([(scope, key(2))], now=5)

        def work(_):
            assert known(index) == {1, 2}
            learn(index, 3)

        at_once(1, work)
        index.look_around()
        assert known(index) == {1, 2, 3}
        index.drop(scope, [key(1)])
    """
    run(_INDEX + source, where(shared))
    index.look_around()
    assert known(index) == {2, 3}


@pytest.mark.parametrize("shared", ["file", "postgresql"], indirect=True)
@pytest.mark.parametrize("count", [12, pytest.param(240, marks=pytest.mark.slow)])
def test_four_processes_that_add_at_once_see_all_there_is(shared: Database, count: int) -> None:
    source = """
    count = int(sys.argv[2])

    def work(number):
        with Database(sys.argv[1]) as database:
            index, mine = opened(database), range(number * count, (number + 1) * count)
            for each in mine:
                learn(index, each)
                index.look_around()
                assert {*range(mine[0], each + 1)} <= known(index)
            while known(index) != set(range(4 * count)):
                index.look_around()

    Database(sys.argv[1]).upgrade()
    at_once(4, work)
    """
    run(_INDEX + source, where(shared), count)
    assert kept(shared) == set(range(4 * count))

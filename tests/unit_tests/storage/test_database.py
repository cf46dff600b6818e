"""`begin()` is a transaction, `read_one` a read and `write` both, on every kind of database."""

import gc
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import ClassVar

import pytest
from sqlalchemy import Select, bindparam, func, select, text
from sqlalchemy.exc import IntegrityError
from unit_tests.storage.processes import run

from llmops_langchain.errors import DatabaseLockedError, DatabaseUnavailableError
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import cache_entries as t

COUNT = select(func.count()).select_from(t)
KEYS = select(t.c.key).where(t.c.key >= bindparam("first")).order_by(t.c.key)
ADD = t.insert().values(key=bindparam("key"), value=b"value", created_at=0)
DROP = t.delete().where(t.c.key >= bindparam("first"))


def entry(key: bytes = b"key", created_at: float = 0):
    return t.insert().values(key=key, value=b"value", created_at=created_at)


def rows(database: Database) -> int:
    with database.begin(read_only=True) as connection:
        return connection.execute(COUNT).scalar_one()


@pytest.fixture
def memory() -> Iterator[Database]:
    with Database("sqlite://") as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path}/llmops.db", lock_timeout=0.1) as opened:
        yield opened


@pytest.fixture(params=["file", "postgresql"])
def shared_url(request, tmp_path: Path) -> str:
    """URL of a database that several processes can use."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/llmops.db"


def test_a_block_that_ends_is_kept(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(entry())
    assert rows(database) == 1


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    def block() -> None:
        with database.begin() as connection:
            connection.execute(entry())
            raise KeyError

    with pytest.raises(KeyError):
        block()
    assert rows(database) == 0


def test_a_broken_constraint_is_the_callers_own_error(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(entry())
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(entry())


def test_four_processes_lose_no_update(shared_url: str) -> None:
    with Database(shared_url) as database, database.begin() as connection:
        connection.execute(entry())
    run(
        """
        from sqlalchemy import select
        from llmops_langchain.storage import Database
        from llmops_langchain.storage.schema import cache_entries as t

        def work(_):
            database = Database(sys.argv[1])
            for _ in range(50):
                with database.begin() as connection:
                    found = connection.execute(select(t.c.created_at).with_for_update()).scalar()
                    connection.execute(t.update().values(created_at=found + 1))

        at_once(4, work)
        """,
        shared_url,
    )
    with Database(shared_url) as database:
        assert database.read_one(select(t.c.created_at)) == (200,)


def test_eight_threads_share_one_database(database: Database) -> None:
    def write(number: int) -> None:
        for each in range(10):
            with database.begin() as connection:
                connection.execute(entry(bytes([number, each])))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert rows(database) == 80


READS = {
    "bound": (select(t.c.value, t.c.created_at).where(t.c.key == bindparam("key")), {"key": b"b"}),
    "constant": (select(t.c.key).where(t.c.key == b"c"), {}),
    "limited": (select(t.c.key, t.c.expires_at).order_by(t.c.created_at.desc()).limit(1), {}),
    "many": (select(t.c.key).order_by(t.c.key), {}),
    "none": (select(t.c.key).where(t.c.key == bindparam("key")), {"key": b"z"}),
}


@pytest.mark.parametrize(("statement", "values"), READS.values(), ids=READS)
def test_read_one_gives_what_begin_gives(
    database: Database, statement: Select, values: dict
) -> None:
    with database.begin() as connection:
        for created_at, key in enumerate([b"a", b"b", b"c"]):
            connection.execute(entry(key, created_at))
        expected = connection.execute(statement, values).first()
    for _ in range(2):  # the second time it is remembered
        assert database.read_one(statement, **values) == (expected and tuple(expected))


def test_read_gives_every_row(database: Database) -> None:
    database.write(*((ADD, {"key": key}) for key in (b"b", b"c", b"a")))
    for _ in range(2):
        assert database.read(KEYS, first=b"b") == [(b"b",), (b"c",)]
    assert database.read(KEYS, first=b"d") == []


def test_a_constant_in_a_statement_need_not_be_given(database: Database) -> None:
    database.write(*((ADD, {"key": key}) for key in (b"a", b"b", b"c")))
    assert database.read(select(t.c.key).where(t.c.key.in_([b"a", b"c"]))) == [(b"a",), (b"c",)]


def test_write_tells_how_many_rows_each_step_changed(database: Database) -> None:
    assert database.write((ADD, {"key": b"a"})) == [1]
    steps = [(ADD, {"key": b"b"}), (DROP, {"first": b"a"}), (DROP, {"first": b"a"})]
    assert database.write(*steps) == [1, 2, 0]
    assert rows(database) == 0


def test_the_steps_of_a_write_are_kept_together_or_not_at_all(database: Database) -> None:
    for _ in range(2):  # a connection that met an error can be used again
        with pytest.raises(IntegrityError):
            database.write((ADD, {"key": b"a"}), (ADD, {"key": b"a"}))
        assert rows(database) == 0
    database.write((ADD, {"key": b"a"}), (ADD, {"key": b"b"}))
    assert rows(database) == 2


def test_a_single_step_may_break_a_constraint_as_well(database: Database) -> None:
    database.write((ADD, {"key": b"a"}))
    with pytest.raises(IntegrityError):
        database.write((ADD, {"key": b"a"}))


def test_eight_threads_read_and_write_without_a_transaction_of_their_own(
    database: Database,
) -> None:
    def work(number: int) -> None:
        for each in range(10):
            database.write((ADD, {"key": bytes([number, each])}))
            assert database.read_one(COUNT) > (each,)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert rows(database) == 80


def test_four_processes_write_without_a_transaction_of_their_own(shared_url: str) -> None:
    run(
        """
        from sqlalchemy import bindparam
        from llmops_langchain.storage import Database
        from llmops_langchain.storage.schema import cache_entries as t

        ADD = t.insert().values(key=bindparam("key"), value=b"", created_at=0)

        def work(number):
            with Database(sys.argv[1]) as database:
                for each in range(50):
                    steps = [(ADD, {"key": bytes([number, each, step])}) for step in range(2)]
                    assert database.write(*steps) == [1, 1]

        at_once(4, work)
        """,
        shared_url,
    )
    with Database(shared_url) as database:
        assert rows(database) == 400


def test_a_transaction_inside_another_is_refused_and_costs_it_nothing(memory: Database) -> None:
    with memory.begin() as connection:
        connection.execute(entry())
        with pytest.raises(DatabaseLockedError, match="do not nest"), memory.begin():
            pass
        with pytest.raises(DatabaseLockedError, match="do not nest"):
            memory.read_one(COUNT)
        with pytest.raises(DatabaseLockedError, match="do not nest"):
            memory.write((ADD, {"key": b"a"}))
    assert rows(memory) == 1


def test_a_transaction_inside_another_meets_its_lock_on_file(file: Database) -> None:
    with file.begin() as connection:
        connection.execute(entry())
        with pytest.raises(DatabaseLockedError, match="lock_timeout"), file.begin():
            pass
        for steps in ([(DROP, {"first": b""})], [(DROP, {"first": b""})] * 2):
            with pytest.raises(DatabaseLockedError, match="lock_timeout"):
                file.write(*steps)
    assert rows(file) == 1


def test_reading_waits_for_no_writer(file: Database) -> None:
    with file.begin() as connection:
        connection.execute(entry())
        assert rows(file) == 0
        assert file.read_one(COUNT) == (0,)


class Busy(sqlite3.Connection):
    """As when another process switches the same new file to WAL at this very moment."""

    refusals = 2

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        if sql.endswith("= WAL") and Busy.refusals:
            Busy.refusals -= 1
            said = "database is locked"  # SQLite does not wait for it, whatever its timeout
            raise sqlite3.OperationalError(said)
        return super().execute(sql, *values)


def test_processes_may_open_a_new_file_at_the_same_moment(file: Database, monkeypatch) -> None:
    monkeypatch.setattr("sqlite3.dbapi2.connect", partial(sqlite3.connect, factory=Busy))
    assert rows(file) == 0
    assert Busy.refusals == 0
    with file.begin() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"


def test_a_file_that_stays_locked_while_it_is_opened_is_an_error(tmp_path: Path) -> None:
    reader = sqlite3.connect(tmp_path / "llmops.db", isolation_level=None)
    reader.executescript("CREATE TABLE other (id); BEGIN; SELECT * FROM other")
    with Database(f"sqlite:///{tmp_path}/llmops.db", lock_timeout=0.01) as database:
        with pytest.raises(DatabaseLockedError):
            rows(database)
        reader.close()
        assert rows(database) == 0


def test_only_a_durable_transaction_waits_for_the_disk(file: Database) -> None:
    def safety(*, durable: bool) -> int:
        with file.begin(durable=durable) as connection:
            return connection.execute(text("PRAGMA synchronous")).scalar_one()

    assert [safety(durable=each) for each in (False, True, False)] == [1, 2, 1]


def test_postgresql_keeps_nothing_of_a_transaction(postgres_url: str) -> None:
    """So PgBouncer in transaction mode may give the next one another connection."""
    with Database(postgres_url, schema="own") as database:
        for _ in range(10):
            assert rows(database) == 0
        with database.begin() as connection:
            driver = connection.connection.driver_connection
        prepared = driver.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
        path = driver.execute("SHOW search_path").fetchone()
        driver.rollback()
    assert (prepared, path) == ((0,), ('"$user", public',))


def test_a_closed_database_refuses(database_url: str) -> None:
    with Database(database_url) as database:
        rows(database)
    with pytest.raises(DatabaseUnavailableError, match="was closed"):
        rows(database)
    with pytest.raises(DatabaseUnavailableError, match="was closed"):
        database.read_one(COUNT)
    with pytest.raises(DatabaseUnavailableError, match="was closed"):
        database.write((ADD, {"key": b"a"}))


def test_nothing_is_opened_before_the_first_use(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path}/llmops.db").close()
    assert not list(tmp_path.iterdir())


def test_a_relative_path_stays_what_it_was(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Database("sqlite:///llmops.db") as database:
        monkeypatch.chdir("/")
        assert rows(database) == 0
        assert database.path == tmp_path / "llmops.db"
    assert database.path.exists()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///file::memory:?cache=shared&uri=true", None),
        ("sqlite:///file:name?mode=memory&cache=shared&uri=true", None),
        ("sqlite:////data/llmops.db", Path("/data/llmops.db")),
        ("sqlite:///file:/data/llmops.db?mode=ro&uri=true", Path("/data/llmops.db")),
        ("postgresql://server/llmops", None),
    ],
)
def test_path_is_that_of_a_file(url: str, path: Path | None) -> None:
    assert Database(url).path == path


def test_a_named_database_in_memory_serves_threads() -> None:
    with Database("sqlite:///file:named?mode=memory&cache=shared&uri=true") as database:
        with database.begin() as connection:
            connection.execute(entry())
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda _: rows(database), range(20))) == [1] * 20


def test_a_transaction_may_be_less_patient_than_the_database(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path}/a.db", lock_timeout=10) as database:
        for given, told in ((0.25, 250), (None, 10_000)):
            with database.begin(lock_timeout=given) as connection:
                assert connection.execute(text("PRAGMA busy_timeout")).scalar() == told


class Watched(sqlite3.Connection):
    """Tells which connections are open, and what they were told to wait."""

    alive: ClassVar[list["Watched"]] = []
    patience: ClassVar[list[str]] = []

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        Watched.alive.append(self)

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:
        if sql.startswith("PRAGMA busy_timeout = "):
            Watched.patience.append(sql.rpartition(" ")[2])
        return super().execute(sql, *values)

    def close(self) -> None:
        super().close()
        if self in Watched.alive:
            Watched.alive.remove(self)


@pytest.fixture
def watched(monkeypatch) -> type[Watched]:
    monkeypatch.setattr("sqlite3.dbapi2.connect", partial(sqlite3.connect, factory=Watched))
    monkeypatch.setattr(Watched, "alive", [])
    monkeypatch.setattr(Watched, "patience", [])
    return Watched


def test_a_write_may_be_less_patient_than_the_database(file: Database, watched) -> None:
    file.read_one(COUNT)
    watched.patience.clear()
    for given in (0.25, 0.25, None, 0.0):
        file.write((DROP, {"first": b""}), lock_timeout=given)
    assert watched.patience == ["250", "100", "0"]  # told only what it did not know


def test_reads_and_writes_take_turns_on_one_connection(file: Database, watched) -> None:
    file.read_one(COUNT)
    before = list(watched.alive)
    for _ in range(10):
        file.write((DROP, {"first": b""}))
        assert file.read(COUNT) == [(0,)]
    assert watched.alive == before


def many_at_once(database: Database) -> None:
    """Reads that all wait inside for each other, so that each needs a connection."""
    inside = Barrier(8)
    database._spares.give = meanwhile(database._spares.give, inside.wait)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: database.read_one(COUNT), range(8)))


def meanwhile(give: Callable, wait: Callable) -> Callable:
    def waited(connection: object) -> None:
        wait()
        give(connection)

    return waited


def test_only_a_few_spare_connections_are_kept(file: Database, watched) -> None:
    many_at_once(file)
    assert len(watched.alive) < 8
    file.close()
    assert watched.alive == []


def test_a_connection_in_use_while_the_database_is_closed_is_closed_afterwards(
    file: Database, watched
) -> None:
    file.read_one(COUNT)
    file._spares.give = meanwhile(file._spares.give, file.close)
    assert file.read_one(COUNT) == (0,)
    assert watched.alive == []


def test_a_dropped_database_leaves_no_connection_open(tmp_path: Path, watched) -> None:
    database = Database(f"sqlite:///{tmp_path}/a.db")
    database.read_one(COUNT)
    assert watched.alive
    del database
    gc.collect()
    assert watched.alive == []


def test_closing_lets_another_thread_end_its_transaction(memory: Database) -> None:
    memory.write((ADD, {"key": b"a"}))
    with ThreadPoolExecutor(1) as pool:
        with memory.begin() as connection:
            closing = pool.submit(memory.close)
            while not memory._closed:
                pass
            assert not closing.done()
            connection.execute(entry())
        closing.result()

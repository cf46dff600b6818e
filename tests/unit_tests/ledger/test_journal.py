"""A journal belongs to the process that wrote it, and to the next one after its death."""

import fcntl
import os
from pathlib import Path

import pytest
from unit_tests.ledger.reading import journals, metric, metrics
from unit_tests.storage.processes import run

from llmops_langchain.ledger import Event
from llmops_langchain.ledger.journal import Journal, encode, journal_directory, leftovers
from llmops_langchain.storage import Database

EVENTS = metrics(3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journals"


def written(folder: Path, *, fsync: bool = False) -> Journal:
    journal = Journal(folder, fsync=fsync)
    for event in EVENTS:
        journal.append(event)
    return journal


def found(folder: Path) -> list[Event]:
    return [event for batch in leftovers(folder) for event in batch]


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_nobody_else_can_read_a_journal(folder: Path) -> None:
    journal = written(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert journal.path.stat().st_mode & 0o777 == 0o600
    journal.remove()


def test_a_living_owner_keeps_its_journal(folder: Path) -> None:
    journal = written(folder)
    assert found(folder) == []
    assert journals(folder) == [journal.path]
    journal.remove()
    assert journals(folder) == []


@pytest.mark.parametrize("fsync", [False, True])
def test_a_journal_that_was_let_go_is_read_once(folder: Path, *, fsync: bool) -> None:
    written(folder, fsync=fsync).release()
    assert found(folder) == EVENTS
    assert found(folder) == journals(folder) == []


def test_a_dropped_journal_is_let_go(folder: Path) -> None:
    written(folder)
    assert found(folder) == EVENTS


def test_a_file_stays_until_its_events_are_stored(folder: Path) -> None:
    written(folder).release()
    files = leftovers(folder)
    assert next(files) == EVENTS
    files.close()  # as when the database refused them
    assert found(folder) == EVENTS


def test_a_line_that_was_cut_off_is_passed_over(folder: Path, caplog) -> None:
    journal = written(folder)
    with journal.path.open("ab") as file:
        file.write(encode(metric())[:-10])
    journal.release()
    assert found(folder) == EVENTS
    assert "line 4 is not an event" in caplog.text


@pytest.mark.parametrize("line", [b"\n", b"\0\0\0\n", b"5\n", b"[]\n", b"{}\n", b'{"id": 1}\n'])
def test_what_is_not_an_event_is_passed_over(folder: Path, line: bytes) -> None:
    folder.mkdir()
    lines = [encode(EVENTS[0]), line, *map(encode, EVENTS[1:])]
    (folder / "1-torn.journal").write_bytes(b"".join(lines))
    assert found(folder) == EVENTS


def test_a_full_disk_is_an_error_and_spoils_no_other_line(folder: Path, monkeypatch) -> None:
    journal, write = written(folder), os.write
    monkeypatch.setattr(os, "write", lambda file, line: write(file, line[: len(line) // 2]))
    with pytest.raises(OSError, match="is the disk full"):
        journal.append(metric())
    monkeypatch.setattr(os, "write", write)
    journal.append(last := metric())
    journal.release()
    assert found(folder) == [*EVENTS, last]


def test_a_folder_without_locks_is_an_error_that_leaves_nothing(folder: Path, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise OSError

    folder.mkdir()
    before = open_files()
    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError):  # noqa: PT011 - the system's own, whatever it says
        Journal(folder)
    assert (open_files(), journals(folder)) == (before, [])


def test_what_cannot_be_opened_is_passed_over(folder: Path) -> None:
    written(folder).release()
    (folder / "0-locked-up.journal").mkdir()  # opening it fails, as another user's file does
    assert found(folder) == EVENTS


def test_a_folder_that_is_not_there_has_no_leftovers(folder: Path) -> None:
    assert found(folder) == []


def test_a_forked_child_holds_no_journal_that_its_parent_let_go(folder: Path) -> None:
    source = """
from pathlib import Path
from llmops_langchain.ledger import Event
from llmops_langchain.ledger.journal import Journal, leftovers

journal = Journal(Path(sys.argv[1]))
journal.append(Event(name="a", ts=0))
ready, go = os.pipe(), os.pipe()
if (child := os.fork()) == 0:
    os.read(go[0], 1)
    os._exit(0)
journal.release()
print([len(found) for found in leftovers(Path(sys.argv[1]))])
os.write(go[1], b"x")
os.waitpid(child, 0)
"""
    assert run(source, folder) == "[1]\n"


def test_each_file_is_given_to_one_process(folder: Path) -> None:
    for _ in range(40):
        written(folder).release()
    source = """
from pathlib import Path
from llmops_langchain.ledger.journal import leftovers

reader, writer = os.pipe()

def work(_):
    for batch in leftovers(Path(sys.argv[1])):
        os.write(writer, b"".join(b"%s\\n" % str(event.id).encode() for event in batch))

at_once(4, work)
os.close(writer)
sys.stdout.write(open(reader).read())
"""
    told = run(source, folder).split()
    assert len(told) == 120
    assert journals(folder) == []


def test_a_database_in_memory_has_no_journal(tmp_path: Path) -> None:
    assert journal_directory(Database("sqlite://"), tmp_path) is None


def test_journals_lie_beside_the_file() -> None:
    database = Database("sqlite:////data/llmops.db")
    assert journal_directory(database) == Path("/data/llmops.db-llmops")


def test_a_chosen_folder_has_one_for_each_database() -> None:
    one, two = Database("sqlite:////data/one.db"), Database("sqlite:////data/two.db")
    folders = [journal_directory(each, Path("/chosen")) for each in (one, two)]
    assert {folder.parent for folder in folders} == {Path("/chosen")}
    assert folders[0] != folders[1]


def test_each_server_has_a_folder_of_its_own(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, two = "postgresql://me:one@server/llmops", "postgresql://me:two@server/llmops"
    folders = [
        journal_directory(Database(url, schema=schema))
        for url, schema in [(one, None), (two, None), (one, "own"), (f"{one}2", None)]
    ]
    assert folders[0] == folders[1]  # a new password, the same database
    assert len(set(folders)) == 3
    assert {each.parent for each in folders} == {tmp_path / "llmops_langchain"}


def test_the_state_folder_is_in_the_users_home(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = journal_directory(Database("postgresql://server/llmops"))
    assert folder.parent == tmp_path / ".local/state/llmops_langchain"


def test_a_user_without_a_home_has_no_journal(monkeypatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert journal_directory(Database("postgresql://server/llmops")) is None

"""`llmops maintain`: one line a round, and an end when it is asked to end."""

import re
import signal
import sys
import threading
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from typer.testing import CliRunner

from llmops_langchain import Database
from llmops_langchain.cli import app
from llmops_langchain.cli.maintain import _Stop, _told, _watch
from llmops_langchain.clock import system_clock
from llmops_langchain.ledger import Event
from llmops_langchain.ledger.journal import Journal, journal_directory
from llmops_langchain.storage.leases import lease
from llmops_langchain.storage.schema import cache_entries


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/llmops.db"
    with Database(url) as database, database.begin() as connection:
        row = {"key": b"k", "value": b"", "created_at": 0.0, "expires_at": 1.0}
        connection.execute(cache_entries.insert().values(**row))
    return url


def run(*arguments: str):
    return CliRunner().invoke(app, ["maintain", *arguments])


def test_a_round_tells_what_was_done(url: str) -> None:
    told = run("--url", url)
    assert told.exit_code == 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ cache: 1 expired\n", told.stdout)


def test_with_nothing_due_it_says_so(url: str) -> None:
    run("--url", url)
    assert run("--url", url).stdout.endswith("Z nothing was due\n")


def test_while_another_process_is_at_it_it_says_so(url: str) -> None:
    with Database(url) as database, lease(database, "maintain", 60, system_clock):
        assert run("--url", url).stdout.endswith("Z another process is at it\n")


def test_events_that_a_dead_process_left_are_stored(url: str) -> None:
    with Database(url) as database:
        journal = Journal(journal_directory(database))
        journal.append(Event(name="a", ts=0.0))
        journal.release()
        run("--url", url)
        assert not journal.path.exists()


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    told = run("--url", f"sqlite:///{tmp_path}/a.db")
    assert told.exit_code == 1
    assert "is not there yet" in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_failed_is_told() -> None:
    done = {"cache": {"failed": 1}, "events": {"deleted": 1_200}, "contents": {"expired": 0}}
    assert _told(done).endswith("Z cache: 1 failed; events: 1,200 deleted")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_ends_cleanly_when_asked(url: str, number: signal.Signals) -> None:
    source = "from llmops_langchain.cli import app; app()"
    watch = ["maintain", "--watch", "--interval", "0.1", "--url", url]
    command = [sys.executable, "-c", source, *watch]
    with Popen(command, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout.readline().endswith("Z cache: 1 expired\n")
        assert process.stdout.readline().endswith("Z nothing was due\n")
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


def test_a_database_that_is_away_for_a_moment_does_not_end_a_watch(url: str) -> None:
    told: list[object] = []

    class Ops:
        def maintain(self) -> dict[str, dict[str, int]]:
            told.append(None)
            if len(told) == 1:
                with Database(url.replace("llmops.db", "no/such.db")) as database:
                    database.upgrade()  # there is no such folder
            signal.raise_signal(signal.SIGTERM)
            return {}

    before = signal.getsignal(signal.SIGTERM)
    _watch(Ops(), interval=0.01)
    assert len(told) == 2
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_wait_ends_with_the_question() -> None:
    stop = _Stop()
    threading.Timer(0.05, stop.ask).start()
    assert stop.wait(600)
    assert stop.is_set

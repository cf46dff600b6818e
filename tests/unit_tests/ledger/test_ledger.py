"""Every event that was recorded is stored once, whatever the database, the disk and a fork do."""

import os
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from unit_tests.ledger.reading import (
    any_event,
    eventually,
    journals,
    locked,
    metric,
    metrics,
    stored,
)
from unit_tests.storage.processes import run

from llmops_langchain.errors import (
    ConfigurationError,
    DatabaseLockedError,
    DatabaseUnavailableError,
)
from llmops_langchain.ledger import Event, Ledger
from llmops_langchain.ledger import ledger as module
from llmops_langchain.ledger.event import from_row, storable
from llmops_langchain.ledger.journal import Journal, encode, leftovers
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import events as t


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path}/llmops.db", lock_timeout=0.05) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the journals of `file` lie."""
    return tmp_path / "llmops.db-llmops"


@pytest.fixture
def quiet(file: Database) -> Iterator[Ledger]:
    """A ledger whose writer does nothing by itself while a test runs."""
    with Ledger(file, interval=600, batch_size=10**6) as ledger:
        yield ledger


def record(ledger: Ledger, given: list[Event]) -> list[Event]:
    for event in given:
        ledger.record(event)
    return given


def writers() -> int:
    return sum(each.name == "llmops-writer" for each in threading.enumerate())


# --- what is stored


def test_flush_stores_what_was_recorded(database: Database, tmp_path: Path) -> None:
    with Ledger(database, journal_dir=tmp_path / "journals") as ledger:
        given = record(ledger, [*metrics(3), metric(0, tags={"env": "dev"}, latency=0.0)])
        ledger.flush()
        assert stored(database) == given


def test_close_stores_what_was_recorded(database: Database, tmp_path: Path) -> None:
    with Ledger(database, journal_dir=tmp_path / "journals") as ledger:
        given = record(ledger, metrics(3))
    ledger.close()
    assert stored(database) == given
    assert not list((tmp_path / "journals").rglob("*.journal"))


def test_an_id_is_stored_once(database: Database, tmp_path: Path) -> None:
    first = metric(1)
    with Ledger(database, journal_dir=tmp_path / "journals") as ledger:
        record(ledger, [first, first])
        ledger.flush()
        record(ledger, [first, metric(2, id=first.id)])
    assert stored(database) == [first]


@given(st.lists(st.integers(-(2**31), 2**31)))
@settings(max_examples=25)
def test_totals_are_the_sums_of_the_events(costs: list[int]) -> None:
    with Database("sqlite://") as database, Ledger(database, batch_size=3) as ledger:
        record(ledger, [metric(cost=cost, input_tokens=abs(cost) % 1000) for cost in costs])
        ledger.flush()
        sums = select(func.sum(t.c.cost), func.sum(t.c.input_tokens), func.count())
        expected = sum(costs), sum(abs(cost) % 1000 for cost in costs), len(costs)
        assert tuple(each or 0 for each in database.read_one(sums)) == expected


@pytest.mark.parametrize("durability", ["journal", "commit"])
def test_whatever_an_event_holds_it_is_stored(database_url: str, durability: str) -> None:
    with (
        Database(database_url) as database,
        Ledger(database, durability=durability, interval=600) as ledger,
    ):

        @given(any_event)
        @settings(max_examples=40, deadline=None)
        def law(event: Event) -> None:
            ledger.record(event)
            ledger.flush()
            with database.begin() as connection:
                row = connection.execute(select(t).where(t.c.id == event.id)).mappings().one()
                connection.execute(t.delete())
            assert ledger.dropped == 0
            # What stands for a prompt is hashed once more, under a secret of the database.
            assert (row["cache_key"] is None) == (event.cache_key is None)
            plain = replace(from_row({**row}), cache_key=event.cache_key)
            assert storable(plain) == storable(event)

        law()


def test_one_event_that_nobody_can_store_holds_up_no_other(
    database: Database, tmp_path: Path, caplog
) -> None:
    good = [metric(1), metric(2)]
    bad = [metric(ts=None), metric(tags=["no mapping"]), metric(name=None)]
    with Ledger(database, journal_dir=tmp_path / "journals", interval=600) as ledger:
        record(ledger, [good[0], *bad, good[1]])
        ledger.flush()
        assert stored(database) == good
        assert ledger.dropped == 3
    assert "an event was dropped (3 so far)" in caplog.text
    assert "no mapping" not in caplog.text


@pytest.mark.parametrize(
    "value", [np.float32(0.5), np.float32(0), np.int32(3), np.bool_(1), True, Fraction(1, 4), 2**70]
)
def test_a_metric_may_be_a_number_of_any_type(
    database: Database, tmp_path: Path, value: object
) -> None:
    with Ledger(database, journal_dir=tmp_path / "journals", interval=600) as ledger:
        record(ledger, [metric(value)])
        ledger.flush()
        assert [event.value for event in stored(database)] == [float(value)]


def test_a_name_too_long_for_an_index_is_cut(database: Database, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    name = "".join(chr(each) for each in random.integers(0x4E00, 0x9FFF, 20_000))
    with Ledger(database, journal_dir=tmp_path / "journals", interval=600) as ledger:
        record(ledger, [metric(workspace=name, project=name), last := metric()])
        ledger.flush()
        long, short = stored(database)
    assert name.startswith(long.workspace)
    assert (short, ledger.dropped) == (last, 0)


# --- when it is stored


def test_an_event_waits_for_the_interval_at_most(file: Database) -> None:
    with Ledger(file, interval=0.01) as ledger:
        for event in metrics(3):
            ledger.record(event)
            eventually(lambda event=event: event in stored(file))


def test_a_full_batch_does_not_wait(file: Database) -> None:
    with Ledger(file, batch_size=3, interval=600) as ledger:
        given = record(ledger, metrics(3))
        eventually(lambda: stored(file) == given)


def test_commit_has_no_thread_and_no_file(database: Database, tmp_path: Path) -> None:
    before = writers()
    with Ledger(database, durability="commit", journal_dir=tmp_path / "journals") as ledger:
        ledger.record(event := metric())
        assert stored(database) == [event]
        assert writers() <= before  # one of another test may end meanwhile
        assert journals(tmp_path / "journals") == []


class Watched(Database):
    """Notes what its transactions were asked for, and fails those whose number it was told."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked, self.failing = [], set()

    def begin(self, **options: bool):
        self.asked.append(options)
        if len(self.asked) in self.failing:
            msg = "away"
            raise DatabaseUnavailableError(msg)
        return super().begin(**options)


@pytest.mark.parametrize(
    ("durability", "syncs", "durable"),
    [("journal", 0, False), ("fsync", 4, True), ("commit", 0, True)],
)
def test_durability_says_what_waits_for_the_disk(
    tmp_path: Path, monkeypatch, durability: str, syncs: int, *, durable: bool
) -> None:
    told, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: told.append(file) or fsync(file))
    with (
        Watched(f"sqlite:///{tmp_path}/llmops.db") as database,
        Ledger(database, durability=durability, interval=600) as ledger,
    ):
        record(ledger, metrics(3))
        ledger.flush()
        assert len(told) == syncs  # each event, and the folder's list of files
        assert {each["durable"] for each in database.asked} == {durable}


# --- when the database or the disk is away


def test_a_database_that_goes_away_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    with (
        Watched(f"sqlite:///{tmp_path}/llmops.db") as database,
        Ledger(database, interval=600) as ledger,
    ):
        given = record(ledger, [metric(1), metric(2, unit="\ud800"), metric(3)])
        database.failing = {3}  # the batch is refused, its first event stored, then this
        with pytest.raises(DatabaseUnavailableError):
            ledger.flush()
        ledger.flush()
        assert [event.id for event in stored(database)] == [event.id for event in given]
        assert ledger.dropped == 0


def test_a_locked_database_loses_nothing(file: Database, quiet: Ledger, folder: Path) -> None:
    with locked(file):
        given = record(quiet, metrics(3))
        with pytest.raises(DatabaseLockedError):
            quiet.flush()
        given += record(quiet, metrics(2))
        with pytest.raises(DatabaseLockedError):
            quiet.flush()
        assert len(journals(folder)) == 2
    quiet.flush()
    assert stored(file) == given
    assert (journals(folder), quiet.dropped) == ([], 0)


def test_the_writer_comes_back_by_itself(file: Database, caplog) -> None:
    with Ledger(file, interval=0.01) as ledger:
        with locked(file):
            given = record(ledger, metrics(3))
            eventually(lambda: "events wait for the database" in caplog.text)
        eventually(lambda: stored(file) == given)
    assert caplog.text.count("events wait for the database") == 1


def test_a_server_that_is_down_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "journals"
    with Database(f"postgresql://me@/llmops?host={tmp_path}") as away:
        with Ledger(away, journal_dir=folder, interval=600) as ledger:
            given = record(ledger, metrics(3))
            with pytest.raises(DatabaseUnavailableError):
                ledger.flush()
        assert ledger.dropped == 0
        assert [event for file in leftovers(*folder.iterdir()) for event in file] == given


def test_missing_tables_are_waited_for(database: Database, tmp_path: Path) -> None:
    """The error is about no event, so none is dropped for it."""
    with Ledger(database, journal_dir=tmp_path / "journals", interval=600) as ledger:
        rename = "ALTER TABLE llmops_events{} RENAME TO llmops_events{}"
        with database.begin() as connection:
            connection.execute(text(rename.format("", "_away")))
        given = record(ledger, metrics(2))
        with pytest.raises(Exception, match="llmops_events"):
            ledger.flush()
        with database.begin() as connection:
            connection.execute(text(rename.format("_away", "")))
        ledger.flush()
        assert (stored(database), ledger.dropped) == (given, 0)


def test_a_closed_database_breaks_no_call(database_url: str, tmp_path: Path) -> None:
    database = Database(database_url)
    ledger = Ledger(database, journal_dir=tmp_path / "journals", interval=600)
    database.close()
    record(ledger, metrics(2))
    with pytest.raises(DatabaseUnavailableError):
        ledger.flush()
    ledger.close()


def test_a_store_that_is_away_costs_a_committing_ledger_its_event(file: Database) -> None:
    with Ledger(file, durability="commit") as ledger:
        with locked(file):
            ledger.record(metric())
        assert ledger.dropped == 1


def test_without_a_place_for_journals_events_wait_in_memory(file: Database, caplog) -> None:
    file.upgrade()
    folder = file.path / "below a file"
    with Ledger(file, journal_dir=folder, interval=600) as ledger:
        with locked(file):
            given = record(ledger, metrics(2))
            with pytest.raises(DatabaseLockedError):
                ledger.flush()
            given += record(ledger, metrics(2))
        ledger.flush()
        assert (stored(file), ledger.dropped) == (given, 0)
    assert caplog.text.count("no journal, events wait in memory") == 1


def test_what_a_full_disk_refused_waits_in_memory(
    file: Database, quiet: Ledger, monkeypatch
) -> None:
    append, refused = Journal.append, iter([False, True] * 3)

    def sometimes(journal: Journal, event: Event) -> None:
        if next(refused):
            raise OSError
        append(journal, event)

    monkeypatch.setattr(Journal, "append", sometimes)
    with locked(file):
        given = record(quiet, metrics(6))
        with pytest.raises(DatabaseLockedError):
            quiet.flush()
    quiet.flush()
    assert (stored(file), quiet.dropped) == (given, 0)


def test_memory_is_bounded_while_the_database_is_away(
    file: Database, quiet: Ledger, monkeypatch
) -> None:
    monkeypatch.setattr(module, "_IN_MEMORY", 100)
    with locked(file):
        given = record(quiet, metrics(1050))
        assert len(quiet._queue) == 50
        with pytest.raises(DatabaseLockedError):
            quiet.flush()
        assert len(quiet._queue) == 0
    quiet.flush()
    assert (stored(file), quiet.dropped) == (given, 0)


def test_what_no_journal_has_is_never_forgotten_for_room(
    file: Database, quiet: Ledger, monkeypatch
) -> None:
    monkeypatch.setattr(module, "_IN_MEMORY", 10)
    append, refused = Journal.append, iter([True] * 8 + [False] * 42)

    def sometimes(journal: Journal, event: Event) -> None:
        if next(refused):
            raise OSError
        append(journal, event)

    monkeypatch.setattr(Journal, "append", sometimes)
    with locked(file):
        given = record(quiet, metrics(50))
        assert len(quiet._queue) == 8 + 2
    quiet.flush()
    assert (stored(file), quiet.dropped) == (given, 0)


def test_with_neither_database_nor_disk_the_loss_is_counted(file: Database, monkeypatch) -> None:
    monkeypatch.setattr(module, "_IN_MEMORY", 10)
    file.upgrade()
    with Ledger(file, journal_dir=file.path / "below a file", interval=600) as ledger:
        given = record(ledger, metrics(50))
        assert (len(ledger._queue), ledger.dropped) == (20, 30)
        ledger.flush()
        assert stored(file) == given[:20]


def test_a_full_memory_is_stored_by_the_caller(monkeypatch) -> None:
    monkeypatch.setattr(module, "_IN_MEMORY", 10)
    with Database("sqlite://") as database, Ledger(database, interval=600) as ledger:
        given = record(ledger, metrics(25))
        assert (stored(database), len(ledger._queue)) == (given[:20], 5)


# --- arguments, life and death


@pytest.mark.parametrize(
    "wrong", [{"durability": "wish"}, {"batch_size": 0}, {"interval": 0}, {"interval": -1}]
)
def test_an_argument_that_makes_no_sense_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigurationError):
        Ledger(Database("sqlite://"), **wrong)


@pytest.mark.parametrize("durability", ["journal", "commit"])
def test_a_disabled_ledger_records_nothing_and_opens_nothing(
    file: Database, tmp_path: Path, durability: str
) -> None:
    before = writers()
    (left := tmp_path / "1-dead.journal").write_bytes(encode(metric()))
    with Ledger(file, disabled=True, durability=durability, journal_dir=tmp_path) as ledger:
        record(ledger, metrics(3))
        ledger.flush()
    assert (list(tmp_path.iterdir()), writers(), ledger.dropped) == ([left], before, 0)


def test_an_event_recorded_after_close_is_in_the_journal(file: Database, folder: Path) -> None:
    with Ledger(file) as ledger:
        ledger.record(first := metric())
    ledger.record(last := metric())
    assert len(journals(folder)) == 1
    ledger.flush()
    assert stored(file) == [first, last]


def test_a_finalizer_may_record_while_its_thread_records(file: Database, quiet: Ledger) -> None:
    inner = metric(2)

    class Recording:
        def __str__(self) -> str:
            quiet.record(inner)
            return "x"

    outer = metric(1, unit=Recording())
    thread = threading.Thread(target=quiet.record, args=(outer,), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    quiet.flush()
    assert {event.id for event in stored(file)} == {inner.id, outer.id}


def test_a_dropped_ledger_ends_its_thread_and_leaves_its_journal(
    file: Database, folder: Path
) -> None:
    ledger = Ledger(file, interval=0.01)
    ledger.record(first := metric())
    eventually(lambda: stored(file) == [first])
    writer, seen = ledger._writer, weakref.ref(ledger)
    eventually(lambda: not journals(folder))
    ledger._interval = 600
    del ledger
    eventually(lambda: not writer.is_alive())
    assert seen() is None


def test_the_next_ledger_stores_what_a_dropped_one_left(file: Database) -> None:
    dropped = Ledger(file, interval=600)
    given = record(dropped, metrics(3))
    del dropped
    with Ledger(file) as ledger:
        ledger.flush()
    assert stored(file) == given


def test_two_ledgers_share_a_database(file: Database) -> None:
    with Ledger(file, interval=600) as one, Ledger(file, interval=600) as two:
        given = record(one, metrics(2)) + record(two, metrics(2))
        one.flush()
        assert stored(file) == given[:2]
    assert stored(file) == given


def test_threads_record_at_once(file: Database) -> None:
    given = [metrics(200) for _ in range(4)]
    with Ledger(file, interval=0.001, batch_size=10) as ledger:
        threads = [threading.Thread(target=record, args=(ledger, each)) for each in given]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert {each.id for each in stored(file)} == {each.id for some in given for each in some}
    assert ledger.dropped == 0


def test_the_end_of_a_process_is_a_close(file: Database) -> None:
    source = """
from llmops_langchain.ledger import Event, Ledger
from llmops_langchain.storage import Database

ledger = Ledger(Database(sys.argv[1]), interval=600)
for value in range(3):
    ledger.record(Event(name="a", ts=0, value=value))
"""
    run(source, f"sqlite:///{file.path}")
    assert [event.value for event in stored(file)] == [0, 1, 2]


# The writer of the parent runs while it forks; each child's own stores what the child recorded.
FORK = """
import signal
from sqlalchemy import func, select
from llmops_langchain.ledger import Event, Ledger
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import events as t

database = Database(sys.argv[1])
ledger = Ledger(database, interval=0.005)

def record(name, number):
    for value in range(number):
        ledger.record(Event(name=name, ts=0, value=value))

record("before", 30)
children = []
for name in ("one", "two"):
    children.append(os.fork())
    if children[-1] == 0:
        signal.alarm(60)
        record(name, 20)
        mine = select(func.count()).where(t.c.name == name)
        while database.read_one(mine)[0] < 20:
            pass
        os._exit(ledger.dropped)
record("after", 10)
assert not any(os.waitpid(child, 0)[1] for child in children)
"""


def test_a_live_ledger_may_be_forked(tmp_path: Path, postgres_url: str, monkeypatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for url in (f"sqlite:///{tmp_path}/llmops.db", postgres_url):
        run(FORK, url)
        with Database(url) as database:
            found = sorted((event.name, event.value) for event in stored(database))
        numbers = {"after": 10, "before": 30, "one": 20, "two": 20}
        assert found == [(name, value) for name, most in numbers.items() for value in range(most)]


def test_an_error_before_the_insert_is_about_no_event(file: Database, quiet: Ledger) -> None:
    given = record(quiet, metrics(3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "_prepared", lambda _self: None.missing)
        with pytest.raises(AttributeError):
            quiet.flush()
    quiet.flush()
    assert (stored(file), quiet.dropped) == (given, 0)


def test_a_flush_in_the_middle_of_a_record_comes_back(
    file: Database, quiet: Ledger, monkeypatch
) -> None:
    """As from a signal handler: the thread that would be waited for is this one."""
    append = Journal.append

    def interrupted(journal: Journal, event: Event) -> None:
        quiet.flush()
        append(journal, event)

    monkeypatch.setattr(Journal, "append", interrupted)
    given = record(quiet, metrics(3))
    quiet.flush()
    assert stored(file) == given

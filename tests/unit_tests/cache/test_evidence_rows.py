"""Evidence is kept, judged and read alike, in memory and in the database."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache as once
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
from conftest import FakeClock, locked_by_another, one_of_each_kind
from sqlalchemy import func, select, text
from unit_tests.storage.processes import run

from llmops_langchain import Database
from llmops_langchain.cache import evidence_rows
from llmops_langchain.cache.evidence_rows import (
    Evidence,
    EvidenceRows,
    Found,
    Judged,
    MemoryEvidence,
)
from llmops_langchain.errors import (
    ConfigurationError,
    DatabaseLockedError,
    DatabaseUnavailableError,
)
from llmops_langchain.storage.schema import cache_feedback, generations

NOW = FakeClock().now
DAY = 86_400
CALL, MATCHED = b"c" * 32, b"m" * 32

OpenEvidence = Callable[..., Evidence]


@pytest.fixture(scope="module")
def places(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Database]]:
    with one_of_each_kind(
        request, tmp_path_factory.mktemp("evidence"), schema="evidence"
    ) as opened:
        yield opened


def emptied(database: Database) -> Database:
    with database.begin() as connection:
        connection.execute(cache_feedback.delete())
        connection.execute(generations.delete())
    return database


@pytest.fixture(params=["memory", "sqlite_memory", "postgresql"])
def open_evidence(request: pytest.FixtureRequest) -> OpenEvidence:
    """Opens evidence on one place, which is empty at first; each call is another process."""
    if request.param == "memory":
        return once(lambda _space="answers": MemoryEvidence())
    database = emptied(request.getfixturevalue("places")(request.param))
    return lambda space="answers": EvidenceRows(database, space)


@pytest.fixture
def rows(open_evidence: OpenEvidence) -> Evidence:
    return open_evidence()


@pytest.fixture
def other(open_evidence: OpenEvidence) -> Evidence:
    """What another process sees: an object of its own on the same place."""
    return open_evidence()


@pytest.fixture
def postgres(places: Callable[[str], Database]) -> Database:
    return emptied(places("postgresql"))


def note(rows: Evidence, *runs: str, **told: Any) -> None:
    for run_id in runs:
        found = Found(run_id, "pool", CALL, MATCHED, 0.9, 0.8, "shadow", None, NOW)
        rows.note(found._replace(**told))


def judge(rows: Evidence, run_id: str, *, correct: bool = True, at: float = NOW) -> Judged | None:
    return rows.judge(run_id, correct=correct, source="feedback", by=None, now=at)


def told(rows: Evidence, after: int = 0, *, pool: str = "pool") -> list[tuple[str, bool]]:
    found, _ = rows.labels(pool, after)
    return [(label.run_id, label.correct) for label in found]


def test_a_judgment_comes_with_all_that_was_noted(rows, other) -> None:
    note(rows, "run", score=0.875, cosine=-0.25, kind="served", workspace="w")
    judged = other.judge("run", correct=False, source="review", by="somebody", now=NOW + 9.5)
    assert judged == Judged(
        cursor=judged.cursor,
        run_id="run",
        call_key=CALL,
        matched=MATCHED,
        score=0.875,
        cosine=-0.25,
        kind="served",
        correct=False,
        source="review",
        by="somebody",
        ts=NOW + 9.5,
    )
    assert judged.correct is False
    assert rows.labels("pool", 0) == ([judged], judged.cursor)


def test_an_unknown_run_cannot_be_judged(rows: Evidence) -> None:
    note(rows, "run")
    assert judge(rows, "another") is None
    assert rows.labels("pool", 0) == ([], 0)


def test_a_known_run_stays_as_it_is(rows, other) -> None:
    note(rows, "run")
    note(other, "run", score=0.1, pool="another")
    judged = judge(rows, "run")
    note(other, "run", score=0.2)
    assert judged.score == 0.9
    assert rows.labels("pool", 0) == ([judged], judged.cursor)
    assert told(rows, pool="another") == []


def test_labels_come_in_the_order_they_were_judged_in(rows, other) -> None:
    note(rows, "a", "b", "c")
    for each, run_id in ((rows, "b"), (other, "c"), (rows, "a")):
        judge(each, run_id, at=NOW)
    assert told(rows) == told(other) == [("b", True), ("c", True), ("a", True)]


def test_a_cursor_leads_to_what_is_new(rows, other) -> None:
    note(rows, "a", "b", "c")
    judge(rows, "a")
    _, cursor = other.labels("pool", 0)
    assert other.labels("pool", cursor) == ([], cursor)
    judge(rows, "c", correct=False)
    judge(rows, "b")
    found, later = other.labels("pool", cursor)
    assert [label.run_id for label in found] == ["c", "b"]
    assert later == found[-1].cursor > cursor
    assert other.labels("pool", later) == ([], later)


def test_another_judgment_replaces_the_first_and_reaches_who_read_it(rows, other) -> None:
    note(rows, "a", "b")
    judge(rows, "a")
    judge(rows, "b")
    _, cursor = other.labels("pool", 0)
    judged = rows.judge("a", correct=False, source="review", by="somebody", now=NOW + 1)
    assert other.labels("pool", cursor) == ([judged], judged.cursor)
    assert told(other) == [("b", True), ("a", False)]


def test_pools_are_read_apart(rows: Evidence) -> None:
    note(rows, "a", pool="one")
    note(rows, "b", pool="two")
    judge(rows, "a")
    judge(rows, "b")
    assert (told(rows, pool="one"), told(rows, pool="two")) == ([("a", True)], [("b", True)])
    assert told(rows, pool="three") == []


def test_spaces_are_kept_apart(open_evidence: OpenEvidence) -> None:
    rows, nodes = open_evidence(), open_evidence("nodes")
    note(rows, "a", "b")
    note(nodes, "a", score=0.1)
    judge(nodes, "a", correct=False)
    assert (told(rows), told(nodes), rows.refuted(9)) == ([], [("a", False)], [])
    assert judge(nodes, "b") is None
    assert judge(rows, "a").score == 0.9


def test_refuted_pairs_are_those_judged_wrong_last(rows, other) -> None:
    for number in range(6):
        key = bytes([number]) * 32
        note(rows, f"run {number}", call_key=key, ts=NOW + number, pool=f"pool {number % 2}")
    for number in (5, 1, 3, 4):
        judge(rows, f"run {number}", correct=False)
    judge(rows, "run 2")
    judge(rows, "run 3")
    expected = [(bytes([number]) * 32, MATCHED) for number in (5, 4, 1)]
    assert other.refuted(9) == expected
    assert other.refuted(2) == expected[:2]


def test_what_nobody_judges_in_a_week_is_let_go(rows, other) -> None:
    note(rows, "old", "judged")
    note(rows, "new", ts=NOW + 1)
    judge(rows, "judged")
    rows.prune(now=NOW + 7 * DAY)
    assert judge(other, "old") is None
    assert judge(other, "new") is not None
    assert told(rows) == [("judged", True), ("new", True)]


def test_the_newest_labels_of_each_pool_are_kept(rows: Evidence, monkeypatch) -> None:
    monkeypatch.setattr(evidence_rows, "_LABELS", 3)
    note(rows, *"abcdefg")
    note(rows, *"xyz", pool="another")
    for run_id in "gaxbycdzef":
        judge(rows, run_id)
    judge(rows, "b")
    rows.prune(now=NOW)
    assert [run_id for run_id, _ in told(rows)] == ["e", "f", "b"]
    assert [run_id for run_id, _ in told(rows, pool="another")] == ["x", "y", "z"]


def test_very_many_are_let_go_at_once(rows: Evidence, monkeypatch) -> None:
    monkeypatch.setattr(evidence_rows, "_LABELS", 5)
    runs = [str(number) for number in range(230)]
    note(rows, *runs)
    for run_id in runs:
        judge(rows, run_id)
    note(rows, *(f"unjudged {run_id}" for run_id in runs))
    rows.prune(now=NOW + 7 * DAY)
    assert [run_id for run_id, _ in told(rows)] == runs[-5:]
    assert not any(judge(rows, f"unjudged {run_id}") for run_id in runs)


def test_memory_waits_for_a_bounded_number_of_judgments(monkeypatch) -> None:
    monkeypatch.setattr(evidence_rows, "_UNJUDGED", 3)
    note(rows := MemoryEvidence(), *"abcd")
    judge(rows, "b")
    note(rows, "e", "f")
    assert [judge(rows, run_id) is None for run_id in "abcdef"] == [
        *(True, False, True),
        *(False, False, False),
    ]


def test_a_space_is_an_identifier() -> None:
    with pytest.raises(ConfigurationError, match="`space` must be an identifier, got 'a:b'"):
        EvidenceRows(Database("sqlite://"), "a:b")


def test_ids_sort_by_time(places: Callable[[str], Database]) -> None:
    database = emptied(places("sqlite_memory"))
    note(EvidenceRows(database), "b", "a")
    in_order = select(cache_feedback.c.run_id).order_by(cache_feedback.c.id)
    assert database.read(in_order) == [("b",), ("a",)]


# Many at once.


def read_on(rows: Evidence, over: Event) -> list[Judged]:
    """What is read in many small steps until it is over, and once more."""
    cursor, found = 0, []
    while True:
        is_last = over.is_set()
        new, cursor = rows.labels("pool", cursor)
        found += new
        if is_last:
            return found


def test_all_who_read_get_the_same_labels_in_the_same_order(open_evidence, monkeypatch) -> None:
    monkeypatch.setattr(evidence_rows, "_PATIENCE", 60.0)  # a busy machine is no error
    start, over = Barrier(6), Event()

    def work(number: int) -> None:
        rows = open_evidence()
        start.wait()
        for each in range(15):
            note(rows, run_id := f"{number} {each}")
            assert judge(rows, run_id)

    with ThreadPoolExecutor(8) as threads:
        readers = [threads.submit(read_on, open_evidence(), over) for _ in range(2)]
        list(threads.map(work, range(6)))
        over.set()
    everything, _ = open_evidence().labels("pool", 0)
    assert len(everything) == 6 * 15
    assert [reader.result() for reader in readers] == [everything] * 2


def wait_for_locks(database: Database, waiting: int, *futures: Future[Any]) -> None:
    """Until so many transactions wait for another one, or a future is done without."""
    blocked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while not any(future.done() for future in futures):
        with database.begin(read_only=True) as connection:
            if connection.execute(blocked).scalar_one() >= waiting:
                return


def test_a_judgment_waits_for_one_that_was_made_before_it(postgres: Database) -> None:
    import psycopg

    rows = EvidenceRows(postgres)
    note(rows, "a", "b")
    url = postgres.url.set(drivername="postgresql").render_as_string(hide_password=False)
    held = "SELECT 1 FROM evidence.llmops_cache_feedback WHERE run_id = 'a' FOR UPDATE"
    with ThreadPoolExecutor(2) as threads:
        with psycopg.connect(url) as holder:
            assert holder.execute(held).fetchone()
            first = threads.submit(judge, rows, "a")
            wait_for_locks(postgres, 1, first)
            second = threads.submit(judge, rows, "b")
            wait_for_locks(postgres, 2, first, second)
            assert told(rows) == []
        assert first.result().cursor < second.result().cursor
    assert told(rows) == [("a", True), ("b", True)]


def test_what_another_transaction_holds_is_not_waited_for(postgres: Database) -> None:
    import psycopg

    rows = EvidenceRows(postgres)
    note(rows, "a", "b")
    url = postgres.url.set(drivername="postgresql").render_as_string(hide_password=False)
    held = "SELECT 1 FROM evidence.llmops_cache_feedback WHERE run_id = 'a' FOR UPDATE"
    with psycopg.connect(url) as holder:
        assert holder.execute(held).fetchone()
        rows.prune(now=NOW + 8 * DAY)
    assert judge(rows, "b") is None
    assert judge(rows, "a") is not None


@pytest.mark.parametrize("count", [10, pytest.param(300, marks=pytest.mark.slow)])
def test_four_processes_note_and_judge_at_once(tmp_path: Path, count: int) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    source = """
    from llmops_langchain.cache import evidence_rows
    from llmops_langchain.storage import Database

    evidence_rows._PATIENCE = 60.0  # a busy machine is no error
    found = evidence_rows.Found("", "pool", b"c", b"m", 0.9, 0.8, "shadow", None, 0.0)
    said = {"source": "shadow", "by": None, "now": 1.0}

    def work(number):
        with Database(sys.argv[1]) as database:
            rows, cursor, seen = evidence_rows.EvidenceRows(database), 0, []
            for each in range(int(sys.argv[2])):
                rows.note(found._replace(run_id=str(each)))
                rows.judge(str(each), correct=bool(number % 2), **said)
                new, cursor = rows.labels("pool", cursor)
                seen += new
                rows.prune(now=2.0)
            assert [label.cursor for label in seen] == sorted({label.cursor for label in seen})

    Database(sys.argv[1]).upgrade()
    at_once(4, work)
    """
    run(source, url, count)
    with Database(url) as database:
        labels, cursor = EvidenceRows(database).labels("pool", 0)
        assert {label.run_id for label in labels} == {str(each) for each in range(count)}
        assert cursor == 4 * count
        assert database.read(select(func.count()).select_from(cache_feedback)) == [(count,)]


# A place that cannot do it.

CALLS: dict[str, Callable[[Evidence], object]] = {
    "note": lambda rows: note(rows, "run"),
    "judge": lambda rows: judge(rows, "run"),
    "labels": lambda rows: rows.labels("pool", 0),
    "refuted": lambda rows: rows.refuted(9),
    "prune": lambda rows: rows.prune(now=NOW),
}


def test_a_place_that_is_gone_is_a_typed_error(database: Database) -> None:
    database.close()
    for call in CALLS.values():
        with pytest.raises(DatabaseUnavailableError):
            call(EvidenceRows(database))


@pytest.mark.parametrize("name", ["note", "prune"])
def test_a_call_waits_for_another_writer_only_briefly(tmp_path: Path, name: str) -> None:
    with locked_by_another(tmp_path) as database, pytest.raises(DatabaseLockedError):
        CALLS[name](EvidenceRows(database))

"""What is exported can be loaded again, and is the same; no spreadsheet runs it."""

import csv
import json
import tracemalloc
from decimal import Decimal
from uuid import UUID

import pytest
from conftest import FakeClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit_tests.analytics.conftest import emptied
from unit_tests.ledger.reading import stored

from llmops_langchain import (
    Analytics,
    Budget,
    ConfigurationError,
    LLMOps,
    MissingExtraError,
    Settings,
)
from llmops_langchain.ledger import LLM_CALL, Event, RollupTable
from llmops_langchain.ledger.importing import import_events
from llmops_langchain.storage import Database

NOW = 1_800_000_000.0
FORMATS = ["json", "ndjson", "csv", "parquet"]


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


@pytest.fixture
def analytics(database: Database, clock: FakeClock) -> Analytics:
    return Analytics(database, clock=clock)


def event(**fields: object) -> Event:
    return Event(**({"name": "task.success", "ts": NOW - 60, "value": 1.0} | fields))


texts = st.none() | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
)
any_event = st.builds(
    Event,
    id=st.uuids(),
    name=st.sampled_from([LLM_CALL, "quality.score"]),
    ts=st.floats(NOW - 86_400, NOW),
    value=st.none() | st.floats(-1e9, 1e9),
    latency=st.none() | st.floats(0, 1e9),
    cost=st.integers(0, 2**62),
    input_tokens=st.integers(0, 2**31 - 1),
    unpriced=st.booleans(),
    run_id=st.none() | st.uuids(),
    tags=st.none()
    | st.dictionaries(st.sampled_from(["a", "=b"]), st.sampled_from(["", "'c", "=d"])),
    **dict.fromkeys(("workspace", "project", "user", "agent", "model", "error_class"), texts),
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=15,
)
@given(made=st.lists(any_event, max_size=12, unique_by=lambda each: each.id))
@pytest.mark.parametrize("form", FORMATS)
def test_what_is_loaded_is_what_was_exported(database, clock, tmp_path, form, made) -> None:
    emptied(database)
    import_events(database, made, clock=clock)
    target = tmp_path / f"events.{form}"
    assert Analytics(database, clock=clock).export(target, days=2) == len(made)
    with Database("sqlite://") as other:
        loaded = Analytics(other, clock=clock)
        assert loaded.load(target) == (len(made), len(made))
        assert loaded.load(target) == (len(made), 0)  # each once
        assert stored(other) == stored(database)
        assert RollupTable(other, clock=clock).rebuild(verify=True).right


@pytest.mark.parametrize("form", FORMATS)
def test_pages_leave_nothing_out_and_tell_nothing_twice(
    analytics, database, tmp_path, form
) -> None:
    """Many events of one moment, over the end of a page."""
    made = [event(id=UUID(int=n + 1), ts=NOW - 60 - n // 4_000, value=n) for n in range(11_000)]
    import_events(database, made, clock=lambda: NOW)
    target = tmp_path / f"a.{form}"
    assert analytics.export(target) == 11_000
    with Database("sqlite://") as other:
        assert Analytics(other, clock=lambda: NOW).load(target) == (11_000, 11_000)


def test_cells_that_a_spreadsheet_would_run_are_marked(analytics, database, tmp_path) -> None:
    odd = ["=1+1", "+1", "-1", "@a", "\t=1", "'quoted", "plain"]
    import_events(database, [event(project=each) for each in odd], clock=lambda: NOW)
    analytics.export(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as lines:
        cells = sorted(row["project"] for row in csv.DictReader(lines))
    assert cells == sorted([*(f"'{each}" for each in odd[:-1]), "plain"])


def test_what_is_asked_for_is_exported(analytics, database, tmp_path) -> None:
    import_events(
        database,
        [
            event(project="a"),
            event(project="b", tags={"env": "dev"}, task="t"),
            event(name="other", ts=NOW - 10 * 86_400),
        ],
        clock=lambda: NOW,
    )
    target = tmp_path / "a.ndjson"
    asked = [
        ((), {"days": 30}, 3),
        ((), {"days": 1}, 2),
        (("other",), {}, 1),
        ((), {"project": "a"}, 1),
        ((), {"tags": {"env": "dev"}}, 1),
        ((), {"task": "t"}, 1),
        ((), {"end": NOW - 86_400}, 1),
        (("never",), {}, 0),
    ]
    for names, named, number in asked:
        assert analytics.export(target, *names, **named) == number, (names, named)
        assert len(target.read_text().splitlines()) == number


def test_an_array_is_json_and_a_stream_is_the_same(analytics, database, tmp_path) -> None:
    import_events(database, [event(tags={"a": "b"}, cost=3)], clock=lambda: NOW)
    analytics.export(tmp_path / "a.json")
    (found,) = json.loads((tmp_path / "a.json").read_bytes())
    assert (found["cost"], found["tags"], found["value"]) == (3, {"a": "b"}, 1.0)
    assert "cache_key" not in found
    assert b"".join(analytics.export_bytes(format="json")) == (tmp_path / "a.json").read_bytes()
    with pytest.raises(ConfigurationError, match="no stream"):
        analytics.export_bytes(format="parquet")


def test_an_array_of_another_hand_is_read_too(tmp_path) -> None:
    (tmp_path / "a.json").write_text('[{"name": "a", "ts": 1.0}, {"name": "b", "ts": 2}]')
    with Database("sqlite://") as database:
        assert Analytics(database).load(tmp_path / "a.json") == (2, 2)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.ndjson", '{"name": "a", "ts": 1.0}\n{"name": 5}\n'),
        ("a.ndjson", '{"name": "a", "ts": 1.0}\nnonsense\n'),
        ("a.ndjson", '{"name": "a", "ts": 1.0}\n[1]\n'),
        ("a.ndjson", '{"name": "a", "ts": 1.0}\n{"name": "a", "ts": "soon"}\n'),
        ("a.ndjson", '{"name": "a", "ts": 1.0}\n{"name": "a", "ts": 1.0, "tags": [1]}\n'),
        ("a.csv", "name,ts\na,1.0\na,x\n"),
        ("a.csv", "name,ts\na,1.0\na,nan\n"),
    ],
)
def test_a_row_that_is_none_is_told(tmp_path, name, text) -> None:
    (tmp_path / name).write_text(text)
    with Database("sqlite://") as database, pytest.raises(ConfigurationError, match="row 2 of"):
        Analytics(database).load(tmp_path / name)


def test_a_format_must_be_known(tmp_path) -> None:
    with Database("sqlite://") as database:
        for call in (Analytics(database).export, Analytics(database).load):
            with pytest.raises(ConfigurationError, match="`format` is one of json, ndjson"):
                call(tmp_path / "a.xlsx")


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with Database("sqlite://") as database, pytest.raises(MissingExtraError, match="export"):
        Analytics(database).export(tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_there_once_it_is_whole(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("before")
    database = Database("sqlite://")
    database.close()
    with pytest.raises(Exception, match="was closed"):
        Analytics(database).export(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_memory_does_not_grow_with_the_events(tmp_path) -> None:
    def peak(number: int) -> int:
        with Database(f"sqlite:///{tmp_path}/{number}.db") as database:
            made = (event(id=UUID(int=n + 1), ts=NOW - 60 - n / 100) for n in range(number))
            import_events(database, made, clock=lambda: NOW)
            tracemalloc.start()
            Analytics(database, clock=lambda: NOW).export(tmp_path / "a.ndjson")
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return found

    peak(100)
    assert peak(40_000) < 1.3 * peak(10_000)


def test_budgets_do_not_count_what_is_loaded(clock) -> None:
    with LLMOps("sqlite://", Settings(), clock=clock) as ops:
        ops.budgets.set(Budget(project="p", limit="1", period="month"))
        recorded, loaded = (event(name=LLM_CALL, cost=5, project="p") for _ in range(2))
        ops.ledger.record(recorded)
        ops.flush()
        import_events(ops.database, [loaded], clock=clock)
        assert ops.analytics.cost(project="p").calls == 2
        assert ops.budgets.get(project="p").spent == Decimal("5e-9")


def test_odd_events_are_mended_as_everywhere() -> None:
    with Database("sqlite://") as database:
        made = [event(project="a\ud800"), event(cost=10**30), event()]
        assert import_events(database, made, clock=lambda: NOW) == (3, 3)

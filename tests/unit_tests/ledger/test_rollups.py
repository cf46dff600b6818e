"""The sums of events are what the events add up to, whoever stores them, in whatever order."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from conftest import FakeClock, one_of_each_kind
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update
from unit_tests.ledger.reading import any_event, metric
from unit_tests.storage.processes import run

from llmops_langchain.fits.sketches import quantiles
from llmops_langchain.ledger import LLM_CALL, Event, EventRows, Ledger, RollupTable
from llmops_langchain.ledger.importing import import_events
from llmops_langchain.ledger.rollups import (
    DAY,
    GLOBAL_DAY,
    GLOBAL_HOUR,
    USER_DAY,
    USER_HOUR,
    USERS_DAY,
)
from llmops_langchain.ledger.settlement import Settlement
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Subject
from llmops_langchain.storage.schema import ROLLUP_KEY, events, rollup_marks, rollups

KINDS = ["sqlite_memory", "sqlite_file", "postgresql"]
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def opened(request, tmp_path_factory) -> Iterator[Callable[[str], Database]]:
    folder = tmp_path_factory.mktemp("rollups")
    with one_of_each_kind(request, folder, schema="rollups") as opened:
        yield opened


@pytest.fixture(params=KINDS)
def database(request, opened) -> Database:
    """One for all tests of a kind, empty."""
    database = opened(request.param)
    with database.begin() as connection:
        for table in (events, rollups, rollup_marks):
            connection.execute(delete(table))
    return database


@pytest.fixture
def table(database: Database, clock: FakeClock) -> RollupTable:
    return RollupTable(database, clock=clock)


def store(database: Database, *batches: list[Event], now: float = NOW) -> None:
    settlement = Settlement(lambda: now)
    for batch in batches:
        with database.begin() as connection:
            settlement.store(connection, batch)


def rows(database: Database, *conditions: object) -> list:
    with database.begin(read_only=True) as connection:
        return connection.execute(select(rollups).where(*conditions)).all()


def call(**fields: object) -> Event:
    return Event(**({"name": LLM_CALL, "ts": NOW} | fields))


near = st.floats(NOW - 20 * DAY, NOW)
some = st.sampled_from([None, "a", "b"])
likely_event = st.builds(
    Event,
    name=st.sampled_from([LLM_CALL, "task.success", "llm.abandoned"]),
    ts=near,
    value=st.none() | st.floats(-1e6, 1e6),
    latency=st.none() | st.floats(0, 1e3),
    time_to_first_token=st.none() | st.floats(0, 10),
    error_class=st.sampled_from([None, "ValueError", "BudgetExceededError"]),
    status=st.sampled_from(["ok", "error"]),
    cost=st.integers(-(10**9), 10**9),
    saved=st.integers(0, 10**9),
    **dict.fromkeys(("workspace", "project", "user", "agent", "model"), some),
    **dict.fromkeys(("input_tokens", "output_tokens", "trimmed_tokens"), st.integers(0, 10**6)),
)


# Examples add to one database: what is right of all is right of the last.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(found=st.lists(likely_event, max_size=40), data=st.data())
def test_however_events_come_the_sums_are_those_of_the_rows(database, table, found, data) -> None:
    """In any batches, some of them twice, late or early."""
    batches = (
        data.draw(st.lists(st.lists(st.sampled_from(found), max_size=30), max_size=4))
        if found
        else []
    )
    store(database, *batches, found, *batches)
    rebuilt = table.rebuild(verify=True)
    assert rebuilt.differences == ()


@settings(max_examples=10)
@given(found=st.lists(any_event, max_size=10))
def test_odd_events_take_no_others_down(found) -> None:
    """Through the ledger, which mends what no database takes."""
    with Database("sqlite://") as database, Ledger(database, clock=lambda: NOW) as ledger:
        for event in [*found, metric()]:
            ledger.record(event)
        ledger.flush()
        (total,) = rows(
            database, rollups.c.tier == GLOBAL_HOUR.number, rollups.c.name == "task.success"
        )
        assert (ledger.dropped, total.events) == (0, 1)


def test_numbers_without_measure_hold_up_no_later_ones(database) -> None:
    for value in (1.7e308, 1.7e308, -1.7e308, 1.0):
        store(database, [metric(value=value, cost=2**62, saved=2**62, trimmed_tokens=2**63 - 1)])
    (total,) = rows(database, rollups.c.tier == GLOBAL_HOUR.number)
    assert (total.events, total.measured) == (4, 4)


def test_what_retention_deleted_is_not_added_again(database) -> None:
    old = call(ts=NOW - 5 * DAY)
    store(database, [old])
    EventRows(database, retention=2 * DAY).maintain(NOW)
    assert import_events(database, [old, call()], clock=lambda: NOW) == (2, 1)
    counted = rows(database, rollups.c.tier == GLOBAL_DAY.number)
    assert sorted(each.events for each in counted) == [1, 1]


def test_what_is_counted_and_measured(database) -> None:
    store(
        database,
        [
            call(latency=1.0, cost=5, saved=2, cache_tier="exact", estimated=True),
            call(latency=3.0, status="error", error_class="ValueError", unpriced=True),
            call(latency=9.0, status="error", error_class="BudgetExceededError"),
        ],
    )
    (row,) = rows(database, rollups.c.tier == GLOBAL_HOUR.number)
    assert (row.events, row.errors, row.refused, row.cache_hits) == (3, 1, 1, 1)
    assert (row.estimated, row.unpriced, row.cost, row.saved) == (1, 1, 5, 2)
    # Nobody was asked by the call that was refused.
    assert (row.measured, row.total, row.least, row.most) == (2, 4.0, 1.0, 3.0)


def test_values_that_are_no_numbers_are_not_measured(database) -> None:
    store(database, [metric(float("inf")), metric(2.0)])
    (row,) = rows(database, rollups.c.tier == GLOBAL_HOUR.number)
    assert (row.events, row.measured, row.total) == (2, 1, 2.0)


def test_percentiles_of_many_batches_are_those_of_all_values(
    database,
) -> None:
    values = np.random.default_rng(1).lognormal(0, 2, 3_000).tolist()
    # One process at a time: each batch makes the row longer, and now and then compact.
    store(
        database, *([metric(each) for each in values[at : at + 100]] for at in range(0, 3_000, 100))
    )
    (row,) = rows(database, rollups.c.tier == GLOBAL_HOUR.number)
    assert len(row.sketch) < 10_000  # bytes; 18,000 if they had only been joined
    found = quantiles([row.sketch], [0.01, 0.5, 0.95, 1.0])
    exact = np.sort(values)[[29, 1_499, 2_849, 2_999]]
    assert np.allclose(found, exact, rtol=0.01)


def test_hours_that_a_tier_keeps_no_longer_are_not_made(database, table) -> None:
    store(database, [metric(user="u", ts=NOW - 30 * DAY)])
    assert rows(database, rollups.c.tier == USER_HOUR.number) == []
    assert len(rows(database, rollups.c.tier == USER_DAY.number)) == 1
    assert table.rebuild(verify=True).right


def test_hours_go_when_their_time_is_over(database, table, clock) -> None:
    store(database, [metric(value, user=f"u{value}") for value in range(450)])
    clock.advance(16 * DAY)
    assert table.maintain(clock()) == {"deleted": 450}
    assert rows(database, rollups.c.tier == USER_HOUR.number) == []
    assert table.rebuild(verify=True).right


class TestForgetting:
    def test_sums_stay_and_the_name_goes(self, database, table) -> None:
        store(database, [metric(1.0, user="ann"), metric(2.0, user="bo"), metric(4.0)])
        assert table.forget(Subject(user="ann")) == 3  # an hour, and a day in two tiers
        left = {row.user: row.total for row in rows(database, rollups.c.tier == USERS_DAY.number)}
        assert left == {"": 5.0, "bo": 2.0}
        EventRows(database).forget(Subject(user="ann"))
        assert table.rebuild(verify=True).right

    def test_in_one_workspace_alone(self, database, table) -> None:
        store(database, [metric(user="ann", workspace=name) for name in ("a", "b")])
        table.forget(Subject(user="ann", workspace="a"))
        assert {row.workspace for row in rows(database, rollups.c.user == "ann")} == {"b"}

    def test_conversations_are_not_in_the_sums(self, database, table) -> None:
        store(database, [metric(user="ann", thread="t")])
        assert table.forget(Subject(thread="t")) == 0


class TestRebuilding:
    def test_every_alteration_is_found_and_mended(self, database, table) -> None:
        store(database, [call(user="ann", latency=2.0, cost=3), metric(0.5, project="p")])
        whole = rows(database)
        for column in rollups.c:
            if column.key in ROLLUP_KEY:
                continue
            odd = (
                b"\x01\x40\x02\x00\x00\x00"
                if "sketch" in column.key or "first" in column.key
                else 7
            )
            with database.begin() as connection:
                one = update(rollups).where(
                    rollups.c.tier == USER_DAY.number, rollups.c.user == "ann"
                )
                connection.execute(one.values({column: odd}))
            told = table.rebuild(verify=True)
            assert (told.wrong, told.differences[0].key[0]) == (1, USER_DAY.number), column.key
            assert table.rebuild().wrong == 1
            assert table.rebuild(verify=True).right
        assert len(rows(database)) == len(whole)

    def test_missing_and_surplus_rows_are_found(self, database, table) -> None:
        store(database, [metric()])
        with database.begin() as connection:
            connection.execute(update(rollups).values(project="x"))
        assert table.rebuild(verify=True).wrong == 2 * len(rows(database))
        table.rebuild()
        assert {row.project for row in rows(database)} == {""}

    def test_what_an_earlier_release_stored_is_added_up_by_the_housekeeping(
        self, database, table, clock
    ) -> None:
        store(database, [metric(), metric(ts=NOW - 3 * DAY)])
        with database.begin() as connection:
            connection.execute(delete(rollups))
            connection.execute(rollup_marks.insert().values(name="waiting", value=1.0))
        table.maintain(clock())
        assert table.rebuild(verify=True).right
        assert len({row.day for row in rows(database)}) == 2

    def test_sums_of_events_that_are_gone_stay(self, database, clock) -> None:
        store(database, [metric(), metric(ts=NOW - 3 * DAY)])
        EventRows(database, retention=DAY).maintain(clock())
        table = RollupTable(database, retention=None, clock=clock)
        assert table.rebuild().right
        with database.begin(read_only=True) as connection:
            assert connection.execute(select(func.count()).select_from(events)).scalar() == 1
        assert sum(row.events for row in rows(database, rollups.c.tier == GLOBAL_HOUR.number)) == 2


WRITE = """
from uuid import UUID
from llmops_langchain.ledger import Event, Ledger
from llmops_langchain.storage import Database

url, journals, who = sys.argv[1:4]
shared = [
    Event(name="shared", ts=1.8e9 + n, value=n, project=f"p{n % 7}", id=UUID(int=n + 1))
    for n in range(200)
]
with Database(url) as database, Ledger(database, batch_size=40, interval=0.01) as ledger:
    for n in range(400):
        mine = {"user": f"u{n % 9}", "project": f"p{n % 7}"}
        ledger.record(Event(name="own", ts=1.8e9 + n, value=n, **mine))
        if n % 2:
            ledger.record(shared[n // 2])
"""


def test_four_processes_at_once_add_up(lasting_url: str, tmp_path) -> None:
    """On the same rows, and with events that all of them have."""
    from concurrent.futures import ThreadPoolExecutor

    with Database(lasting_url) as database:
        database.upgrade()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda who: run(WRITE, lasting_url, tmp_path, who), range(4)))
        assert RollupTable(database, clock=lambda: NOW).rebuild(verify=True).right
        of_all = rows(database, rollups.c.tier == GLOBAL_HOUR.number)
        counts: dict[str, int] = {}
        for row in of_all:
            counts[row.name] = counts.get(row.name, 0) + row.events
        assert counts == {"own": 1_600, "shared": 200}

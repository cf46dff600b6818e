"""The tables come to be once, are what the code expects, and are refused where they are not."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from threading import Barrier

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, inspect, select, text
from unit_tests.storage.processes import run

from llmops_langchain.errors import SchemaVersionError
from llmops_langchain.ledger import Event, Ledger, RollupTable
from llmops_langchain.ledger.rollups import GLOBAL_DAY
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import (
    SCHEMA_VERSION,
    VERSION_TABLE,
    cache_entries,
    cache_feedback,
    cache_tags,
    events,
    generations,
    leases,
    metadata,
    rollups,
    semantic_vectors,
)

OURS = {VERSION_TABLE, *metadata.tables}
MADE = Event(name="task.success", ts=0, value=1)


def tables(database: Database, schema: str | None = None) -> set[str]:
    with database.begin(read_only=True) as connection:
        return set(inspect(connection).get_table_names(schema))


def set_version(database: Database, version: str) -> None:
    with database.begin() as connection:
        statement = text(f"UPDATE {VERSION_TABLE} SET version_num = :version")  # noqa: S608 - a constant
        connection.execute(statement, {"version": version})


def recorded(database: Database) -> int:
    with Ledger(database, durability="commit") as ledger:
        ledger.record(MADE)
    return database.read_one(select(func.count()).select_from(events))[0]


@pytest.fixture
def later(lasting_url: str) -> Iterator[Database]:
    """Tables of a later minor release, and this release's code on them."""
    with Database(lasting_url) as upgraded:
        upgraded.upgrade()
        with upgraded.begin() as connection:
            connection.execute(text("ALTER TABLE llmops_events ADD COLUMN novelty TEXT"))
            connection.execute(text("CREATE TABLE llmops_novelties (id INTEGER)"))
        set_version(upgraded, "1.99")
    with Database(lasting_url) as database:
        yield database


def by_hand(database: Database, *scripts: str) -> None:
    """Run SQL as a person would, past this package."""
    if database.is_sqlite:
        shell = sqlite3.connect(database.path, isolation_level=None)
        shell.execute("PRAGMA foreign_keys = ON")  # as each release has done it
        for script in scripts:
            shell.executescript(script)
        shell.close()
    else:
        import psycopg

        url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as shell:
            for script in scripts:
                shell.execute(script)


KEPT_BY_1_1 = """
INSERT INTO llmops_cache_entries (key, value, created_at, expires_at)
VALUES (CAST('{0}' AS {1}), CAST('{2}' AS {1}), 1.5, NULL)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, created_at = excluded.created_at,
expires_at = excluded.expires_at;
"""
READ_BY_1_1 = text("SELECT key, value, created_at, expires_at FROM llmops_cache_entries")
SWEPT_BY_1_1 = "DELETE FROM llmops_cache_entries WHERE created_at <= 2"


def kept_by_1_1(database: Database, key: str, value: str) -> str:
    return KEPT_BY_1_1.format(key, "BLOB" if database.is_sqlite else "BYTEA", value)


@pytest.fixture
def oldest(lasting_url: str) -> Iterator[Database]:
    """This release's code on tables of 1.1 that hold an entry and an event."""
    with Database(lasting_url) as database:
        first, later, _ = database.upgrade_sql().partition("-- Running upgrade 1.1 -> ")
        assert later
        event = "INSERT INTO llmops_events (id, ts, name) VALUES ({}, 0, 'old')"
        new_id = "randomblob(16)" if database.is_sqlite else "gen_random_uuid()"
        end = "" if database.is_sqlite else "COMMIT;"
        entry = kept_by_1_1(database, "old", "answer")
        by_hand(database, first + end, entry, event.format(new_id))
        yield database


def test_what_1_1_kept_is_still_there(oldest: Database) -> None:
    assert recorded(oldest) == 2
    columns = [each for each in cache_entries.c if each.name != "fingerprint"]
    assert oldest.read(select(*columns)) == [(b"old", b"answer", 1.5, None, "answers", 0, 0.0)]
    assert oldest.read(select(cache_entries.c.fingerprint)) == [(None,)]
    assert tables(oldest) == OURS


KEPT_BY_1_2 = """
INSERT INTO llmops_cache_entries (key, value, created_at, expires_at, space, size, used_at)
VALUES (CAST('old' AS {0}), CAST('answer' AS {0}), 1.5, 99.5, 'nodes', 306, 2.5);
INSERT INTO llmops_cache_tags (tag, key) VALUES ('a', CAST('old' AS {0}));
INSERT INTO llmops_generations (name, value, changed_at) VALUES ('cache:nodes', 3, 1.5);
INSERT INTO llmops_leases (name, owner, expires_at) VALUES ('cache:nodes:00', 'me', 9.5);
"""


@pytest.fixture
def of_1_2(lasting_url: str) -> Iterator[Database]:
    """This release's code on tables of 1.2 that hold a row each."""
    with Database(lasting_url) as database:
        first, later, _ = database.upgrade_sql().partition("-- Running upgrade 1.2 -> ")
        assert later
        end = "" if database.is_sqlite else "COMMIT;"
        kept = KEPT_BY_1_2.format("BLOB" if database.is_sqlite else "BYTEA")
        by_hand(database, first + end, kept)
        yield database


def test_what_1_2_kept_is_still_there(of_1_2: Database) -> None:
    assert recorded(of_1_2) == 1
    entry = (b"old", b"answer", 1.5, 99.5, "nodes", 306, 2.5, None)
    assert of_1_2.read(select(cache_entries)) == [entry]
    assert of_1_2.read(select(cache_tags)) == [("a", b"old")]
    counters = sorted(of_1_2.read(select(generations)))
    assert counters == [("budgets", 0, 0.0), ("cache:nodes", 3, 1.5)]
    assert of_1_2.read(select(leases)) == [("cache:nodes:00", "me", 9.5)]
    assert of_1_2.read(select(semantic_vectors)) == of_1_2.read(select(cache_feedback)) == []
    assert tables(of_1_2) == OURS


KEPT_BY_1_8 = """
INSERT INTO llmops_events (id, ts, name, user_id, cost, input_tokens)
VALUES ({0}, 1800000000, 'llm.call', 'ada', 5, 7), ({0}, 1800090000, 'llm.call', NULL, 2, 1);
"""


@pytest.fixture
def of_1_8(lasting_url: str) -> Iterator[Database]:
    """This release's code on tables of 1.8 that hold two calls."""
    with Database(lasting_url) as database:
        first, later, _ = database.upgrade_sql().partition("-- Running upgrade 1.8 -> ")
        assert later
        end = "" if database.is_sqlite else "COMMIT;"
        new_id = "randomblob(16)" if database.is_sqlite else "gen_random_uuid()"
        by_hand(database, first + end, KEPT_BY_1_8.format(new_id))
        yield database


def test_events_of_1_8_are_added_up_by_the_first_maintenance(of_1_8: Database) -> None:
    assert recorded(of_1_8) == 3
    whole = select(rollups.c.cost, rollups.c.input_tokens).where(
        rollups.c.tier == GLOBAL_DAY.number, rollups.c.name == "llm.call"
    )
    assert of_1_8.read(whole) == []
    upkeep = RollupTable(of_1_8, clock=lambda: 1_800_100_000.0)
    upkeep.maintain(1_800_100_000.0)
    assert sorted(of_1_8.read(whole)) == [(2, 1), (5, 7)]
    assert upkeep.rebuild(verify=True).differences == ()


def test_code_of_1_1_goes_on_working_on_these_tables(lasting_url: str) -> None:
    with Database(lasting_url) as database:
        database.upgrade()
        for value in ("answer", "again"):
            by_hand(database, kept_by_1_1(database, "new", value))
        with database.begin() as connection:
            rows = connection.execute(READ_BY_1_1).all()
            connection.execute(cache_tags.insert().values(tag="a", key=b"new"))
        assert [tuple(map(bytes, row[:2])) for row in rows] == [(b"new", b"again")]
        by_hand(database, SWEPT_BY_1_1)
        assert database.read(select(cache_tags.c.tag)) == []


def test_the_first_use_makes_the_tables(database: Database) -> None:
    assert tables(database) == OURS


def test_upgrade_returns_the_version_and_may_be_repeated(database: Database) -> None:
    assert [database.upgrade(), database.upgrade()] == [SCHEMA_VERSION] * 2
    assert tables(database) == OURS


def test_the_schema_version_is_the_newest_revision() -> None:
    folder = files("llmops_langchain.storage").joinpath("migrations")
    assert ScriptDirectory(str(folder)).get_heads() == [SCHEMA_VERSION]


def test_the_revisions_make_what_the_code_describes(database: Database) -> None:
    options = {
        "version_table": VERSION_TABLE,
        "compare_type": True,
        "compare_server_default": True,
    }
    with database.begin(read_only=True) as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("processes", [2, 6])
def test_processes_that_open_a_new_database_at_once_all_succeed(
    lasting_url: str, processes: int
) -> None:
    source = """
from llmops_langchain.ledger import Event, Ledger, RollupTable
from llmops_langchain.ledger.rollups import GLOBAL_DAY
from llmops_langchain.storage import Database

def work(_):
    with Database(sys.argv[1]) as database, Ledger(database, durability="commit") as ledger:
        ledger.record(Event(name="a", ts=0))
        assert ledger.dropped == 0

at_once(int(sys.argv[2]), work)
"""
    run(source, lasting_url, processes)
    with Database(lasting_url) as database:
        assert recorded(database) == processes + 1


def test_threads_may_open_databases_of_their_own_at_once(tmp_path: Path) -> None:
    barrier = Barrier(4)

    def opened(number: int) -> set[str]:
        with Database(f"sqlite:///{tmp_path}/{number}.db") as database:
            barrier.wait()
            return tables(database)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(opened, range(4))) == [OURS] * 4


def test_an_error_in_a_revision_leaves_no_table(lasting_url: str, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError

    with Database(lasting_url, auto_migrate=False) as database:
        monkeypatch.setattr("alembic.op.create_index", fail)
        with pytest.raises(KeyError):
            database.upgrade()
        with pytest.raises(SchemaVersionError, match="has no tables"):
            tables(database)
        monkeypatch.undo()
        database.upgrade()
        assert recorded(database) == 1


def test_without_auto_migrate_the_way_out_is_told(database_url: str) -> None:
    with Database(database_url, auto_migrate=False) as database:
        with pytest.raises(SchemaVersionError, match="run `llmops db upgrade --url") as refused:
            tables(database)
        assert (refused.value.found, refused.value.expected) == (None, SCHEMA_VERSION)
        database.upgrade()
        assert recorded(database) == 1


def test_the_sql_may_be_run_by_hand_on_sqlite(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path}/llmops.db", auto_migrate=False) as database:
        by_hand = sqlite3.connect(database.path)
        by_hand.executescript(database.upgrade_sql())
        by_hand.close()
        assert recorded(database) == 1
        assert tables(database) == OURS


@pytest.mark.parametrize("schema", [None, "own"])
def test_the_sql_may_be_run_by_hand_on_postgresql(postgres_url: str, schema: str | None) -> None:
    import psycopg

    with Database(postgres_url, schema=schema, auto_migrate=False) as database:
        with psycopg.connect(postgres_url, autocommit=True) as by_hand:
            by_hand.execute(database.upgrade_sql())
        assert recorded(database) == 1
        assert tables(database, schema) == OURS


def test_tables_live_in_the_schema_that_was_named(postgres_url: str) -> None:
    with Database(postgres_url, schema="own") as database:
        assert recorded(database) == 1
        assert tables(database, "own") == OURS
        assert tables(database, "public") == set()


def test_schemas_lie_side_by_side(postgres_url: str) -> None:
    for schema in (None, "one", "two"):
        with Database(postgres_url, schema=schema) as database:
            assert recorded(database) == 1
            assert tables(database, schema or "public") == OURS


def test_a_schema_that_was_made_for_the_login_is_used(postgres_url: str) -> None:
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute("CREATE ROLE app_of_the_test")
        owner.execute("CREATE SCHEMA own AUTHORIZATION app_of_the_test")
    options = "&options=-c role=app_of_the_test"
    try:
        with Database(postgres_url + options, schema="own") as database:
            assert recorded(database) == 1
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as owner:
            owner.execute("DROP OWNED BY app_of_the_test")
            owner.execute("DROP ROLE app_of_the_test")


def test_tables_of_a_later_minor_release_are_used_as_they_are(later: Database) -> None:
    assert recorded(later) == 1
    entry = cache_entries.insert().values(key=b"key", value=b"value", created_at=0)
    with later.begin() as connection:
        connection.execute(entry)
    assert later.read_one(select(cache_entries.c.value)) == (b"value",)
    assert later.upgrade() == "1.99"
    assert "llmops_novelties" in tables(later)


def test_tables_of_a_later_major_release_are_refused(later: Database) -> None:
    set_version(later, "2.0")
    with Database(later.url) as older:
        with pytest.raises(SchemaVersionError, match="pip install -U") as refused:
            tables(older)
        with pytest.raises(SchemaVersionError):
            older.upgrade()
    assert (refused.value.found, refused.value.expected) == ("2.0", SCHEMA_VERSION)

"""`llmops doctor`: facts become findings, and a check that fails is an exit code."""

import base64
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from conftest import FakeClock
from sqlalchemy import JSON, LargeBinary, Text, insert
from typer.testing import CliRunner

from llmops_langchain import Database
from llmops_langchain.cli import app, facts
from llmops_langchain.cli.facts import gathered, network_file_system
from llmops_langchain.cli.findings import Facts, Finding, Stored, findings
from llmops_langchain.ledger import LLM_CALL, Event
from llmops_langchain.ledger.rows import insert_new
from llmops_langchain.settings import Settings
from llmops_langchain.storage.schema import (
    SCHEMA_VERSION,
    budget_alerts,
    budgets,
    cache_entries,
    metadata,
    prices,
    reservations,
)
from llmops_langchain.storage.text_at_rest import TEXT_AT_REST

ROOT = Path(__file__).parents[3]
DAY = 86_400.0
TODAY = date(2026, 11, 23)
KEY = base64.b64encode(b"k" * 32).decode()

WELL = Facts(
    database="sqlite:////data/llmops.db",
    expected_version="1.5",
    today=TODAY,
    stored=Stored(version="1.5", journal_mode="wal"),
    journals="/data/llmops.db-llmops",
    vocabularies={"o200k_base": "quicktok"},
    price_day=TODAY,
    extras={"crypto": True, "redis": False},
)


def found(name: str, **changed: Any) -> Finding:
    """The finding of that check, with some facts changed."""
    of_stored = {key: changed.pop(key) for key in [*changed] if hasattr(WELL.stored, key)}
    stored = replace(WELL.stored, **of_stored)
    given = {"stored": stored, **changed}
    return next(each for each in findings(replace(WELL, **given)) if each.check == name)


class TestFindings:
    def test_all_is_well(self) -> None:
        assert {each.level for each in findings(WELL)} == {"ok"}
        assert not any(each.do for each in findings(WELL))

    @pytest.mark.parametrize(
        ("check", "facts", "level", "said", "do"),
        [
            ("database", {"stored": None, "trouble": "it is off"}, "fail", "sqlite", "it is off"),
            ("tables", {"version": "1.3"}, "fail", "needs 1.5", "llmops db upgrade"),
            ("tables", {"version": "2.0"}, "fail", "works on 1.x", "pip install -U"),
            ("more than one host", {"network_file_system": "nfs4"}, "fail", "nfs4", "PostgreSQL"),
            ("readers beside writers", {"journal_mode": "delete"}, "warn", "'delete'", "WAL"),
            ("journals", {"journals_writable": False}, "fail", "written", "LLMOPS_JOURNAL_DIR"),
            ("journals", {"left_journals": 2}, "warn", "2 in /data", "llmops maintain"),
            ("text at rest", {"plain_texts": {"a.b": 7}}, "warn", "a.b (7 rows)", "LLMOPS_ENC"),
            (
                "text at rest",
                {"plain_texts": {"a.b": 7}, "has_key": True},
                "warn",
                "from before",
                "clear",
            ),
            ("token counts", {"vocabularies": {"o": "estimate"}}, "warn", "of o on", "[tokens]"),
            ("price data", {"price_day": date(2026, 9, 23)}, "warn", "61 days", "genai-prices"),
            ("extras", {"needed_extras": {"redis": "`x`"}}, "fail", "`x` needs", "[redis]"),
            ("audit log", {"workspaces": 2}, "warn", "2 workspaces is not", "llmops audit new-key"),
            ("models without a price", {"unpriced": {"m": 1}}, "warn", "'m' (1 calls)", "set("),
            ("calls without a scope", {"unscoped_calls": 1, "hard_budgets": 1}, "warn", "1", "tra"),
            ("reservations", {"overdue_reservations": 3}, "warn", "3 calls", "llmops maintain"),
            ("budget alerts", {"untold_alerts": 3}, "warn", "3 alerts", "llmops maintain"),
            ("clocks", {"clock_offset": -2.5}, "warn", "2.5 s", "NTP"),
            ("clocks", {"clock_offset": 31}, "fail", "31.0 s", "NTP"),
        ],
    )
    def test_what_is_not_well_says_what_to_do(self, check, facts, level, said, do) -> None:
        finding = found(check, **facts)
        assert finding.level == level
        assert said in finding.said
        assert do in finding.do

    @pytest.mark.parametrize(
        ("check", "facts"),
        [
            ("more than one host", {"is_sqlite": False, "network_file_system": None}),
            ("tables", {"version": "1.10"}),
            ("readers beside writers", {"is_sqlite": False, "journal_mode": None}),
            ("readers beside writers", {"in_memory": True, "journal_mode": "memory"}),
            ("journals", {"journals": None}),
            ("text at rest", {"plain_texts": {"a.b": 0}}),
            ("audit log", {"workspaces": 2, "has_audit_key": True}),
            ("price data", {"price_day": date(2026, 9, 24)}),
            ("price data", {"price_day": None}),
            ("extras", {"needed_extras": {"crypto": "`encryption_key`"}}),
            ("calls without a scope", {"unscoped_calls": 1}),
            ("calls without a scope", {"hard_budgets": 1}),
            ("clocks", {"clock_offset": 1.0}),
            ("prices set by hand", {"own_prices": 3, "newest_own_price": 1.8e9}),
        ],
    )
    def test_what_is_as_it_should_be_is_ok(self, check, facts) -> None:
        assert found(check, **facts).level == "ok"

    def test_of_many_models_the_most_called_are_named(self) -> None:
        said = found("models without a price", unpriced={"a": 1, "b": 4, "c": 3, "d": 2}).said
        assert "'b' (4 calls), 'c' (3 calls), 'd' (2 calls) and 1 more" in said

    def test_of_tables_that_do_not_fit_nothing_else_is_said(self) -> None:
        told = findings(replace(WELL, stored=Stored(version="1.1")))
        assert [each.check for each in told][-1] == "tables"


class TestFacts:
    @pytest.fixture
    def made(self, database: Database) -> Iterator[Database]:
        database.upgrade()
        return database

    def test_an_empty_database_has_nothing_to_tell(self, made: Database, clock) -> None:
        told = gathered(made, Settings(), clock)
        assert told.stored.version == SCHEMA_VERSION
        assert told.stored.unpriced == {}
        assert set(told.stored.plain_texts.values()) == {0}
        assert [told.stored.own_prices, told.stored.hard_budgets, told.left_journals] == [0, 0, 0]
        assert told.is_sqlite is made.is_sqlite
        assert told.in_memory is (made.is_sqlite and made.path is None)

    def test_calls_without_price_and_scope_are_counted(self, made: Database, clock) -> None:
        calls = [
            Event(name=LLM_CALL, ts=clock.now - 29 * DAY, model="m", unpriced=True),
            Event(name=LLM_CALL, ts=clock.now - 31 * DAY, model="m", unpriced=True),
            Event(name=LLM_CALL, ts=clock.now, unpriced=True, user="anne"),
            Event(name=LLM_CALL, ts=clock.now, agent="a"),
            Event(name="task.success", ts=clock.now, unpriced=True),
        ]
        with made.begin() as connection:
            insert_new(connection, calls)
        told = gathered(made, Settings(), clock).stored
        assert told.unpriced == {"m": 1, "unknown": 1}
        assert told.unscoped_calls == 1

    def test_what_housekeeping_left_is_counted(self, made: Database, clock) -> None:
        now, budget = clock.now, uuid4()
        kept = {"scope": "s", "period": "day", "amount": 1, "changed_at": 0.0, "strict": False}
        alert = {"budget_id": budget, "start": 0.0, "ts": 0.0, "spent": 1, "notified_at": None}
        held = {"kind": "call", "amount": 1, "at_risk": 1, "windows": "[]", "about": "{}"}
        price = {"provider": "", "model": "m", "tier": "", "changed_at": 0.0}
        with made.begin() as connection:
            connection.execute(insert(budgets).values(id=budget, hard=True, **kept))
            for threshold, until in ((0.5, now - 61), (0.75, now)):
                row = {"threshold": threshold, "claimed_until": until, **alert}
                connection.execute(insert(budget_alerts).values(**row))
            for ended, billed in ((now - 61, None), (now - 61, 1), (now + 1, None)):
                row = {"id": uuid4(), "expires_at": ended, "billed": billed, **held}
                connection.execute(insert(reservations).values(**row))
            for since in (1.0, 2.0):
                connection.execute(insert(prices).values(valid_from=since, **price))
        told = gathered(made, Settings(), clock).stored
        assert (told.hard_budgets, told.overdue_reservations, told.untold_alerts) == (1, 1, 1)
        assert (told.own_prices, told.newest_own_price) == (2, 0.0)

    def test_text_that_is_not_encrypted_is_seen(self, made: Database, clock) -> None:
        with made.begin() as connection:
            for key, value in ((b"1", b"Pplain"), (b"2", b"Zpacked"), (b"3", b"Eencrypted")):
                row = {"key": key, "value": value, "created_at": 0.0}
                connection.execute(insert(cache_entries).values(**row))
        told = gathered(made, Settings(), clock).stored
        assert told.plain_texts["llmops_cache_entries.value"] == 2

    def test_the_servers_clock_is_compared(self, postgres_url: str, clock: FakeClock) -> None:
        with Database(postgres_url) as database:
            database.upgrade()
            clock.now -= 1_000_000_000
            offset = gathered(database, Settings(), clock).stored.clock_offset
        assert abs(offset) > 100_000_000

    def test_a_file_that_is_not_there_is_not_made(self, tmp_path: Path, clock) -> None:
        with Database(f"sqlite:///{tmp_path}/a.db", auto_migrate=False) as database:
            told = gathered(database, Settings(), clock)
        assert told.stored is None
        assert "not there yet" in told.trouble
        assert list(tmp_path.iterdir()) == []

    def test_a_database_without_tables_says_so(self, postgres_url: str, clock) -> None:
        with Database(postgres_url, auto_migrate=False) as database:
            told = gathered(database, Settings(), clock)
        assert told.stored is None
        assert "llmops db upgrade" in told.trouble

    def test_old_tables_are_told_by_their_version(self, tmp_path: Path, clock, monkeypatch) -> None:
        url = f"sqlite:///{tmp_path}/a.db"
        with Database(url) as database:
            database.upgrade()
        monkeypatch.setattr("llmops_langchain.storage.migrate.SCHEMA_VERSION", "1.99")
        monkeypatch.setattr("llmops_langchain.storage.migrate.needs_upgrade", lambda _: True)
        with Database(url, auto_migrate=False) as database:
            assert gathered(database, Settings(), clock).stored == Stored(version=SCHEMA_VERSION)

    def test_journals_that_nobody_writes_to_are_counted(self, tmp_path: Path, clock) -> None:
        database = Database(f"sqlite:///{tmp_path}/a.db")
        folder = tmp_path / "a.db-llmops"
        folder.mkdir()
        for name, written in (("old", clock.now - 61), ("new", clock.now)):
            (folder / f"{name}.journal").touch()
            os.utime(folder / f"{name}.journal", (written, written))
        told = gathered(database, Settings(), clock)
        assert (told.left_journals, told.journals_writable) == (1, True)
        assert gathered(database, Settings(durability="commit"), clock).journals is None

    def test_settings_name_the_extras_they_need(self, tmp_path: Path, clock) -> None:
        settings = Settings(encryption_key=KEY, cache_url="redis://host")
        told = gathered(Database(f"sqlite:///{tmp_path}/a.db"), settings, clock)
        assert set(told.needed_extras) == {"crypto", "redis"}
        assert told.has_key

    def test_a_missing_package_is_seen(self) -> None:
        assert facts._is_installed("sqlalchemy.sql")
        assert not facts._is_installed("no_such_package")
        assert not facts._is_installed("no_such_package.part")

    def test_the_price_data_has_a_day(self) -> None:
        assert date(2026, 1, 1) < facts._price_day(TODAY) <= TODAY

    @pytest.mark.parametrize(
        ("path", "kind"),
        [
            ("/mnt/shared disk/llmops.db", "nfs4"),
            ("/mnt/shared disk/inner/llmops.db", None),
            ("/mnt/sharedx/llmops.db", None),
            ("/srv/llmops.db", None),
        ],
    )
    def test_a_file_system_of_several_hosts_is_seen(self, tmp_path, path, kind) -> None:
        mounts = tmp_path / "mounts"
        mounts.write_text(
            "/dev/sda / ext4 rw 0 0\nhost:/x /mnt/shared\\040disk nfs4 rw 0 0\n"
            "/dev/sdb /mnt/shared\\040disk/inner ext4 rw 0 0\n"
        )
        assert network_file_system(Path(path), mounts) == kind

    def test_without_a_list_of_mounts_nothing_is_said(self, tmp_path: Path) -> None:
        assert network_file_system(tmp_path, tmp_path / "none") is None
        assert network_file_system(None) is None


class TestCommand:
    def run(self, *arguments: str) -> Any:
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["doctor", *arguments])

    def test_a_new_database_is_well(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/a.db"
        with Database(url) as database:
            database.upgrade()
        told = self.run("--url", url)
        assert told.exit_code == 0
        assert "write-ahead log is on" in told.output
        assert "llmops_contents" not in told.output

    def test_a_check_that_fails_is_exit_code_1(self, tmp_path: Path) -> None:
        told = self.run("--url", f"sqlite:///{tmp_path}/a.db")
        assert told.exit_code == 1
        assert "fail" in told.output

    def test_every_column_is_listed_when_asked(self, tmp_path: Path) -> None:
        told = self.run("--text", "--url", f"sqlite:///{tmp_path}/a.db").output
        assert {each.table for each in TEXT_AT_REST} <= set(told.replace(":", " ").split())

    def test_a_password_is_not_shown(self) -> None:
        told = self.run("--url", "postgresql://me:secret@127.0.0.1:1/x?host=/nowhere")
        assert told.exit_code == 1
        assert "secret" not in told.output


class TestTextAtRest:
    def test_every_column_that_can_hold_text_is_listed_once(self) -> None:
        listed = [f"{each.table}.{name}" for each in TEXT_AT_REST for name in each.columns]
        can_hold_text = {
            f"{table.name}.{column.name}"
            for table in metadata.tables.values()
            for column in table.c
            if isinstance(column.type, Text | JSON | LargeBinary)
        }
        assert set(listed) == can_hold_text
        assert len(listed) == len(can_hold_text)

    def test_the_page_lists_the_same(self) -> None:
        page = (ROOT / "docs" / "privacy.md").read_text()
        rows = [line for line in page.splitlines() if line.startswith("| `llmops_")]
        assert rows == [row_of_page(each) for each in TEXT_AT_REST]


def row_of_page(each: Any) -> str:
    columns = ", ".join(f"`{name}`" for name in each.columns)
    cells = (each.holds, each.kept, each.protection, each.forgotten)
    return f"| `{each.table}`: {columns} | {' | '.join(cells)} |"

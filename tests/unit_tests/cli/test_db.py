"""`llmops db upgrade`."""

import sqlite3
from pathlib import Path

from typer.testing import CliRunner

from llmops_langchain import Database
from llmops_langchain.cli import app


def run(*arguments: str):
    return CliRunner().invoke(app, ["db", "upgrade", *arguments])


def test_upgrade_makes_the_tables_that_the_parts_need(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/llmops.db"
    assert run("--url", url).exit_code == 0
    with Database(url, auto_migrate=False) as database, database.begin():
        pass


def test_sql_is_printed_and_nothing_is_run(tmp_path: Path) -> None:
    file = tmp_path / "llmops.db"
    sql = run("--sql", "--url", f"sqlite:///{file}").stdout
    assert not file.exists()
    with sqlite3.connect(":memory:") as connection:
        connection.executescript(sql)
    connection.close()


def test_sql_for_postgresql_uses_the_schema() -> None:
    sql = run("--sql", "--url", "postgresql://me@host/app", "--schema", "ops").stdout
    assert 'CREATE SCHEMA IF NOT EXISTS "ops"' in sql


def test_a_schema_on_sqlite_is_refused() -> None:
    assert run("--url", "sqlite://", "--schema", "ops").exit_code == 2


def test_the_schema_of_the_environment_is_used(monkeypatch) -> None:
    monkeypatch.setenv("LLMOPS_DB_SCHEMA", "ops")
    sql = run("--sql", "--url", "postgresql://me@host/app").stdout
    assert 'SET search_path TO "ops"' in sql

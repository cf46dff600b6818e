"""`llmops audit`: verified, anchored, exported, with keys in files; and SQL for row security."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from sqlalchemy import update
from typer.testing import CliRunner, Result
from unit_tests.workspaces.chains import history, intruder

from llmops_langchain import LLMOps
from llmops_langchain.cli import app
from llmops_langchain.storage.schema import audit_log
from llmops_langchain.workspaces import keys_of_file


@pytest.fixture(autouse=True)
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "audit.key"
    assert run("audit", "new-key", str(path)).exit_code == 0
    monkeypatch.setenv("LLMOPS_AUDIT_KEY_FILE", str(path))
    return path


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/a.db"


@pytest.fixture
def ops(url: str) -> Iterator[LLMOps]:
    with LLMOps(url) as ops:
        yield ops


@pytest.fixture
def shop(ops: LLMOps) -> str:
    return history(ops.workspaces)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_a_chain_that_nobody_touched_is_said_to_be_so(url, shop) -> None:
    told = run("audit", "verify", "--url", url)
    assert told.exit_code == 0
    assert told.output == f"{shop}: 9 entries, 9 signed, 0 anchors: as it was written\n"


def test_tampering_is_told_with_its_place_and_exit_code_1(url, shop, ops) -> None:
    with intruder(ops.database) as connection:
        third = (audit_log.c.workspace == shop, audit_log.c.seq == 3)
        connection.execute(update(audit_log).where(*third).values(actor="x"))
    told = run("audit", "verify", "--url", url, "--workspace", shop)
    assert told.exit_code == 1
    assert "TAMPERED WITH\n  entry 3: altered" in told.output


def test_a_missing_key_is_no_tampering_and_exit_code_2(url, shop, monkeypatch) -> None:
    monkeypatch.delenv("LLMOPS_AUDIT_KEY_FILE")
    told = run("audit", "verify", "--url", url)
    assert told.exit_code == 2
    assert f"{shop}: 9 entries, not signed, 0 anchors: CANNOT BE VERIFIED" in told.output
    assert "set LLMOPS_AUDIT_KEY" in told.output


def test_anchors_are_printed_and_compared(url, shop, tmp_path) -> None:
    path = tmp_path / "anchors.jsonl"
    path.write_text(run("audit", "anchor", "--url", url).output)
    assert orjson.loads(path.read_text())["seq"] == 9
    told = run("audit", "verify", "--url", url, "--anchors", str(path))
    assert f"{shop}: 9 entries, 9 signed, 1 anchors" in told.output


def test_a_file_without_anchors_proves_nothing(url, shop, tmp_path) -> None:
    path = tmp_path / "anchors.jsonl"
    path.touch()
    told = run("audit", "verify", "--url", url, "--workspace", shop, "--anchors", str(path))
    assert told.exit_code == 2
    assert "holds no anchor" in told.output


def test_a_log_is_exported_as_lines(url, shop) -> None:
    lines = run("audit", "export", shop, "--url", url).output.splitlines()
    assert [orjson.loads(each)["seq"] for each in lines] == [*range(1, 11)]


def test_another_key_goes_in_front(key_file) -> None:
    (before,) = keys_of_file(key_file)
    told = run("audit", "new-key", str(key_file))
    assert before not in told.output
    assert keys_of_file(key_file)[1:] == (before,)


@pytest.mark.parametrize("command", [("verify",), ("anchor",), ("export", "x")])
def test_a_database_that_is_not_there_is_not_made(command, url, tmp_path) -> None:
    told = run("audit", *command, "--url", url)
    assert told.exit_code == 2
    assert "run the app first" in told.output
    assert not (tmp_path / "a.db").exists()


def test_anchors_that_cannot_be_read_are_a_clear_error(url, tmp_path) -> None:
    told = run("audit", "verify", "--url", url, "--anchors", str(tmp_path / "nothing"))
    assert told.exit_code == 2
    assert "cannot be read" in told.output


@pytest.mark.usefixtures("shop")
def test_housekeeping_writes_anchors_to_the_file_that_was_set(url, tmp_path, monkeypatch) -> None:
    path = tmp_path / "safe" / "anchors.jsonl"
    path.parent.mkdir()
    monkeypatch.setenv("LLMOPS_AUDIT_ANCHOR_FILE", str(path))
    assert "1 chains anchored" in run("maintain", "--url", url).output
    assert orjson.loads(path.read_text())["seq"] == 9


def test_the_sql_of_row_security_is_printed() -> None:
    told = run("db", "row-security", "--role", "app", "--schema", "own").output
    assert told.startswith('SET search_path TO "own";\nGRANT USAGE ON SCHEMA "own" TO app;')
    assert "ALTER TABLE llmops_members ENABLE ROW LEVEL SECURITY;" in told
    assert run("db", "row-security", "--role", "a b").exit_code == 2

"""`llmops rebuild`: proves what was worked out from the rows, and mends it."""

from pathlib import Path

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from llmops_langchain import LLMOps, Settings
from llmops_langchain.cli import app
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import rollups


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/llmops.db"
    with LLMOps(url, Settings()) as ops:
        ops.analytics.track_metrics([{"name": "task.success", "value": 1.0}] * 3)
        ops.learning.learn(project_id="p", task_description="Pot a fern", success=True)
    return url


def run(*arguments: str):
    return CliRunner().invoke(app, ["rebuild", *arguments])


def damage(url: str) -> None:
    with Database(url) as database, database.begin() as connection:
        connection.execute(update(rollups).values(events=7))


def test_what_is_right_is_told_to_be(url: str) -> None:
    told = run("--verify", "--url", url)
    assert told.exit_code == 0, told.output
    assert "of 1 days, 0 wrong" in told.stdout
    assert "index of experiences: 0 without a vector" in told.stdout


def test_what_is_wrong_is_found_and_mended(url: str) -> None:
    damage(url)
    told = run("--verify", "--no-learning", "--url", url)
    assert told.exit_code == 1
    assert "task.success" in told.stdout
    assert "7 events for 3" in told.stdout
    mended = run("--no-learning", "--url", url)
    assert mended.exit_code == 0
    assert "mended" in mended.stdout
    assert run("--verify", "--no-learning", "--url", url).exit_code == 0


def test_rows_that_are_missing_are_told(url: str) -> None:
    with Database(url) as database, database.begin() as connection:
        connection.execute(rollups.delete())
    assert "nothing for 3" in run("--verify", "--no-learning", "--url", url).stdout


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    told = run("--url", f"sqlite:///{tmp_path}/a.db")
    assert told.exit_code == 1
    assert "is not there yet" in told.stderr
    assert list(tmp_path.iterdir()) == []

"""The command as a whole: help, version, errors, and what it loads."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import llmops_langchain
from llmops_langchain.cli import app

HEAVY = ("langchain_core", "langgraph", "sqlalchemy", "pydantic", "openai", "numpy")


def run(*arguments: str):
    return CliRunner().invoke(app, arguments)


def test_the_version_is_the_packages() -> None:
    assert run("--version").output.strip() == llmops_langchain.__version__


@pytest.mark.parametrize("command", ["demo", "report", "db"])
def test_help_names_every_command(command: str) -> None:
    assert command in run("--help").output
    assert run(command, "--help").exit_code == 0


def test_help_of_the_demo_says_how_to_write_a_file_of_questions() -> None:
    told = " ".join(run("demo", "--help").output.replace("│", " ").split())
    assert "one question a line" in told
    assert "a blank line starts a new thread" in told


def test_help_loads_neither_langchain_nor_the_database() -> None:
    code = f"import sys, llmops_langchain.cli; print([m for m in {HEAVY} if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize("command", [["report"], ["db", "upgrade"], ["demo"]])
def test_an_error_is_one_line_on_stderr_and_exit_code_2(command: list[str]) -> None:
    result = run(*command, "--url", "oracle://here")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("llmops: 'oracle'")
    assert result.stderr.count("\n") == 1

"""`llmops demo` and `llmops report`, with an answering machine in place of the user's provider."""

import re
import sys
from pathlib import Path

import langchain.chat_models
import pytest
from langchain_core.language_models import FakeListChatModel
from typer.testing import CliRunner

from llmops_langchain import Event, LLMOps
from llmops_langchain.cli import app

FAKE = ("--model", "openai:gpt-4o-mini")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/llmops.db"


@pytest.fixture(autouse=True)
def provider(monkeypatch: pytest.MonkeyPatch) -> None:
    """`init_chat_model` gives a model that needs no key."""
    model = FakeListChatModel(responses=["It is on its way.", "Two days.\nOr three."])
    monkeypatch.setattr(langchain.chat_models, "init_chat_model", lambda _, **__: model)


def run(*arguments: object):
    return CliRunner().invoke(app, list(map(str, arguments)))


def table(output: str) -> dict[str, str]:
    return dict(re.findall(r"^│ (.+?) +│ +(.+?) │$", output, flags=re.MULTILINE))


def test_turns_cuts_the_run_and_repeats_come_from_the_cache(url: str) -> None:
    told = table(run("demo", "--turns", 3, "--url", url, *FAKE).output)
    assert (told["Calls"], told["answered by the model"]) == ("3", "2")
    assert told["answered by the cache"] == "1 (33%)"


def test_a_whole_run_hits_in_a_fifth_of_its_calls_and_cuts_the_long_thread(url: str) -> None:
    told = table(run("demo", "--url", url, *FAKE).output)
    assert int(told["answered by the cache"].split()[0]) >= 0.2 * int(told["Calls"])
    assert int(told["Tokens trimmed"].replace(",", "")) > 0


def test_every_turn_is_shown_on_two_lines(url: str) -> None:
    lines = run("demo", "--turns", 3, "--url", url, *FAKE).stdout.splitlines()
    assert lines[0::2][:3] == [
        "Mira: Where is my order?",
        "Mira: It was due on Tuesday. How long should I wait?",
        "Jonas: Where is my order?",
    ]
    assert [line.split()[0] for line in lines[1:6:2]] == ["model", "model", "cache"]


def test_a_second_run_on_the_same_database_reports_the_same(url: str) -> None:
    first, second = (table(run("demo", "--turns", 5, "--url", url, *FAKE).output) for _ in "12")
    for told in (first, second):
        assert told.pop("Time")
        assert told.pop("First word of a hit that is streamed")
    assert first == second


def test_the_report_prints_the_newest_runs_table_again(url: str) -> None:
    run("demo", "--turns", 3, "--url", url, *FAKE)
    shown = run("demo", "--turns", 4, "--url", url, *FAKE).stdout
    told = run("report", "--url", url).stdout
    assert table(told)["Calls"] == "4"
    assert shown.endswith(told)


def test_the_price_list_is_named(url: str) -> None:
    output = run("demo", "--turns", 1, "--url", url, *FAKE).output
    assert "Priced by the list of genai-prices" in output


def test_a_file_of_questions_replaces_the_shops(url: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("One?\nTwo?\n\nOne?\n", "utf-8")
    told = table(run("demo", "--questions", tmp_path / "mine.txt", "--url", url, *FAKE).output)
    assert (told["Calls"], told["answered by the cache"]) == ("3", "1 (33%)")


def test_a_database_without_a_demo_says_what_to_run(url: str) -> None:
    with LLMOps(url) as ops:
        ops.ledger.record(Event(name="task.success", value=1, unit="count", ts=1.0))
    result = run("report", "--url", url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "llmops demo" in result.stderr


def test_asking_for_a_report_makes_no_database(url: str, tmp_path: Path) -> None:
    assert run("report", "--url", url).exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("demo", *FAKE), ("report",), ("db", "upgrade")])
def test_a_file_that_is_no_database_is_one_line_and_stays_as_it_is(
    command: tuple[str, ...], url: str, tmp_path: Path
) -> None:
    (tmp_path / "llmops.db").write_text("my diary " * 100)
    result = run(*command, "--url", url)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert (tmp_path / "llmops.db").read_text() == "my diary " * 100


def refused(*arguments: object) -> str:
    """What a command says that ends with exit code 2 and prints one line."""
    result = run("demo", *arguments)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    return result.stderr


def test_a_missing_file_of_questions_is_named(url: str) -> None:
    assert "gone.txt" in refused("--questions", "gone.txt", "--url", url, *FAKE)


def test_a_missing_model_file_is_named(url: str) -> None:
    assert "gone.gguf" in refused("--gguf", "gone.gguf", "--url", url)


def test_two_models_are_one_too_many(url: str) -> None:
    assert "--gguf" in refused("--gguf", "some.gguf", "--url", url, *FAKE)


def test_a_disabled_package_has_nothing_to_show(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOPS_DISABLED", "1")
    assert "LLMOPS_DISABLED" in refused("--url", url, *FAKE)


def test_a_missing_langchain_names_the_extra(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    assert "llmops-langchain[agents]" in refused("--url", url, *FAKE)


def test_a_provider_that_fails_is_named_with_its_reason(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert "nobody:big" in refused("--model", "nobody:big", "--url", url)


def test_a_question_larger_than_the_window_is_not_blamed_on_the_provider(
    url: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("Why? " * 2000, "utf-8")
    result = run("demo", "--questions", tmp_path / "mine.txt", "--url", url, *FAKE)
    assert result.exit_code == 2
    assert "the window has 700" in result.stderr
    assert "cannot be used" not in result.stderr

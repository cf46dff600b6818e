"""`llmops demo` and `llmops report` as a user runs them, and the example, on the real model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("local_model")

ROOT = Path(__file__).parents[2]
LLMOPS = Path(sys.executable).with_name("llmops")


_TIMES = ("Time", "First word of a hit that is streamed")


def run(*command: object, folder: Path, **environment: str) -> str:
    """Standard output of a command that succeeds without a word on standard error."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "error::ResourceWarning", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def table(output: str) -> dict[str, str]:
    """What the table at the end of the output says, by the names of its rows."""
    return dict(re.findall(r"^│ (.+?) +│ +(.+?) │$", output, flags=re.MULTILINE))


def counts(output: str) -> dict[str, str]:
    """The table without what depends on how fast the machine is."""
    return {name: value for name, value in table(output).items() if name not in _TIMES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def outputs(folder: Path) -> list[str]:
    """What two demos on one database print."""
    return [run(LLMOPS, "demo", "--turns", 3, folder=folder) for _ in range(2)]


def test_the_demo_counts_calls_hits_tokens_and_dollars(outputs: list[str]) -> None:
    told = table(outputs[0])
    assert (told["Calls"], told["answered by the cache"]) == ("3", "1 (33%)")
    assert int(told["Tokens in"]) > int(told["Tokens out"]) > 0
    assert float(told["Spent"].removeprefix("$")) > 0
    assert float(told["Saved by the cache"].removeprefix("$")) > 0


def test_equal_calls_of_one_moment_are_made_once(outputs: list[str]) -> None:
    assert table(outputs[0])["Equal calls at one moment"] == "1 asked, 7 given its answer"


def test_a_budget_for_three_lets_three_through(outputs: list[str]) -> None:
    assert table(outputs[0])["Calls at once with a budget"] == "3 answered, 5 refused"
    assert "5 refused unasked" in outputs[0]


def test_a_router_asks_the_cheap_one_what_is_easy_and_survives_its_outage(outputs) -> None:
    told = table(outputs[0])["Questions by a router of two"]
    assert told == "3 cheap, 1 dear; an outage: dear"


def test_runs_are_learnt_from_and_tell_what_to_expect(outputs: list[str]) -> None:
    told = table(outputs[0])["Learnt from runs, by itself"]
    assert re.fullmatch(r"6 runs, [0-6] of them good; the next: \d+%", told)
    assert "Learnt from 6 calls" in outputs[0]


def test_a_team_is_let_in_by_roles_and_an_edit_of_its_log_shows(outputs: list[str]) -> None:
    told = table(outputs[0])["A team, and its audit log"]
    assert told == "2 allowed, 3 refused; edit of 6 found"
    assert "eve: projects.read  no such workspace" in outputs[0]


def test_a_month_is_looked_at(outputs: list[str]) -> None:
    told = table(outputs[0])["A made-up month, looked at"]
    assert told == "2 insights; 7 days ahead: $5.79"
    assert "Equal prompts are paid for again" in outputs[0]


def test_the_demo_states_its_prices(outputs: list[str]) -> None:
    told = " ".join(outputs[0].split())
    assert "Priced like gpt-4o-mini: $0.15 a million tokens in, $0.60 out." in told


def test_the_demo_shows_who_asked_and_who_answered(outputs: list[str]) -> None:
    told = re.findall(r"^(\w+): .*\n  (model|cache)", outputs[0], flags=re.MULTILINE)
    assert told == [("Mira", "model"), ("Mira", "model"), ("Jonas", "cache")]


def test_a_second_demo_on_the_same_database_counts_the_same(outputs: list[str]) -> None:
    assert counts(outputs[1]) == counts(outputs[0])


def test_the_report_is_the_table_of_the_newest_demo(folder: Path, outputs: list[str]) -> None:
    assert outputs[1].endswith(run(LLMOPS, "report", folder=folder))


@pytest.mark.slow
def test_ones_own_questions_are_asked(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Is moss a plant?\n\nIs moss a plant?\n", "utf-8")
    told = table(run(LLMOPS, "demo", "--questions", "mine.txt", folder=tmp_path))
    assert (told["Calls"], told["answered by the cache"]) == ("2", "1 (50%)")


@pytest.mark.slow
def test_the_model_of_a_provider_is_asked_instead(tmp_path: Path, local_model) -> None:
    command = (LLMOPS, "demo", "--turns", 3, "--model", f"openai:{local_model.model_name}")
    output = run(
        *command, folder=tmp_path, OPENAI_BASE_URL=local_model.base_url, OPENAI_API_KEY="none"
    )
    told = table(output)
    assert (told["Calls"], told["answered by the cache"]) == ("3", "1 (33%)")
    assert told["Calls without a known price"] == "3"


def test_the_example_runs_and_saves(tmp_path: Path) -> None:
    output = run(sys.executable, ROOT / "examples" / "support_agent.py", folder=tmp_path)
    assert "4 calls, 1 of them answered by the cache" in output


@pytest.mark.slow
def test_a_whole_demo_hits_the_cache_in_a_fifth_of_its_calls_and_cuts_a_thread(
    tmp_path: Path,
) -> None:
    told = table(run(LLMOPS, "demo", folder=tmp_path))
    assert int(told["answered by the cache"].split()[0]) >= 0.2 * int(told["Calls"])
    assert int(told["Tokens trimmed"].replace(",", "")) > 0

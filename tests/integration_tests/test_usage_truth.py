"""Ours says what providers billed, in every case of the suite, to a token and a nano-dollar."""

# ruff: noqa: E402 - what may be missing is skipped first
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

for _name in ("langchain_openai", "langchain_anthropic", "langchain", "bpe_openai"):
    pytest.importorskip(_name, reason=f"needs the package {_name.replace('_', '-')}")

from usage_truth.cases import CASES
from usage_truth.handlers import HANDLERS, Ours, Reading
from usage_truth.loopback import Loopback
from usage_truth.run import Case, playing
from usage_truth.scoring import judged, scored

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    # langchain-openai warns of details that OpenAI leaves out, when it adds up a `generate`.
    pytest.mark.filterwarnings("ignore:Unexpected type for token usage:UserWarning"),
    pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning"),
]

BY_ID = {case.id: case for case in CASES}
EVERY = [pytest.param(case, mode, id=f"{case.id}-{mode}") for case in CASES for mode in case.modes]


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with Loopback() as running:
        yield running


@pytest.mark.parametrize(("case", "mode"), EVERY)
def test_tokens_and_dollars_are_what_the_provider_billed(case, mode, server) -> None:
    score = scored(case, server, mode, "ours")
    assert score.right, f"{case.name}: {'; '.join(score.faults)}"


def test_the_suite_has_at_least_25_cases_and_each_its_own_name() -> None:
    assert len(CASES) >= 25
    assert len({case.name for case in CASES}) == len(BY_ID) == len(CASES)


def test_the_page_publishes_what_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "usage-truth.md").read_text("utf-8")
    assert f"| all | {len(CASES)} of {len(CASES)} |" in page
    assert [case.name for case in CASES if f"| {case.name} | " not in page] == []


def test_a_handler_that_counts_hits_again_is_wrong(server) -> None:
    score = scored(BY_ID["core_cache"], server, "sync", "core")
    assert score.faults == ("44 input, not 22", "28 output, not 14")


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"input": 21}, "21 input, not 22"),
        ({"output": 15}, "15 output, not 14"),
        ({"cost": 11_702}, "11,702 nano-dollars, not 11,700"),
        ({"cost": None}, None),
        ({"paid": 2}, "2 paid calls, not 1"),
        ({"saved": 1}, "1 nano-dollars saved, not 0"),
        ({}, None),
    ],
)
def test_the_rule_finds_every_difference(changed, fault, server) -> None:
    case, reading, bills = _plain_call(server)
    faults = [*judged(case, bills, (), replace(reading, **changed))]
    assert faults == ([fault] if fault else [])


def test_an_estimate_is_right_only_within_its_tolerance_and_flagged(server) -> None:
    case, reading, bills = _plain_call(server)
    guessed = replace(case, told=False)
    near = replace(reading, input=23, cost=12_000)
    assert [*judged(guessed, bills, (), near)] == ["says nothing of an estimate"]
    assert [*judged(guessed, bills, (), replace(near, estimated=True))] == []
    far = replace(near, input=30, estimated=True)
    assert [*judged(guessed, bills, (), far)] == ["30 input, not 22"]


def test_nested_graphs_say_which_node_made_each_call(server) -> None:
    with playing(BY_ID["nested_graphs"], server, "sync", HANDLERS["ours"]) as run:
        assert isinstance(run.watch, Ours)
        assert [event.agent for event in run.watch.events()] == ["team/writer", "editor"]


def _plain_call(server: Loopback) -> tuple[Case, Reading, tuple]:
    score = scored(BY_ID["plain_call"], server, "sync", "ours")
    return score.case, score.reading, score.bills

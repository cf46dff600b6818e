"""A failure has a category, by the class of what was raised or by what is said of it."""

import csv
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.exceptions import OutputParserException
from langchain_core.tools import ToolException
from langgraph.errors import GraphRecursionError

from llmops_langchain import BudgetExceededError, ContextWindowError
from llmops_langchain.learning.failures import CATEGORIES, category_of

REASONS = (
    Path(__file__).parents[4] / "shared/data/learning/swebench_pro_failures_claude_sonnet_4.csv"
)
SAME = {
    "context_overflow_from_listing": "context_overflow",
    "endless_file_reading": "step_limit",
    "identified_incorrect_file": "misunderstood",
    "misunderstood_problem_statement": "misunderstood",
}


def raised(name: str, message: str = "", parent: type[BaseException] = Exception) -> BaseException:
    """An exception of a package that is not installed."""
    return type(name, (parent,), {})(message)


def test_the_lexicon_has_every_category_in_their_order() -> None:
    text = files("llmops_langchain.learning").joinpath("failures.yaml").read_text("utf-8")
    assert tuple(yaml.safe_load(text)["categories"]) == CATEGORIES


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (TimeoutError(), "timeout"),
        (raised("ReadTimeout"), "timeout"),
        (raised("RateLimitError"), "rate_limit"),
        (raised("ContextOverflowError", parent=ValueError), "context_overflow"),
        (raised("Own", parent=TimeoutError), "timeout"),
        (raised("BadRequestError"), "bad_input"),
        (raised("BadRequestError", "maximum context length is 8192 tokens"), "context_overflow"),
        (raised("HTTPStatusError", "Client error '429 Too Many Requests'"), "rate_limit"),
        (OutputParserException("no"), "output_format"),
        (GraphRecursionError("no"), "step_limit"),
        (ToolException("it broke"), "tool_error"),
        (ToolException("the request timed out"), "timeout"),
        (raised("Whatever"), None),
        (KeyError("key"), None),
    ],
)
def test_an_exception_has_the_category_of_its_class_or_message(
    error: BaseException, category: str | None
) -> None:
    assert category_of(error) == category


def test_our_own_errors_have_one() -> None:
    assert category_of(ContextWindowError.__new__(ContextWindowError)) == "context_overflow"
    assert category_of(BudgetExceededError.__new__(BudgetExceededError)) == "budget"


def test_what_caused_an_exception_is_looked_at() -> None:
    error = RuntimeError("the node failed")
    error.__cause__ = TimeoutError()
    assert category_of(error) == "timeout"


def test_causes_in_a_circle_end() -> None:
    one, other = RuntimeError("a"), RuntimeError("b")
    one.__cause__, other.__cause__ = other, one
    assert category_of(one) is None


def test_a_broken_message_hides_no_class() -> None:
    class ToolError(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert category_of(ToolError()) == "tool_error"


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("Too many requests, slow down", "rate_limit"),
        ("The model's context window was exceeded", "context_overflow"),
        ("Invalid syntax in line 500", "syntax_error"),
        ("HTTP 503", "connection"),
        ("The tests failed with a wrong result; it hit the cost limit", "wrong_solution"),
        ("", None),
        ("Line 429 of the file", None),
    ],
)
def test_a_reason_has_the_category_that_says_most(text: str, category: str | None) -> None:
    assert category_of(text) == category


def test_no_reason_has_none() -> None:
    assert category_of(None) is None


@given(st.text())
def test_any_text_has_a_known_category_or_none(text: str) -> None:
    assert category_of(text) in {*CATEGORIES, None}
    assert category_of(text) == category_of(text)


@pytest.mark.skipif(not REASONS.exists(), reason="../shared/data is missing")
def test_real_reasons_are_mostly_told() -> None:
    with REASONS.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] != "other"]
    right = [
        SAME.get(row["category"], row["category"]) == category_of(row["rationale"]) for row in rows
    ]
    assert sum(right) / len(right) >= 0.6

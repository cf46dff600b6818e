"""How many tokens a model takes, and who says so."""

import pytest

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.models import DEFAULT_MAX_INPUT_TOKENS, context_limits

PROFILE = {"max_input_tokens": 272_000, "max_output_tokens": 128_000}


@pytest.mark.parametrize(
    ("arguments", "max_input_tokens", "source"),
    [
        ({"max_input_tokens": 9, "profile": PROFILE}, 9, "override"),
        ({"profile": PROFILE}, 272_000, "profile"),
        ({"profile": {"max_input_tokens": 0}}, 272_000, "prices"),
        ({}, 272_000, "prices"),
        ({"provider": "nobody"}, DEFAULT_MAX_INPUT_TOKENS, "default"),
    ],
)
def test_the_nearest_source_wins(arguments, max_input_tokens, source) -> None:
    limits = context_limits("openai:gpt-5", **arguments)
    assert (limits.max_input_tokens, limits.source) == (max_input_tokens, source)


@pytest.mark.parametrize("name", ["gpt-5-mini", "openai/gpt-5-nano", "azure/gpt-5.1", "gpt-5.2"])
def test_of_a_window_shared_with_the_answer_only_the_input_counts(name) -> None:
    assert context_limits(name).max_input_tokens == 272_000


@pytest.mark.parametrize(("name", "window"), [("gpt-4o", 128_000), ("o3", 200_000)])
def test_other_windows_are_as_listed(name, window) -> None:
    assert context_limits(name).max_input_tokens == window


def test_a_model_listed_without_a_window_gets_the_default() -> None:
    assert context_limits("davinci-002", provider="openai").source == "default"


def test_the_answers_limit_is_the_profiles_whoever_limits_the_input() -> None:
    assert context_limits("m", profile=PROFILE, max_input_tokens=9).max_output_tokens == 128_000
    assert context_limits("m").max_output_tokens is None


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_is_not_positive_is_refused(limit) -> None:
    with pytest.raises(ConfigurationError, match="max_input_tokens"):
        context_limits("m", max_input_tokens=limit)


def test_a_window_that_only_other_hosts_list_is_the_smallest_of_them() -> None:
    limits = context_limits("gemini-2.5-pro")

    assert limits.source == "prices"
    assert limits.max_input_tokens > 500_000

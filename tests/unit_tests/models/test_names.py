"""Whatever a model is called, it is found; each pattern is checked against the price data."""

from dataclasses import replace

import pytest
from genai_prices.data import providers

from llmops_langchain.models import PriceBook, parse_model_name
from llmops_langchain.models.names import PROVIDERS

CLAUDE = "claude-sonnet-4-5-20250929"
SAME_PRICE = [  # what somebody writes, and the entry of the price data it means
    ("openai:gpt-5", None, "openai", "gpt-5"),
    ("openai/gpt-4o", None, "openai", "gpt-4o"),
    ("OpenAI/GPT-4o", None, "openai", "gpt-4o"),
    ("openai/gpt-4o", "openai", "openai", "gpt-4o"),
    ("gpt-4o-2024-08-06", None, "openai", "gpt-4o"),
    ("gpt-4o-2024-05-13", None, "openai", "gpt-4o-2024-05-13"),
    ("gpt-4o-2099-01-31", None, "openai", "gpt-4o"),
    ("gpt-5.2-20251211", "openai", "openai", "gpt-5.2"),
    ("text-embedding-3-small", None, "openai", "text-embedding-3-small"),
    ("ft:gpt-4o-mini-2024-07-18:acme::id", None, "openai", "ft:gpt-4o-mini-2024-07-18"),
    ("azure/gpt-4o", None, "openai", "gpt-4o"),
    ("gpt-4o", "azure", "openai", "gpt-4o"),
    ("azure_openai:o3-mini", None, "azure", "o3-mini"),
    ("anthropic:claude-opus-4-5", None, "anthropic", "claude-opus-4-5"),
    ("models/gemini-2.5-pro", None, "google", "gemini-2.5-pro"),
    ("models/gemini-2.5-pro", "google_genai", "google", "gemini-2.5-pro"),
    ("gemini/gemini-2.5-pro", None, "google", "gemini-2.5-pro"),
    ("gemini-2.5-flash-001", "google_genai", "google", "gemini-2.5-flash"),
    ("gemini-embedding-001", None, "google", "gemini-embedding-001"),
    ("publishers/google/models/gemini-2.5-flash", None, "google", "gemini-2.5-flash"),
    (
        f"projects/p/locations/l/publishers/anthropic/models/{CLAUDE}",
        None,
        "google",
        "claude-sonnet-4-5",
    ),
    ("claude-sonnet-4-5@20250929", None, "google", "claude-sonnet-4-5"),
    ("claude-opus-4-5@default", "google_vertexai", "google", "claude-opus-4-5"),
    (f"us.anthropic.{CLAUDE}-v1:0", None, "aws", f"regional.anthropic.{CLAUDE}-v1:0"),
    (f"us.anthropic.{CLAUDE}-v1:0", "amazon_bedrock", "aws", f"regional.anthropic.{CLAUDE}-v1:0"),
    (f"bedrock/global.anthropic.{CLAUDE}-v1:0", None, "aws", f"global.anthropic.{CLAUDE}-v1:0"),
    (
        f"arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.{CLAUDE}-v1:0",
        None,
        "aws",
        f"regional.anthropic.{CLAUDE}-v1:0",
    ),
    (
        "anthropic.claude-3-5-haiku-20241022-v1:0",
        None,
        "aws",
        "regional.anthropic.claude-3-5-haiku-20241022-v1:0",
    ),
    ("amazon.nova-lite-v1:0", "bedrock_converse", "aws", "amazon.nova-lite-v1:0"),
    (
        "accounts/fireworks/models/kimi-k3",
        None,
        "fireworks",
        "accounts/fireworks/models/kimi-k3",
    ),
    ("mistral-small-latest", "mistralai", "mistral", "mistral-small-latest"),
    ("groq/openai/gpt-oss-20b", None, "groq", "openai/gpt-oss-20b"),
    ("openai/gpt-oss-20b", "groq", "groq", "openai/gpt-oss-20b"),
    (
        "openrouter/anthropic/claude-sonnet-4.5",
        None,
        "openrouter",
        "anthropic/claude-sonnet-4.5",
    ),
    ("litellm/azure/gpt-4o", None, "openai", "gpt-4o"),
    ("azure/gpt-4o", "litellm", "openai", "gpt-4o"),
    ("perplexity/sonar", None, "perplexity", "sonar"),
    ("xai:grok-4-fast-reasoning", None, "x-ai", "grok-4-fast-reasoning"),
]


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook(clock=lambda: 1_800_000_000.0)


@pytest.mark.parametrize(("name", "provider", "listed_by", "listed_as"), SAME_PRICE)
def test_a_name_is_priced_as_the_model_it_means(book, name, provider, listed_by, listed_as) -> None:
    expected = book.rates(listed_as, listed_by)
    assert expected is not None
    assert book.rates(name, provider) == expected


@pytest.mark.parametrize(
    ("name", "provider", "listed_by", "listed_as"),
    [
        ("gpt-4o-mini", "my-gateway", "openai", "gpt-4o-mini"),
        ("azure/gpt-4o", "my-gateway", "openai", "gpt-4o"),
        ("claude-sonnet-4-5", "My-Gateway", "anthropic", "claude-sonnet-4-5"),
        ("anthropic/claude-sonnet-4-5", "openai", "anthropic", "claude-sonnet-4-5"),
        ("gemini/gemini-2.5-pro", "openai", "google", "gemini-2.5-pro"),
        (
            f"bedrock/us.anthropic.{CLAUDE}-v1:0",
            "openai",
            "aws",
            f"regional.anthropic.{CLAUDE}-v1:0",
        ),
    ],
)
def test_behind_a_gateway_a_name_costs_what_its_maker_charges(
    book, name, provider, listed_by, listed_as
) -> None:
    expected, found = book.rates(listed_as, listed_by), book.rates(name, provider)
    said = "azure" if name.startswith("azure") else listed_by
    assert found == replace(expected, version=f"{expected.version}, listed by {said}")


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("deepseek-chat", "ollama"),
        ("gpt-oss-20b", "vllm"),
        ("deepseek-chat", "openai"),  # an open model behind OpenAI's protocol
        ("gpt-4o", "anthropic"),
        ("mystery", "my-gateway"),
    ],
)
def test_an_open_model_of_ones_own_is_not_charged_what_its_maker_charges(
    book, name, provider
) -> None:
    assert book.rates(name, provider) is None


@pytest.mark.parametrize(
    ("name", "own_name", "family"),
    [
        ("openai:gpt-4o-2024-08-06", "gpt-4o-2024-08-06", "gpt-4o"),
        (f"us.anthropic.{CLAUDE}-v1:0", CLAUDE, "claude-sonnet-4-5"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("openrouter/meta-llama/Llama-3.3-70B", "llama-3.3-70b", "llama-3.3-70b"),
        ("mistral-large-2411", "mistral-large-2411", "mistral-large"),
        ("gemini-2.5-flash-001", "gemini-2.5-flash-001", "gemini-2.5-flash"),
        ("gpt-4", "gpt-4", "gpt-4"),
    ],
)
def test_the_makers_name_and_its_family_are_kept(name, own_name, family) -> None:
    parsed = parse_model_name(name)
    assert (parsed.name, parsed.family) == (own_name, family)


@pytest.mark.parametrize(
    ("name", "provider", "who"),
    [
        ("gpt-5", None, None),
        ("gpt-5", "openai", "openai"),
        ("gpt-5", "google_vertexai", "google"),
        ("gpt-5", "Some-Proxy", "some-proxy"),
        ("openai/gpt-5", "openrouter", "openrouter"),
        ("llama3:8b", None, None),
        ("openai:", None, None),
        ("", None, None),
    ],
)
def test_the_provider_is_whom_the_caller_or_the_name_says(name, provider, who) -> None:
    assert parse_model_name(name, provider).provider == who


def test_every_provider_word_leads_to_a_provider_of_the_price_data() -> None:
    ids = {provider.id for provider in providers}
    assert {provider for provider in PROVIDERS.values() if provider is not None} <= ids

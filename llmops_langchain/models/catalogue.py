"""Find a model in the price data that is installed; nothing is fetched."""

import re
from typing import TYPE_CHECKING

from llmops_langchain.models.names import ModelName, parse_model_name

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

__all__ = ["find_listing", "find_price_listing", "listed_windows", "load_price_data"]

_MAKERS = {
    "chatgpt-": "openai",
    "codex-": "openai",
    "ft:": "openai",
    "text-embedding-": "openai",
}
"""Beginnings of names whose provider the price data cannot tell from the name."""

_RUNTIMES = frozenset(
    {
        "gpt4all",
        "huggingface",
        "llamacpp",
        "llamafile",
        "lmstudio",
        "lm_studio",
        "localai",
        "mlx",
        "ollama",
        "sglang",
        "tgi",
        "vllm",
        "xinference",
    }
)
"""What runs open models on the app's own machines: nobody sells these tokens."""

_MADE_BY_ONE = re.compile("claude|gemini|grok")
"""Names that mean one maker's models, whoever passes the call on."""


def load_price_data() -> None:
    """Load the installed price data, unless it is loaded."""
    from genai_prices.data_snapshot import get_snapshot

    get_snapshot()


def find_listing(name: ModelName) -> "tuple[Provider, ModelInfo] | None":
    """Return who answers and the model, by the most exact name that is listed, else `None`."""
    # Imported here: pydantic models and 2,330 entries take a quarter of a second.
    from genai_prices.data_snapshot import get_snapshot

    providers = get_snapshot().providers
    for candidate in name.candidates:
        provider = _provider(candidate, name.provider, providers)
        if provider and (model := provider.find_model(candidate, all_providers=providers)):
            return provider, model
    return None


def find_price_listing(model: str, name: ModelName) -> "tuple[Provider, ModelInfo] | None":
    """Return whose price a call is charged, also where the answer came through a gateway.

    Args:
        model: Its name as it was given.
        name: The same, taken apart with the provider that was given.
    """
    found = find_listing(name)
    if found or name.provider is None or name.provider in _RUNTIMES:
        return found
    alone = parse_model_name(model)
    # Everything that speaks OpenAI's protocol calls itself so; other hosts list what they sell.
    passed_on = name.provider == "openai" and _MADE_BY_ONE.search(alone.name)
    return find_listing(alone) if passed_on or not _is_known(name.provider) else None


def _is_known(provider_id: str) -> bool:
    from genai_prices.data_snapshot import get_snapshot

    return any(provider.id == provider_id for provider in get_snapshot().providers)


def listed_windows(name: ModelName) -> list[int]:
    """Return the context windows, in tokens, that any provider lists for a model of this name."""
    from genai_prices.data_snapshot import get_snapshot

    listed = (model for provider in get_snapshot().providers for model in provider.models)
    names = (name.name, name.family)
    return [
        model.context_window
        for model in listed
        if model.context_window and model.id.lower().rpartition("/")[2] in names
    ]


def _provider(
    candidate: str, provider_id: str | None, providers: "list[Provider]"
) -> "Provider | None":
    if provider_id is None:
        for provider in providers:
            if provider.model_match is not None and provider.model_match.is_match(candidate):
                return provider
        provider_id = next((m for start, m in _MAKERS.items() if candidate.startswith(start)), None)
    return next((provider for provider in providers if provider.id == provider_id), None)

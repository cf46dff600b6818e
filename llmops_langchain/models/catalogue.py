"""Find a model in the price data that is installed; nothing is fetched."""

from typing import TYPE_CHECKING

from llmops_langchain.models.names import ModelName

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

__all__ = ["find_listing", "listed_windows"]

_MAKERS = {
    "chatgpt-": "openai",
    "codex-": "openai",
    "ft:": "openai",
    "text-embedding-": "openai",
}
"""Beginnings of names whose provider the price data cannot tell from the name."""


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

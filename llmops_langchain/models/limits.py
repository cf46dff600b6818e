"""How many tokens a model takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.models.catalogue import find_listing, listed_windows
from llmops_langchain.models.names import parse_model_name

__all__ = ["DEFAULT_MAX_INPUT_TOKENS", "ContextLimits", "context_limits"]

DEFAULT_MAX_INPUT_TOKENS = 8_192
"""For models nobody knows: small on purpose, a window too large overflows."""

_GPT_5_WINDOW, _GPT_5_ANSWER = 400_000, 128_000
"""The price data lists the window of GPT-5 models, of which the answer's part is no input: OpenAI
refuses more than 272,000 tokens, as the profiles of langchain-openai say too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextLimits:
    """The largest input and answer, in tokens, and where the input limit is from."""

    max_input_tokens: int
    max_output_tokens: int | None
    source: Literal["override", "profile", "prices", "default"]


def context_limits(
    model: str,
    *,
    provider: str | None = None,
    profile: Mapping[str, Any] | None = None,
    max_input_tokens: int | None = None,
) -> ContextLimits:
    """Return the limits of `model`: the override, its profile, the price data or a default.

    Args:
        model: Its name, with or without what a host or LangChain adds.
        provider: Who answers, where the name does not say.
        profile: LangChain's `model.profile`; zeros and missing keys count as unknown.
        max_input_tokens: The app's own limit; it wins.

    Raises:
        ConfigurationError: If `max_input_tokens` is not positive.
    """
    if max_input_tokens is not None and max_input_tokens <= 0:
        msg = f"`max_input_tokens` must be positive, got {max_input_tokens!r}"
        raise ConfigurationError(msg)
    known = profile or {}
    answer: int | None = known.get("max_output_tokens") or None
    if max_input_tokens is not None:
        return _limits(max_input_tokens, answer, "override")
    if taken := known.get("max_input_tokens"):
        return _limits(taken, answer, "profile")
    name = parse_model_name(model, provider)
    listing = find_listing(name)
    if listing and (window := listing[1].context_window):
        return _limits(_input_of(name.name, window), answer, "prices")
    # Its own provider lists no window: the smallest that another host of it does is safe.
    if windows := listed_windows(name):
        return _limits(_input_of(name.name, min(windows)), answer, "prices")
    return _limits(DEFAULT_MAX_INPUT_TOKENS, answer, "default")


def _input_of(model: str, window: int) -> int:
    is_shared = model.startswith("gpt-5") and window == _GPT_5_WINDOW
    return window - _GPT_5_ANSWER if is_shared else window


def _limits(
    prompt: int, answer: int | None, source: Literal["override", "profile", "prices", "default"]
) -> ContextLimits:
    return ContextLimits(max_input_tokens=prompt, max_output_tokens=answer, source=source)

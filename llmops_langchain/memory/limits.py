"""How many tokens a request to a model may have."""

import logging

from langchain_core.language_models import BaseChatModel

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.models import context_limits
from llmops_langchain.tokens import model_name

__all__ = ["input_limit"]

_OUTPUT_RESERVE = 4096
"""Tokens kept free for the answer where neither the caller nor the model says how many."""

_logger = logging.getLogger(__name__)


def input_limit(
    model: str | BaseChatModel, max_tokens: int | None, output_reserve: int | None
) -> int:
    """Return the tokens a request may have.

    Raises:
        ConfigurationError: If that is none, or both arguments are given.
    """
    if max_tokens is not None and output_reserve is not None:
        msg = "give `max_tokens`, the tokens for the request, or `output_reserve`, not both"
        raise ConfigurationError(msg)
    if max_tokens is not None:
        return _positive(max_tokens)
    limit = _model_limit(model)
    names = ("max_tokens", "max_output_tokens")
    own = next(filter(None, (getattr(model, name, None) for name in names)), _OUTPUT_RESERVE)
    return _positive(limit - (min(own, limit // 2) if output_reserve is None else output_reserve))


def _positive(limit: int) -> int:
    if limit <= 0:
        msg = f"a request must have room for some tokens, got {limit!r}"
        raise ConfigurationError(msg)
    return limit


def _model_limit(model: str | BaseChatModel) -> int:
    profile = getattr(model, "profile", None)
    limits = context_limits(model_name(model), profile=profile)
    if limits.source == "default":
        _logger.warning(
            "no limit is known for the model %r, %d tokens are assumed: pass `max_tokens`",
            model_name(model),
            limits.max_input_tokens,
        )
    return limits.max_input_tokens

"""What is known about models: names, prices and limits. No framework, no network."""

from llmops_langchain.models.limits import (
    DEFAULT_MAX_INPUT_TOKENS,
    ContextLimits,
    context_limits,
)
from llmops_langchain.models.money import dollars, nano_dollars
from llmops_langchain.models.names import ModelName, parse_model_name
from llmops_langchain.models.overrides import PriceOverride
from llmops_langchain.models.prices import Price, PriceBook
from llmops_langchain.models.rates import Rates
from llmops_langchain.models.told import read_usage, service_tier
from llmops_langchain.models.usage import TokenUsage

__all__ = [
    "DEFAULT_MAX_INPUT_TOKENS",
    "ContextLimits",
    "ModelName",
    "Price",
    "PriceBook",
    "PriceOverride",
    "Rates",
    "TokenUsage",
    "context_limits",
    "dollars",
    "nano_dollars",
    "parse_model_name",
    "read_usage",
    "service_tier",
]

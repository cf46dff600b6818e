"""The strategies by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from langchain_core.language_models import BaseChatModel

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.memory.important import important_first
from llmops_langchain.memory.relevant import Relevant
from llmops_langchain.memory.strategies import Strategy, checked, sliding_window
from llmops_langchain.memory.summaries import Summarize

__all__ = ["STRATEGIES", "strategy_of"]


STRATEGIES: Mapping[str, Callable[[str | BaseChatModel], Strategy]] = MappingProxyType(
    {
        "sliding_window": lambda _: sliding_window,
        "summarize": Summarize,
        "important_first": lambda _: important_first,
        "relevant": lambda _: Relevant(),
    }
)
"""Makes the strategy of a name for the model that answers, or its name."""


def strategy_of(strategy: str | Strategy, model: str | BaseChatModel) -> Strategy:
    """Return a strategy whose results are valid and fit.

    Raises:
        ConfigurationError: If there is none of this name.
    """
    if isinstance(strategy, Summarize):
        return checked(strategy.of(model))
    if not isinstance(strategy, str):
        return strategy if getattr(strategy, "sound", False) else checked(strategy)
    if strategy not in STRATEGIES:
        msg = f"no strategy {strategy!r}: use a callable or one of {', '.join(sorted(STRATEGIES))}"
        raise ConfigurationError(msg)
    made = STRATEGIES[strategy](model)
    is_sound = made in (sliding_window, important_first) or getattr(made, "sound", False)
    return made if is_sound else checked(made)

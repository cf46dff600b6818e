"""Who counts for a window: our own counter, or the one a caller brings, as LangChain takes it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.tokens import counter_for

__all__ = ["Counter", "Given", "counter_of"]

Given = Callable[[Sequence[BaseMessage]], int] | BaseChatModel | str | None
"""What `trim_messages(token_counter=…)` takes: a function of messages, a model, `"approximate"`."""


class Counter(Protocol):
    """Counts messages one by one."""

    @property
    def reply_overhead(self) -> int:
        """Tokens that prime the answer, once a request."""

    @property
    def estimated(self) -> bool:
        """Whether the counts are an estimate."""

    def message(self, message: BaseMessage) -> int:
        """Tokens of one message."""

    def tools(self, tools: Iterable[Any]) -> int:
        """Tokens of the tools' schemas."""


def counter_of(model: str | BaseChatModel, given: Given) -> Counter:
    """Return what counts for a model.

    Args:
        model: Who answers.
        given: The caller's own counter; without one it is ours.

    Raises:
        ConfigurationError: If it is no counter.
    """
    if given is None:
        return counter_for(model)
    if given == "approximate":
        return _OfLists(count_tokens_approximately, counter_for(model).tools)
    if isinstance(given, BaseChatModel):
        return _OfLists(given.get_num_tokens_from_messages, counter_for(model).tools)
    if not callable(given):
        msg = f"`token_counter` is a function of messages, a model or 'approximate', got {given!r}"
        raise ConfigurationError(msg)
    return _OfLists(given, counter_for(model).tools)


class _OfLists:
    """A counter of whole lists asked for one message at a time.

    What it adds once a list, it adds to each message here: too much rather than too little.
    """

    reply_overhead = 0
    estimated = True

    def __init__(self, count: Callable[[Any], int], tools: Callable[[Iterable[Any]], int]) -> None:
        self._count, self.tools = count, tools

    def message(self, message: BaseMessage) -> int:
        return self._count([message])

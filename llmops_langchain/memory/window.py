"""A context window: how full it is, and a history cut so that it fits."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages
from langchain_core.messages.utils import MessageLikeRepresentation
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig
from typing_extensions import override

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.memory.report import Trim
from llmops_langchain.memory.sticky import CRITICAL, sticky
from llmops_langchain.memory.strategies import STRATEGIES, Room, Strategy, checked
from llmops_langchain.models import context_limits
from llmops_langchain.tokens import counter_for, model_name
from llmops_langchain.tokens.parts import MESSAGE_TOKENS

__all__ = ["WARNING", "ContextStatus", "ContextWindow"]

WARNING = 0.75
"""Share of the window from which its status is `warning`."""

_OUTPUT_RESERVE = 4096
"""Tokens kept free for the answer where neither the caller nor the model says how many."""

_Cut = Callable[[Sequence[BaseMessage]], tuple[list[BaseMessage], bool]]
"""Takes a history; returns the messages to send and whether the cut is a new one."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextStatus:
    """How full a context window is."""

    current_tokens: int
    """Tokens of the request, with tool schemas and the provider's overhead."""
    limit: int
    """Tokens the request may have."""
    share: float
    """`current_tokens / limit`; above 1 the request does not fit."""
    status: Literal["ok", "warning", "critical"]
    """`warning` from `WARNING` on, `critical` from `CRITICAL` on."""
    estimated: bool
    """Whether the tokens are an estimate; those of a caller's own count are not."""


class ContextWindow(Runnable[LanguageModelInput, list[BaseMessage]]):
    """Leave a history that fits as it is, and cut one that does not to the tokens there are.

    What a cut leaves is valid for every provider: system messages and the current question are
    there, tool calls have their results and results their calls, a human message comes first,
    and it never counts more than `max_tokens`. The messages given are not changed; a tool output
    too large to stay is replaced by a note in a copy. Safe to share between threads.

    Args:
        model: The model that answers, or its name: it decides how tokens are counted.
        max_tokens: Tokens a request may have, tool schemas included. Without it: what the model
            takes less `output_reserve`.
        strategy: The name of a strategy, or a callable that is given the messages and the `Room`
            and returns the messages to keep. Its result is repaired and cut where need be.
        tools: The tools bound to the model; their schemas count.
        output_reserve: Tokens of the model's limit kept free for the answer. Without it: the
            model's own `max_tokens` if set, else 4,096, but at most half of the limit.
        on_trim: Called with the `Trim` of each prompt that is shorter than its history;
            `trim.moved` tells a new cut from one that was kept. An error in it is logged once a
            class and goes no further.

    Raises:
        ConfigurationError: If a limit is not positive, the strategy is not known, or both
            `max_tokens` and `output_reserve` are given.

    Example:
        >>> window = ContextWindow(model="gpt-4o", max_tokens=8000)
        >>> window.check("What is the weather in Paris?").status
        'ok'
        >>> [message.content for message in window.invoke("What is the weather in Paris?")]
        ['What is the weather in Paris?']
    """

    def __init__(
        self,
        model: str | BaseChatModel,
        max_tokens: int | None = None,
        strategy: str | Strategy = "sliding_window",
        *,
        tools: Sequence[Any] = (),
        output_reserve: int | None = None,
        on_trim: Callable[[Trim], object] | None = None,
    ) -> None:
        self.max_tokens = _limit(model, max_tokens, output_reserve)
        if self.max_tokens <= 0:
            msg = f"a request must have room for some tokens, got {self.max_tokens!r}"
            raise ConfigurationError(msg)
        self._counter = counter_for(model)
        self._room = Room(
            max_tokens=self.max_tokens,
            taken=self._counter.reply_overhead + self._counter.tools(tools),
            count=self._counter.message,
            least=MESSAGE_TOKENS,
        )
        self._strategy = _strategy(strategy)
        self._on_trim = on_trim
        self._logged: set[str] = set()

    def check(self, messages: LanguageModelInput | int) -> ContextStatus:
        """Return how full the window is with these messages, or with a count of tokens."""
        tokens = messages if isinstance(messages, int) else self._tokens(messages)
        share = tokens / self.max_tokens
        return ContextStatus(
            current_tokens=tokens,
            limit=self.max_tokens,
            share=share,
            status="critical" if share >= CRITICAL else "warning" if share >= WARNING else "ok",
            estimated=self._counter.estimated and not isinstance(messages, int),
        )

    def trim(self, messages: LanguageModelInput) -> Trim:
        """Return the messages to send, with what left and why.

        Raises:
            ContextWindowError: If system messages, tools and current question do not fit.
        """
        return self._trim(messages, self._fitted)

    def trim_sticky(
        self, messages: LanguageModelInput, *, previous: Sequence[BaseMessage] = ()
    ) -> Trim:
        """Return the messages to send, cut at 85 % of the window down to 60 % and then kept so.

        The prompt of a growing chat begins like the one before until the cut moves. With
        `previous`, the prompt before, only the messages since then are looked at; without it all
        cuts are made again, to the same effect.

        Raises:
            ContextWindowError: If system messages, tools and current question do not fit.
        """
        return self._trim(messages, lambda h: sticky(h, previous, self._strategy, self._room))

    @override
    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[BaseMessage]:
        return self._call_with_config(self._messages, input, config)

    @override
    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[BaseMessage]:
        async def messages(given: LanguageModelInput) -> list[BaseMessage]:
            return self._messages(given)

        return await self._acall_with_config(messages, input, config)

    def _messages(self, given: LanguageModelInput) -> list[BaseMessage]:
        return self.trim(given).messages

    def _tokens(self, messages: LanguageModelInput) -> int:
        return self._room.taken + self._room.cost(convert_to_messages(_history(messages)))

    def _fitted(self, history: Sequence[BaseMessage]) -> tuple[list[BaseMessage], bool]:
        if self._room.holds(history):
            return convert_to_messages(history), False
        return list(self._strategy(history, self._room)), True

    def _trim(self, messages: LanguageModelInput, cut: _Cut) -> Trim:
        history: Sequence[Any] = _history(messages)
        try:
            kept, moved = cut(history)
        except AttributeError:
            # Converting 10,000 messages takes longer than cutting them, and a cut looks only at
            # what it keeps: there tuples, dicts and strings show by what they have not.
            history = convert_to_messages(history)
            kept, moved = cut(history)
        trim = Trim(
            messages=kept,
            moved=moved,
            history=history,
            length=len(history),
            count=self._room.count,
        )
        if (moved or len(kept) < len(history)) and self._on_trim is not None:
            self._report(trim, self._on_trim)
        return trim

    def _report(self, trim: Trim, on_trim: Callable[[Trim], object]) -> None:
        try:
            on_trim(trim)
        except Exception as error:  # noqa: BLE001 - a report never costs the user the answer
            name = type(error).__name__
            if name not in self._logged:
                self._logged.add(name)
                _logger.warning("`on_trim` raised %s; the messages were cut all the same", name)


def _history(messages: LanguageModelInput) -> Sequence[MessageLikeRepresentation]:
    if isinstance(messages, Mapping):
        msg = "messages are needed, got a mapping: give it a state's `messages`, or use `trim_node`"
        raise ConfigurationError(msg)
    if isinstance(messages, PromptValue):
        return messages.to_messages()
    return [HumanMessage(messages)] if isinstance(messages, str) else messages


def _strategy(strategy: str | Strategy) -> Strategy:
    if not isinstance(strategy, str):
        return checked(strategy)
    if strategy not in STRATEGIES:
        msg = f"no strategy {strategy!r}: use a callable or one of {', '.join(sorted(STRATEGIES))}"
        raise ConfigurationError(msg)
    return STRATEGIES[strategy]


def _limit(model: str | BaseChatModel, max_tokens: int | None, output_reserve: int | None) -> int:
    """Return the tokens a request may have."""
    if max_tokens is not None and output_reserve is not None:
        msg = "give `max_tokens`, the tokens for the request, or `output_reserve`, not both"
        raise ConfigurationError(msg)
    if max_tokens is not None:
        return max_tokens
    limit = _model_limit(model)
    names = ("max_tokens", "max_output_tokens")
    own = next(filter(None, (getattr(model, name, None) for name in names)), _OUTPUT_RESERVE)
    return limit - (min(own, limit // 2) if output_reserve is None else output_reserve)


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

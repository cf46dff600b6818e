"""A context window: how full it is, and a history cut so that it fits."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from typing import Any, Literal, Protocol

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages
from langchain_core.messages.utils import MessageLikeRepresentation
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import run_in_executor
from typing_extensions import override

from llmops_langchain.errors import ConfigurationError, ContextWindowError
from llmops_langchain.memory.counters import Given, counter_of
from llmops_langchain.memory.limits import input_limit
from llmops_langchain.memory.marks import (
    CRITICAL,
    TARGET,
    ContextSize,
    Status,
    marks,
    status_of,
)
from llmops_langchain.memory.named import strategy_of
from llmops_langchain.memory.oversize import shortened
from llmops_langchain.memory.prompt_cache import EarlyCut
from llmops_langchain.memory.report import Trim
from llmops_langchain.memory.sticky import Previous, Sticky, sticky
from llmops_langchain.memory.strategies import Room, Strategy
from llmops_langchain.memory.validity import is_pinned
from llmops_langchain.tokens import model_name
from llmops_langchain.tokens.parts import MESSAGE_TOKENS

__all__ = ["ContextStatus", "ContextWindow"]

_GRAVITY = {"ok": 0, "warning": 1, "critical": 2}

_Way = Callable[[Sequence[BaseMessage], Room], Sticky]
"""Takes a history and the room it has; returns the messages to send."""

_logger = logging.getLogger(__name__)


class Calibrates(Protocol):
    """Knows by how much a model's own counts differ from ours: `tokens.calibration`."""

    def factor(self, model: str) -> float:
        """The model's tokens for each of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextStatus:
    """How full a context window is."""

    current_tokens: int
    """Tokens of the request, with tool schemas and the provider's overhead."""
    limit: int
    """Tokens the request may have."""
    share: float
    """`current_tokens / limit`; above 1 the request does not fit."""
    status: Status
    """`warning` from 75 % on, `critical` from 85 % on."""
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
        trigger: When `trim_sticky` cuts, as LangChain says it: `("fraction", 0.85)`,
            `("tokens", 4000)`, `("messages", 50)`, or several of which any is enough.
        keep: What it leaves, likewise.
        early: Cut from 75 % on where it pays at the model's prices, in spite of the lost discount
            on a prompt that goes on like the last one.
        token_counter: Your own counter, as `trim_messages` takes it.
        pin: Which messages no cut takes away. By default `trim_sticky` keeps those that
            `pin(message)` made, and `trim`, which does not look at all of a history, none.
        on_oversize: What becomes of a question, or of a pinned message, that alone is too large:
            `"refuse"` raises, `"cut"` takes its middle out, in a copy.
        calibration: Corrects the counts by those of the provider.
        on_trim: Called with the `Trim` of each prompt that is shorter than its history;
            `trim.moved` tells a new cut from one that was kept.
        on_warning: Called with the `ContextStatus` of a prompt that fills 75 % or more before it
            is cut; by `trim_sticky` with a `previous` prompt only when that comes to be so, and
            once more at 85 %. An error in either is logged once a class and goes no further.

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
        trigger: ContextSize | Sequence[ContextSize] = ("fraction", CRITICAL),
        keep: ContextSize = ("fraction", TARGET),
        early: EarlyCut | None = None,
        token_counter: Given = None,
        pin: Callable[[BaseMessage], bool] | None = None,
        on_oversize: Literal["cut", "refuse"] = "refuse",
        calibration: Calibrates | None = None,
        on_trim: Callable[[Trim], object] | None = None,
        on_warning: Callable[[ContextStatus], object] | None = None,
    ) -> None:
        self.max_tokens = input_limit(model, max_tokens, output_reserve)
        """Tokens a request may have."""
        self.strategy = strategy
        """As it was given."""
        self.calibration = calibration
        """What corrects the counts."""
        if on_oversize not in ("cut", "refuse"):
            msg = f"`on_oversize` is 'cut' or 'refuse', got {on_oversize!r}"
            raise ConfigurationError(msg)
        self._counter, self._model = counter_of(model, token_counter), model_name(model)
        self._room = Room(
            max_tokens=self.max_tokens,
            taken=self._counter.reply_overhead + self._counter.tools(tools),
            count=self._counter.message,
            least=MESSAGE_TOKENS if token_counter is None else 0,
            pinned=pin,
        )
        self._strategy = strategy_of(strategy, model)
        self._marks = marks(trigger, keep, early)
        self._cuts_oversize = on_oversize == "cut"
        self._on_trim, self._on_warning = on_trim, on_warning
        self._logged: set[str] = set()

    @property
    def blocks(self) -> bool:
        """Whether a cut may wait for something, such as a model that summarises."""
        return getattr(self._strategy, "blocks", False)

    @property
    def reselects(self) -> bool:
        """Whether each question cuts the whole history anew, as `relevant` does."""
        return getattr(self._strategy, "reselects", False)

    def check(self, messages: LanguageModelInput | int) -> ContextStatus:
        """Return how full the window is with these messages, or with a count of tokens."""
        tokens = messages if isinstance(messages, int) else self._tokens(messages)
        return self._status(tokens, self.max_tokens, estimated=not isinstance(messages, int))

    def trim(self, messages: LanguageModelInput, *, max_tokens: int | None = None) -> Trim:
        """Return the messages to send, with what left and why.

        Args:
            messages: The conversation.
            max_tokens: A smaller limit, for this once.

        Raises:
            ContextWindowError: If system messages, tools and current question do not fit.
        """
        return self._trim(messages, self._fitted, max_tokens)

    def trim_sticky(
        self,
        messages: LanguageModelInput,
        *,
        previous: Previous = (),
        max_tokens: int | None = None,
    ) -> Trim:
        """Return the messages to send, cut at 85 % of the window down to 60 % and then kept so.

        The prompt of a growing chat begins like the one before until the cut moves. With
        `previous` only the messages since then are looked at; without it all cuts are made again,
        to the same effect.

        Args:
            messages: The conversation.
            previous: The prompt before: its messages, or the `Trim.cut` that a state kept.
            max_tokens: A smaller limit, for this once.

        Raises:
            ContextWindowError: If system messages, tools and current question do not fit.
        """

        def way(history: Sequence[BaseMessage], room: Room) -> Sticky:
            stays = room.pinned or is_pinned
            room = replace(room, pinned=stays)
            cut = self._reducer(room)
            return sticky(history, previous, cut, room, self._marks, reselects=self.reselects)

        return self._trim(messages, way, max_tokens, previous)

    async def atrim(self, messages: LanguageModelInput, *, max_tokens: int | None = None) -> Trim:
        """`trim`, in a thread where the strategy may have to wait for something."""
        return await self._unblocked(partial(self.trim, messages, max_tokens=max_tokens))

    async def atrim_sticky(
        self,
        messages: LanguageModelInput,
        *,
        previous: Previous = (),
        max_tokens: int | None = None,
    ) -> Trim:
        """`trim_sticky`, in a thread where the strategy may have to wait for something."""
        return await self._unblocked(
            partial(self.trim_sticky, messages, previous=previous, max_tokens=max_tokens)
        )

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
            return (await self.atrim(given)).messages

        return await self._acall_with_config(messages, input, config)

    def _messages(self, given: LanguageModelInput) -> list[BaseMessage]:
        return self.trim(given).messages

    async def _unblocked(self, make: Callable[[], Trim]) -> Trim:
        return await run_in_executor(None, make) if self.blocks else make()

    def _tokens(self, messages: LanguageModelInput) -> int:
        return self._calibrated(self._room.cost(convert_to_messages(_history(messages))))

    def _calibrated(self, tokens: int) -> int:
        return ceil(self._factor() * (self._room.taken + tokens))

    def _factor(self) -> float:
        return self.calibration.factor(self._model) if self.calibration else 1.0

    def _status(self, tokens: int, limit: int, *, estimated: bool = True) -> ContextStatus:
        share = tokens / limit
        return ContextStatus(
            current_tokens=tokens,
            limit=limit,
            share=share,
            status=status_of(share),
            estimated=self._counter.estimated and estimated,
        )

    def _room_of(self, max_tokens: int | None) -> Room:
        """The room in our tokens, of which the model has more or fewer."""
        factor = self._factor()
        if max_tokens is None and factor == 1:
            return self._room
        limit = self.max_tokens if max_tokens is None else min(max_tokens, self.max_tokens)
        return replace(self._room, max_tokens=int(limit / factor))

    def _fitted(self, history: Sequence[BaseMessage], room: Room) -> Sticky:
        if room.holds(history):
            return Sticky(convert_to_messages(history), moved=False)
        return Sticky(list(self._reducer(room)(history, room)), moved=True)

    def _reducer(self, whole: Room) -> Strategy:
        """The strategy; in the whole room, what is too large for it is shortened first."""

        def reduced(history: Sequence[BaseMessage], room: Room) -> Sequence[BaseMessage]:
            try:
                return self._strategy(history, room)
            except ContextWindowError:
                if not self._cuts_oversize or room.max_tokens < whole.max_tokens:
                    raise
                return self._strategy(shortened(history, room), room)

        return reduced

    def _trim(
        self,
        messages: LanguageModelInput,
        way: _Way,
        max_tokens: int | None,
        previous: Previous = (),
    ) -> Trim:
        history: Sequence[Any] = _history(messages)
        room = self._room_of(max_tokens)
        try:
            made = way(history, room)
        except AttributeError:
            # Converting 10,000 messages takes longer than cutting them, and a cut looks only at
            # what it keeps: there tuples, dicts and strings show by what they have not.
            history = convert_to_messages(history)
            made = way(history, room)
        trim = Trim(
            messages=made.messages,
            moved=made.moved,
            history=history,
            length=len(history),
            count=room.count,
            total=made.total,
            previous=previous,
        )
        if self._on_warning is not None:
            self._report(self._warn, (history, made, max_tokens or self.max_tokens))
        if self._on_trim is not None and (made.moved or len(made.messages) < len(history)):
            self._report(self._on_trim, (trim,))
        return trim

    def _warn(self, history: Sequence[BaseMessage], made: Sticky, limit: int) -> None:
        used = made.before or self._room.cost(convert_to_messages(history))
        status = self._status(self._calibrated(used), limit)
        carried = self._status(self._calibrated(made.carried), limit)
        before = carried.status if made.carried else "ok"
        if self._on_warning is not None and _GRAVITY[status.status] > _GRAVITY[before]:
            self._on_warning(status)

    def _report(self, tell: Callable[..., object], told: tuple[Any, ...]) -> None:
        try:
            tell(*told)
        except Exception as error:  # noqa: BLE001 - a report never costs the user the answer
            name = type(error).__name__
            if name not in self._logged:
                self._logged.add(name)
                _logger.warning("a report raised %s; the messages were cut all the same", name)


def _history(messages: LanguageModelInput) -> Sequence[MessageLikeRepresentation]:
    if isinstance(messages, Mapping):
        msg = "messages are needed, got a mapping: give it a state's `messages`, or use `trim_node`"
        raise ConfigurationError(msg)
    if isinstance(messages, PromptValue):
        return messages.to_messages()
    return [HumanMessage(messages)] if isinstance(messages, str) else messages

"""From a request to the prompt that is sent: which window, how much room, what stays."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from math import ceil
from operator import is_
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import ensure_config

from llmops_langchain.callbacks import scope_of
from llmops_langchain.errors import ContextWindowError, MissingExtraError
from llmops_langchain.ledger import Scope, track
from llmops_langchain.memory import ContextStatus, ContextWindow, Trim
from llmops_langchain.memory.marks import status_of
from llmops_langchain.middleware.alarm import Alarm
from llmops_langchain.middleware.request import FormatTokens, has_media, history_of, input_tokens
from llmops_langchain.tokens import counter_for, model_name
from llmops_langchain.tokens.calibration import Calibration
from llmops_langchain.wrapping import innermost
from llmops_langchain.wrapping.overflow import Overflow, overflow

try:
    from langchain.agents.middleware import ModelRequest, ModelResponse
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "langchain", extra="agents") from error

__all__ = ["STATE_KEY", "Kept", "Prompt", "Prompts", "WindowFor", "kept_in"]

STATE_KEY = "llmops_context"
"""The private attribute of an agent's state that keeps the cuts, by the model's name."""

Kept = Mapping[str, Any]
"""What a state keeps of the last prompt for one model: its `cut`, and the window's `status`."""

WindowFor = Callable[[BaseChatModel | str], ContextWindow]
"""Makes the window of a model: `ContextWindow` itself, or `ops.context_window`."""

_SHORTER = 0.8
"""Share of a refused prompt that the next one may have, where the provider gives no figures."""

_MAX_WINDOWS = 64
"""Models whose windows are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A request as the model is sent it."""

    request: ModelRequest[Any]
    model: str = ""
    """The name its tokens are counted by."""
    tokens: int = 0
    """Its tokens as the window counts them; 0 where it could not be cut, and is sent whole."""
    kept: Kept | None = None
    """What the state is to keep for the next prompt; `None`: what it keeps already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Space:
    """What a prompt may use."""

    window: ContextWindow
    max_tokens: int
    """Tokens of the whole request."""
    schemas: int
    """Tokens of tools and answer format that the window does not count by itself."""
    factor: float
    """The model's tokens for each that we count, as far as known."""

    @property
    def uncorrected(self) -> float:
        """What the window's own figures are still to be multiplied by."""
        return 1.0 if self.window.calibration else self.factor

    def tokens(self, messages: Sequence[BaseMessage]) -> int:
        own = self.window.check(messages).current_tokens
        return ceil(self.uncorrected * own) + self.schemas

    def status(self, messages: Sequence[BaseMessage]) -> ContextStatus:
        own = self.window.check(messages)
        tokens = self.tokens(messages)
        share = tokens / self.max_tokens
        return ContextStatus(
            current_tokens=tokens,
            limit=self.max_tokens,
            share=share,
            status=status_of(share),
            estimated=own.estimated,
        )

    def trim(self, history: Sequence[BaseMessage], previous: Any) -> Trim:
        if self.schemas >= self.max_tokens:
            raise ContextWindowError(needed_tokens=self.tokens(history), max_tokens=self.max_tokens)
        room = max(1, int((self.max_tokens - self.schemas) / self.uncorrected))
        try:
            return self.window.trim_sticky(history, previous=previous, max_tokens=room)
        except ContextWindowError as error:
            needed = ceil(self.factor * error.needed_tokens) + self.schemas
            raise ContextWindowError(needed_tokens=needed, max_tokens=self.max_tokens) from None

    def trim_within(
        self, limit: int | None, history: Sequence[BaseMessage], previous: Any
    ) -> tuple["_Space", Trim]:
        """Trim to a limit that a provider once told, if that is possible."""
        if limit is not None and limit < self.max_tokens:
            tighter = replace(self, max_tokens=limit)
            with suppress(ContextWindowError):
                return tighter, tighter.trim(history, previous)
        return self, self.trim(history, previous)


class Prompts:
    """Makes prompts, and learns from what became of them; safe to share between threads.

    Args:
        window: The window of every model, or what makes the window of a model.
        model: Counts and limits as this model's, whatever model is asked.
        calibration: Learns from answers and refusals.
        alarm: Tells of cuts and of prompts that come to fill much of their window.
    """

    def __init__(
        self,
        window: ContextWindow | WindowFor,
        *,
        model: BaseChatModel | str | None,
        calibration: Calibration,
        alarm: Alarm,
    ) -> None:
        self._window, self._model = window, model
        self._calibration, self._alarm = calibration, alarm
        self._windows: dict[object, tuple[object, ContextWindow]] = {}
        self._limits: dict[str, int] = {}
        self._formats = FormatTokens()

    def made(self, request: ModelRequest[Any]) -> Prompt:
        """Return the prompt for a request.

        Raises:
            ContextWindowError: If it cannot fit.
        """
        try:
            return self._cut(request)
        except ContextWindowError:
            raise
        except Exception as error:  # noqa: BLE001 - help that fails does not break the call
            self._alarm.failed("a prompt was sent as it was", error)
            return Prompt(request=request)

    def shorter(self, request: ModelRequest[Any], sent: Prompt, refused: Exception) -> Prompt:
        """Return what to send in place of a prompt that was refused as too long.

        Raises:
            Exception: What was given, if it says something else, or nothing shorter can be sent.
        """
        told = overflow(refused)
        if told is None or not sent.tokens:
            raise refused
        try:
            self._learn(sent, told.tokens or 0, limit=told.limit)
            return self._cut(request, below=self._below(sent, told))
        except Exception as error:
            raise refused from error

    def learn(self, sent: Prompt, answer: ModelResponse[Any]) -> None:
        """Correct the counts of the next prompts by what the provider counted for this one."""
        try:
            self._learn(sent, input_tokens(answer))
        except Exception as error:  # noqa: BLE001 - the answer is paid for
            self._alarm.failed("nothing was learnt from an answer", error)

    def blocks(self, request: ModelRequest[Any]) -> bool:
        """Whether making a prompt may wait for something, such as a model that summarises."""
        try:
            return self._window_of(self._counted_as(request)).blocks
        except Exception:  # noqa: BLE001 - the next one to ask for the window says it
            return False

    def _cut(self, request: ModelRequest[Any], below: float | None = None) -> Prompt:
        """Return the prompt; `below`: how many tokens of the window's own it must come down to."""
        model = self._counted_as(request)
        name, space = model_name(model), self._space(request, model)
        kept = kept_in(request.state).get(name, {})
        history = history_of(request)
        before = kept.get("cut", {})
        with _attributed():
            if below is None:
                space, trim = space.trim_within(self._limits.get(name), history, before)
            else:
                space = replace(space, max_tokens=min(space.max_tokens, int(below)))
                trim = space.trim(history, before)
            status = space.status(trim.messages)
            self._alarm.tell(request, trim, status, kept.get("status", "ok"))
        return Prompt(
            request=_sending(request, history, trim.messages),
            model=name,
            tokens=status.current_tokens,
            kept=_kept(kept, trim, status),
        )

    def _below(self, sent: Prompt, told: Overflow) -> float:
        """How many tokens a prompt may have that is shorter than one that was refused."""
        model = self._counted_as(sent.request)
        counted = self._space(sent.request, model).tokens(history_of(sent.request))
        if told.tokens and told.limit:
            return counted * told.limit / told.tokens
        return counted * _SHORTER

    def _learn(self, sent: Prompt, actual: int, limit: int | None = None) -> None:
        if not (sent.model and sent.tokens):
            return
        if limit:
            self._limits[sent.model] = min(limit, self._limits.get(sent.model, limit))
        if actual:
            counter, history = counter_for(sent.model), history_of(sent.request)
            predicted = counter.messages(history, sent.request.tools)
            predicted += self._formats(sent.request, counter)
            guessed = sum(counter.message(each) for each in history if has_media(each))
            self._calibration.observe(sent.model, predicted, actual, weight=1 - guessed / predicted)

    def _counted_as(self, request: ModelRequest[Any]) -> BaseChatModel | str:
        # An agent takes a binding of a model too.
        return self._model or cast("BaseChatModel", innermost(request.model))

    def _space(self, request: ModelRequest[Any], model: BaseChatModel | str) -> _Space:
        window, counter = self._window_of(model), counter_for(model)
        schemas = counter.tools(request.tools) + self._formats(request, counter)
        factor = self._calibration.factor(model_name(model))
        declared = window.check([]).current_tokens / (factor if window.calibration else 1)
        return _Space(
            window=window,
            max_tokens=window.max_tokens,
            schemas=max(0, ceil(factor * (schemas + counter.reply_overhead - declared))),
            factor=factor,
        )

    def _window_of(self, model: BaseChatModel | str) -> ContextWindow:
        if isinstance(self._window, ContextWindow):
            return self._window
        key = _key(model)
        known = self._windows.get(key)
        if known is None:
            if len(self._windows) >= _MAX_WINDOWS:
                self._windows.clear()
            # With its model, whose id is the key if it has no name.
            known = self._windows.setdefault(key, (model, self._window(model)))
        return known[1]


def kept_in(state: Any) -> dict[str, Kept]:
    """Return what an agent's state keeps of the last prompts, by the model's name."""
    return state.get(STATE_KEY) or {}


def _key(model: BaseChatModel | str) -> object:
    """Models that share a window: a guarded copy is made anew for each call, by the same name."""
    name = model_name(model)
    if not name:
        return id(model)
    profile = getattr(model, "profile", None) or {}
    settings = [getattr(model, each, None) for each in ("max_tokens", "max_output_tokens")]
    return (name, profile.get("max_input_tokens"), *settings)


def _attributed() -> AbstractContextManager[Scope]:
    """Events of a cut have the agent and the thread that events of its calls have."""
    scope = scope_of(ensure_config().get("metadata") or {})
    return track(agent=scope.agent, thread=scope.thread)


def _sending(
    request: ModelRequest[Any], history: Sequence[BaseMessage], messages: Sequence[BaseMessage]
) -> ModelRequest[Any]:
    """Return the request with these messages in place of its own, the system's first."""
    if len(messages) == len(history) and all(map(is_, messages, history)):
        return request
    told: list[Any] = list(messages)
    if request.system_message is None:
        return request.override(messages=told)
    return request.override(system_message=told[0], messages=told[1:])


def _kept(before: Kept, trim: Trim, status: ContextStatus) -> Kept | None:
    """Return what the next prompt should know; `None` if that has not changed.

    A cut that stays where it is need not be written again: what came after it was sent whole. Near
    its end a window is told the very last prompt, so that it warns of a crossing alone.
    """
    now = {**before, "status": status.status}
    is_first = "cut" not in before and len(trim.messages) < trim.length
    if trim.moved or is_first or status.status != "ok":
        now["cut"] = dict(trim.cut)
    return None if now == {"status": "ok", **before} else now

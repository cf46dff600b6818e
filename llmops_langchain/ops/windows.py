"""What an `LLMOps` offers to keep prompts within their window, and what was said."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel

from llmops_langchain.clock import Clock
from llmops_langchain.graph import trim_node
from llmops_langchain.memory import (
    TARGET,
    ContextWindow,
    Strategy,
    Trim,
    WindowedChatMessageHistory,
    recorder,
    warning_recorder,
)
from llmops_langchain.memory.window import ContextStatus
from llmops_langchain.ops.parts import Parts
from llmops_langchain.settings import Settings

if TYPE_CHECKING:
    from llmops_langchain.middleware import ContextWindowMiddleware

__all__ = ["Windows"]


class Windows:
    """The part of `LLMOps` that makes windows, histories and what goes into an agent."""

    settings: Settings
    _parts: Parts
    _clock: Clock

    def context_window(
        self,
        model: str | BaseChatModel,
        max_tokens: int | None = None,
        strategy: str | Strategy = "sliding_window",
        *,
        on_trim: Callable[[Trim], object] | None = None,
        on_warning: Callable[[ContextStatus], object] | None = None,
        **options: Any,
    ) -> ContextWindow:
        """A `ContextWindow` whose cuts and warnings are recorded, and whose counts are corrected.

        Args:
            model: As for `ContextWindow`, as is all that follows.
            max_tokens: As there.
            strategy: As there.
            on_trim: Called beside what records the cut.
            on_warning: Called beside what records the warning.
            options: `tools`, `output_reserve`, `trigger`, `keep`, `early`, `token_counter`, `pin`
                and `on_oversize`.

        Raises:
            ConfigurationError: If a value makes no sense.
        """
        if self.settings.disabled:
            options.pop("output_reserve", None)
            return ContextWindow(model, sys.maxsize, strategy, **options)
        parts = self._parts
        cut = recorder(parts.ledger, parts.prices, model, clock=self._clock)
        fills = warning_recorder(parts.ledger, model, clock=self._clock)
        return ContextWindow(
            model,
            max_tokens,
            strategy,
            calibration=parts.calibration,
            on_trim=_both(cut, on_trim),
            on_warning=_both(fills, on_warning),
            **options,
        )

    def trim_node(
        self,
        window: ContextWindow,
        *,
        messages_key: str = "messages",
        output_key: str = "llm_input_messages",
    ) -> Callable[..., Any]:
        """A LangGraph node that cuts the state's messages for the model and leaves them whole."""
        return trim_node(window, messages_key=messages_key, output_key=output_key)

    def context_middleware(
        self,
        window: ContextWindow | None = None,
        *,
        persist: bool = False,
        on_warning: Callable[[ContextStatus], object] | None = None,
    ) -> "ContextWindowMiddleware":
        """For `create_agent(…, middleware=[…])`, as the last one: an agent whose prompts fit.

        Args:
            window: What they must fit in; without it the window of the model that is asked.
            persist: Take what is not sent out of the state too.
            on_warning: Called when a prompt comes to fill 75 % of its window, and at 85 %.

        Raises:
            MissingExtraError: If LangChain is not installed (`[agents]`).
        """
        from llmops_langchain.middleware import ContextWindowMiddleware

        return ContextWindowMiddleware(
            window or self.context_window,
            persist=persist,
            calibration=self._parts.calibration,
            on_warning=on_warning,
        )

    def middleware(
        self,
        *,
        context: bool | ContextWindow = True,
        lessons: bool = False,
        budget: bool = False,
    ) -> list[Any]:
        """Middleware for `create_agent` in the one right order: the window sees what is sent.

        Args:
            context: Keep prompts within the window of the model, or within this one.
            lessons: Show lessons of similar runs; `ops.lessons(…)` has more ways.
            budget: End an agent cleanly when a budget has no room; `budget_middleware` has more
                ways.

        Raises:
            MissingExtraError: If LangChain is not installed (`[agents]`).
        """
        from llmops_langchain.middleware import BudgetMiddleware

        made: list[Any] = [BudgetMiddleware(self.guard)] if budget else []  # type: ignore[attr-defined]  # of `LLMOps`
        if lessons:
            made.append(self.lessons())  # type: ignore[attr-defined]  # of `LLMOps`
        if context:
            window = context if isinstance(context, ContextWindow) else None
            made.append(self.context_middleware(window))
        return made

    def history(
        self,
        session_id: str,
        *,
        model: str | BaseChatModel | None = None,
        max_tokens: int | None = None,
        window: ContextWindow | None = None,
        workspace: str | None = None,
        user: str | None = None,
    ) -> WindowedChatMessageHistory:
        """One conversation of the database, of which `messages` is what fits.

        Args:
            session_id: Its name; that is its thread for `forget`.
            model: Who answers: `messages` fill 60 % of its window at most, which leaves room for
                the question.
            max_tokens: Or so many tokens, as the model counts them.
            window: Or what fits into this one. Without any of them `messages` is everything.
            workspace: Whose; by default the one that `track` names at the time.
            user: Who talks; likewise.

        Raises:
            ConfigurationError: If there are `max_tokens` of no model.
        """
        if window is None and (model is not None or max_tokens is not None):
            whole = self.context_window(model or "", max_tokens)
            share = 1.0 if max_tokens is not None else TARGET
            window = self.context_window(model or "", int(share * whole.max_tokens))
        return WindowedChatMessageHistory(
            self._parts.chats, session_id, window, workspace=workspace, user=user
        )


def _both(
    first: Callable[[Any], object], second: Callable[[Any], object] | None
) -> Callable[[Any], object]:
    if second is None:
        return first

    def tell(told: Any) -> None:
        first(told)
        second(told)

    return tell

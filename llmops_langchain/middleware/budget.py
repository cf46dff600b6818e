"""What an agent does when a budget has no room for its next call of a model."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, cast, get_args

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command
from typing_extensions import override

from llmops_langchain.callbacks.guarded_call import laid_over
from llmops_langchain.errors import BudgetExceededError, ConfigurationError, MissingExtraError
from llmops_langchain.storage.types import new_id
from llmops_langchain.wrapping import innermost

try:
    from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
    from langchain.chat_models import init_chat_model
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "langchain", extra="agents") from error

__all__ = ["MARK", "BudgetMiddleware", "ExitBehavior"]

ExitBehavior = Literal["end", "error", "downgrade"]
"""What becomes of an agent that may not ask its model again."""

MARK = "llmops_budget"
"""Key of a message's `response_metadata` under which the refusal's figures stand."""

M = TypeVar("M", AIMessage, ToolMessage)


class BudgetMiddleware(AgentMiddleware[Any, Any, Any]):
    """Ends an agent cleanly, or lets a cheaper model go on, when a budget has no room left.

    A guarded model reserves for itself, and this hears its `BudgetExceededError`; a model that is
    not guarded is guarded for the call. `exit_behavior` says what follows:

    - `"end"`: the agent ends with an `AIMessage` that says so; a `structured_response` is `None`.
      Led back to the model with nothing said since, it raises: an end is said once.
    - `"downgrade"`: `downgrade_to` is asked the same, with the same tools and output format; if
      there is no room for it either, the agent ends. The next step tries the dear model first.
    - `"error"`: the `BudgetExceededError` reaches whoever called the agent.

    A tool that asks a model without room (a sub-agent, say) returns the message as an error of the
    tool, except with `"error"`: every tool call has its result, and the agent goes on or ends at
    its own next step. Messages made here have the figures, in US dollars, in
    `response_metadata["llmops_budget"]`. What else a gate raises (no scope, no price, no database)
    is no used-up budget, and always reaches the caller.

    Put it last in `middleware=[…]`, before a window alone (`ops.middleware` does), so that it sees
    the model that is asked in the end.
    `ModelFallbackMiddleware` and `ModelRetryMiddleware` before it neither go round a budget nor
    try a refused call again; with `"error"`, give the latter
    `retry_on=lambda error: not isinstance(error, BudgetError)`.

    Args:
        guard: Makes a guarded copy of a model: `ops.guard`.
        exit_behavior: What to do.
        downgrade_to: The cheaper model, or its name for `init_chat_model`.
        message: What the agent says at its end, or makes it of the error.

    Raises:
        ConfigurationError: If `exit_behavior` is unknown, or does not fit `downgrade_to`.

    Example:
        >>> from langchain.agents import create_agent
        >>> from langchain_core.language_models import FakeListChatModel
        >>> from llmops_langchain import Budget, LLMOps, Settings
        >>> priced = Settings(fallback_price=(3, 15))
        >>> with LLMOps("sqlite://", priced) as ops, ops.track(project="shop"):
        ...     shown = ops.budgets.set(Budget(project="shop", limit="0.01"))
        ...     stop = BudgetMiddleware(ops.guard, message="No budget left, sorry.")
        ...     agent = create_agent(FakeListChatModel(responses=["hi"]), middleware=[stop])
        ...     print(agent.invoke({"messages": ["hello"]})["messages"][-1].content)
        No budget left, sorry.
    """

    def __init__(
        self,
        guard: Callable[[BaseChatModel], BaseChatModel],
        *,
        exit_behavior: ExitBehavior = "end",
        downgrade_to: BaseChatModel | str | None = None,
        message: str | Callable[[BudgetExceededError], str] | None = None,
    ) -> None:
        super().__init__()
        _check(exit_behavior, downgrade_to)
        self._guard, self._raises = guard, exit_behavior == "error"
        self._message = message or _no_room
        cheaper = init_chat_model(downgrade_to) if isinstance(downgrade_to, str) else downgrade_to
        self._cheaper = None if cheaper is None else self._guarded(cheaper)

    @override
    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any] | AIMessage:
        for asked in self._asked(request):
            try:
                return handler(asked)
            except BudgetExceededError as error:
                refused = error
        return self._last_word(request, refused)

    @override
    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any] | AIMessage:
        for asked in self._asked(request):
            try:
                return await handler(asked)
            except BudgetExceededError as error:
                refused = error
        return self._last_word(request, refused)

    @override
    def wrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]],
    ) -> ToolMessage | Command[Any]:
        try:
            return handler(request)
        except BudgetExceededError as error:
            return self._no_result(request, error)

    @override
    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        try:
            return await handler(request)
        except BudgetExceededError as error:
            return self._no_result(request, error)

    def _asked(self, request: ModelRequest[Any]) -> list[ModelRequest[Any]]:
        """What to ask, one after the other, as long as there is no room."""
        models = [self._guarded(request.model), *([self._cheaper] if self._cheaper else [])]
        return [request.override(model=model) for model in models]

    def _guarded(self, model: BaseChatModel) -> BaseChatModel:
        chat_model = cast("BaseChatModel", innermost(model))  # an agent takes a binding of one too
        return model if laid_over(chat_model) else self._guard(model)

    def _last_word(self, request: ModelRequest[Any], refused: BudgetExceededError) -> AIMessage:
        if self._raises or _has_ended(request.messages):
            raise refused
        # With an id of its own: a stream and the state then tell of one message.
        return _marked(AIMessage(self._words(refused), id=str(new_id())), refused)

    def _no_result(self, request: ToolCallRequest, refused: BudgetExceededError) -> ToolMessage:
        if self._raises:
            raise refused
        call = request.tool_call
        result = ToolMessage(
            self._words(refused), tool_call_id=call["id"], name=call["name"], status="error"
        )
        return _marked(result, refused)

    def _words(self, refused: BudgetExceededError) -> str:
        return self._message if isinstance(self._message, str) else self._message(refused)


def _check(exit_behavior: str, downgrade_to: object) -> None:
    if exit_behavior not in get_args(ExitBehavior):
        known = ", ".join(map(repr, get_args(ExitBehavior)))
        msg = f"`exit_behavior` is one of {known}, got {exit_behavior!r}"
        raise ConfigurationError(msg)
    if (exit_behavior == "downgrade") != (downgrade_to is not None):
        msg = "`exit_behavior='downgrade'` and `downgrade_to=` go together"
        raise ConfigurationError(msg)


def _has_ended(messages: Sequence[BaseMessage]) -> bool:
    """Whether the last word was an end: something led back from it, and would do so again."""
    last = messages[-1] if messages else None
    return isinstance(last, AIMessage) and MARK in last.response_metadata


def _no_room(refused: BudgetExceededError) -> str:
    """For whoever talks to the agent: no names and no amounts."""
    said = "The budget has no room for another answer."
    if refused.resets_at is None:
        return said
    begins = datetime.fromtimestamp(refused.resets_at, UTC)
    return f"{said} A new one begins {begins:%Y-%m-%d %H:%M} UTC."


def _marked(message: M, refused: BudgetExceededError) -> M:
    message.response_metadata[MARK] = {
        "scope": refused.scope,
        "limit": float(refused.limit),
        "spent": float(refused.spent),
        "reserved": float(refused.reserved),
        "requested": float(refused.requested),
        "period": refused.period,
        "resets_at": refused.resets_at,
    }
    return message

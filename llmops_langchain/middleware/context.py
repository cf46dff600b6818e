"""An agent whose prompts fit: its state keeps the conversation, its model is sent what fits."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, NotRequired, Self, TypeVar, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, RemoveMessage
from langchain_core.runnables.config import run_in_executor
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command
from typing_extensions import override

from llmops_langchain.errors import MissingExtraError
from llmops_langchain.memory import ContextStatus, ContextWindow
from llmops_langchain.memory.sticky import carried
from llmops_langchain.middleware.alarm import Alarm
from llmops_langchain.middleware.prompts import STATE_KEY, Prompt, Prompts, WindowFor, kept_in
from llmops_langchain.tokens.calibration import Calibration

try:
    from langchain.agents.middleware import (
        AgentMiddleware,
        AgentState,
        ExtendedModelResponse,
        ModelRequest,
        ModelResponse,
    )
    from langchain.agents.middleware.types import PrivateStateAttr
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "langchain", extra="agents") from error

__all__ = ["ContextState", "ContextWindowMiddleware"]

_Answer = ModelResponse[Any] | AIMessage | ExtendedModelResponse[Any]

T = TypeVar("T")


class ContextState(AgentState[Any]):
    """What a checkpoint keeps beside the conversation; no caller sees it."""

    llmops_context: NotRequired[Annotated[dict[str, dict[str, Any]], PrivateStateAttr]]


class ContextWindowMiddleware(AgentMiddleware[Any, Any, Any]):
    """Sends the model what fits into its context window, and leaves the state as it is.

    Put it last in `middleware=[…]`: it then counts the system prompt, tools and answer format that
    the others made of the request, and sees the model that is asked in the end. What it sends is
    valid for every provider. The cut comes at 85 % of the window, goes down to 60 % and is kept
    between turns, in a private attribute of the state, so that prompts begin alike and the
    provider's prompt cache keeps working, in every process that shares the checkpointer.

    A prompt that the provider refuses as too long is cut once more, and sent again. Each answer's
    `usage_metadata` corrects the counts of the next prompts. A UI hears of cuts and warnings on
    the graph's `custom` stream. What fails here never breaks a call, but a request that cannot
    fit: it raises.

    Args:
        window: The window of whatever model is asked, or what makes the window of a model. Without
            it: a `ContextWindow` for each model by its own limit.
        model: Counts and limits as this model's, whatever model is asked.
        persist: Remove from the state what is not sent any more: checkpoints stay small, and the
            conversation is gone.
        calibration: Learns from the answers; by default for as long as this object lives.
        on_warning: Called with the `ContextStatus` of a prompt that comes to fill 75 %, and once
            more at 85 %. An error in it is logged once a class and goes no further.

    Raises:
        ContextWindowError: On a call, if system prompt, tools and current question do not fit.

    Example:
        >>> from langchain.agents import create_agent
        >>> from langchain_core.language_models import FakeListChatModel
        >>> from llmops_langchain.memory import ContextWindow
        >>> window = ContextWindow("gpt-4o", max_tokens=100)
        >>> agent = create_agent(
        ...     FakeListChatModel(responses=["Fine."]),
        ...     middleware=[ContextWindowMiddleware(window)],
        ... )
        >>> talk = [("user", f"Number {i}: how are you?") for i in range(50)]
        >>> len(agent.invoke({"messages": talk})["messages"])
        51
    """

    state_schema = ContextState

    def __new__(cls, *_: Any, persist: bool = False, **__: Any) -> Self:
        """Make it; a node that removes messages costs a step a turn: who asks for it has one."""
        made = _Removing if persist and cls is ContextWindowMiddleware else cls
        return cast("Self", super().__new__(made))

    def __init__(
        self,
        window: ContextWindow | WindowFor | None = None,
        *,
        model: str | BaseChatModel | None = None,
        persist: bool = False,
        calibration: Calibration | None = None,
        on_warning: Callable[[ContextStatus], object] | None = None,
    ) -> None:
        super().__init__()
        learnt = Calibration() if calibration is None else calibration
        self._persist, self._alarm = persist, Alarm(on_warning)
        self._prompts = Prompts(
            window or partial(ContextWindow, calibration=learnt),
            model=model,
            calibration=learnt,
            alarm=self._alarm,
        )

    @property
    @override
    def name(self) -> str:
        return "ContextWindowMiddleware"

    @override
    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> _Answer:
        prompt = self._prompts.made(request)
        try:
            answer = handler(prompt.request)
        except Exception as error:  # noqa: BLE001 - raised again, unless the prompt was too long
            prompt = self._prompts.shorter(request, prompt, error)
            answer = handler(prompt.request)
        return self._answered(request, prompt, answer)

    @override
    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> _Answer:
        prompt = await self._unblocked(request, partial(self._prompts.made, request))
        try:
            answer = await handler(prompt.request)
        except Exception as error:  # noqa: BLE001 - raised again, unless the prompt was too long
            shorter = partial(self._prompts.shorter, request, prompt, error)
            prompt = await self._unblocked(request, shorter)
            answer = await handler(prompt.request)
        return self._answered(request, prompt, answer)

    async def _unblocked(self, request: ModelRequest[Any], make: Callable[[], T]) -> T:
        """Make it here, or in a thread where that may take its time."""
        blocks = self._prompts.blocks(request)
        return await run_in_executor(None, make) if blocks else make()

    def _answered(
        self, request: ModelRequest[Any], prompt: Prompt, answer: ModelResponse[Any]
    ) -> _Answer:
        self._prompts.learn(prompt, answer)
        if prompt.kept is None:
            return answer
        # One that removes needs the cut of this prompt alone: the others went with the messages.
        others = {} if self._persist else kept_in(request.state)
        update = {STATE_KEY: {**others, prompt.model: prompt.kept}}
        return ExtendedModelResponse(model_response=answer, command=Command(update=update))


class _Removing(ContextWindowMiddleware):
    """Removes from the state, after each answer, what was not sent for it."""

    @override
    def after_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        try:
            return _without_the_rest(state)
        except Exception as error:  # noqa: BLE001 - the answer is there; the next turn tries again
            self._alarm.failed("messages could not be removed", error)
            return None


def _without_the_rest(state: Any) -> dict[str, Any] | None:
    """Return the update that leaves what was sent and what came after it, if that is less."""
    history = state["messages"]
    for name, kept in kept_in(state).items():
        prompt, seen = carried(kept.get("cut") or (), history)
        if prompt:
            left = {each: kept[each] for each in kept if each != "cut"}
            messages = [RemoveMessage(id=REMOVE_ALL_MESSAGES), *prompt, *history[seen:]]
            return {"messages": messages, STATE_KEY: {name: left}}
    return None

"""An agent that is shown what similar runs taught, without changing what it has said."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, NotRequired

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables.config import ensure_config, run_in_executor
from typing_extensions import override

from llmops_langchain.errors import MissingExtraError
from llmops_langchain.learning import Learning
from llmops_langchain.learning.lessons import Lessons, lessons_of
from llmops_langchain.middleware.alarm import Alarm
from llmops_langchain.wrapping.scoping import scope_of

try:
    from langchain.agents.middleware import (
        AgentMiddleware,
        AgentState,
        ModelRequest,
        ModelResponse,
    )
    from langchain.agents.middleware.types import PrivateStateAttr
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "langchain", extra="agents") from error

__all__ = ["LessonsMiddleware", "LessonsState"]

_KEY = "llmops_lessons"

Shown = Mapping[str, Mapping[str, Any]]
"""By the id of a human message: the text that goes with it, and the lessons in it."""


class LessonsState(AgentState[Any]):
    """What a checkpoint keeps beside the conversation; no caller sees it."""

    llmops_lessons: NotRequired[Annotated[dict[str, dict[str, Any]], PrivateStateAttr]]


class LessonsMiddleware(AgentMiddleware[Any, Any, Any]):
    """Looks once a run for lessons of similar runs, and adds them to the question that is sent.

    They stand behind the last human message, in a block that says they are records and no
    instructions. The state's messages, the system prompt and the tools stay as they are. In later
    turns of a thread that a checkpointer keeps, the same text stands at the same place, so that
    each prompt goes on as the one before and the provider's prompt cache stays warm. Lessons that
    a thread was shown are not shown again. What fails shows no lessons and breaks nothing.

    Put it before the middleware of the context window, which counts what is sent.

    Args:
        learning: Where to search: `ops.learning`.
        k: How many similar experiences are read.
        max_tokens: Tokens of the lessons of one run, as `count` counts them.
        tech_stack: Experiences with the like come first.
        filter: As for `learning.similar`.
        min_score: What is less alike is not shown.
        count: Counts tokens; by default four characters are one.

    Example:
        >>> from langchain.agents import create_agent
        >>> from langchain_core.language_models import FakeListChatModel
        >>> from llmops_langchain import LLMOps
        >>> with LLMOps("sqlite://") as ops:
        ...     _ = ops.learning.learn(
        ...         project_id="p",
        ...         task_description="Refund an order",
        ...         success=False,
        ...         lessons=["Ask for the order's number first."],
        ...     )
        ...     model = FakeListChatModel(responses=["Which order?"])
        ...     agent = create_agent(model, middleware=[LessonsMiddleware(ops.learning)])
        ...     len(agent.invoke({"messages": "Refund my order"})["messages"])
        2
    """

    state_schema = LessonsState

    def __init__(
        self,
        learning: Learning,
        *,
        k: int = 3,
        max_tokens: int = 400,
        tech_stack: Sequence[str] = (),
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - LangChain's word
        min_score: float = 0.3,
        count: Callable[[str], int] | None = None,
    ) -> None:
        super().__init__()
        self._learning, self._k, self._max_tokens = learning, k, max_tokens
        self._stack, self._filter, self._min_score = tuple(tech_stack), filter, min_score
        self._count, self._alarm = count, Alarm(None)

    @override
    def before_agent(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        question, shown = _question(state["messages"]), state.get(_KEY) or {}
        if question is None or question.id is None or question.id in shown:
            return None
        try:
            found = self._lessons(question.text, shown)
        except Exception as error:  # noqa: BLE001 - help that fails does not break the run
            self._alarm.failed("no lessons were found", error)
            found = Lessons()
        # Also that there are none is decided once: found later, they would change an old prompt.
        there = {each.id for each in state["messages"]}
        kept = {each: told for each, told in shown.items() if each in there}
        return {_KEY: {**kept, question.id: {"text": found.text, "told": list(found.told)}}}

    @override
    async def abefore_agent(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        return await run_in_executor(None, self.before_agent, state, runtime)

    @override
    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        return handler(_with_lessons(request))

    @override
    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        return await handler(_with_lessons(request))

    def _lessons(self, task: str, shown: Shown) -> Lessons:
        if not task.strip():
            return Lessons()
        matches = self._learning.similar(
            task,
            self._stack,
            self._k,
            filter=self._filter,
            min_score=self._min_score,
            workspace=scope_of(ensure_config().get("metadata") or {}).workspace,
        )
        known = {lesson for each in shown.values() for lesson in each["told"]}
        return lessons_of(matches, max_tokens=self._max_tokens, count=self._count, shown=known)


def _question(messages: Sequence[BaseMessage]) -> HumanMessage | None:
    """The last thing that a human said."""
    return next((each for each in reversed(messages) if isinstance(each, HumanMessage)), None)


def _with_lessons(request: ModelRequest[Any]) -> ModelRequest[Any]:
    """The request with each lesson at its place, in copies of the messages."""
    shown: Shown = request.state.get(_KEY) or {}  # type: ignore[assignment]  # of our schema
    texts = {each: told["text"] for each, told in shown.items() if told["text"]}
    if not texts:
        return request
    messages: list[Any] = [
        _added(each, text) if (text := texts.get(each.id or "")) else each
        for each in request.messages
    ]
    return request.override(messages=messages)


def _added(message: BaseMessage, text: str) -> BaseMessage:
    if isinstance(message.content, str):
        return message.model_copy(update={"content": f"{message.content}\n\n{text}"})
    return message.model_copy(
        update={"content": [*message.content, {"type": "text", "text": text}]}
    )

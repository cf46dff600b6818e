"""An agent's model, chosen anew for each of its calls."""

from asyncio import to_thread
from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.errors import GraphBubbleUp
from typing_extensions import override

from llmops_langchain.errors import MissingExtraError
from llmops_langchain.routing import ModelRouter
from llmops_langchain.routing.attempts import Attempt, Routed, prices_of
from llmops_langchain.routing.crossing import understood_by
from llmops_langchain.routing.wishes import with_wishes
from llmops_langchain.routing.within import await_within, within
from llmops_langchain.wrapping import Run

try:
    from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "langchain", extra="agents") from error

__all__ = ["ModelRouterMiddleware"]

Response = ModelResponse[Any] | AIMessage


class ModelRouterMiddleware(AgentMiddleware[Any, Any, Any]):
    """Lets a router choose who answers each call of an agent, in place of the agent's own model.

    The agent asks the chosen model itself, so middleware after this one sees that model. Who fails
    is followed by the next, and an answer that the router's `verify` refuses by a better model, as
    in the router. The answer's `response_metadata["llmops_route"]` has the `run_id` by which
    `router.feedback` and `router.explain` know it.

    Put it before a window and a budget: `[ModelRouterMiddleware(router), *ops.middleware()]`.

    Args:
        router: Whose choices may be asked; `ops.guard(router)` keeps budgets.

    Example:
        >>> from langchain.agents import create_agent
        >>> from langchain_core.language_models import FakeListChatModel
        >>> from llmops_langchain import ModelChoice
        >>> small = FakeListChatModel(responses=["Paris"])
        >>> choice = ModelChoice(small, name="small", input_per_million=1, output_per_million=2)
        >>> routing = ModelRouterMiddleware(ModelRouter(choice))
        >>> agent = create_agent(FakeListChatModel(responses=["?"]), middleware=[routing])
        >>> last = agent.invoke({"messages": ["Capital of France?"]})["messages"][-1]
        >>> last.content, last.response_metadata["llmops_route"]["choice"]
        ('Paris', 'small')
    """

    def __init__(self, router: ModelRouter) -> None:
        super().__init__()
        self._router = router

    @override
    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> Response:
        routed, refused = self._routed(request), None
        while (attempt := routed.next(binds=False)) is not None:
            asked = _asked(request, attempt)
            try:
                response = within(attempt.choice.timeout, lambda asked=asked: handler(asked))  # type: ignore[misc]  # bound now, not when it is called
            except GraphBubbleUp:  # the agent pauses: nobody failed
                raise
            except Exception as error:  # noqa: BLE001 - looked at, and raised where it must be
                routed.failed(attempt, error)
                continue
            if (answer := _heard(routed, attempt, response)) is not None:
                return _with(response, answer)
            refused = response
        answer = routed.last_resort()
        return _message(answer) if refused is None else _with(refused, answer)

    @override
    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> Response:
        # To decide takes a moment: a prompt is embedded, a budget looked at.
        routed, refused = await to_thread(self._routed, request), None
        while (attempt := routed.next(binds=False)) is not None:
            asked = _asked(request, attempt)
            try:
                response = await await_within(
                    attempt.choice.timeout,
                    lambda asked=asked: handler(asked),  # type: ignore[misc]  # as above
                )
            except GraphBubbleUp:  # as above
                raise
            except Exception as error:  # noqa: BLE001 - looked at, and raised where it must be
                routed.failed(attempt, error)
                continue
            if (answer := _heard(routed, attempt, response)) is not None:
                return _with(response, answer)
            refused = response
        answer = routed.last_resort()
        return _message(answer) if refused is None else _with(refused, answer)

    def _routed(self, request: ModelRequest[Any]) -> Routed:
        system = [request.system_message] if request.system_message is not None else []
        wanted = {"tools": list(request.tools), "response_format": request.response_format}
        kwargs = {name: each for name, each in wanted.items() if each}
        run = Run(with_wishes(None).get("metadata") or {})
        return self._router.routed([*system, *request.messages], kwargs, run)


def _asked(request: ModelRequest[Any], attempt: Attempt) -> ModelRequest[Any]:
    """The agent's request, for the model that is asked, without what its provider would refuse."""
    told: list[Any] = list(attempt.messages)
    system = told.pop(0) if request.system_message is not None else None
    settings = {**attempt.choice.bound, **request.model_settings}
    _, given = understood_by(attempt.choice, [], {**settings, "tools": list(request.tools)})
    return request.override(
        model=_priced(attempt),
        system_message=system,
        messages=told,
        tools=given.pop("tools"),
        model_settings=given,
    )


def _priced(attempt: Attempt) -> BaseChatModel:
    """The model, with the prices of its choice where whoever counts its calls looks for them."""
    own = attempt.choice.own_rates
    if own is None:
        return attempt.model
    metadata = {**(attempt.model.metadata or {}), "llmops_prices": prices_of(own)}
    return attempt.model.model_copy(update={"metadata": metadata})


def _heard(
    routed: Routed, attempt: Attempt, response: ModelResponse[Any] | AIMessage
) -> ChatResult | None:
    """The answer, marked; `None` if a better model is to be asked."""
    messages = [response] if isinstance(response, AIMessage) else response.result
    said = [each for each in messages if isinstance(each, AIMessage)]
    if not said:
        return ChatResult(generations=[])
    return routed.answered(attempt, ChatResult(generations=[ChatGeneration(message=said[-1])]))


def _with(response: ModelResponse[Any] | AIMessage, answer: ChatResult) -> Response:
    if not answer.generations:
        return response
    if isinstance(response, AIMessage):
        return _message(answer)
    said = [at for at, each in enumerate(response.result) if isinstance(each, AIMessage)]
    result = list(response.result)
    result[said[-1]] = _message(answer)
    return ModelResponse(result=result, structured_response=response.structured_response)


def _message(answer: ChatResult) -> AIMessage:
    message = answer.generations[0].message
    assert isinstance(message, AIMessage)  # noqa: S101 - it was looked for
    return message

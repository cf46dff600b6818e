"""A chat model that asks the cheapest model that will do."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Self
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage, MessageLikeRepresentation
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import ConfigDict, PrivateAttr
from typing_extensions import override

from llmops_langchain.clock import system_clock
from llmops_langchain.models import PriceBook
from llmops_langchain.routing.attempts import OnFailure, Routed, output_tokens
from llmops_langchain.routing.choice import ABILITIES, ModelChoice
from llmops_langchain.routing.constraints import Limits
from llmops_langchain.routing.deciding import Deciding, Overrides
from llmops_langchain.routing.decision import Decision
from llmops_langchain.routing.health import Health
from llmops_langchain.routing.learner import Learner
from llmops_langchain.routing.request import request_of
from llmops_langchain.routing.target import Target
from llmops_langchain.wrapping import KnownRuns, aclose, astreamed_by, close, run_of, streamed_by

__all__ = ["ModelRouter"]

_SMALLEST = ("max_input_tokens", "max_output_tokens")


class ModelRouter(KnownRuns, BaseChatModel):
    """A chat model that sends each call to the cheapest of its choices that is good enough.

    Who cannot serve a call is left out (tools, images, window, cooldown, …). A model that fails
    before the first chunk of its answer is followed by the next one; a key or a request that is
    refused is raised. `decide` says whom it would ask and why, `feedback` teaches it.

    It serves wherever a chat model does: `create_agent`, `bind_tools`, `with_structured_output`,
    streams and batches. A call may want a choice itself: `router.bind(route_to="small")`, or
    `config={"metadata": {"route_to": "small"}}`.

    Args:
        choices: Who may be asked; see `ModelChoice`.
        target: What is wanted; by default the cheapest with 95 % of the best expected quality.
        limits: What holds for every call.
        allow_unpriced: Ask models without a known price too, as if they were the dearest.
        prices: Knows what models cost.
        learner: Learns from feedback.
        health: Knows who failed of late.
        on_failure: Is told of failed attempts.

    Raises:
        ConfigurationError: If there is no choice, or two have one name.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> small = ModelChoice(
        ...     FakeListChatModel(responses=["4"]),
        ...     name="small",
        ...     input_per_million=1,
        ...     output_per_million=2,
        ... )
        >>> large = ModelChoice(
        ...     FakeListChatModel(responses=["four"]),
        ...     name="large",
        ...     input_per_million=10,
        ...     output_per_million=20,
        ... )
        >>> router = ModelRouter(small, large)
        >>> router.invoke("2 + 2?").content
        '4'
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    choices: tuple[ModelChoice, ...]
    """Who may be asked."""

    _deciding: Deciding = PrivateAttr()
    _on_failure: OnFailure | None = PrivateAttr(default=None)

    def __init__(
        self,
        *choices: ModelChoice | BaseChatModel | str,
        target: Target | float = 0.95,
        limits: Limits | None = None,
        allow_unpriced: bool = False,
        prices: PriceBook | None = None,
        learner: Learner | None = None,
        health: Health | None = None,
        on_failure: OnFailure | None = None,
        **fields: Any,
    ) -> None:
        given = (*choices, *(fields.pop("choices", None) or ()))
        made = tuple(each if isinstance(each, ModelChoice) else ModelChoice(each) for each in given)
        profile = fields.pop("profile", None) or _shared_profile(made)
        super().__init__(choices=made, profile=profile, cache=fields.pop("cache", False), **fields)
        wanted = target if isinstance(target, Target) else Target(quality=target)
        self._deciding = Deciding(
            choices=made,
            target=wanted,
            limits=limits or Limits(),
            prices=prices or PriceBook(),
            learner=Learner(system_clock) if learner is None else learner,
            health=health or Health(system_clock),
            allow_unpriced=allow_unpriced,
        )
        self._on_failure = on_failure

    def decide(
        self,
        messages: LanguageModelInput | Sequence[MessageLikeRepresentation],
        *,
        tools: Sequence[Any] = (),
        complexity: float | None = None,
    ) -> Decision:
        """Whom a call would go to, and why; nobody is asked.

        Args:
            messages: What would be asked.
            tools: What would be bound.
            complexity: How hard it is, 0 to 1; by default as it looks.

        Raises:
            NoCandidateError: If nobody may be asked; it lists why.
        """
        asked = self._convert_input(messages).to_messages()
        return self._deciding.decide(request_of(asked, {}, tools), Overrides(complexity=complexity))

    def select_optimal_model(
        self, task_description: str, complexity: float | None = None
    ) -> Decision:
        """`decide` for a task in words."""
        return self.decide(task_description, complexity=complexity)

    def feedback(self, run_id: UUID, score: float) -> None:
        """Learn how good the answer of a run was, 0 to 1.

        Raises:
            NotFoundError: If the run is not among the last 10,000 that this process made.
            ConfigurationError: If the score is not between 0 and 1.
        """
        self._deciding.feedback(run_id, score)

    def explain(self, run_id: UUID) -> Decision:
        """The decision that a run was made by.

        Raises:
            NotFoundError: If the run is not among the last 10,000 that this process made.
        """
        return self._deciding.explain(run_id)

    def with_candidates(self, change: Callable[[BaseChatModel], BaseChatModel]) -> Self:
        """A copy whose candidates are laid over; it learns and decides with this one."""
        choices = tuple(_laid_over(choice, change) for choice in self.choices)
        copied = self.model_copy(update={"choices": choices})
        copied._deciding = self._deciding.with_choices(choices)  # noqa: SLF001 - its own copy
        return copied

    @override
    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools; each model gets them in its own form when it is asked."""
        chosen = {} if tool_choice is None else {"tool_choice": tool_choice}
        return self.bind(tools=list(tools), **chosen, **kwargs)

    @property
    @override
    def _llm_type(self) -> str:
        return "llmops-router"

    @property
    @override
    def _identifying_params(self) -> dict[str, Any]:
        return {"choices": [choice.name for choice in self.choices]}

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        told = super()._get_ls_params(stop=stop, **kwargs)
        name = kwargs.get("model") or "router"
        return {**told, "ls_provider": "router", "ls_model_name": name}

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        routed = self._routed(messages, kwargs, run_manager)
        while True:
            attempt = routed.next()
            try:
                with attempt.asking():
                    attempt.wait()
                    answer = attempt.model._generate(messages, stop, None, **attempt.arguments)  # noqa: SLF001 - as core would
            except Exception as error:  # noqa: BLE001 - looked at, and raised where it must be
                routed.failed(attempt, error)
            else:
                return routed.answered(attempt, answer)

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        routed = self._routed(messages, kwargs, run_manager)
        while True:
            attempt = routed.next()
            try:
                with attempt.asking():
                    await attempt.await_turn()
                    answer = await attempt.model._agenerate(  # noqa: SLF001 - as core would
                        messages, stop, None, **attempt.arguments
                    )
            except Exception as error:  # noqa: BLE001 - looked at, and raised where it must be
                routed.failed(attempt, error)
            else:
                return routed.answered(attempt, answer)

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        routed = self._routed(messages, kwargs, run_manager)
        while True:
            attempt = routed.next()
            arriving = streamed_by(attempt.model, messages, stop, attempt.arguments)
            try:
                with attempt.asking():
                    attempt.wait()
                    first = next(arriving)
            except Exception as error:  # noqa: BLE001 - looked at, and raised where it must be
                routed.failed(attempt, error)
                continue
            try:
                tokens = output_tokens(first)
                yield routed.first(attempt, first)
                for chunk in arriving:
                    tokens = output_tokens(chunk) or tokens
                    yield chunk
            finally:
                close(arriving)
            routed.ended(attempt, tokens)
            return

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        routed = self._routed(messages, kwargs, run_manager)
        while True:
            attempt = routed.next()
            arriving = astreamed_by(attempt.model, messages, stop, attempt.arguments)
            try:
                with attempt.asking():
                    await attempt.await_turn()
                    first = await anext(arriving)
            except Exception as error:  # noqa: BLE001 - looked at, and raised where it must be
                routed.failed(attempt, error)
                continue
            try:
                tokens = output_tokens(first)
                yield routed.first(attempt, first)
                async for chunk in arriving:
                    tokens = output_tokens(chunk) or tokens
                    yield chunk
            finally:
                await aclose(arriving)
            routed.ended(attempt, tokens)
            return

    def _routed(
        self,
        messages: Sequence[BaseMessage],
        kwargs: dict[str, Any],
        run_manager: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None,
    ) -> Routed:
        return Routed(self._deciding, messages, kwargs, run_of(run_manager), self._on_failure)


def _laid_over(
    choice: ModelChoice, change: Callable[[BaseChatModel], BaseChatModel]
) -> ModelChoice:
    return choice.replaced(model=change(choice.chat_model()))


def _shared_profile(choices: Sequence[ModelChoice]) -> dict[str, Any]:
    """What every choice can do, and the smallest of their windows, as far as it is known."""
    profiles = [getattr(choice.model, "profile", None) or {} for choice in choices]
    shared: dict[str, Any] = {}
    for ability, name in ABILITIES.items():
        told = [choice.can(ability) for choice in choices]
        if all(told) and told:
            shared[name] = True
        elif any(each is False for each in told):
            shared[name] = False
    for name in _SMALLEST:
        sizes = [size for profile in profiles if (size := profile.get(name))]
        if sizes and len(sizes) == len(profiles):
            shared[name] = min(sizes)
    return shared

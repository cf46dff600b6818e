"""A chat model that asks the cheapest model that will do."""

from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    MessageLikeRepresentation,
)
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import BaseModel, ConfigDict, PrivateAttr
from typing_extensions import override

from llmops_langchain.clock import system_clock
from llmops_langchain.embeddings import default_embeddings
from llmops_langchain.ledger import current_scope
from llmops_langchain.models import PriceBook
from llmops_langchain.routing.attempts import Attempt, OnAttempt, Routed
from llmops_langchain.routing.choice import ABILITIES, ModelChoice
from llmops_langchain.routing.constraints import Limits
from llmops_langchain.routing.deciding import Deciding, Room
from llmops_langchain.routing.decision import Decision
from llmops_langchain.routing.health import Health
from llmops_langchain.routing.learner import Learner
from llmops_langchain.routing.logbook import Logbook
from llmops_langchain.routing.opening import aopening, opening
from llmops_langchain.routing.pace import Pace
from llmops_langchain.routing.predicting import priors, rates_of_all
from llmops_langchain.routing.request import request_of
from llmops_langchain.routing.target import Target
from llmops_langchain.routing.teaching import Teaching
from llmops_langchain.routing.verifiers import Verifier, verifier
from llmops_langchain.routing.wishes import Overrides, Wishing
from llmops_langchain.wrapping import (
    KnownRuns,
    Run,
    aclose,
    astreamed_by,
    close,
    run_of,
    streamed_by,
)

__all__ = ["ModelRouter"]

_SMALLEST = ("max_input_tokens", "max_output_tokens")


class ModelRouter(Teaching, Wishing, KnownRuns, BaseChatModel):
    """A chat model that sends each call to the cheapest of its choices that is good enough.

    Who cannot serve a call is left out (tools, images, window, cooldown, …). A model that fails
    before the first chunk of its answer is followed by the next one; a key or a request that is
    refused is raised. `decide` says whom it would ask and why, `feedback` teaches it.

    It serves wherever a chat model does: `create_agent`, `bind_tools`, `with_structured_output`,
    streams and batches. A call may want a choice itself, or say how hard it is:
    `router.bind(route_to="small", complexity=0.8)`, or the same in `metadata` or `configurable` of
    its config.

    Args:
        choices: Who may be asked; see `ModelChoice`.
        target: What is wanted; by default the cheapest with 95 % of the best expected quality.
        limits: What holds for every call.
        verify: Says how good an answer is, 0 to 1, or what form it must have (a pydantic model):
            below 0.5 the next better choice is asked. Several in a list. It turns streaming off.
        allow_unpriced: Ask models without a known price too, as if they were the dearest.
        prices: Knows what models cost.
        embeddings: What it learns by; by default the best on this machine.
        logbook: Has that already, and knows what was decided and learnt, and who failed of late.
        room: Knows what the caller's budgets have left.
        on_attempt: Is told of attempts that were not the last.

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
    _on_attempt: OnAttempt | None = PrivateAttr(default=None)
    _verify: Verifier | None = PrivateAttr(default=None)

    def __init__(
        self,
        *choices: ModelChoice | BaseChatModel | str,
        target: Target | float = 0.95,
        limits: Limits | None = None,
        verify: Verifier | type[BaseModel] | Sequence[Any] | None = None,
        allow_unpriced: bool = False,
        prices: PriceBook | None = None,
        embeddings: Embeddings | None = None,
        logbook: Logbook | None = None,
        room: Room | None = None,
        on_attempt: OnAttempt | None = None,
        **fields: Any,
    ) -> None:
        given = (*choices, *(fields.pop("choices", None) or ()))
        made = tuple(each if isinstance(each, ModelChoice) else ModelChoice(each) for each in given)
        fields.setdefault("profile", None)
        fields["profile"] = fields["profile"] or _shared_profile(made)
        verify = verifier(verify)
        if verify is not None:
            fields["disable_streaming"] = True  # it is not good enough until it was read
        super().__init__(choices=made, cache=fields.pop("cache", False), **fields)
        wanted = target if isinstance(target, Target) else Target(quality=target)
        prices = prices or PriceBook()
        if logbook is None:
            learner = Learner(system_clock, embeddings or default_embeddings)
            logbook = Logbook(learner, Health(system_clock))
        self._deciding = Deciding(
            choices=made,
            limits=limits or Limits(),
            prices=prices,
            logbook=logbook,
            pace=Pace(
                wanted,
                logbook,
                partial(rates_of_all, made, prices),
                lambda hard: priors(made, rates_of_all(made, prices), hard),
            ),
            allow_unpriced=allow_unpriced,
            room=room,
        )
        self._verify, self._on_attempt = verify, on_attempt

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
        request, wishes = request_of(asked, {}, tools), Overrides(complexity=complexity)
        return self._deciding.decide(request, wishes, scope=current_scope())

    def select_optimal_model(
        self, task_description: str, complexity: float | None = None
    ) -> Decision:
        """`decide` for a task in words."""
        return self.decide(task_description, complexity=complexity)

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
        routed = self.routed(messages, kwargs, run_of(run_manager))
        while (attempt := routed.next()) is not None:
            asked = partial(_generated, attempt, stop)
            try:
                told = attempt.ask(asked)
            except Exception as error:  # noqa: BLE001 - looked at, and raised where it must be
                routed.failed(attempt, error)
                continue
            if (answer := routed.answered(attempt, told)) is not None:
                return answer
        return routed.last_resort()

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # To decide takes a moment: a prompt is embedded, a budget looked at.
        routed = await to_thread(self.routed, messages, kwargs, run_of(run_manager))
        while (attempt := routed.next()) is not None:
            asked = partial(_agenerated, attempt, stop)
            try:
                told = await attempt.aask(asked)
            except Exception as error:  # noqa: BLE001 - looked at, and raised where it must be
                routed.failed(attempt, error)
                continue
            if (answer := routed.answered(attempt, told)) is not None:
                return answer
        return routed.last_resort()

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        routed = self.routed(messages, kwargs, run_of(run_manager))
        while (attempt := routed.next()) is not None:
            arriving = streamed_by(attempt.model, attempt.messages, stop, attempt.arguments)
            try:
                begun = attempt.ask(partial(opening, arriving))
            except Exception as error:  # noqa: BLE001 - looked at, and raised where it must be
                routed.failed(attempt, error)
                continue
            try:
                for chunk in routed.begun(attempt, begun):
                    attempt.heard(chunk)
                    yield chunk
                for chunk in arriving:
                    attempt.heard(chunk)
                    yield chunk
            except Exception as error:
                routed.broke(attempt, error)
                raise
            finally:
                close(arriving)
            routed.ended(attempt)
            return
        routed.last_resort()

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        routed = await to_thread(self.routed, messages, kwargs, run_of(run_manager))
        while (attempt := routed.next()) is not None:
            arriving = astreamed_by(attempt.model, attempt.messages, stop, attempt.arguments)
            try:
                begun = await attempt.aask(partial(aopening, arriving))
            except Exception as error:  # noqa: BLE001 - looked at, and raised where it must be
                routed.failed(attempt, error)
                continue
            try:
                for chunk in routed.begun(attempt, begun):
                    attempt.heard(chunk)
                    yield chunk
                async for chunk in arriving:
                    attempt.heard(chunk)
                    yield chunk
            except Exception as error:
                routed.broke(attempt, error)
                raise
            finally:
                await aclose(arriving)
            routed.ended(attempt)
            return
        routed.last_resort()

    def routed(
        self, messages: Sequence[BaseMessage], kwargs: Mapping[str, Any], run: Run
    ) -> Routed:
        """Decide for a call that is made now; the other forms of a router begin here too.

        Raises:
            NoCandidateError: If nobody may be asked; it lists why.
        """
        return Routed(
            self._deciding,
            messages,
            kwargs,
            run,
            on_attempt=self._on_attempt,
            verify=self._verify,
        )


def _generated(attempt: Attempt, stop: list[str] | None) -> ChatResult:
    return attempt.model._generate(attempt.messages, stop, None, **attempt.arguments)  # noqa: SLF001 - as core would


async def _agenerated(attempt: Attempt, stop: list[str] | None) -> ChatResult:
    return await attempt.model._agenerate(attempt.messages, stop, None, **attempt.arguments)  # noqa: SLF001 - as core would


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

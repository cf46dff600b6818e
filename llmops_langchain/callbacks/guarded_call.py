"""One guarded call: let in, made, and told to the handler where LangChain's core does not tell."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from langchain_core.language_models import BaseChatModel, BaseLanguageModel, BaseLLM
from langchain_core.messages import BaseMessage
from langchain_core.outputs import (
    ChatGenerationChunk,
    ChatResult,
    Generation,
    GenerationChunk,
    LLMResult,
)

from llmops_langchain.callbacks.gate import Asked, Gate, Pass, WhenFull
from llmops_langchain.errors import (
    BudgetError,
    BudgetExceededError,
    ConfigurationError,
    LLMOpsError,
)
from llmops_langchain.ledger import holding
from llmops_langchain.storage.types import new_id
from llmops_langchain.wrapping import Run, below_layers, is_swapped

__all__ = ["GuardedCall", "Laid", "inside", "is_inside", "laid_over"]

R = TypeVar("R", ChatResult, LLMResult)
_COMMON = frozenset({"max_tokens", "stop", "temperature", "top_p"})
"""Arguments that every provider's class understands alike."""

Chunk = ChatGenerationChunk | GenerationChunk

# A model without an async method of its own enters `_agenerate` and then `_generate`.
_inside: ContextVar[object] = ContextVar("llmops_inside_guarded", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """What a guarded model works with."""

    gate: Gate
    full: WhenFull


class GuardedCall:
    """A call between its start and its end, for `with` and `async with`.

    LangChain's core tells a handler nothing of a cancelled `ainvoke`, of the first of several
    prompts when a later one fails, and of a run without handlers: here each of them is told. What
    is told first counts.

    Args:
        laid: What the model works with.
        model: The guarded model.
        prompt: What is asked; several prompts of a text model as one.
        kwargs: What goes with the call.
        run: What core shows of it.
        prompts: How many prompts of a text model there are; core tells the end of each.
    """

    def __init__(
        self,
        laid: Laid,
        model: BaseLanguageModel[Any],
        prompt: Sequence[BaseMessage] | str,
        kwargs: Mapping[str, Any],
        run: Run,
        *,
        prompts: int = 0,
    ) -> None:
        self._gate, self._full, self._usage = laid.gate, laid.full, laid.gate.usage
        self.kwargs = dict(kwargs)
        """The arguments, with the cap that a strict budget wants."""
        self.instead: BaseChatModel | None = None
        """The cheaper model to ask, where there was no room for this one."""
        self._run_id = run.run_id or new_id()
        self._of, self._accepts = run.of, run.accepts
        # Of a model that is asked in another's place the run has the other's name.
        metadata = {**run.metadata, **_named(model, kwargs)}
        self._asked = Asked(model, prompt, kwargs, metadata, self._run_id, max(1, prompts))
        self._began = self._told = False
        self._core_tells = prompts > 0
        self._let = Pass()
        self._chunks: list[Any] = []

    def __enter__(self) -> Self:
        self._begin()
        try:
            self._enter(self._gate.enter(self._asked, self._full))
        except BaseException as error:  # noqa: BLE001 - raised again, unless another model is asked
            self._refused(error)
        return self

    async def __aenter__(self) -> Self:
        self._begin()
        try:
            self._enter(await self._gate.aenter(self._asked, self._full))
        except BaseException as error:  # noqa: BLE001 - raised again, unless another model is asked
            self._refused(error)
        return self

    def told(self, answer: R) -> R:
        """The answer as it came; the handler has heard it."""
        self._told = True
        self._succeeds(answer)
        if self.instead is None and (self._began or not self._core_tells):
            self._usage.on_llm_end(_result(answer), run_id=self._run_id)
        return answer

    def heard(self, chunk: Chunk) -> None:
        """A chunk came."""
        self._chunks.append(chunk)
        self._succeeds(chunk)
        if self._began and len(self._chunks) == 1:
            self._usage.on_llm_new_token(chunk.text, run_id=self._run_id)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._gate.leave(self._let)
        if self._told or (self.instead is not None and not self._began):
            return
        if error is None:
            self._succeeds(None)
        if error is not None:
            part = LLMResult(generations=[self._whole()])
            self._usage.on_llm_error(error, run_id=self._run_id, response=part)
        elif self._began:
            # A stream's end is core's to tell, where it tells anybody.
            self._usage.on_llm_end(LLMResult(generations=[self._whole()]), run_id=self._run_id)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def _begin(self) -> None:
        if self._usage.watches(self._run_id):
            return
        self._began = True
        of = {} if self._of is None else {"parent_run_id": self._of}
        prompt, metadata = self._asked.prompt, dict(self._asked.metadata)
        told: dict[str, Any] = {"metadata": metadata, "invocation_params": self.kwargs, **of}
        if isinstance(prompt, str):
            self._usage.on_llm_start({}, [prompt], run_id=self._run_id, **told)
        else:
            self._usage.on_chat_model_start({}, [list(prompt)], run_id=self._run_id, **told)

    def _succeeds(self, answer: object) -> None:
        """An attempt that answers is its router's run from now on: that has the one event.

        One whose answer is not taken keeps its own.
        """
        if self._of is not None and (self._accepts is None or self._accepts(answer)):
            self._began = self._usage.goes_on_as(self._run_id, self._of)
            self._gate.goes_on_as(self._run_id, self._of)
            self._run_id, self._of = self._of, None

    def _enter(self, let: Pass) -> None:
        self._let = let
        self.kwargs.update(let.cap)

    def _refused(self, error: BaseException) -> None:
        may_go_on = isinstance(error, BudgetExceededError) and self._full.instead is not None
        if may_go_on and _is_understood(self._asked.model, self._full.instead, self.kwargs):
            self.instead = cast("BaseChatModel", self._full.instead)
            self.kwargs = _for_another(self._asked.model, self.instead, self.kwargs)
            return
        # Nothing was sent, whatever ended the waiting; of a cancelled `ainvoke` core tells nobody.
        if not isinstance(error, LLMOpsError):
            told = BudgetError("the call was given up before it was made")
            self._usage.on_llm_error(told, run_id=self._run_id)
        elif self._began:
            self._usage.on_llm_error(error, run_id=self._run_id)
        raise error

    def _whole(self) -> list[Generation]:
        """What was streamed, as one chunk."""
        if not self._chunks:
            return []
        first, *others = self._chunks
        try:
            return [sum(others, start=first)]
        except (TypeError, ValueError):  # a model whose chunks do not add up
            return [GenerationChunk(text="".join(each.text for each in self._chunks))]


def laid_over(model: BaseLanguageModel[Any]) -> Laid | None:
    """What was laid over the model by `guarded`; `None` if nothing was."""
    parts = getattr(model, "_llmops", None)
    if parts is None and is_swapped(type(model)):
        msg = (
            "this model was rebuilt from a guarded one and is guarded no more: guard it after "
            "`configurable_fields`, not before"
        )
        raise ConfigurationError(msg)
    layers = (parts or {}).values()
    return next((each for each in layers if isinstance(each, Laid)), None)


@contextmanager
def inside(model: object) -> Iterator[None]:
    """While `model` is asked: what it calls of itself is the same call."""
    with holding(_inside, model):
        yield


def is_inside(model: object) -> bool:
    """Whether this is a call of `model` by itself."""
    return _inside.get() is model


def _named(model: BaseLanguageModel[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """What core would tell a handler of the model."""
    if isinstance(model, BaseChatModel | BaseLLM):
        return model._get_ls_params(**kwargs)  # noqa: SLF001 - as core does
    return {}


def _result(answer: ChatResult | LLMResult) -> LLMResult:
    if isinstance(answer, LLMResult):
        return answer
    return LLMResult(generations=[list(answer.generations)], llm_output=answer.llm_output)


def _for_another(
    model: BaseLanguageModel[Any], other: BaseChatModel, kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments as another model takes them: tools in its own form."""
    if below_layers(type(other)) is below_layers(type(model)):
        return kwargs
    common = {name: value for name, value in kwargs.items() if name in _COMMON}
    if not kwargs.get("tools"):
        return common
    choice = _choice(kwargs.get("tool_choice"))
    bound: Any = other.bind_tools(kwargs["tools"], **({"tool_choice": choice} if choice else {}))
    return {**common, **bound.kwargs}


def _is_understood(
    model: BaseLanguageModel[Any], other: BaseChatModel | None, kwargs: Mapping[str, Any]
) -> bool:
    """Whether another provider's model can be asked the same: a form of the answer it cannot."""
    is_alike = other is None or below_layers(type(other)) is below_layers(type(model))
    return is_alike or not any(kwargs.get(name) for name in ("response_format", "output_config"))


def _choice(given: Any) -> str | None:
    """A choice of tools in LangChain's words: a tool's name, `any`, or nothing said."""
    if isinstance(given, Mapping):
        return (given.get("function") or given).get("name")
    words = {"required": "any", True: "any", "auto": None, "none": None, False: None}
    return words.get(given, given)

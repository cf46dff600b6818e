"""What a layer knows of the run it works in: core tells a model's own methods little of it."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.callbacks.base import BaseCallbackManager
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.language_models import BaseChatModel, BaseLanguageModel, LanguageModelInput
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig
from langchain_core.runnables.config import ensure_config, merge_configs

from llmops_langchain.ledger import holding
from llmops_langchain.storage.types import new_id
from llmops_langchain.wrapping.asking import aclose, close, restored

__all__ = ["KnownRuns", "Run", "as_attempt", "is_of_core", "metadata_of", "run_of"]

if TYPE_CHECKING:
    _ChatModel = BaseChatModel
else:
    # A plain mix-in at run time: fields of `BaseChatModel` would hide those of the model below.
    _ChatModel = object


class Run(NamedTuple):
    """What core knows of a call beside the messages."""

    metadata: Mapping[str, Any] = MappingProxyType({})
    run_id: Any = None
    """LangChain's; `None` where core shows none."""
    of: Any = None
    """The run that this is an attempt of: it has the answer of the attempt that succeeds."""
    accepts: Callable[[Any], bool] | None = None
    """Whether an attempt's answer, a chunk of one, or its end (`None`), is the run's."""


_UNKNOWN = Run()
_run: ContextVar[Run] = ContextVar("llmops_run_of_call", default=_UNKNOWN)


def run_of(run_manager: BaseRunManager | None) -> Run:
    """The run that a layer's `_generate` or `_stream` works in; core gives `_stream` no manager."""
    return _of(run_manager) if run_manager else _run.get()


@contextmanager
def as_attempt(run: Run) -> Iterator[None]:
    """Inside, a layer that is shown no run manager works for this attempt of a router's run."""
    with holding(_run, run):
        yield


class KnownRuns(_ChatModel):
    """A part of every layer over a chat model: lets `run_of` know the run."""

    _llmops_layer = 0

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002 - core's name
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream as the model does, and let `_stream` know for whom."""
        config, run = _named(self, config)
        arriving = super().stream(input, config, stop=stop, **kwargs)
        return _begun(arriving, copy_context(), run)

    def astream(
        self,
        input: LanguageModelInput,  # noqa: A002 - core's name
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """`stream` for asyncio."""
        config, run = _named(self, config)
        arriving = super().astream(input, config, stop=stop, **kwargs)
        return _abegun(arriving, copy_context(), run)

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with holding(_run, _of(run_manager)):
            return super()._generate_with_cache(messages, stop, run_manager, **kwargs)

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with holding(_run, _of(run_manager)):
            return await super()._agenerate_with_cache(messages, stop, run_manager, **kwargs)


def metadata_of(model: Runnable[Any, Any], config: RunnableConfig | None) -> Mapping[str, Any]:
    """The metadata that core's run manager will have: the caller's, then the model's own."""
    if isinstance(model, RunnableBinding):
        return metadata_of(model.bound, merge_configs(model.config, config))
    whole = ensure_config(config)
    callbacks = whole.get("callbacks")
    inherited = callbacks.metadata if isinstance(callbacks, BaseCallbackManager) else {}
    own = model.metadata if isinstance(model, BaseLanguageModel) else {}
    return {**inherited, **(whole.get("metadata") or {}), **(own or {})}


def is_of_core(method: Callable[..., Any]) -> bool:
    """Whether a model has this method from core, which runs the sync one in a worker thread."""
    own = getattr(method, "__func__", None)
    return own in (BaseChatModel._agenerate, BaseChatModel._astream)  # noqa: SLF001 - core asks so too


def _of(run_manager: BaseRunManager | None) -> Run:
    return Run(run_manager.metadata, run_manager.run_id) if run_manager else _UNKNOWN


def _named(
    model: BaseChatModel, config: RunnableConfig | None
) -> tuple[RunnableConfig | None, Run]:
    """The config with a run id, which core would make out of our sight."""
    run_id = (config or {}).get("run_id") or new_id()
    return {**(config or {}), "run_id": run_id}, Run(metadata_of(model, config), run_id)


def _begun(
    arriving: Iterator[AIMessageChunk], context: Context, run: Run
) -> Iterator[AIMessageChunk]:
    """The same chunks; the first comes in the context the stream was made in, and knows its run."""
    try:
        with restored(context), holding(_run, run):
            first = next(arriving, None)
        if first is not None:
            yield first
            yield from arriving
    finally:
        close(arriving)


async def _abegun(
    arriving: AsyncIterator[AIMessageChunk], context: Context, run: Run
) -> AsyncIterator[AIMessageChunk]:
    try:
        with restored(context), holding(_run, run):
            first = await anext(arriving, None)
        if first is not None:
            yield first
            async for chunk in arriving:
                yield chunk
    finally:
        await aclose(arriving)

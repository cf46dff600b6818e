"""Lay the gate over one chat model: `invoke`, `stream`, `batch` and their async twins."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseLLM
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from typing_extensions import override

from llmops_langchain.callbacks.gate import Gate, WhenFull
from llmops_langchain.callbacks.guarded_call import GuardedCall, Laid, inside, is_inside, laid_over
from llmops_langchain.callbacks.guarded_texts import GuardedTexts
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.wrapping import (
    KnownRuns,
    aguarded,
    arguments,
    astreamed_by,
    innermost,
    layered,
    over_candidates,
    run_of,
    streamed_by,
)
from llmops_langchain.wrapping import guarded as fetched

__all__ = ["guarded"]

M = TypeVar("M", bound=Runnable[Any, Any])


def guarded(model: M, gate: Gate, full: WhenFull) -> M:
    """A copy of `model` whose calls are made only if their budgets have room for them.

    It stays an instance of the model's class. A cache laid over it, before or after, stays outside:
    hits are free, and come also when a budget is used up.

    Args:
        model: A chat model, or a binding around one (`model.bind_tools(…)`); or a text model.
        gate: Decides.
        full: What to do when there is no room.

    Raises:
        ConfigurationError: If there is no model to wrap.
    """
    laid = Laid(gate=gate, full=full)
    if hasattr(innermost(model), "with_candidates"):
        # A router asks several models, each of which needs room of its own.
        return over_candidates(model, lambda each: guarded(each, gate, full))
    if isinstance(innermost(model), BaseLLM):
        if full.instead is not None:
            msg = "`downgrade_to` is for chat models: a text model is refused, or waits"
            raise ConfigurationError(msg)
        return layered(model, GuardedTexts, lambda _: laid, kind=BaseLLM)
    return layered(model, GuardedAnswers, lambda _: laid)


class GuardedAnswers(KnownRuns):
    """The layer: room is made before the model's own methods, what they used is told after them."""

    _llmops_layer = 1
    _llmops: Mapping[type, Laid]

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        base = super()._generate  # type: ignore[safe-super]  # a concrete model lies below
        laid = laid_over(self)
        if laid is None or is_inside(self):
            return base(messages, **arguments(base, stop, run_manager, kwargs))
        with GuardedCall(laid, self, messages, kwargs, run_of(run_manager)) as call:
            if call.instead is not None:
                return call.told(call.instead._generate(messages, stop, None, **call.kwargs))  # noqa: SLF001 - as core would
            with inside(self):
                asked = arguments(base, stop, run_manager, call.kwargs)
                return call.told(base(messages, **asked))

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        base = super()._agenerate
        laid = laid_over(self)
        if laid is None or is_inside(self):
            return await base(messages, **arguments(base, stop, run_manager, kwargs))
        async with GuardedCall(laid, self, messages, kwargs, run_of(run_manager)) as call:
            if call.instead is not None:
                return call.told(await call.instead._agenerate(messages, stop, None, **call.kwargs))  # noqa: SLF001 - as core would
            with inside(self):
                asked = arguments(base, stop, run_manager, call.kwargs)
                return call.told(await base(messages, **asked))

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        base = super()._stream
        laid = laid_over(self)
        if laid is None or is_inside(self):
            return base(messages, **arguments(base, stop, run_manager, kwargs))
        # Made now, while core is inside the call; the chunks are taken somewhere else.
        call = GuardedCall(laid, self, messages, kwargs, run_of(run_manager))
        return self._llmops_streamed(call, base, messages, stop, run_manager)

    @override
    def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        base = super()._astream
        laid = laid_over(self)
        if laid is None or is_inside(self):
            return base(messages, **arguments(base, stop, run_manager, kwargs))
        call = GuardedCall(laid, self, messages, kwargs, run_of(run_manager))
        return self._llmops_astreamed(call, base, messages, stop, run_manager)

    def _llmops_streamed(
        self,
        call: GuardedCall,
        base: Callable[..., Iterator[ChatGenerationChunk]],
        messages: list[BaseMessage],
        stop: list[str] | None,
        run_manager: CallbackManagerForLLMRun | None,
    ) -> Iterator[ChatGenerationChunk]:
        with call:
            if call.instead is not None:
                for chunk in streamed_by(call.instead, messages, stop, call.kwargs):
                    call.heard(chunk)
                    yield chunk
                return
            asked = arguments(base, stop, run_manager, call.kwargs)
            for chunk in fetched(partial(inside, self), partial(base, messages, **asked)):
                call.heard(chunk)
                yield chunk

    async def _llmops_astreamed(
        self,
        call: GuardedCall,
        base: Callable[..., AsyncIterator[ChatGenerationChunk]],
        messages: list[BaseMessage],
        stop: list[str] | None,
        run_manager: AsyncCallbackManagerForLLMRun | None,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with call:
            if call.instead is not None:
                async for chunk in astreamed_by(call.instead, messages, stop, call.kwargs):
                    call.heard(chunk)
                    yield chunk
                return
            asked = arguments(base, stop, run_manager, call.kwargs)
            ask = partial(base, messages, **asked)
            async with aclosing(aguarded(partial(inside, self), ask)) as arriving:
                async for chunk in arriving:
                    call.heard(chunk)
                    yield chunk

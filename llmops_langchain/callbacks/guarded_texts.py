"""Lay the gate over a text (not chat) model: all prompts of a call are one reservation."""

from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.language_models import BaseLLM
from langchain_core.outputs import GenerationChunk, LLMResult
from typing_extensions import override

from llmops_langchain.callbacks.guarded_call import GuardedCall, Laid, inside, is_inside, laid_over
from llmops_langchain.wrapping import Run, aguarded, arguments
from llmops_langchain.wrapping import guarded as fetched

__all__ = ["GuardedTexts"]

if TYPE_CHECKING:
    _TextModel = BaseLLM
else:
    _TextModel = object  # fields of `BaseLLM` would hide those of the model below


class GuardedTexts(_TextModel):
    """The layer over a text model."""

    _llmops_layer = 1
    _llmops: Mapping[type, Laid]

    @override
    def _generate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        base = super()._generate  # type: ignore[safe-super]  # a concrete model lies below
        laid = laid_over(self)
        if laid is None or is_inside(self):
            return base(prompts, **arguments(base, stop, run_manager, kwargs))
        with _call(laid, self, prompts, run_manager, kwargs) as call, inside(self):
            return call.told(base(prompts, **arguments(base, stop, run_manager, call.kwargs)))

    @override
    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        base = super()._agenerate
        laid = laid_over(self)
        if laid is None or is_inside(self):
            return await base(prompts, **arguments(base, stop, run_manager, kwargs))
        async with _call(laid, self, prompts, run_manager, kwargs) as call:
            asked = arguments(base, stop, run_manager, call.kwargs)
            with inside(self):
                return call.told(await base(prompts, **asked))

    @override
    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        base, laid = super()._stream, laid_over(self)
        if laid is None or is_inside(self):
            yield from base(prompt, **arguments(base, stop, run_manager, kwargs))
            return
        with _call(laid, self, [prompt], run_manager, kwargs) as call:
            asked = arguments(base, stop, run_manager, call.kwargs)
            for chunk in fetched(partial(inside, self), partial(base, prompt, **asked)):
                call.heard(chunk)
                yield chunk

    @override
    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        base, laid = super()._astream, laid_over(self)
        if laid is None or is_inside(self):
            async for chunk in base(prompt, **arguments(base, stop, run_manager, kwargs)):
                yield chunk
            return
        async with _call(laid, self, [prompt], run_manager, kwargs) as call:
            asked = arguments(base, stop, run_manager, call.kwargs)
            async for chunk in aguarded(partial(inside, self), partial(base, prompt, **asked)):
                call.heard(chunk)
                yield chunk


def _call(
    laid: Laid,
    model: BaseLLM,
    prompts: list[str],
    run_manager: BaseRunManager | None,
    kwargs: Mapping[str, Any],
) -> GuardedCall:
    """The call; core shows the run of the first prompt alone."""
    run = Run(run_manager.metadata, run_manager.run_id) if run_manager else Run()
    return GuardedCall(laid, model, "\n".join(prompts), kwargs, run, prompts=len(prompts))

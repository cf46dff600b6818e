"""Lay a `ResponseCache` over a text (not chat) model: its call parameters are in the key here."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.language_models import BaseLLM
from langchain_core.messages import HumanMessage
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from typing_extensions import override

from llmops_langchain.cache.asking import inside, is_inside
from llmops_langchain.cache.call import Call
from llmops_langchain.cache.naming import Laid, laid_over
from llmops_langchain.cache.replay import pieces
from llmops_langchain.ledger import current_scope
from llmops_langchain.wrapping import aguarded, arguments, call_parts, guarded

__all__ = ["CachedTexts"]

if TYPE_CHECKING:
    _TextModel = BaseLLM
else:
    _TextModel = object  # fields of `BaseLLM` would hide those of the model below


class CachedTexts(_TextModel):
    """The layer over a text model: of several prompts those without an answer are asked."""

    _llmops_layer = 2
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
        asked = arguments(base, stop, run_manager, kwargs)
        laid = laid_over(self)
        if laid is None or is_inside(self):
            return base(prompts, **asked)
        flow = laid.cache.flow
        calls = self._llmops_calls(laid, prompts, run_manager, stop, kwargs)
        found = [_marked(flow.find(call)) for call in calls]
        missing = [prompt for prompt, hit in zip(prompts, found, strict=True) if hit is None]
        if not missing:
            return LLMResult(generations=found)
        with inside(self, None):
            result = base(missing, **asked)
        whole, told = _merged(calls, found, result)
        for call, generations in told:
            flow.answered(call, generations)
        return whole

    @override
    async def _agenerate(
        self,
        prompts: list[str],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        base = super()._agenerate
        asked = arguments(base, stop, run_manager, kwargs)
        laid = laid_over(self)
        if laid is None or is_inside(self):
            return await base(prompts, **asked)
        flow = laid.cache.flow
        calls = self._llmops_calls(laid, prompts, run_manager, stop, kwargs)
        found = [_marked(await flow.afind(call)) for call in calls]
        missing = [prompt for prompt, hit in zip(prompts, found, strict=True) if hit is None]
        if not missing:
            return LLMResult(generations=found)
        with inside(self, None):
            result = await base(missing, **asked)
        whole, told = _merged(calls, found, result)
        for call, generations in told:
            await flow.aanswered(call, generations)
        return whole

    @override
    def _stream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[GenerationChunk]:
        base = super()._stream
        ask = partial(base, prompt, **arguments(base, stop, run_manager, kwargs))
        laid = laid_over(self)
        if laid is None or is_inside(self):
            yield from ask()
            return
        flow = laid.cache.flow
        (call,) = self._llmops_calls(laid, [prompt], run_manager, stop, kwargs)
        if (hit := _marked(flow.find(call))) is not None:
            yield from _pieces(hit[0])
            return
        chunks = []
        for chunk in guarded(partial(inside, self, call), ask):
            chunks.append(chunk)
            yield chunk
        flow.answered(call, _joined(chunks))

    @override
    async def _astream(
        self,
        prompt: str,
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[GenerationChunk]:
        base = super()._astream
        ask = partial(base, prompt, **arguments(base, stop, run_manager, kwargs))
        laid = laid_over(self)
        if laid is None or is_inside(self):
            async for chunk in ask():
                yield chunk
            return
        flow = laid.cache.flow
        (call,) = self._llmops_calls(laid, [prompt], run_manager, stop, kwargs)
        if (hit := _marked(await flow.afind(call))) is not None:
            for chunk in _pieces(hit[0]):
                yield chunk
            return
        chunks = []
        async for chunk in aguarded(partial(inside, self, call), ask):
            chunks.append(chunk)
            yield chunk
        await flow.aanswered(call, _joined(chunks))

    def _llmops_calls(
        self,
        laid: Laid,
        prompts: Sequence[str],
        run_manager: BaseRunManager | None,
        stop: list[str] | None,
        kwargs: Mapping[str, Any],
    ) -> list[Call | None]:
        """The calls of the prompts; core shows the run of the first one alone."""
        name = partial(self._llmops_call, laid, run_manager, stop, kwargs)
        first, *others = prompts
        run_id = run_manager.run_id if run_manager else None
        return [name(first, run_id=run_id), *map(name, others)]

    def _llmops_call(
        self,
        laid: Laid,
        run_manager: BaseRunManager | None,
        stop: list[str] | None,
        kwargs: Mapping[str, Any],
        prompt: str,
        *,
        run_id: object = None,
    ) -> Call | None:
        return laid.cache.calls.of(
            lambda owner: call_parts(
                self, prompt, scope=owner, settled=laid.settled, stop=stop, **kwargs
            ),
            current_scope(),
            run_manager.metadata if run_manager else {},
            said=lambda: [HumanMessage(prompt)],
            run_id=run_id,
        )


def _marked(hit: list[Generation] | None) -> list[Generation] | None:
    """The hit with the mark that tells a usage handler that nothing was spent."""
    for each in hit or ():
        info = each.generation_info or {}
        told = {"tier": "exact", **info.get("llmops_cache", {}), "usage_metadata": None}
        each.generation_info = {**info, "llmops_cache": told}
    return hit


def _merged(
    calls: Sequence[Call | None], found: Sequence[list[Generation] | None], result: LLMResult
) -> tuple[LLMResult, list[tuple[Call | None, list[Generation]]]]:
    """All answers in the order of the prompts, and those to keep."""
    asked = [call for call, hit in zip(calls, found, strict=True) if hit is None]
    told = list(zip(asked, result.generations, strict=True))
    if len(asked) == len(calls):
        return result, told
    fresh = iter(_with_usage(result))
    return LLMResult(generations=[hit or next(fresh) for hit in found]), told


def _with_usage(result: LLMResult) -> list[list[Generation]]:
    """The answers, the first with what all of them used.

    Core tells `llm_output` to the run of the first prompt, and that one may be a hit.
    """
    first, *others = result.generations
    used = {**(first[0].generation_info or {}), **(result.llm_output or {})}
    return [[first[0].model_copy(update={"generation_info": used}), *first[1:]], *others]


def _pieces(hit: Generation) -> Iterator[GenerationChunk]:
    *first, last = pieces(hit.text)
    yield from (GenerationChunk(text=piece) for piece in first)
    yield GenerationChunk(text=last, generation_info=hit.generation_info)


def _joined(chunks: Sequence[GenerationChunk]) -> list[Generation]:
    """What was streamed, as one answer."""
    if not chunks:
        return []
    whole = sum(chunks[1:], start=chunks[0])
    return [Generation(text=whole.text, generation_info=whole.generation_info)]

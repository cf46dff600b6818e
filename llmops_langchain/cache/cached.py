"""Lay a `ResponseCache` over one chat model: `invoke`, `stream`, `batch` and their async twins."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.language_models import BaseChatModel, BaseLLM
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, Generation
from langchain_core.runnables import Runnable
from typing_extensions import override

from llmops_langchain.cache.asking import inside, is_inside
from llmops_langchain.cache.cached_texts import CachedTexts
from llmops_langchain.cache.call import Call
from llmops_langchain.cache.naming import Laid, laid_over
from llmops_langchain.cache.replay import chunks_of, whole
from llmops_langchain.cache.response_cache import ResponseCache
from llmops_langchain.ledger import current_scope
from llmops_langchain.wrapping import (
    KnownRuns,
    aguarded,
    arguments,
    call_parts,
    guarded,
    innermost,
    is_of_core,
    layered,
    private_settings,
    run_of,
)

__all__ = ["cached"]

M = TypeVar("M", bound=Runnable[Any, Any])


def cached(model: M, cache: ResponseCache) -> M:
    """A copy of `model` that looks into `cache` before it asks, and keeps what it is told.

    It stays an instance of the model's class. Answers belong to the workspace of `track(...)`, or
    of `config["metadata"]["workspace"]` where `track` names none. A hit waits for no rate limiter
    and is streamed in chunks where the model streams. Of equal calls of a chat model at the same
    moment one asks.

    Args:
        model: A chat model, or a binding around one (`model.bind_tools(…)`); or a text model.
        cache: Where answers are kept.

    Raises:
        ConfigurationError: If there is no model to wrap.
    """
    laid = partial(_laid, cache)
    if isinstance(innermost(model), BaseLLM):
        return layered(model, CachedTexts, laid, kind=BaseLLM, cache=False)
    return layered(model, CachedAnswers, laid, cache=False, rate_limiter=None)


class CachedAnswers(KnownRuns):
    """The layer: a lookup before the model's own methods, an update after them."""

    _llmops_layer = 2
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
        ask = partial(base, messages, **arguments(base, stop, run_manager, kwargs))
        laid = laid_over(self)
        if laid is None or is_inside(self):
            return ask()
        call = self._llmops_call(laid, messages, run_manager, stop, kwargs)
        with laid.cache.flow.turn(call) as turn:
            if turn.answer is not None:
                return ChatResult(generations=_chat(turn.answer))
            if laid.limiter is not None:
                laid.limiter.acquire(blocking=True)
            with inside(self, turn.call):
                answer = ask()
            laid.cache.flow.keep(turn, _told(answer))
            return answer

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        base = super()._agenerate
        ask = partial(base, messages, **arguments(base, stop, run_manager, kwargs))
        laid = laid_over(self)
        if laid is None or is_inside(self):
            return await ask()
        call = self._llmops_call(laid, messages, run_manager, stop, kwargs)
        async with laid.cache.flow.aturn(call, needs_worker=is_of_core(base)) as turn:
            if turn.answer is not None:
                return ChatResult(generations=_chat(turn.answer))
            if laid.limiter is not None:
                await laid.limiter.aacquire(blocking=True)
            with inside(self, turn.call):
                answer = await ask()
            await laid.cache.flow.akeep(turn, _told(answer))
            return answer

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        base = super()._stream
        ask = partial(base, messages, **arguments(base, stop, run_manager, kwargs))
        laid = laid_over(self)
        if laid is None or is_inside(self):
            return ask()
        # Named now, while core is inside the call; the chunks are taken somewhere else.
        call = self._llmops_call(laid, messages, run_manager, stop, kwargs)
        return self._llmops_streamed(laid, call, ask)

    @override
    def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        base = super()._astream
        ask = partial(base, messages, **arguments(base, stop, run_manager, kwargs))
        laid = laid_over(self)
        if laid is None or is_inside(self):
            return ask()
        call = self._llmops_call(laid, messages, run_manager, stop, kwargs)
        return self._llmops_astreamed(laid, call, ask, needs_worker=is_of_core(base))

    def _llmops_streamed(
        self, laid: Laid, call: Call | None, ask: Callable[[], Iterator[ChatGenerationChunk]]
    ) -> Iterator[ChatGenerationChunk]:
        with laid.cache.flow.turn(call) as turn:
            if turn.answer is not None:
                yield from chunks_of(_chat(turn.answer)[0])
                return
            if laid.limiter is not None:
                laid.limiter.acquire(blocking=True)
            chunks = []
            for chunk in guarded(partial(inside, self, call), ask):
                chunks.append(_copied(chunk))
                turn.handed()
                yield chunk
                turn.taken_back()
            laid.cache.flow.keep(turn, _whole(chunks))

    async def _llmops_astreamed(
        self,
        laid: Laid,
        call: Call | None,
        ask: Callable[[], AsyncIterator[ChatGenerationChunk]],
        *,
        needs_worker: bool,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with laid.cache.flow.aturn(call, needs_worker=needs_worker) as turn:
            if turn.answer is not None:
                for chunk in chunks_of(_chat(turn.answer)[0]):
                    yield chunk
                return
            if laid.limiter is not None:
                await laid.limiter.aacquire(blocking=True)
            chunks = []
            async with aclosing(aguarded(partial(inside, self, call), ask)) as arriving:
                async for chunk in arriving:
                    chunks.append(_copied(chunk))
                    turn.handed()
                    yield chunk
                    turn.taken_back()
            await laid.cache.flow.akeep(turn, _whole(chunks))

    def _llmops_call(
        self,
        laid: Laid,
        messages: list[BaseMessage],
        run_manager: BaseRunManager | None,
        stop: list[str] | None,
        kwargs: Mapping[str, Any],
    ) -> Call | None:
        """The call as the cache knows it; `None` if it is not to be cached."""
        run = run_of(run_manager)
        return laid.cache.calls.of(
            lambda owner: call_parts(
                self, messages, scope=owner, settled=laid.settled, stop=stop, **kwargs
            ),
            current_scope(),
            run.metadata,
            said=lambda: messages,
            run_id=run.run_id,
        )


def _laid(cache: ResponseCache, model: BaseChatModel | BaseLLM) -> Laid:
    before = laid_over(model)
    own = model.rate_limiter if isinstance(model, BaseChatModel) else None
    limiter = own or (before.limiter if before else None)
    return Laid(cache=cache, settled=private_settings(model), limiter=limiter)


def _told(answer: ChatResult) -> list[ChatGeneration]:
    """The answers with what core adds to a single one when it comes back: `llm_output`.

    Some providers tell only there that the answer was cut short.
    """
    if len(answer.generations) != 1 or not answer.llm_output:
        return answer.generations
    only = answer.generations[0]
    told = {**answer.llm_output, **only.message.response_metadata}
    message = only.message.model_copy(update={"response_metadata": told})
    return [only.model_copy(update={"message": message})]


def _chat(answer: Sequence[Generation]) -> list[ChatGeneration]:
    """What a chat model returns: under its keys there is nothing else."""
    return cast("list[ChatGeneration]", answer)


def _copied(chunk: ChatGenerationChunk) -> ChatGenerationChunk:
    """The chunk as it arrived: core and the reader of the stream write into theirs."""
    return chunk.model_copy(update={"message": chunk.message.model_copy(deep=True)})


def _whole(chunks: Sequence[ChatGenerationChunk]) -> list[ChatGeneration]:
    """What was streamed, as one answer; nothing where core cannot add the chunks up."""
    try:
        answer = whole(chunks)
    except (TypeError, ValueError):
        return []
    return [] if answer is None else [answer]

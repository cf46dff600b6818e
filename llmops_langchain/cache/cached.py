"""Lay a `ResponseCache` over one chat model; streams pass it by."""

import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult, Generation
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import run_in_executor

from llmops_langchain.cache.response_cache import ResponseCache
from llmops_langchain.ledger import current_scope
from llmops_langchain.wrapping import call_key, layered, private_settings

__all__ = ["cached"]

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=Runnable[Any, Any])

if TYPE_CHECKING:
    _ChatModel = BaseChatModel
else:
    # A plain mix-in at run time: fields of `BaseChatModel` would hide those of the model below.
    _ChatModel = object

# A model without an async method of its own enters `_agenerate` and then `_generate`.
_inside: ContextVar[object] = ContextVar("llmops_inside_cached", default=None)


def cached(model: M, cache: ResponseCache) -> M:
    """A copy of `model` that looks into `cache` before it asks, and keeps what it is told.

    It stays an instance of the model's class. Answers belong to the workspace of `track(...)`, or
    of `config["metadata"]["workspace"]` where `track` names none.

    Args:
        model: A chat model, or a binding around one (`model.bind_tools(…)`).
        cache: Where answers are kept.

    Raises:
        ConfigurationError: If there is no chat model to wrap.
    """
    return layered(model, CachedAnswers, lambda base: (cache, private_settings(base)), cache=False)


class CachedAnswers(_ChatModel):
    """The layer: a lookup before the model's own `_generate`, an update after it."""

    _llmops_layer = True
    _llmops: Mapping[type, tuple[ResponseCache, bytes]]

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        cache, _ = self._llmops[CachedAnswers]
        base = super()._generate  # type: ignore[safe-super]  # a concrete model lies below
        asked = _asked(base, stop, run_manager, kwargs)
        key = None if _inside.get() is self else self._key(messages, run_manager, stop, kwargs)
        if key is None:
            return base(messages, **asked)
        if (hit := _result(cache.find(key))) is not None:
            return hit
        token = _inside.set(self)
        try:
            answer = base(messages, **asked)
        finally:
            _inside.reset(token)
        cache.keep(key, _whole(answer))
        return answer

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        cache, _ = self._llmops[CachedAnswers]
        base = super()._agenerate
        asked = _asked(base, stop, run_manager, kwargs)
        key = None if _inside.get() is self else self._key(messages, run_manager, stop, kwargs)
        if key is None:
            return await base(messages, **asked)
        if (hit := _result(await cache.afind(key))) is not None:
            return hit
        token = _inside.set(self)
        try:
            answer = await base(messages, **asked)
        finally:
            _inside.reset(token)
        await run_in_executor(None, cache.keep, key, _whole(answer))
        return answer

    def _key(
        self,
        messages: list[BaseMessage],
        run_manager: BaseRunManager | None,
        stop: list[str] | None,
        kwargs: Mapping[str, Any],
    ) -> bytes | None:
        """The call's key; `None` if it has none, and then the model is simply asked."""
        metadata = run_manager.metadata if run_manager else {}
        workspace = current_scope().filled_from(metadata).workspace or ""
        _, settled = self._llmops[CachedAnswers]
        try:
            return call_key(self, messages, scope=workspace, settled=settled, stop=stop, **kwargs)
        except (TypeError, ValueError) as error:
            logger.info("a call without a key was not cached: %s", type(error).__name__)
            return None


def _asked(
    method: Callable[..., Any],
    stop: list[str] | None,
    run_manager: BaseRunManager | None,
    kwargs: Mapping[str, Any],
) -> dict[str, Any]:
    """The arguments as core gives them: by name, and `run_manager` only to who takes it."""
    manager = {"run_manager": run_manager} if "run_manager" in _parameters(method) else {}
    return {"stop": stop, **manager, **kwargs}


def _parameters(method: Callable[..., Any]) -> frozenset[str]:
    return _parameters_of(getattr(method, "__func__", method))


@lru_cache(maxsize=256)
def _parameters_of(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(signature(function).parameters)


def _whole(answer: ChatResult) -> list[ChatGeneration]:
    """The answers with what core adds to a single one when it comes back: `llm_output`.

    Some providers tell only there that the answer was cut short.
    """
    if len(answer.generations) != 1 or not answer.llm_output:
        return answer.generations
    only = answer.generations[0]
    told = {**answer.llm_output, **only.message.response_metadata}
    message = only.message.model_copy(update={"response_metadata": told})
    return [only.model_copy(update={"message": message})]


def _result(hit: list[Generation] | None) -> ChatResult | None:
    """What a chat model returns; a hit that is text alone is none."""
    answers = [each for each in hit or () if isinstance(each, ChatGeneration)]
    return ChatResult(generations=answers) if answers else None

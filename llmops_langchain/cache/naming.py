"""The parts of a call's key, as the model at hand names its calls."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import (
    BaseChatModel,
    BaseLanguageModel,
    BaseLLM,
    LanguageModelInput,
)
from langchain_core.load import dumps
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import Runnable, RunnableBinding, RunnableSequence

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.wrapping import CallParts, call_parts, core_parts, innermost

if TYPE_CHECKING:
    from llmops_langchain.cache.response_cache import ResponseCache

__all__ = ["Laid", "asked_model", "laid_over", "parts_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """What a cached model works with."""

    cache: "ResponseCache"
    settled: bytes
    """The model's private settings from before its first call."""
    limiter: BaseRateLimiter | None
    """The model's own rate limiter: hits do not wait for it."""


def laid_over(model: BaseLanguageModel[Any]) -> Laid | None:
    """What was laid over the model by `cached`; `None` if nothing was."""
    layers = (getattr(model, "_llmops", None) or {}).values()
    return next((each for each in layers if isinstance(each, Laid)), None)


def asked_model(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """The model that is asked, with its bindings; structured output is a chain that begins with it.

    Raises:
        ConfigurationError: If there is none.
    """
    if isinstance(model, RunnableSequence):
        return asked_model(model.first)
    bound = innermost(model)
    if not isinstance(bound, BaseChatModel | BaseLLM):
        msg = f"a language model is needed, got {type(bound).__name__!r}: give the one it asks"
        raise ConfigurationError(msg)
    return model


def parts_of(
    model: Runnable[Any, Any], asked: LanguageModelInput, owner: str, **parameters: Any
) -> CallParts:
    """The parts under which the answer to `asked` would be kept.

    Raises:
        TypeError: If the call has no key.
    """
    if isinstance(model, RunnableBinding):
        return parts_of(model.bound, asked, owner, **{**model.kwargs, **parameters})
    assert isinstance(model, BaseChatModel | BaseLLM)  # noqa: S101 - `asked_model` saw to it
    laid, prompt = laid_over(model), model._convert_input(asked)  # noqa: SLF001 - what `invoke` does
    said = prompt.to_messages() if isinstance(model, BaseChatModel) else prompt.to_string()
    if laid is not None:
        return call_parts(model, said, scope=owner, settled=laid.settled, **parameters)
    # What core shows to `set_llm_cache`.
    if isinstance(model, BaseLLM):
        fields = model.asdict() if hasattr(model, "asdict") else model.dict()
        told = str(sorted({**fields, "stop": parameters.get("stop")}.items()))
        return core_parts(prompt.to_string(), told, scope=owner)
    told = model._get_llm_string(**parameters)  # noqa: SLF001 - as core asks a cache
    written = dumps([each.model_copy(update={"id": None}) for each in prompt.to_messages()])
    return core_parts(written, told, scope=owner)

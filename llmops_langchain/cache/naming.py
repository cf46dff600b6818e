"""The parts of a call's key, as the model at hand names its calls."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.load import dumps
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import Runnable, RunnableBinding

from llmops_langchain.wrapping import CallParts, call_parts, core_parts

if TYPE_CHECKING:
    from llmops_langchain.cache.response_cache import ResponseCache

__all__ = ["Laid", "laid_over", "parts_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """What a cached model works with."""

    cache: "ResponseCache"
    settled: bytes
    """The model's private settings from before its first call."""
    limiter: BaseRateLimiter | None
    """The model's own rate limiter: hits do not wait for it."""


def laid_over(model: BaseChatModel) -> Laid | None:
    """What was laid over the model by `cached`; `None` if nothing was."""
    layers = (getattr(model, "_llmops", None) or {}).values()
    return next((each for each in layers if isinstance(each, Laid)), None)


def parts_of(
    model: Runnable[Any, Any], asked: LanguageModelInput, owner: str, **parameters: Any
) -> CallParts:
    """The parts under which the answer to `asked` would be kept.

    Raises:
        TypeError: If there is no chat model, or the call has no key.
    """
    if isinstance(model, RunnableBinding):
        return parts_of(model.bound, asked, owner, **{**model.kwargs, **parameters})
    if not isinstance(model, BaseChatModel):
        msg = f"a language model is needed, got {type(model).__name__!r}"
        raise TypeError(msg)
    messages = model._convert_input(asked).to_messages()  # noqa: SLF001 - what `invoke` does
    laid = laid_over(model)
    if laid is not None:
        return call_parts(model, messages, scope=owner, settled=laid.settled, **parameters)
    # What core shows to `set_llm_cache`.
    told = model._get_llm_string(**parameters)  # noqa: SLF001
    return core_parts(dumps([_without_id(each) for each in messages]), told, scope=owner)


def _without_id(message: Any) -> Any:
    return message.model_copy(update={"id": None})

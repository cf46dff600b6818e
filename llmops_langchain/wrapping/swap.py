"""Lay our methods over a chat model by swapping the class of a copy; everything else stays.

A delegating wrapper would have to repeat what every provider class adds (`bind_tools`, structured
output, tokenisers, tracing names). A copy whose class is a subclass of the model's own keeps all
of it: `isinstance(wrapped, ChatOpenAI)` holds, and so do `lc_id` and the name in a trace.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableBinding
from pydantic import PrivateAttr

from llmops_langchain.errors import ConfigurationError

__all__ = ["is_swapped", "layered", "layers_of"]

M = TypeVar("M", bound=Runnable[Any, Any])


def layered(model: M, layer: type, part: Callable[[BaseChatModel], object], **changes: object) -> M:
    """A copy of `model` on which `layer` comes first and finds its part in `self._llmops[layer]`.

    A binding (`model.bind_tools(…)`) is reached through: the model inside it is wrapped.

    Args:
        model: A chat model, or a binding around one. It is not changed.
        layer: A mix-in that overrides `_generate` and the like and calls `super()`.
        part: Makes what the layer works with from the model as it is before its first call;
            wrapping again with the same layer replaces it.
        changes: Fields of the model to set on the copy.

    Raises:
        ConfigurationError: If there is no chat model to wrap.
    """
    if isinstance(model, RunnableBinding):
        return cast(
            "M", model.model_copy(update={"bound": layered(model.bound, layer, part, **changes)})
        )
    if not isinstance(model, BaseChatModel):
        msg = (
            f"a chat model is needed, got {type(model).__name__!r}: wrap the model before it is "
            "made configurable, piped or given fallbacks"
        )
        raise ConfigurationError(msg)
    copied = model.model_copy(update=changes)
    if layer not in layers_of(type(model)):
        object.__setattr__(copied, "__class__", _subclass(type(model), layer))
    parts = {**(getattr(model, "_llmops", None) or {}), layer: part(model)}
    private = {**(copied.__pydantic_private__ or {}), "_llmops": parts}
    object.__setattr__(copied, "__pydantic_private__", private)
    return cast("M", copied)


def layers_of(model_class: type) -> tuple[type, ...]:
    """The layers laid over a class, outermost first."""
    return tuple(each for each in model_class.__mro__ if "_llmops_layer" in vars(each))


def is_swapped(candidate: type) -> bool:
    """Whether this is a subclass made here, not one that a provider wrote."""
    return "_llmops" in getattr(candidate, "__private_attributes__", {})


@lru_cache(maxsize=256)
def _subclass(base: type[BaseChatModel], layer: type) -> type[BaseChatModel]:
    """One subclass for each class and layer, under the name that traces and `lc_id` go by."""
    names = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "_llmops": PrivateAttr(default=None),
    }
    metaclass = cast("Any", type(base))
    return cast("type[BaseChatModel]", metaclass(base.__name__, (layer, base), names))

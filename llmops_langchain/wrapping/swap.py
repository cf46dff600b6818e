"""Lay our methods over a model by swapping the class of a copy; everything else stays.

A delegating wrapper would have to repeat what every provider class adds (`bind_tools`, structured
output, tokenisers, tracing names). A copy whose class is a subclass of the model's own keeps all
of it: `isinstance(wrapped, ChatOpenAI)` holds, and so do `lc_id` and the name in a trace.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn, TypeVar, cast

from langchain_core.language_models import BaseChatModel, BaseLanguageModel, BaseLLM
from langchain_core.runnables import Runnable, RunnableBinding
from pydantic import PrivateAttr

from llmops_langchain.errors import ConfigurationError

__all__ = ["below_layers", "innermost", "layered", "over_candidates"]

M = TypeVar("M", bound=Runnable[Any, Any])

# Methods whose mere presence tells core that a model streams, and what a model must have of its own
# for a layer to have them: async streaming falls back to the sync one.
_STREAMING = {"_stream": ("_stream",), "_astream": ("_stream", "_astream")}

# Core's own streams of events, which pass `_stream` by where a model has them.
_NATIVE = {"_stream": "_stream_chat_model_events", "_astream": "_astream_chat_model_events"}


def layered(
    model: M,
    layer: type,
    part: Callable[[Any], object],
    *,
    kind: type = BaseChatModel,
    **changes: object,
) -> M:
    """A copy of `model` on which `layer` comes first and finds its part in `self._llmops[layer]`.

    A binding (`model.bind_tools(…)`) is reached through: the model inside it is wrapped.

    Args:
        model: A chat model, or a binding around one. It is not changed.
        layer: A mix-in that overrides `_generate` and the like and calls `super()`. Its
            `_llmops_layer` says how far out it lies, whatever the order of wrapping.
        part: Makes what the layer works with from the model as it is before its first call;
            wrapping again with the same layer replaces it.
        kind: What the model must be for this layer.
        changes: Fields of the model to set on the copy.

    Raises:
        ConfigurationError: If there is no chat model to wrap.
    """
    if isinstance(model, RunnableBinding):
        return cast(
            "M",
            model.model_copy(
                update={"bound": layered(model.bound, layer, part, kind=kind, **changes)}
            ),
        )
    if not (isinstance(model, BaseLanguageModel) and isinstance(model, kind)):
        msg = (
            f"a language model is needed, got {type(model).__name__!r}: wrap the model before it "
            "is made configurable, piped or given fallbacks"
        )
        raise ConfigurationError(msg)
    copied = model.model_copy(update=changes)
    if layer not in layers_of(type(model)):
        object.__setattr__(copied, "__class__", _laid_over(type(model), layer))
    parts = {**(getattr(model, "_llmops", None) or {}), layer: part(model)}
    private = {**(copied.__pydantic_private__ or {}), "_llmops": parts}
    object.__setattr__(copied, "__pydantic_private__", private)
    return cast("M", copied)


def over_candidates(model: M, change: Callable[[BaseChatModel], BaseChatModel]) -> M:
    """The router, or the binding around it, with something laid over each model it may ask."""
    if isinstance(model, RunnableBinding):
        return cast("M", model.model_copy(update={"bound": over_candidates(model.bound, change)}))
    return cast("M", cast("Any", model).with_candidates(change))


def innermost(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """What the bindings around it bind."""
    return innermost(model.bound) if isinstance(model, RunnableBinding) else model


def layers_of(model_class: type) -> tuple[type, ...]:
    """The layers laid over a class, outermost first, and what they are made of (rank 0)."""
    return tuple(each for each in model_class.__mro__ if "_llmops_layer" in vars(each))


def below_layers(model_class: type) -> type:
    """The class that a provider wrote, below everything that was laid over it."""
    ours = layers_of(model_class)
    return next(each for each in model_class.__mro__ if each not in ours and not is_swapped(each))


def is_swapped(candidate: type) -> bool:
    """Whether this is a subclass made here, not one that a provider wrote."""
    return "_llmops" in getattr(candidate, "__private_attributes__", {})


def _refuse_pickling(_self: object, _protocol: object) -> NoReturn:
    msg = "a wrapped model cannot be pickled: wrap it in the process that uses it"
    raise TypeError(msg)


def _laid_over(model_class: type, layer: Any) -> type:
    """The class with one more layer, below those that are to lie further out."""
    inner = [each for each in reversed(layers_of(model_class)) if _rank(each)]
    place = next((at for at, it in enumerate(inner) if _rank(it) > _rank(layer)), len(inner))
    made = below_layers(model_class)
    for each in (*inner[:place], layer, *inner[place:]):
        made = _subclass(made, each)
    return made


def _rank(layer: type) -> int:
    return int(vars(layer)["_llmops_layer"])


@lru_cache(maxsize=256)
def _subclass(base: type[BaseLanguageModel[Any]], layer: type) -> type[BaseLanguageModel[Any]]:
    """One subclass for each class and layer, under the name that traces and `lc_id` go by."""
    names: dict[str, Any] = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "_llmops": PrivateAttr(default=None),
        "__reduce_ex__": _refuse_pickling,
    }
    core = BaseChatModel if issubclass(base, BaseChatModel) else BaseLLM
    for name, sources in _STREAMING.items():
        if all(getattr(base, each) is getattr(core, each) for each in sources):
            names[name] = getattr(core, name)
    made = cast("Any", type(base))(base.__name__, (layer, base), names)
    for name, events in _NATIVE.items():
        if name not in names and hasattr(base, events):
            setattr(made, events, None)  # core takes the chunks instead, which the layer sees
    return cast("type[BaseLanguageModel[Any]]", made)

"""What a call says of itself: whom to ask, how hard it is."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from typing_extensions import override

from llmops_langchain.errors import ConfigurationError

__all__ = ["Overrides", "Wishing", "overrides_of", "with_wishes"]

_WISHES = ("route_to", "complexity")
"""What a call may say of itself: in arguments, in its metadata, in `configurable`."""

if TYPE_CHECKING:
    _ChatModel = BaseChatModel
else:
    # A plain mix-in at run time, as `KnownRuns` is.
    _ChatModel = object


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What one call wants in another way.

    Args:
        model: The name of the choice to ask, whatever is predicted.
        complexity: How hard the request is, 0 to 1, where the app knows.
    """

    model: str | None = None
    complexity: float | None = None


class Wishing(_ChatModel):
    """The part of a router that reads `configurable`, which core shows to no model."""

    @override
    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        return super().invoke(input, with_wishes(config), stop=stop, **kwargs)

    @override
    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        return await super().ainvoke(input, with_wishes(config), stop=stop, **kwargs)

    @override
    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        return super().stream(input, with_wishes(config), stop=stop, **kwargs)

    @override
    def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        return super().astream(input, with_wishes(config), stop=stop, **kwargs)


def overrides_of(metadata: Mapping[str, Any], kwargs: dict[str, Any]) -> Overrides:
    """What a call says of itself in its metadata, or in arguments that no model is to see."""
    model = kwargs.pop("route_to", None) or metadata.get("route_to")
    hard = kwargs.pop("complexity", None)
    hard = metadata.get("complexity") if hard is None else hard
    if hard is not None and not (isinstance(hard, (int, float)) and 0 <= hard <= 1):
        msg = f"`complexity` is between 0 and 1, got {hard!r}"
        raise ConfigurationError(msg)
    return Overrides(model=model, complexity=hard)


def with_wishes(config: RunnableConfig | None) -> RunnableConfig:
    """The config with what `configurable` says of this call where core passes it on."""
    whole = ensure_config(config)
    said = whole.get("configurable") or {}
    wishes = {name: said[name] for name in _WISHES if name in said}
    return {**whole, "metadata": {**wishes, **(whole.get("metadata") or {})}} if wishes else whole

"""A model that may be asked, and what is known of it."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from decimal import Decimal
from functools import partial
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableBinding

from llmops_langchain.embeddings.loading import Once
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.models import PriceBook, Rates, context_limits, parse_model_name
from llmops_langchain.models.overrides import amount, flat
from llmops_langchain.tokens import model_name
from llmops_langchain.wrapping.named import chat_model

__all__ = ["ABILITIES", "Ability", "ModelChoice"]

Ability = Literal["tools", "structured_output", "images", "audio"]
"""What a request may need of a model."""

ABILITIES: Mapping[Ability, str] = {
    "tools": "tool_calling",
    "structured_output": "structured_output",
    "images": "image_inputs",
    "audio": "audio_inputs",
}
"""Abilities, and what LangChain's `model.profile` calls them."""

_Amount = Decimal | float | str | None


@dataclass(frozen=True, eq=False)
class ModelChoice:
    """A candidate of a router: a chat model or its name, and what you know of it.

    What is not given comes from the model's `profile` and the price data. A name such as
    `"openai:gpt-5-mini"` becomes a model when it is first asked (`[agents]`).

    Args:
        model: A chat model, or a name that `init_chat_model` understands.
        name: What decisions and outcomes call it; by default the model's own name.
        input_per_million: US dollars per million input tokens, for this router alone.
        output_per_million: Likewise for the answer; both or neither.
        cached_per_million: Likewise for input read from the provider's prompt cache.
        max_input_tokens: Tokens a request may have.
        strength: How good it is, 0 to 1, before anything was learnt; by default by its price.
        tools: Whether it calls tools.
        structured_output: Whether it keeps to a schema.
        images: Whether it reads images.
        audio: Whether it hears sound.
        provider: Who answers, for `allowed_providers`.
        region: Where, for `allowed_regions`.
        timeout: Seconds until it has answered, or begun to stream; then the next choice is asked.
        bound: What goes with every call, as `model.bind(…)` has it.

    Raises:
        ConfigurationError: If a value makes no sense.
    """

    model: BaseChatModel | str
    _: KW_ONLY
    name: str = ""
    input_per_million: _Amount = None
    output_per_million: _Amount = None
    cached_per_million: _Amount = None
    max_input_tokens: int | None = None
    strength: float | None = None
    tools: bool | None = None
    structured_output: bool | None = None
    images: bool | None = None
    audio: bool | None = None
    provider: str | None = None
    region: str | None = None
    timeout: float | None = None
    bound: Mapping[str, Any] = field(default_factory=dict)
    provider_name: str | None = field(init=False, repr=False)
    """Who answers, in LangChain's word, as far as it is known."""
    own_rates: Rates | None = field(init=False, repr=False)
    """What it charges by what was stated here, for this router alone."""
    _once: Once[BaseChatModel] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        given: Any = self.model
        if isinstance(given, RunnableBinding):
            self._set("bound", {**given.kwargs, **self.bound})
            self._set("model", given.bound)
            given = given.bound
        if not isinstance(given, BaseChatModel | str):
            msg = f"a chat model or its name is needed, got {type(given).__name__!r}"
            raise ConfigurationError(msg)
        if (self.input_per_million is None) != (self.output_per_million is None):
            msg = "`input_per_million` and `output_per_million` go together: give both or neither"
            raise ConfigurationError(msg)
        if self.strength is not None and not 0 <= self.strength <= 1:
            msg = f"`strength` is between 0 and 1, got {self.strength!r}"
            raise ConfigurationError(msg)
        if self.timeout is not None and not self.timeout > 0:
            msg = f"`timeout` is in seconds and must be positive, got {self.timeout!r}"
            raise ConfigurationError(msg)
        self._set("name", self.name or self.model_name)
        self._set("provider_name", self._provider())
        self._set("own_rates", self._own_rates())
        self._set("_once", Once(partial(chat_model, self.model)))
        self.max_input()  # raises for one that makes no sense

    @property
    def model_name(self) -> str:
        """The name under which the model is priced."""
        if isinstance(self.model, str):
            return parse_model_name(self.model).name
        return model_name(self.model) or type(self.model).__name__

    def chat_model(self) -> BaseChatModel:
        """The model, made now if it was given by name.

        Raises:
            MissingExtraError: If it is a name and LangChain, or the provider's package, is missing.
        """
        return self._once.get()

    def rates(self, prices: PriceBook) -> Rates | None:
        """What it charges; `None` if no price is known."""
        return self.own_rates or prices.rates(self.model_name, self.provider_name)

    def max_input(self) -> int | None:
        """Tokens a request may have; `None` where nobody knows."""
        limits = context_limits(
            self.model_name,
            provider=self.provider_name,
            profile=self._profile,
            max_input_tokens=self.max_input_tokens,
        )
        return None if limits.source == "default" else limits.max_input_tokens

    def can(self, ability: Ability) -> bool | None:
        """Whether it can do this; `None` where nobody says."""
        stated: bool | None = getattr(self, ability)
        return stated if stated is not None else self._profile.get(ABILITIES[ability])

    def replaced(self, **changes: Any) -> "ModelChoice":
        """The same choice with some fields changed."""
        known = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        return ModelChoice(**{**known, **changes})

    @property
    def _profile(self) -> Mapping[str, Any]:
        # A model that was given by name tells of itself once it was made.
        model = self._once.peek() if isinstance(self.model, str) else self.model
        return getattr(model, "profile", None) or {}

    def _provider(self) -> str | None:
        if self.provider is not None:
            return self.provider
        if isinstance(self.model, str):
            return self.model.partition(":")[0] if ":" in self.model else None
        return self.model._get_ls_params().get("ls_provider")  # noqa: SLF001 - as core asks

    def _own_rates(self) -> Rates | None:
        if self.input_per_million is None or self.output_per_million is None:
            return None
        cached = self.cached_per_million
        return flat(
            amount(self.input_per_million),
            amount(self.output_per_million),
            cached=None if cached is None else amount(cached),
            version="stated for a router",
        )

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

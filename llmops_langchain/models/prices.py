"""Prices of models by day, from the installed price data or set by hand."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from math import inf

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.models.catalogue import find_listing
from llmops_langchain.models.listed import Period, listed_period
from llmops_langchain.models.money import nano_dollars
from llmops_langchain.models.names import ModelName, parse_model_name
from llmops_langchain.models.rates import Rates
from llmops_langchain.models.usage import TokenUsage

__all__ = ["Price", "PriceBook"]

_DAY = 86_400
_CACHE_ENTRIES = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a call cost, and by which price."""

    nano_dollars: int
    version: str


class PriceBook:
    """The price of a model on the clock's day.

    Safe to share between threads. Nothing is fetched; a snapshot that the app put into
    `genai_prices` itself is used from the next UTC midnight on.

    Args:
        clock: Returns seconds since the Unix epoch.
    """

    def __init__(self, *, clock: Clock = system_clock) -> None:
        self._clock = clock
        self._by_hand: dict[tuple[str | None, str], Rates] = {}
        self._periods: dict[tuple[str, str | None, str | None], Period] = {}

    def rates(
        self, model: str, provider: str | None = None, *, tier: str | None = None
    ) -> Rates | None:
        """Return what `model` charges now, or `None` if no price of its tokens is known.

        Args:
            model: Its name, with or without what a host or LangChain adds.
            provider: Who answers, where the name does not say.
            tier: `batch`, `fast`, `flex` or `priority`; any other is charged the standard price.
        """
        now = self._clock()
        period = self._periods.get((model, provider, tier))
        if period is None or not period.since <= now < period.until:
            period = self._remember(model, provider, tier, now)
        return period.rates

    def price(
        self,
        model: str,
        usage: TokenUsage,
        *,
        provider: str | None = None,
        tier: str | None = None,
    ) -> Price | None:
        """Return what `usage` costs, or `None` for an unknown model: never a silent zero."""
        rates = self.rates(model, provider, tier=tier)
        if rates is None:
            return None
        return Price(nano_dollars=rates.cost(usage), version=rates.version)

    def set(
        self,
        model: str,
        *,
        input_per_million: Decimal | float | str,
        output_per_million: Decimal | float | str,
        cached_per_million: Decimal | float | str | None = None,
        written_per_million: Decimal | float | str | None = None,
    ) -> None:
        """Set a price for this process; it wins over the price data, in every tier.

        It holds for the dated versions of `model` too, and, if the name says no provider, for every
        provider. Cached and written tokens cost what input costs unless said otherwise.

        Raises:
            ConfigurationError: If an amount (US dollars per million tokens) is negative or not
                finite.
        """
        prompt, answer = _rate(input_per_million), _rate(output_per_million)
        cached = prompt if cached_per_million is None else _rate(cached_per_million)
        written = prompt if written_per_million is None else _rate(written_per_million)
        name = parse_model_name(model)
        self._by_hand[name.provider, name.name] = Rates(
            input=prompt,
            output=answer,
            cached=cached,
            written=written,
            written_1h=written,
            reasoning=answer,
            audio_input=prompt,
            audio_output=answer,
            cached_audio=cached,
            version=f"set by hand, {datetime.fromtimestamp(self._clock(), UTC).date()}",
        )
        self._periods = {}  # a lookup under way keeps its result in the old dictionary

    def _remember(self, model: str, provider: str | None, tier: str | None, now: float) -> Period:
        periods = self._periods
        period = self._period(parse_model_name(model, provider), tier, now)
        if len(periods) >= _CACHE_ENTRIES:
            periods.clear()
        periods[model, provider, tier] = period
        return period

    def _period(self, name: ModelName, tier: str | None, now: float) -> Period:
        if by_hand := self._set_by_hand(name):
            return Period(-inf, inf, by_hand)
        listing = find_listing(name)
        if listing is None:
            return Period(now, now - now % _DAY + _DAY, None)
        if by_hand := self._set_by_hand(replace(name, provider=listing[0].id)):
            return Period(-inf, inf, by_hand)
        return listed_period(*listing, tier, now)

    def _set_by_hand(self, name: ModelName) -> Rates | None:
        keys = ((who, what) for what in (name.name, name.family) for who in (name.provider, None))
        return next((self._by_hand[key] for key in keys if key in self._by_hand), None)


def _rate(dollars_per_million: Decimal | float | str) -> int:
    nano = nano_dollars(dollars_per_million)
    if nano < 0:
        msg = f"a price is in US dollars and must not be negative, got {dollars_per_million!r}"
        raise ConfigurationError(msg)
    return nano

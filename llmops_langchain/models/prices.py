"""Prices of models by moment, from the installed price data or set by hand."""

import builtins
import threading
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import NotFoundError
from llmops_langchain.models.catalogue import find_price_listing, load_price_data
from llmops_langchain.models.listed import Period, listed_period, unlisted_period
from llmops_langchain.models.names import ModelName, parse_model_name
from llmops_langchain.models.overrides import (
    ANY_MODEL,
    Overrides,
    PriceKey,
    PriceOverride,
    amount,
    flat,
    key_of,
    moment,
    share,
)
from llmops_langchain.models.rates import Rates
from llmops_langchain.models.usage import TokenUsage
from llmops_langchain.storage.fork import on_fork

__all__ = ["Price", "PriceBook", "nothing_set"]

_DAY = 86_400
_CACHE_ENTRIES = 4_096


class Price(NamedTuple):
    """What a call cost, and by which price."""

    nano_dollars: int
    version: str
    """Where the price is from, and its date."""
    fallback: bool = False
    """No price is known for the model: this is what the app assumes for such models."""


class PriceBook:
    """The price of a model at a moment.

    Safe to share between threads. Nothing is fetched; a snapshot that the app put into
    `genai_prices` itself is used from the next UTC midnight on.

    Args:
        fallback: US dollars per million tokens in and out of a model without any price.
        clock: Returns seconds since the Unix epoch.

    Example:
        >>> prices = PriceBook()
        >>> prices.set("my-model", input_per_million="0.15", output_per_million="0.60")
        >>> prices.price("my-model", TokenUsage(input_tokens=1_000)).nano_dollars
        150000
    """

    def __init__(
        self, *, fallback: tuple[Decimal, Decimal] | None = None, clock: Clock = system_clock
    ) -> None:
        self._clock = clock
        self._fallback = fallback and flat(*fallback, version="fallback", fallback=True)
        self._overrides = Overrides()
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Leave the lock to the parent: another thread of it may have held it."""
        # Re-entrant: a signal handler may look a price up in the middle of a change.
        self._changing = threading.RLock()
        self._periods: dict[tuple[object, ...], Period] = {}

    def preload(self) -> None:
        """Load the price data now, for a quarter of a second, and not inside the first call."""
        load_price_data()

    def rates(
        self,
        model: str,
        provider: str | None = None,
        *,
        tier: str | None = None,
        at: float | None = None,
    ) -> Rates | None:
        """Return what `model` charges, or `None` if no price of its tokens is known.

        A provider that the price data does not know, such as a gateway of the app's own, is passed
        over: the model is looked up as if nobody had been named, and the version says whose price
        it is. Not so a runtime of open models (Ollama, vLLM, …), whose tokens nobody sells. What
        is named "openai", as LangChain says of everything that speaks OpenAI's protocol, may also
        be a Claude, Gemini or Grok.

        Args:
            model: Its name, with or without what a host or LangChain adds.
            provider: Who answers, where the name does not say.
            tier: `batch`, `fast`, `flex` or `priority`; any other is charged the standard price.
            at: The moment of the call, UTC seconds since the Unix epoch; now by default.

        Returns:
            The rates; with `fallback` set, those for models without a price.
        """
        return self._period(model, provider, tier, at).rates

    def price(
        self,
        model: str,
        usage: TokenUsage,
        *,
        provider: str | None = None,
        tier: str | None = None,
        at: float | None = None,
    ) -> Price | None:
        """Return what `usage` costs, or `None` for an unknown model: never a silent zero.

        The arguments are those of `rates`.
        """
        rates = self._period(model, provider, tier, at).rates
        if rates is None:
            return None
        return Price(rates.cost(usage), rates.version, rates.fallback)

    def set(
        self,
        model: str,
        *,
        input_per_million: Decimal | float | str,
        output_per_million: Decimal | float | str,
        cached_per_million: Decimal | float | str | None = None,
        written_per_million: Decimal | float | str | None = None,
        provider: str | None = None,
        tier: str | None = None,
        valid_from: datetime | float | None = None,
    ) -> None:
        """Set a price in US dollars per million tokens; it wins over the price data.

        It holds from `valid_from` on, until another price for the same begins: what was recorded
        before keeps its cost. It holds for the dated versions of `model` too.

        Args:
            model: Its name, with or without what a host or LangChain adds; `*` for all models of
                `provider` that have no price of their own here.
            input_per_million: Of input, and of what is not named below.
            output_per_million: Of output, thinking included.
            cached_per_million: Of input read from the provider's prompt cache.
            written_per_million: Of input written to it.
            provider: Only where this provider answers; else, if the name says none, everywhere.
            tier: Only in this service tier; else in every tier that has no price of its own here.
            valid_from: UTC seconds since the Unix epoch, or a `datetime` with a time zone. A moment
                to come is waited for; by default now.

        Raises:
            ConfigurationError: If an amount is negative or not finite, or an argument makes no
                sense; nothing is changed.
        """
        dollars = {
            "input_per_million": input_per_million,
            "output_per_million": output_per_million,
            "cached_per_million": cached_per_million,
            "written_per_million": written_per_million,
        }
        kept = {name: amount(each) for name, each in dollars.items() if each is not None}
        self._put(self._entry(key_of(model, provider, tier), valid_from, **kept))

    def discount(
        self,
        provider: str,
        factor: Decimal | float | str,
        *,
        model: str = ANY_MODEL,
        tier: str | None = None,
        valid_from: datetime | float | None = None,
    ) -> None:
        """Multiply a provider's listed prices: 0.8 pays 80 %, 1 ends an earlier discount.

        A price that is set for the model itself is not multiplied.

        Args:
            provider: Who answers, in LangChain's word (`ls_provider`) or the price data's.
            factor: The share that is paid; a gateway's surcharge of 5 % is 1.05.
            model: Only this model; it then also ends a price that was set for it before.
            tier: As for `set`.
            valid_from: As for `set`.

        Raises:
            ConfigurationError: If an argument makes no sense; nothing is changed.
        """
        key = key_of(model, provider, tier)
        self._put(self._entry(key, valid_from, factor=share(factor)))

    def remove(
        self,
        model: str = ANY_MODEL,
        *,
        provider: str | None = None,
        tier: str | None = None,
        valid_from: datetime | float | None = None,
    ) -> None:
        """Take back what was set for exactly this model, provider and tier, or a discount.

        The list's price holds again, for moments in the past too; events keep what they cost.

        Args:
            model: As it was set; `*` for a discount.
            provider: As it was set.
            tier: As it was set.
            valid_from: Only what begins at this moment, such as a price to come.

        Raises:
            NotFoundError: If nothing was set; `list` shows what was.
        """
        since = None if valid_from is None else moment(valid_from, 0.0)
        self._drop(key_of(model, provider, tier), since)

    def list(self) -> builtins.list[PriceOverride]:
        """Every price and discount that was set, those to come and those of the past too."""
        return [*self._overrides.entries]

    def _entry(
        self, key: PriceKey, valid_from: datetime | float | None, **what: Decimal
    ) -> PriceOverride:
        now = self._clock()
        provider, model, tier = key
        return PriceOverride(
            model=model,
            provider=provider or None,
            tier=tier or None,
            valid_from=moment(valid_from, now),
            changed_at=now,
            **what,
        )

    def _put(self, entry: PriceOverride) -> None:
        with self._changing:
            self._use(self._overrides.put(entry))

    def _drop(self, key: PriceKey, valid_from: float | None) -> None:
        with self._changing:
            left = self._overrides.without(key, valid_from)
            if len(left.entries) == len(self._overrides.entries):
                raise nothing_set(key, valid_from)
            self._use(left)

    def _use(self, overrides: Overrides) -> None:
        # In this order: whoever finds the new dictionary finds the new overrides too, and a look-up
        # under way keeps its result in the old one.
        self._overrides = overrides
        self._periods = {}

    def _prepare(self) -> None:
        """Whatever must be known before the first price is looked up."""

    def _period(
        self, model: str, provider: str | None, tier: str | None, at: float | None
    ) -> Period:
        key: tuple[object, ...]
        if at is None:
            now, key = self._clock(), (model, provider, tier)
        else:
            now, key = at, (model, provider, tier, at // _DAY)
        period = self._periods.get(key)
        if period is None or not period.since <= now < period.until:
            self._prepare()
            periods = self._periods
            period = self._looked_up(model, provider, tier, now)
            if len(periods) >= _CACHE_ENTRIES:
                periods.clear()
            periods[key] = period
        return period

    def _looked_up(self, model: str, provider: str | None, tier: str | None, now: float) -> Period:
        overrides = self._overrides
        name = parse_model_name(model, provider)
        listing = find_price_listing(model, name)
        begun, ended = overrides.span(now)
        own = _own_price(overrides, name, listing[0].id if listing else "", tier, now)
        if own is not None and own.factor is None:
            return Period(begun, ended, own.rates())
        listed = listed_period(*listing, tier, now) if listing else unlisted_period(now)
        rates = listed.rates
        if rates and listing and name.provider not in (None, listing[0].id):
            rates = replace(rates, version=f"{rates.version}, listed by {listing[0].id}")
        if rates and own is not None and own.factor is not None:
            rates = rates.times(own.factor)
        return Period(max(begun, listed.since), min(ended, listed.until), rates or self._fallback)


def _own_price(
    overrides: Overrides, name: ModelName, lister: str, tier: str | None, now: float
) -> PriceOverride | None:
    """What was set for the model, where it was asked for or where it is listed; or for them all."""
    said = name.provider or ""
    own = name.name, name.family
    return (
        overrides.find(own, (said, ""), tier, now)
        or overrides.find(own, (lister,), tier, now)
        or overrides.find((ANY_MODEL,), (said, lister), tier, now)
    )


def nothing_set(key: PriceKey, valid_from: float | None) -> NotFoundError:
    """The error for a price that is not there."""
    provider, model, tier = key
    said = [
        f"{model!r}",
        *(f"{what} {each!r}" for what, each in (("of", provider), ("in tier", tier)) if each),
    ]
    since = "" if valid_from is None else f" from {valid_from!r} on"
    return NotFoundError(f"no price of {' '.join(said)} was set{since}: see `prices.list()`")

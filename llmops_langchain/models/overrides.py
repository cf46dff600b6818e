"""Prices that the app sets over those of the price data, each from a moment on."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from math import inf

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.models.listed import TIERS
from llmops_langchain.models.money import dollars, nano_dollars
from llmops_langchain.models.names import parse_model_name
from llmops_langchain.models.rates import Rates

__all__ = [
    "ANY_MODEL",
    "Overrides",
    "PriceKey",
    "PriceOverride",
    "amount",
    "flat",
    "key_of",
    "moment",
    "share",
]

ANY_MODEL = "*"
"""In place of a model's name: all models of a provider."""

_LONGEST = 300  # characters; PostgreSQL takes 2,704 bytes in a row of an index
_MOST = 2**63  # nano-dollars a column can hold
_LATEST = 253_402_300_799.0  # the end of the year 9999; milliseconds would come after it

PriceKey = tuple[str, str, str]
"""Provider, model and tier as they are stored: empty text is any provider, any tier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceOverride:
    """A price that was set, or a discount; from `valid_from` on, until the next of the same kind.

    Amounts are US dollars per million tokens.
    """

    model: str
    """The model's own name in lower case; `*` for all models of the provider."""
    provider: str | None = None
    """Id of whoever answers, as the price data writes it; `None`: whoever it is."""
    tier: str | None = None
    """Service tier that it is for; `None`: all that have none of their own."""
    valid_from: float
    """UTC seconds since the Unix epoch."""
    input_per_million: Decimal | None = None
    """`None` for a discount."""
    output_per_million: Decimal | None = None
    """`None` for a discount."""
    cached_per_million: Decimal | None = None
    """`None`: as input."""
    written_per_million: Decimal | None = None
    """`None`: as input."""
    factor: Decimal | None = None
    """What the listed price is multiplied by; `None` for a price."""
    changed_at: float
    """When it was set, UTC seconds since the Unix epoch."""

    @property
    def key(self) -> PriceKey:
        """What it is for."""
        return self.provider or "", self.model, self.tier or ""

    def rates(self) -> Rates:
        """The price as rates; only of one that is no discount."""
        day = datetime.fromtimestamp(self.valid_from, UTC).date()
        return flat(
            self.input_per_million,
            self.output_per_million,
            cached=self.cached_per_million,
            written=self.written_per_million,
            version=f"set by hand, {day}",
        )


class Overrides:
    """The overrides of one moment; another set of them is another object, so threads may share it.

    Args:
        entries: In any order; of two for one key and moment the later one counts.
    """

    def __init__(self, entries: Iterable[PriceOverride] = ()) -> None:
        each = {(entry.key, entry.valid_from): entry for entry in entries}
        self.entries: Sequence[PriceOverride] = [each[key] for key in sorted(each)]
        self._by_key: dict[PriceKey, list[PriceOverride]] = defaultdict(list)
        for entry in reversed(self.entries):
            self._by_key[entry.key].append(entry)
        self._by_key.default_factory = None
        self._moments = sorted({-inf, inf, *(entry.valid_from for entry in self.entries)})

    def put(self, entry: PriceOverride) -> "Overrides":
        """These and one more."""
        return Overrides([*self.entries, entry])

    def without(self, key: PriceKey, valid_from: float | None) -> "Overrides":
        """These without those of a key; without that of one moment alone, if it is given."""
        kept = (
            entry
            for entry in self.entries
            if entry.key != key or valid_from not in (None, entry.valid_from)
        )
        return Overrides(kept)

    def span(self, now: float) -> tuple[float, float]:
        """Around `now`, from when (included) until when none of them begins."""
        at = bisect_right(self._moments, now)
        return self._moments[at - 1], self._moments[at]

    def find(
        self, models: Sequence[str], providers: Sequence[str], tier: str | None, now: float
    ) -> PriceOverride | None:
        """What holds at `now`: for the first name, there for the first provider, for the tier."""
        keys = (
            (provider, model, which)
            for model in models
            for provider in providers
            for which in (tier or "", "")
        )
        begun = (
            entry
            for key in keys
            for entry in self._by_key.get(key, ())  # the newest first
            if entry.valid_from <= now
        )
        return next(begun, None)


def flat(
    prompt: Decimal | None,
    answer: Decimal | None,
    *,
    cached: Decimal | None = None,
    written: Decimal | None = None,
    version: str,
    fallback: bool = False,
) -> Rates:
    """Rates of a price that names no more than these, US dollars per million tokens."""
    return Rates.plain(
        input=nano_dollars(prompt or 0),
        output=nano_dollars(answer or 0),
        cached=None if cached is None else nano_dollars(cached),
        written=None if written is None else nano_dollars(written),
        version=version,
        fallback=fallback,
    )


def key_of(model: str, provider: str | None, tier: str | None) -> PriceKey:
    """What a price is for.

    Raises:
        ConfigurationError: If it is for nothing: no name, an unknown tier, or every model there is.
    """
    name = parse_model_name(model, provider)
    for what, text in (("model", name.name), ("provider", name.provider)):
        if text is not None and not (text.isprintable() and 0 < len(text) <= _LONGEST):
            msg = f"`{what}` must be a name of up to {_LONGEST} printable characters, got {text!r}"
            raise ConfigurationError(msg)
    if tier is not None and tier not in TIERS:
        msg = f"`tier` must be one of {', '.join(TIERS)}, or left out for all, got {tier!r}"
        raise ConfigurationError(msg)
    if name.name == ANY_MODEL and name.provider is None:
        msg = f"{ANY_MODEL!r} means all models of a provider: say which `provider`"
        raise ConfigurationError(msg)
    return name.provider or "", name.name, tier or ""


def amount(dollars_per_million: Decimal | float | str) -> Decimal:
    """An amount as it is kept: to the nano-dollar.

    Raises:
        ConfigurationError: If it is negative, not finite, or more than a column can hold.
    """
    nano = nano_dollars(dollars_per_million)
    if not 0 <= nano < _MOST:
        msg = f"a price is 0 to 9.2 billion US dollars, got {dollars_per_million!r}"
        raise ConfigurationError(msg)
    return dollars(nano)


_MOST_SHARE = 10.0
"""A larger one is a percentage."""


def share(factor: Decimal | float | str) -> Decimal:
    """What prices are multiplied by, as it is kept: to the digits of a double.

    Raises:
        ConfigurationError: If it is negative or not finite.
    """
    try:
        kept = float(Decimal(str(factor)))
    except (InvalidOperation, ValueError, OverflowError):
        kept = inf
    if not 0 <= kept <= _MOST_SHARE:
        msg = f"`factor` is the share that is paid, such as 0.8; 0 to 10, got {factor!r}"
        raise ConfigurationError(msg)
    return Decimal(str(kept))


def moment(valid_from: datetime | float | None, now: float) -> float:
    """UTC seconds since the Unix epoch.

    Raises:
        ConfigurationError: If it is a `datetime` without a time zone, or no date at all.
    """
    if isinstance(valid_from, datetime):
        if valid_from.tzinfo is None:
            msg = f"`valid_from` needs a time zone (`tzinfo=UTC`), got {valid_from!r}"
            raise ConfigurationError(msg)
        return valid_from.timestamp()
    seconds = now if valid_from is None else float(valid_from)
    if not abs(seconds) <= _LATEST:
        msg = f"`valid_from` is in seconds since the Unix epoch, got {valid_from!r}"
        raise ConfigurationError(msg)
    return seconds

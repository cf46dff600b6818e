"""Compile a listed model's price to integer rates, and say how long they hold."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from llmops_langchain.models.money import nano_dollars
from llmops_langchain.models.rates import Rates

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

__all__ = ["TIERS", "Period", "listed_period", "unlisted_period"]

TIERS: dict[str, dict[str, str]] = {
    "batch": {"processing": "batch"},
    "fast": {"service_tier": "fast", "speed": "fast"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}
"""Service tiers with prices of their own; any other tier is charged the standard price."""

_DAY = 86_400
_BILLED = (  # what a chat or embedding call can be charged for; images, hours, pages are not here
    "input_mtok",
    "output_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_1h_mtok",
    "cache_audio_read_mtok",
    "output_reasoning_mtok",
    "input_audio_mtok",
    "output_audio_mtok",
    "requests_kcount",
)


class Period(NamedTuple):
    """Rates and the epoch seconds they hold for: `since` included, `until` not."""

    since: float
    until: float
    rates: Rates | None


def listed_period(provider: "Provider", model: "ModelInfo", tier: str | None, now: float) -> Period:
    """Return the rates of `model` at `now`; `None` if no price of its tokens is listed.

    A model listed without any price is free only if its name says so (`…:free`): other such
    entries are subscriptions, models billed by other units, or simply unknown.
    """
    moment = datetime.fromtimestamp(now, UTC)
    # Tier prices belong to the provider that lists them, not to one that resells its models.
    listed_here = any(own is model for own in provider.models)
    price = model.get_prices(moment, TIERS.get(tier or "") if listed_here else None)
    marks = _marks(model, now)
    since = max(mark for mark in marks if mark <= now)
    until = min(mark for mark in marks if mark > now)
    billed = any(getattr(price, key, None) is not None for key in _BILLED)
    if not billed and not model.id.endswith(":free"):
        return Period(since, until, None)
    return Period(since, until, _rates(price, version=_version(moment.date())))


def unlisted_period(now: float) -> Period:
    """Return the day of `now`, without rates: tomorrow's price data may know the model."""
    midnight = now - now % _DAY
    return Period(midnight, midnight + _DAY, None)


def _marks(model: "ModelInfo", now: float) -> set[float]:
    """When the price may change around `now`: at midnight UTC, and at a tariff's hours."""
    midnight = now - now % _DAY
    conditional = model.prices if isinstance(model.prices, list) else []
    constraints = (price.constraint for price in [*conditional, *(model.price_variants or ())])
    hours = (
        getattr(constraint, end)
        for constraint in constraints
        for end in ("start_time", "end_time")
        if hasattr(constraint, end)
    )
    return {midnight, midnight + _DAY, *(midnight + _seconds(hour) for hour in hours)}


def _seconds(hour: time) -> float:
    moment = datetime.combine(date(1970, 1, 2), hour, tzinfo=hour.tzinfo or UTC)
    return moment.timestamp() % _DAY


def _version(day: date) -> str:
    from genai_prices import __version__
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    issue = f"fetched {snapshot.timestamp.date()}" if snapshot.from_auto_update else __version__
    return f"genai-prices {issue}, {day}"


def _rates(price: "ModelPrice", *, version: str) -> Rates:
    values = (getattr(price, key, None) for key in _BILLED)
    starts = {tier.start for value in values for tier in getattr(value, "tiers", ())}
    longer = tuple(
        (start, _rates_at(price, start + 1, version=version))
        for start in sorted(starts, reverse=True)
    )
    return _rates_at(price, 0, version=version, longer=longer)


def _rates_at(
    price: "ModelPrice",
    input_tokens: int,
    *,
    version: str,
    longer: tuple[tuple[int, Rates], ...] = (),
) -> Rates:
    """Flatten a price for calls of that many input tokens."""

    def rate(key: str, otherwise: int = 0) -> int:
        listed: Decimal | TieredPrices | None = getattr(price, key, None)
        return otherwise if listed is None else nano_dollars(_amount(listed, input_tokens))

    prompt, answer = rate("input_mtok"), rate("output_mtok")
    cached, audio = rate("cache_read_mtok", prompt), rate("input_audio_mtok", prompt)
    written = rate("cache_write_mtok", prompt)
    return Rates(
        input=prompt,
        output=answer,
        cached=cached,
        written=written,
        written_1h=rate("cache_write_1h_mtok", written),
        reasoning=rate("output_reasoning_mtok", answer),
        audio_input=audio,
        audio_output=rate("output_audio_mtok", answer),
        cached_audio=rate("cache_audio_read_mtok", cached + audio - prompt),
        request=rate("requests_kcount") // 1_000,
        version=version,
        longer=longer,
    )


def _amount(listed: "Decimal | TieredPrices", input_tokens: int) -> Decimal:
    if isinstance(listed, Decimal):
        return listed
    passed = (tier.price for tier in reversed(listed.tiers) if input_tokens > tier.start)
    return next(passed, listed.base)

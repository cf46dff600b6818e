"""Prices of the app's own: which one holds for a call, and from when on."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from conftest import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_langchain.errors import ConfigurationError, NotFoundError
from llmops_langchain.models import PriceBook, PriceOverride, TokenUsage

NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC
DAY = 86_400.0
PLAIN = TokenUsage(input_tokens=1_000_000, output_tokens=1_000_000)
MOMENTS = st.integers(-5, 5).map(lambda days: NOW + days * DAY / 2)
MODELS = ("gpt-4o", "gpt-4o-2024-08-06", "mystery", "gemini-2.5-pro")
PROVIDERS = ("openai", "azure", "my-gateway", None)
TIERS = ("batch", "flex", None)


@pytest.fixture
def book(clock) -> PriceBook:
    return PriceBook(clock=clock)


def dollars(book: PriceBook, model: str, **asked: object) -> Decimal | None:
    """What a million tokens of input cost."""
    rates = book.rates(model, **asked)
    return None if rates is None else Decimal(rates.input) / 10**9


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(TIERS), MOMENTS), max_size=8),
    st.sampled_from(TIERS),
    MOMENTS,
)
def test_the_newest_that_has_begun_holds_the_one_for_the_tier_first(entries, tier, at) -> None:
    book, last = PriceBook(clock=lambda: NOW), {}
    for price, (which, since) in enumerate(entries):
        book.set("m", input_per_million=price, output_per_million=0, tier=which, valid_from=since)
        last[which, since] = price
    begun = [
        (which == tier, since, price)
        for (which, since), price in last.items()
        if since <= at and which in (tier, None)
    ]
    expected = max(begun)[-1] if begun else None
    assert dollars(book, "m", tier=tier, at=at) == expected


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_time_leads_through_the_prices_as_asking_for_each_moment_does(data) -> None:
    clock = FakeClock(NOW - 3 * DAY)
    book = PriceBook(clock=clock)
    for price in range(data.draw(st.integers(0, 6))):
        book.set(
            data.draw(st.sampled_from(MODELS)),
            input_per_million=price,
            output_per_million=1,
            provider=data.draw(st.sampled_from(PROVIDERS)),
            tier=data.draw(st.sampled_from(TIERS)),
            valid_from=data.draw(MOMENTS),
        )
    asked = [(model, who, tier) for model in MODELS for who in PROVIDERS for tier in TIERS]
    for _ in range(4):
        clock.advance(data.draw(st.integers(0, 3 * 86_400)))
        model, who, tier = data.draw(st.sampled_from(asked))
        rates = book.rates(model, who, tier=tier)
        fresh = PriceBook(clock=clock)
        fresh._overrides = book._overrides
        assert rates == book.rates(model, who, tier=tier, at=clock.now)
        assert rates == fresh.rates(model, who, tier=tier)


@settings(max_examples=200, deadline=None)
@given(
    model=st.sampled_from(
        ["gpt-4o", "gemini-2.5-pro", "claude-sonnet-4-5", "gpt-4o-audio-preview"]
    ),
    tier=st.sampled_from(TIERS),
    factor=st.decimals(0, 2, places=4),
    usage=st.builds(
        TokenUsage, **{field: st.integers(0, 300_000) for field in TokenUsage.__slots__}
    ),
)
def test_a_discount_is_a_share_of_the_listed_price(model, tier, factor, usage) -> None:
    book = PriceBook(clock=lambda: NOW)
    listed = book.price(model, usage, tier=tier)
    for provider in ("openai", "google", "anthropic"):
        book.discount(provider, factor)
    paid = book.price(model, usage, tier=tier)
    # Rates are whole nano-dollars per million tokens: half of one, for all tokens and parts.
    assert abs(paid.nano_dollars - listed.nano_dollars * factor) <= 3
    assert paid.version == f"{listed.version}, x {Decimal(str(float(factor))):f}"


def test_a_price_to_come_begins_by_itself_and_the_past_keeps_its_own(book, clock) -> None:
    book.set("m", input_per_million=1, output_per_million=1)
    book.set("m", input_per_million=2, output_per_million=2, valid_from=NOW + 60)
    assert dollars(book, "m") == 1
    clock.advance(60)
    assert dollars(book, "m") == 2
    assert dollars(book, "m", at=NOW + 59) == 1
    assert dollars(book, "m", at=NOW - 1) is None
    assert book.rates("m").version == "set by hand, 2027-01-15"


@pytest.mark.parametrize(
    "moment",
    [
        NOW + 60,
        datetime(2027, 1, 15, 8, 1, tzinfo=UTC),
        datetime(2027, 1, 15, 9, 1, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_a_moment_is_epoch_seconds_or_a_date_with_a_time_zone(book, moment) -> None:
    book.set("m", input_per_million=1, output_per_million=1, valid_from=moment)
    assert [each.valid_from for each in book.list()] == [NOW + 60]


@pytest.mark.parametrize(
    ("asked", "price"),
    [
        ({"provider": "openai"}, 1),
        ({"provider": "azure"}, 2),
        ({"provider": "azure", "tier": "batch"}, 3),
        ({"provider": "openai", "tier": "batch"}, 1),
        ({}, 1),
    ],
)
def test_the_more_exact_price_wins(book, asked, price) -> None:
    book.set("gpt-4o", input_per_million=1, output_per_million=1)
    book.set("gpt-4o", input_per_million=2, output_per_million=2, provider="azure_openai")
    book.set("gpt-4o", input_per_million=3, output_per_million=3, provider="azure", tier="batch")
    assert dollars(book, "gpt-4o-2024-08-06", **asked) == price


def test_a_discount_is_for_its_provider_and_not_for_prices_that_were_set(book) -> None:
    listed, azure = dollars(book, "gpt-4o"), dollars(book, "gpt-4o", provider="azure")
    book.set("gpt-5", input_per_million=7, output_per_million=7)
    book.discount("openai", "0.8")
    assert dollars(book, "gpt-4o") == listed * Decimal("0.8")
    assert dollars(book, "gpt-4o", provider="azure") == azure
    assert dollars(book, "gpt-5", provider="openai") == 7
    assert dollars(book, "mystery", provider="openai") is None


def test_a_discount_may_be_for_a_tier_begin_later_and_end(book, clock) -> None:
    flex, listed = dollars(book, "gpt-5", tier="flex"), dollars(book, "gpt-5")
    book.discount("openai", 0.5, tier="flex", valid_from=NOW + 10)
    book.discount("openai", 1, tier="flex", valid_from=NOW + 20)
    for expected in (flex, flex / 2, flex):
        assert dollars(book, "gpt-5", tier="flex") == expected
        assert dollars(book, "gpt-5") == listed
        clock.advance(10)


def test_a_discount_of_a_model_ends_the_price_that_was_set_for_it(book, clock) -> None:
    listed = dollars(book, "gpt-4o", provider="openai")
    book.set("openai:gpt-4o", input_per_million=7, output_per_million=7)
    clock.advance(1)
    book.discount("openai", 1, model="gpt-4o")
    assert dollars(book, "gpt-4o", provider="openai") == listed


def test_a_gateways_surcharge_is_a_factor_too(book) -> None:
    listed = dollars(book, "gpt-4o")
    book.discount("openai", "0.5")
    book.discount("my-gateway", "1.05")
    assert dollars(book, "gpt-4o", provider="my-gateway") == listed * Decimal("1.05")


def test_all_models_of_a_provider_may_have_one_price(book) -> None:
    book.set("*", provider="ollama", input_per_million=0, output_per_million=0)
    book.set("big", provider="ollama", input_per_million=1, output_per_million=1)
    assert dollars(book, "llama3.1:8b", provider="ollama") == 0
    assert dollars(book, "big", provider="ollama") == 1
    assert dollars(book, "llama3.1:8b") is None


def test_what_was_set_is_listed(book) -> None:
    book.set(
        "openai:My-Model",
        input_per_million="0.15",
        output_per_million=0.6,
        cached_per_million=0,
        tier="batch",
        valid_from=0,
    )
    book.discount("bedrock", Decimal("0.9"))
    assert book.list() == [
        PriceOverride(
            model="*", provider="aws", valid_from=NOW, factor=Decimal("0.9"), changed_at=NOW
        ),
        PriceOverride(
            model="my-model",
            provider="openai",
            tier="batch",
            valid_from=0.0,
            input_per_million=Decimal("0.15"),
            output_per_million=Decimal("0.6"),
            cached_per_million=Decimal(0),
            changed_at=NOW,
        ),
    ]


def test_what_is_removed_never_was(book, clock) -> None:
    book.set("m", input_per_million=1, output_per_million=1)
    book.set("m", input_per_million=2, output_per_million=2, tier="batch")
    book.set("m", input_per_million=3, output_per_million=3, valid_from=NOW + 60)
    book.discount("openai", 0.5)
    book.remove("m", valid_from=NOW + 60)
    clock.advance(60)
    assert dollars(book, "m") == 1
    book.remove("m")
    book.remove(provider="openai")
    assert dollars(book, "m", at=NOW) is None
    assert [each.tier for each in book.list()] == ["batch"]


@pytest.mark.parametrize(
    "named",
    [
        {"model": "other"},
        {"model": "m", "tier": "batch"},
        {"model": "m", "provider": "openai"},
        {"model": "m", "valid_from": NOW + 1},
        {"provider": "openai"},
    ],
)
def test_what_is_not_there_cannot_be_removed(book, named) -> None:
    book.set("m", input_per_million=1, output_per_million=1)
    with pytest.raises(NotFoundError, match=r"see `prices\.list"):
        book.remove(**named)
    assert len(book.list()) == 1


GOOD = {"model": "m", "input_per_million": 1, "output_per_million": 1}
BAD_PRICES = [
    {"input_per_million": -1},
    {"output_per_million": "nan"},
    {"cached_per_million": float("inf")},
    {"written_per_million": "much"},
    {"input_per_million": 10**11},  # more than a column can hold
    {"model": ""},
    {"model": "a\0b"},
    {"model": "m" * 301},
    {"model": "*"},
    {"provider": " "},
    {"tier": "Batch"},
    {"valid_from": datetime(2027, 1, 1)},  # noqa: DTZ001 - what must be refused
    {"valid_from": float("nan")},
    {"valid_from": 1_800_000_000_000},  # milliseconds
]


@pytest.mark.parametrize("bad", BAD_PRICES, ids=str)
def test_an_impossible_price_is_refused_and_nothing_changed(book, bad) -> None:
    book.set("m", input_per_million=5, output_per_million=5)
    before = book.list()
    with pytest.raises(ConfigurationError):
        book.set(**{**GOOD, **bad})
    assert book.list() == before
    assert dollars(book, "m") == 5


@pytest.mark.parametrize("factor", [-0.1, "nan", "sNaN", float("inf"), "1e400", "half", None])
def test_an_impossible_discount_is_refused(book, factor) -> None:
    with pytest.raises(ConfigurationError, match="factor"):
        book.discount("openai", factor)
    assert book.list() == []


@pytest.mark.parametrize("provider", ["", "litellm"])
def test_a_discount_is_somebodys(book, provider) -> None:
    with pytest.raises(ConfigurationError, match="provider"):
        book.discount(provider, 0.5)

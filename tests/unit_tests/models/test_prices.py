"""Prices equal the price data's own calculation, to the nano-dollar, for every model in it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

import pytest
from conftest import FakeClock
from genai_prices import Usage, calc_price
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot, set_custom_snapshot
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.models import Price, PriceBook, TokenUsage

NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC
PLAIN = TokenUsage(input_tokens=1_000_000, output_tokens=1_000_000)


def spelled_out(clause: object) -> Iterator[str]:
    """The names that a clause of the price data matches word by word."""
    for part in getattr(clause, "or_", [clause]):
        yield from [part.equals] if hasattr(part, "equals") else []


MODELS = [
    (provider.id, name)
    for provider in providers
    for model in provider.models
    for name in {model.id, *spelled_out(model.match)}
    if model.is_match(name)
]
MODELS.sort()
CONTEXTS = {
    None: {},
    "batch": {"processing": "batch"},
    "fast": {"service_tier": "fast", "speed": "fast"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "scale": {},
}
COUNTS = st.integers(0, 200_000) | st.just(0)


@st.composite
def usages(draw) -> tuple[TokenUsage, int]:
    """A usage without contradictions, and how many of its cached tokens are audio."""
    fresh, cached, written, audio, text, thought, spoken = (draw(COUNTS) for _ in range(7))
    both = draw(st.integers(0, min(cached, audio))) if fresh == 0 else 0
    usage = TokenUsage(
        input_tokens=fresh + cached + written + audio - both,
        output_tokens=text + thought + spoken,
        cached_tokens=cached,
        written_tokens=written,
        written_1h_tokens=draw(st.integers(0, written)),
        reasoning_tokens=thought,
        audio_input_tokens=audio,
        audio_output_tokens=spoken,
    )
    return usage, both


def nano_by_the_price_data(
    drawn: tuple[TokenUsage, int],
    model: str,
    provider: str,
    *,
    tier: str | None = None,
    now: float = NOW,
) -> int | None:
    usage, both = drawn
    counts = Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.written_tokens,
        cache_write_1h_tokens=usage.written_1h_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
        input_audio_tokens=usage.audio_input_tokens,
        output_audio_tokens=usage.audio_output_tokens,
        cache_audio_read_tokens=both,
    )
    try:
        price = calc_price(
            counts,
            model,
            provider_id=provider,
            genai_request_timestamp=datetime.fromtimestamp(now, UTC),
            price_context=CONTEXTS[tier],
        )
    except LookupError:  # some ids are not among the names they are matched by
        return None
    return int((price.total_price * 10**9).to_integral_value(ROUND_HALF_UP))


BOOK = PriceBook(clock=lambda: NOW)


LONG = TokenUsage(
    input_tokens=1_500_000,
    output_tokens=90_000,
    cached_tokens=400_000,
    written_tokens=300_000,
    written_1h_tokens=100_000,
    audio_input_tokens=50_000,
    reasoning_tokens=30_000,
    audio_output_tokens=20_000,
)


def test_every_model_costs_what_the_price_data_says() -> None:
    all_agree((LONG, 0), None)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(drawn=usages(), tier=st.sampled_from(list(CONTEXTS)))
@example(drawn=(LONG, 0), tier="batch")
@example(drawn=(LONG, 0), tier="flex")
@example(drawn=(LONG, 0), tier="priority")
def test_every_model_costs_it_in_every_tier(drawn, tier) -> None:
    all_agree(drawn, tier)


def all_agree(drawn: tuple[TokenUsage, int], tier: str | None) -> None:
    compared = 0
    for provider, model in MODELS:
        ours = BOOK.price(model, drawn[0], provider=provider, tier=tier)
        theirs = nano_by_the_price_data(drawn, model, provider, tier=tier)
        if ours is not None and theirs is not None:
            assert abs(ours.nano_dollars - theirs) <= 1, (provider, model)
            compared += 1
    assert compared > 3_000


@settings(max_examples=300, deadline=None)
@given(
    drawn=usages(),
    who=st.sampled_from([pair for pair in MODELS if pair[0] in {"openai", "google", "anthropic"}])
    | st.sampled_from(MODELS),
    tier=st.sampled_from(list(CONTEXTS)),
    now=st.integers(1_600_000_000, 1_900_000_000),
)
def test_every_tier_and_moment_costs_what_the_price_data_says(drawn, who, tier, now) -> None:
    ours = PriceBook(clock=lambda: now).price(who[1], drawn[0], provider=who[0], tier=tier)
    assert BOOK.price(who[1], drawn[0], provider=who[0], tier=tier, at=now) == ours
    theirs = nano_by_the_price_data(drawn, who[1], who[0], tier=tier, now=now)
    exact = who[0] in {"openai", "google", "anthropic"}  # others list fractions of a nano-dollar
    if ours is not None and theirs is not None:
        assert abs(ours.nano_dollars - theirs) <= (0 if exact else 1)


@settings(max_examples=200, deadline=None)
@given(hour=st.floats(0, 172_799), day=st.integers(18_000, 22_000))
def test_a_tariff_by_the_hour_is_followed_through_the_day(hour, day) -> None:
    clock = FakeClock(day * 86_400.0)
    book = PriceBook(clock=clock)
    book.rates("deepseek-chat", "deepseek")
    clock.advance(hour)
    expected = nano_by_the_price_data((PLAIN, 0), "deepseek-chat", "deepseek", now=clock.now)
    assert book.price("deepseek-chat", PLAIN, provider="deepseek").nano_dollars == expected


def test_a_reseller_does_not_get_the_makers_tier_prices() -> None:
    assert BOOK.rates("gpt-4o", "azure", tier="batch") == BOOK.rates("gpt-4o", "azure")
    assert BOOK.rates("gpt-4o", "openai", tier="batch") != BOOK.rates("gpt-4o", "openai")


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("mystery", None),
        ("mystery", "nobody"),
        ("gpt-4o", "mistral"),  # which lists what it sells
        ("whisper-1", "openai"),  # charged by the hour
        ("qwen-3-coder-480b", "cerebras"),  # listed without a price
    ],
)
def test_a_model_without_a_known_token_price_has_none(model, provider) -> None:
    book = PriceBook(clock=lambda: NOW)
    assert book.rates(model, provider) is None
    assert book.price(model, PLAIN, provider=provider) is None


def test_a_model_that_is_called_free_costs_nothing() -> None:
    price = BOOK.price("qwen/qwq-32b:free", PLAIN, provider="openrouter")
    assert price is not None
    assert price.nano_dollars == 0


def test_a_price_says_where_it_is_from_and_its_day() -> None:
    price = BOOK.price("openai:gpt-4o", PLAIN)
    assert price is not None
    assert price.version.startswith("genai-prices ")
    assert price.version.endswith(", 2027-01-15")


def test_a_snapshot_of_the_app_is_used_and_named() -> None:
    fetched = DataSnapshot(
        providers=[], from_auto_update=True, timestamp=datetime(2026, 12, 1, tzinfo=UTC)
    )
    fetched.providers.extend(provider for provider in providers if provider.id == "openai")
    set_custom_snapshot(fetched)
    try:
        book = PriceBook(clock=lambda: NOW)
        assert book.rates("claude-opus-4-5") is None
        assert book.rates("gpt-4o").version == "genai-prices fetched 2026-12-01, 2027-01-15"
    finally:
        set_custom_snapshot(None)


def test_a_call_is_charged_at_the_rates_of_its_own_day(clock) -> None:
    clock.now = datetime(2025, 6, 9, 12, tzinfo=UTC).timestamp()
    book = PriceBook(clock=clock)
    before = book.price("o3", PLAIN, provider="openai")
    clock.advance(86_400)
    assert book.price("o3", PLAIN, provider="openai") != before
    clock.advance(-86_400)
    assert book.price("o3", PLAIN, provider="openai") == before


def test_the_price_of_another_moment_leaves_todays_alone(clock) -> None:
    clock.now = datetime(2025, 6, 11, 12, tzinfo=UTC).timestamp()
    book = PriceBook(clock=clock)
    today = book.rates("o3", "openai")
    yesterday, tomorrow = (book.rates("o3", "openai", at=clock.now + n * 86_400) for n in (-2, 1))
    assert yesterday.input > today.input
    assert tomorrow.version.endswith(", 2025-06-12")
    assert book.rates("o3", "openai") == today


class TestFallback:
    """A price for models without any."""

    @pytest.fixture
    def book(self, clock) -> PriceBook:
        return PriceBook(fallback=(Decimal(3), Decimal("15.5")), clock=clock)

    def test_what_nobody_knows_costs_as_assumed_and_says_so(self, book) -> None:
        assert book.price("mystery", PLAIN) == Price(18_500_000_000, "fallback", fallback=True)
        assert book.rates("whisper-1", "openai").fallback
        assert book.rates("mystery", tier="batch", at=0.0).fallback

    def test_parts_cost_as_their_totals(self, book) -> None:
        parts = TokenUsage(
            input_tokens=1_000_000,
            output_tokens=1_000_000,
            cached_tokens=9,
            written_tokens=9,
            reasoning_tokens=9,
        )
        assert book.price("mystery", parts) == book.price("mystery", PLAIN)

    def test_a_known_price_is_no_fallback(self, book) -> None:
        assert book.rates("gpt-4o") == PriceBook(clock=lambda: NOW).rates("gpt-4o")
        book.set("mystery", input_per_million=1, output_per_million=1)
        assert book.price("mystery", PLAIN) == Price(2 * 10**9, "set by hand, 2027-01-15")

    def test_it_may_be_nothing(self, clock) -> None:
        book = PriceBook(fallback=(Decimal(0), Decimal(0)), clock=clock)
        assert book.price("mystery", PLAIN) == Price(0, "fallback", fallback=True)


def test_an_input_beyond_a_threshold_is_charged_higher_as_a_whole() -> None:
    at, beyond = (
        BOOK.price("gemini-2.5-pro", TokenUsage(input_tokens=tokens))
        for tokens in (200_000, 200_001)
    )
    assert (at.nano_dollars, beyond.nano_dollars) == (250_000_000, 500_002_500)


@given(st.builds(TokenUsage, **{field: st.integers(0, 1_000) for field in TokenUsage.__slots__}))
def test_contradicting_counts_never_raise_nor_earn_money(usage) -> None:
    for model in ("gpt-4o-audio-preview", "claude-opus-4-5", "gemini-2.5-flash"):
        assert BOOK.price(model, usage).nano_dollars >= 0


def test_parts_larger_than_their_total_are_charged_as_parts() -> None:
    rates = BOOK.rates("anthropic:claude-opus-4-5")
    whole = rates.cost(TokenUsage(input_tokens=900, cached_tokens=600, written_tokens=300))
    assert rates.cost(TokenUsage(cached_tokens=600, written_tokens=300)) == whole
    thought = rates.cost(TokenUsage(output_tokens=700, reasoning_tokens=700))
    assert rates.cost(TokenUsage(reasoning_tokens=700)) == thought


def test_the_cache_of_prices_is_bounded() -> None:
    book = PriceBook(clock=lambda: NOW)
    for number in range(5_000):
        book.rates(f"m-{number}", "nobody")
    assert len(book._periods) <= 4_096


class TestSetByHand:
    """A price of the app's own."""

    @pytest.fixture
    def book(self, clock) -> PriceBook:
        return PriceBook(clock=clock)

    def test_it_prices_what_nobody_knows_and_says_so(self, book) -> None:
        book.set("my-model", input_per_million=0.1, output_per_million="0.3")
        expected = Price(nano_dollars=400_000_000, version="set by hand, 2027-01-15")
        assert book.price("my-model", PLAIN) == expected

    def test_it_wins_over_the_data_also_after_a_look_up(self, book) -> None:
        for tier in (None, "batch"):
            book.rates("gpt-4o", tier=tier)
        book.set("gpt-4o", input_per_million=1, output_per_million=Decimal(2))
        for tier in (None, "batch"):
            assert book.price("gpt-4o", PLAIN, tier=tier).nano_dollars == 3 * 10**9

    @pytest.mark.parametrize(("tokens", "nano"), [(1, 2), (2, 3), (3, 5)])
    def test_half_a_nano_dollar_is_rounded_up(self, book, tokens, nano) -> None:
        book.set("m", input_per_million="0.0015", output_per_million=0)
        assert book.price("m", TokenUsage(input_tokens=tokens)).nano_dollars == nano

    @pytest.mark.parametrize(
        ("name", "asked", "provider"),
        [
            ("gpt-4o", "gpt-4o-2024-08-06", "openai"),
            ("gpt-4o", "azure/gpt-4o", None),
            ("openai:gpt-4o", "gpt-4o", None),
            ("OpenAI:GPT-4o", "gpt-4o", "openai"),
        ],
    )
    def test_it_holds_for_the_models_other_names(self, book, name, asked, provider) -> None:
        book.set(name, input_per_million=7, output_per_million=0)
        assert book.rates(asked, provider).input == 7 * 10**9

    def test_a_providers_own_price_leaves_other_providers_alone(self, book) -> None:
        before = book.rates("gpt-4o", "openai")
        book.set("azure/gpt-4o", input_per_million=7, output_per_million=0)
        assert book.rates("gpt-4o", "openai") == before
        assert book.rates("gpt-4o", "azure").input == 7 * 10**9

    def test_cached_and_written_tokens_cost_as_set_or_as_input(self, book) -> None:
        usage = TokenUsage(input_tokens=3, cached_tokens=1, written_tokens=1)
        million = 10**6
        book.set("a", input_per_million=million, output_per_million=0)
        book.set(
            "b",
            input_per_million=million,
            output_per_million=0,
            cached_per_million=0,
            written_per_million=2 * million,
        )
        assert [book.price(name, usage).nano_dollars for name in "ab"] == [3 * 10**9, 3 * 10**9]
        assert book.rates("b").cached == 0

    @pytest.mark.parametrize("amount", ["nan", float("inf"), -1, Decimal("-0.01")])
    def test_an_impossible_price_is_refused(self, book, amount) -> None:
        with pytest.raises(ConfigurationError):
            book.set("m", input_per_million=1, output_per_million=amount)
        assert book.rates("m") is None

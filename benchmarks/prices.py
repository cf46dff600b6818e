"""Price of a call: `PriceBook.price` against `genai_prices.calc_price`, in the same run.

Both must agree to a nano-dollar on every model that both can price, in every service tier, before
anything is timed.

    python benchmarks/prices.py
"""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from operator import itemgetter

from genai_prices import Usage, calc_price
from genai_prices.data import providers
from measuring import Claim, in_turn, print_claims, print_table, sized

from llmops_langchain.models import PriceBook, TokenUsage

TIMES, ROUNDS = sized(1_000, quick=100), sized(100, quick=2)
NOW = datetime.now(UTC)
BOOK = PriceBook(clock=NOW.timestamp)
CASES = {
    "plain": ("gpt-4o", "openai", TokenUsage(input_tokens=1_200, output_tokens=300)),
    "cached and written": (
        "claude-sonnet-4-5",
        "anthropic",
        TokenUsage(
            input_tokens=20_000, output_tokens=700, cached_tokens=15_000, written_tokens=2_000
        ),
    ),
    "long context": (
        "gemini-2.5-pro",
        "google",
        TokenUsage(input_tokens=250_000, output_tokens=900, cached_tokens=100_000),
    ),
}
CONTEXTS = {  # our word for a tier, and what the peer is told
    None: {},
    "batch": {"processing": "batch"},
    "fast": {"service_tier": "fast", "speed": "fast"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}


def counted(usage: TokenUsage) -> Usage:
    """Return the same counts in the peer's own record."""
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.written_tokens,
        cache_write_1h_tokens=usage.written_1h_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
        input_audio_tokens=usage.audio_input_tokens,
        output_audio_tokens=usage.audio_output_tokens,
        cache_audio_read_tokens=0,
    )


def peer(model: str, provider: str, counts: Usage, tier: str | None = None) -> Decimal:
    """Return nano-dollars as genai-prices calculates them; `LookupError` for an unknown model."""
    price = calc_price(
        counts,
        model,
        provider_id=provider,
        genai_request_timestamp=NOW,
        price_context=CONTEXTS[tier],
    )
    return price.total_price * 10**9


def usages() -> Iterator[TokenUsage]:
    """Counts of every kind, small and beyond the thresholds of long contexts."""
    rng = random.Random(0)  # noqa: S311 - repeatable counts, no secret
    while True:
        fresh, cached, written, audio, text, thought, spoken = (
            rng.randrange(100_000) for _ in range(7)
        )
        yield TokenUsage(
            input_tokens=fresh + cached + written + audio,
            output_tokens=text + thought + spoken,
            cached_tokens=cached,
            written_tokens=written,
            written_1h_tokens=written // 3,
            audio_input_tokens=audio,
            audio_output_tokens=spoken,
            reasoning_tokens=thought,
        )


def check_equality(tier: str | None) -> tuple[int, int, int]:
    """Return how many models agree, how many are not priced by tokens, how many the peer misses."""
    equal = unpriced = missed = 0
    listed = ((provider, model) for provider in providers for model in provider.models)
    for (provider, model), usage in zip(listed, usages(), strict=False):
        ours = BOOK.price(model.id, usage, provider=provider.id, tier=tier)
        try:
            theirs = peer(model.id, provider.id, counted(usage), tier)
        except LookupError:
            missed += 1
            continue
        if ours is None:
            assert theirs == 0, (provider.id, model.id)
            unpriced += 1
            continue
        assert abs(ours.nano_dollars - theirs) <= 1, (provider.id, model.id, tier)
        equal += 1
    return equal, unpriced, missed


def repeated(call: Callable[[], object], times: int) -> Callable[[None], None]:
    """As many calls in one: a clock costs too much to time a microsecond."""

    def many(_: None) -> None:
        for _each in range(times):
            call()

    return many


def compare(model: str, provider: str, usage: TokenUsage) -> tuple[float, float]:
    """Return the median of one price by each, microseconds."""
    price = partial(BOOK.price, model, usage, provider=provider)
    theirs = partial(peer, model, provider, counted(usage))
    ours = price()
    assert ours is not None
    assert abs(ours.nano_dollars - theirs()) <= 1
    calls = {"ours": repeated(price, TIMES), "theirs": repeated(theirs, TIMES // 100)}
    spent = in_turn(calls, [None] * ROUNDS)
    return spent["ours"].per(TIMES).p50, spent["theirs"].per(TIMES // 100).p50


def main() -> None:
    """Check, then time."""
    (equal, unpriced, missed), *others = [check_equality(tier) for tier in CONTEXTS]
    print(f"{equal:,} models cost the same to a nano-dollar, and so do {len(others)} other service")
    print(f"tiers of them; {unpriced} have no token price, {missed} cannot be looked up by their")
    print("own id.")
    spent = {case: compare(*call) for case, call in CASES.items()}
    header = ("usage", "`PriceBook.price`, p50 µs", "`calc_price`, p50 µs", "times as fast")
    rows = [(case, ours, theirs, theirs / ours) for case, (ours, theirs) in spent.items()]
    print_table("Price of one call", header, rows)
    slowest, (ours, theirs) = max(spent.items(), key=itemgetter(1))
    claim = Claim(
        what=f"price of a call (the slowest: {slowest})",
        against=f"`genai_prices.calc_price` ({theirs:.0f} µs)",
        result=ours,
        goal=2,
        unit="µs",
        at_most=True,
    )
    print_claims([claim])


if __name__ == "__main__":
    main()

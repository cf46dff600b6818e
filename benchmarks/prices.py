"""Price of a call: `PriceBook.price` against `genai_prices.calc_price`, in the same run.

Both must agree to a nano-dollar on every model that both can price, before anything is timed.

    python benchmarks/prices.py
"""

import gc
import random
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from statistics import median
from time import perf_counter

from genai_prices import Usage, calc_price
from genai_prices.data import providers

from llmops_langchain.models import PriceBook, TokenUsage

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


def counted(usage: TokenUsage) -> Usage:
    """Return the same counts in the peer's own record."""
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.written_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
        input_audio_tokens=usage.audio_input_tokens,
        output_audio_tokens=usage.audio_output_tokens,
        cache_audio_read_tokens=0,
    )


def peer(model: str, provider: str, counts: Usage) -> Decimal:
    """Return nano-dollars as genai-prices calculates them; `LookupError` for an unknown model."""
    price = calc_price(counts, model, provider_id=provider, genai_request_timestamp=NOW)
    return price.total_price * 10**9


def check_equality() -> tuple[int, int, int]:
    """Return how many models agree, how many are not priced by tokens, how many the peer misses."""
    rng = random.Random(0)  # noqa: S311 - repeatable counts, no secret
    equal = unpriced = missed = 0
    for provider in providers:
        for model in provider.models:
            fresh, cached, written, audio, text, thought = (
                rng.randrange(100_000) for _ in "123456"
            )
            usage = TokenUsage(
                input_tokens=fresh + cached + written + audio,
                output_tokens=text + thought,
                cached_tokens=cached,
                written_tokens=written,
                audio_input_tokens=audio,
                reasoning_tokens=thought,
            )
            ours = BOOK.price(model.id, usage, provider=provider.id)
            try:
                theirs = peer(model.id, provider.id, counted(usage))
            except LookupError:
                missed += 1
                continue
            if ours is None:
                assert theirs == 0, (provider.id, model.id)
                unpriced += 1
                continue
            assert abs(ours.nano_dollars - theirs) <= 1, (provider.id, model.id)
            equal += 1
    return equal, unpriced, missed


def microseconds(call: Callable[[], object], *, times: int) -> float:
    """Return the median of seven runs, microseconds a call."""
    runs = []
    gc.disable()
    for _ in range(7):
        start = perf_counter()
        for _ in range(times):
            call()
        runs.append((perf_counter() - start) / times * 1e6)
    gc.enable()
    return median(runs)


def main() -> None:
    """Check, then time."""
    equal, unpriced, missed = check_equality()
    print(f"{equal:,} models cost the same to a nano-dollar; {unpriced} have no token price,")
    print(f"{missed} cannot be looked up by their own id\n")
    print(f"{'usage':20}{'PriceBook.price':>18}{'calc_price':>14}{'ratio':>9}")
    for case, (model, provider, usage) in CASES.items():
        price = partial(BOOK.price, model, usage, provider=provider)
        ours = microseconds(price, times=100_000)
        theirs = microseconds(partial(peer, model, provider, counted(usage)), times=500)
        print(f"{case:20}{ours:>15.2f} µs{theirs:>11.1f} µs{theirs / ours:>8.0f}x")


if __name__ == "__main__":
    main()

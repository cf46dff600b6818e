"""The truth: what a provider bills for one request, and what that costs by the price data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP
from functools import cache

import bpe_openai
from genai_prices import Usage, calc_price

__all__ = ["NOW", "Bill", "costs", "prompt_tokens", "text_tokens", "token_texts"]

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
"""The moment by which everything is priced, by all sides: seconds since the Unix epoch."""

_CONTEXTS = {None: None, **{tier: {"service_tier": tier} for tier in ("flex", "priority")}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What one request is billed for; the totals include their parts."""

    provider: str
    """Its id in the price data."""
    model: str
    """The model that answered."""
    input: int
    output: int = 0
    cached: int = 0
    written: int = 0
    written_1h: int = 0
    """The part of `written` that is kept for an hour."""
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    tier: str | None = None

    def broken_off(self, output: int) -> "Bill":
        """The same request after only so many tokens had been answered."""
        return replace(self, output=output, reasoning=0, audio_output=0)

    @property
    def cost(self) -> int | None:
        """Nano-dollars, halves rounded up; `None` if the price data does not know the model."""
        usage = Usage(
            input_tokens=self.input,
            output_tokens=self.output,
            cache_read_tokens=self.cached,
            cache_write_tokens=self.written,
            cache_write_1h_tokens=self.written_1h,
            output_reasoning_tokens=self.reasoning,
            input_audio_tokens=self.audio_input,
            output_audio_tokens=self.audio_output,
            cache_audio_read_tokens=0,
        )
        try:
            price = calc_price(
                usage,
                self.model,
                provider_id=self.provider,
                genai_request_timestamp=datetime.fromtimestamp(NOW, UTC),
                price_context=_CONTEXTS[self.tier],
            )
        except LookupError:
            return None
        return int((price.total_price * 10**9).to_integral_value(ROUND_HALF_UP))


def costs(bills: Iterable[Bill]) -> int:
    """Nano-dollars of all bills whose model has a price."""
    return sum(each.cost or 0 for each in bills)


def text_tokens(text: str, encoding: str = "o200k_base") -> int:
    """Tokens of a text by OpenAI's own vocabulary files."""
    return len(_encoding(encoding).encode_ordinary(text))


def token_texts(text: str, encoding: str = "o200k_base") -> list[str]:
    """The text, cut as a model that answers token by token would send it."""
    vocabulary = _encoding(encoding)
    return [vocabulary.decode([token]) for token in vocabulary.encode_ordinary(text)]


def prompt_tokens(messages: Sequence[Mapping[str, object]]) -> int:
    """Tokens of a chat prompt, as OpenAI's cookbook counts them.

    Three for each message beside its role and content, three that prime the answer:
    "How to count tokens with tiktoken", section 6, OpenAI Cookbook.
    """
    texts = (str(part) for each in messages for part in (each["role"], each.get("content") or ""))
    return 3 + sum(map(text_tokens, texts)) + 3 * len(messages)


@cache
def _encoding(name: str) -> bpe_openai.Encoding:
    return bpe_openai.get_encoding(name)

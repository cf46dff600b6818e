"""What a model charges, compiled to integers."""

from dataclasses import dataclass

from llmops_langchain.models.usage import TokenUsage

__all__ = ["Rates"]

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Nano-dollars for a million tokens of each kind; a kind without a price has its total's rate.

    Immutable, so it may be shared by threads.
    """

    input: int
    output: int
    cached: int
    written: int
    written_1h: int
    reasoning: int
    audio_input: int
    audio_output: int
    cached_audio: int
    request: int = 0
    """Nano-dollars for the call itself."""
    version: str
    """Where the price is from, and its date."""
    longer: "tuple[tuple[int, Rates], ...]" = ()
    """(tokens, rates): what the whole call is charged once its input exceeds so many tokens,
    the largest threshold first."""

    def cost(self, usage: TokenUsage) -> int:
        """Return nano-dollars, halves rounded up.

        Counts that contradict each other never raise and never earn money: a total smaller than its
        parts counts as their sum; cached and audio tokens overlap only as far as they must.
        """
        rates = self._at(usage.input_tokens) if self.longer else self
        units = usage.input_tokens * rates.input + usage.output_tokens * rates.output
        if usage.cached_tokens or usage.written_tokens or usage.audio_input_tokens:
            units += _input_parts(rates, usage)
        if usage.reasoning_tokens or usage.audio_output_tokens:
            units += _output_parts(rates, usage)
        return max(0, rates.request + (units + _MILLION // 2) // _MILLION)

    def _at(self, input_tokens: int) -> "Rates":
        return next((rates for above, rates in self.longer if input_tokens > above), self)


def _input_parts(rates: Rates, usage: TokenUsage) -> int:
    """What the parts of the input cost more, or less, than plain input."""
    cached, written, audio = usage.cached_tokens, usage.written_tokens, usage.audio_input_tokens
    missing = max(0, max(cached + written, audio) - usage.input_tokens)
    overlap = max(0, cached + written + audio - usage.input_tokens - missing)
    return (
        missing * rates.input
        + cached * (rates.cached - rates.input)
        + written * (rates.written - rates.input)
        + usage.written_1h_tokens * (rates.written_1h - rates.written)
        + audio * (rates.audio_input - rates.input)
        + min(overlap, cached, audio)
        * (rates.cached_audio - rates.cached - rates.audio_input + rates.input)
    )


def _output_parts(rates: Rates, usage: TokenUsage) -> int:
    """What the parts of the output cost more, or less, than plain output."""
    reasoning, audio = usage.reasoning_tokens, usage.audio_output_tokens
    missing = max(0, reasoning + audio - usage.output_tokens)
    return (
        missing * rates.output
        + reasoning * (rates.reasoning - rates.output)
        + audio * (rates.audio_output - rates.output)
    )

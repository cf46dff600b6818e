"""What a model charges, compiled to integers."""

from dataclasses import dataclass, field, replace
from decimal import Decimal

from llmops_langchain.models.usage import TokenUsage

__all__ = ["Rates"]

_MILLION = 1_000_000
_AMOUNTS = (
    "input",
    "output",
    "cached",
    "written",
    "written_1h",
    "reasoning",
    "audio_input",
    "audio_output",
    "cached_audio",
    "request",
)


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
    fallback: bool = False
    """No price is known for the model: this is what the app assumes for such models."""
    longer: "tuple[tuple[int, Rates], ...]" = ()
    """(tokens, rates): what the whole call is charged once its input exceeds so many tokens,
    the largest threshold first."""
    _steps: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """The two totals, then how much more or less each part costs than its total: one attribute
    to read for a call, not ten."""

    def __post_init__(self) -> None:
        steps = (
            self.input,
            self.output,
            self.cached - self.input,
            self.written - self.input,
            self.written_1h - self.written,
            self.audio_input - self.input,
            self.reasoning - self.output,
            self.audio_output - self.output,
        )
        object.__setattr__(self, "_steps", steps)

    @classmethod
    def plain(
        cls,
        *,
        input: int,  # noqa: A002 - the field's name
        output: int,
        cached: int | None = None,
        written: int | None = None,
        version: str,
        fallback: bool = False,
    ) -> "Rates":
        """Rates of a price that names no more than these, nano-dollars per million tokens."""
        read = input if cached is None else cached
        kept = input if written is None else written
        return cls(
            input=input,
            output=output,
            cached=read,
            written=kept,
            written_1h=kept,
            reasoning=output,
            audio_input=input,
            audio_output=output,
            cached_audio=read,
            version=version,
            fallback=fallback,
        )

    def cost(self, usage: TokenUsage) -> int:
        """Return nano-dollars, halves rounded up.

        Counts that contradict each other never raise and never earn money: a total smaller than its
        parts counts as their sum; cached and audio tokens overlap only as far as they must.
        """
        rates, asked, answered = self, usage.input_tokens, usage.output_tokens
        for above, longer in self.longer:
            if asked > above:
                rates = longer
                break
        of_input, of_output, cached, written, kept, audio, thought, spoken = rates._steps  # noqa: SLF001 - its own class
        units = asked * of_input + answered * of_output
        if usage.cached_tokens or usage.written_tokens or usage.audio_input_tokens:
            units += (
                usage.cached_tokens * cached
                + usage.written_tokens * written
                + usage.written_1h_tokens * kept
                + usage.audio_input_tokens * audio
            )
            if usage.cached_tokens + usage.written_tokens + usage.audio_input_tokens > asked:
                units += _overlap(rates, usage)
        if usage.reasoning_tokens or usage.audio_output_tokens:
            units += usage.reasoning_tokens * thought + usage.audio_output_tokens * spoken
            missing = usage.reasoning_tokens + usage.audio_output_tokens - answered
            if missing > 0:
                units += missing * of_output
        nano = rates.request + (units + _MILLION // 2) // _MILLION
        return max(0, nano)

    def times(self, factor: Decimal) -> "Rates":
        """Return the rates multiplied, each rounded to whole nano-dollars, halves up."""
        of, by = factor.as_integer_ratio()
        amounts = {name: (2 * getattr(self, name) * of + by) // (2 * by) for name in _AMOUNTS}
        longer = tuple((above, rates.times(factor)) for above, rates in self.longer)
        return replace(self, **amounts, version=f"{self.version}, x {factor:f}", longer=longer)


def _overlap(rates: Rates, usage: TokenUsage) -> int:
    """What parts larger than their total add: input nobody counted, and audio that was cached."""
    cached, audio = usage.cached_tokens, usage.audio_input_tokens
    parts = cached + usage.written_tokens
    missing = max(0, max(parts, audio) - usage.input_tokens)
    both = min(parts + audio - usage.input_tokens - missing, cached, audio)
    return missing * rates.input + both * (
        rates.cached_audio - rates.cached - rates.audio_input + rates.input
    )

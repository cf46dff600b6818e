"""What a model call used, in tokens."""

from dataclasses import dataclass

__all__ = ["TokenUsage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Token counts of one call, in the meaning of LangChain's `UsageMetadata`.

    The two totals include their parts: a cached token is an input token too.
    """

    input_tokens: int = 0
    """Everything sent: fresh, cached, written and audio tokens together."""
    output_tokens: int = 0
    """Everything answered: text, reasoning and audio tokens together."""
    cached_tokens: int = 0
    """Input read from the provider's prompt cache (`cache_read`)."""
    written_tokens: int = 0
    """Input written to the provider's prompt cache (`cache_creation`)."""
    written_1h_tokens: int = 0
    """The part of `written_tokens` that Anthropic keeps for an hour, at a higher price."""
    reasoning_tokens: int = 0
    """Output spent on thinking (`reasoning`)."""
    audio_input_tokens: int = 0
    """Input that was sound (`audio`)."""
    audio_output_tokens: int = 0
    """Output that was sound (`audio`)."""

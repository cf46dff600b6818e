"""Does a cut pay? A shorter prompt costs less each turn, and the provider's cache of it is lost.

Providers charge a tenth or so for the part of a prompt that begins like the last one, and some
charge more (1.25 times) to keep a new one. A cut changes all behind the system prompt: that part
is written anew. From then on each turn reads less.
"""

from dataclasses import dataclass

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.models import Rates

__all__ = ["EarlyCut", "gain_of_cut", "lost_discount"]


def gain_of_cut(*, before: int, after: int, prefix: int, turns: float, rates: Rates) -> float:
    """What a cut saves over the next calls, in nano-dollars; negative if it costs.

    Now, the prompt would be read from the cache, and is written from `prefix` on instead; each
    later call reads `before - after` tokens less:
    `(turns + 1) (before - after) cached - (after - prefix) (written - cached)`.

    Args:
        before: Tokens of the prompt as it is.
        after: Tokens it has when it is cut.
        prefix: Tokens at its begin that a cut leaves as they are: system prompt and tools.
        turns: How many more calls are expected to send it.
        rates: What the model costs.
    """
    written = max(rates.written, rates.input)
    read_less = (turns + 1) * (before - after) * rates.cached
    return (read_less - max(0, after - prefix) * (written - rates.cached)) / 1_000_000


def lost_discount(*, before: int, shared: int, rates: Rates) -> float:
    """What it costs, in nano-dollars, that a prompt does not go on like the one before.

    Args:
        before: Tokens of the prompt before, which the provider has in its cache.
        shared: Tokens at its begin that the new prompt has too.
        rates: What the model costs.
    """
    written = max(rates.written, rates.input)
    return max(0, before - shared) * (written - rates.cached) / 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyCut:
    """Cuts a prompt that fills 75 % of its window or more as soon as that pays.

    Without it a cut comes when it is needed. What it saves is paid for with what the model no
    longer sees, so it is an option.

    Raises:
        ConfigurationError: If `turns` is negative.
    """

    rates: Rates
    """What the model costs: `ops.prices.rates("gpt-4o")`."""
    turns: float = 10.0
    """How many more calls a conversation is expected to make: yours may differ."""

    def __post_init__(self) -> None:
        if not self.turns >= 0:
            msg = f"`turns` are not negative, got {self.turns!r}"
            raise ConfigurationError(msg)

    def pays(self, before: int, after: int, prefix: int) -> bool:
        """Whether it pays to cut a prompt of `before` tokens down to `after`."""
        return (
            gain_of_cut(
                before=before, after=after, prefix=prefix, turns=self.turns, rates=self.rates
            )
            > 0
        )

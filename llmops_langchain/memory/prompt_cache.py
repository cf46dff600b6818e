"""When does a cut pay? A shorter prompt costs less each call; the provider's cache of it is lost.

Providers charge a tenth or so for the part of a prompt that begins like the last one, and some
charge more (1.25 times) to keep a new one. A cut changes all behind the system prompt: that part
is written anew. From then on each call reads less, until the prompt has grown again. How far to
let it grow is a question of lot sizes (F. W. Harris, How many parts to make at once, 1913).

What is assumed: each call adds the same number of tokens, after each call the conversation goes on
with the same probability, and the provider still has the last prompt in its cache. Prices that
rise with the length of a prompt are not looked at.
"""

from dataclasses import dataclass
from math import ceil, isfinite

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.models import Rates

__all__ = ["EarlyCut", "cost_of_cycles", "lost_discount"]


def cost_of_cycles(
    calls: int, *, after: int, prefix: int, growth: float, turns: float, rates: Rates
) -> float:
    """What the input is expected to cost from a cut on, in nano-dollars.

    With `q = turns / (turns + 1)`, the probability that one more call follows, and the prices `c`
    of a token read from the cache and `w` of one written, a cycle of `n` calls costs
    `(after - prefix) (w - c) + sum over k < n of q^k (c (after + k growth) + (w - c) growth)`
    less the last term of its first call, which writes the prompt; `q^n` goes on to the next.

    Args:
        calls: How many calls there are from one cut to the next, at least 1.
        after: Tokens of the prompt when it is cut.
        prefix: Tokens at its begin that a cut leaves as they are: tools and system prompt.
        growth: Tokens that each call adds.
        turns: How many more calls are expected, on average.
        rates: What the model costs.
    """
    cached, written = rates.cached, max(rates.written, rates.input)
    on = turns / (turns + 1)
    reached = on**calls
    count = (1 - reached) / (1 - on)  # the sum of q^k over k < n, then that of k q^k
    steps = on * (count - calls * on ** (calls - 1)) / (1 - on)
    cut = max(0, after - prefix) * (written - cached)
    read = cached * (after * count + growth * steps)
    added = (written - cached) * growth * (count - 1)
    return (cut + read + added) / (1 - reached) / 1_000_000


def lost_discount(tokens: int, rates: Rates) -> float:
    """What it costs, in nano-dollars, that a prompt does not go on like the one before.

    Args:
        tokens: How many of the prompt before are not at the begin of the new one:
            `Trim.lost_prefix_tokens`.
        rates: What the model costs.
    """
    return tokens * (max(rates.written, rates.input) - rates.cached) / 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyCut:
    """Cuts a prompt that fills 75 % of its window, if that costs less than to wait for 85 %.

    Without it a cut comes when it is needed, which keeps more of the conversation; where cached
    input costs a tenth that is nearly always the cheaper way too. With it a cut also comes where
    what later calls read less is worth more than the discount that is lost on this one.

    Raises:
        ConfigurationError: If `turns` is negative or without end.

    Example:
        >>> from llmops_langchain.models import PriceBook
        >>> early = EarlyCut(rates=PriceBook().rates("gpt-4o"), turns=50)
        >>> early.pays(96_000, latest=108_800, after=76_800, prefix=2_000, growth=400)
        True
    """

    rates: Rates
    """What the model costs: `ops.prices.rates("gpt-4o")`."""
    turns: float = 10.0
    """How many more calls a conversation is expected to make, on average, whenever one is made:
    your figure may differ, and few make an early cut pay less."""

    def __post_init__(self) -> None:
        if not (self.turns >= 0 and isfinite(self.turns)):
            msg = f"`turns` are not negative and have an end, got {self.turns!r}"
            raise ConfigurationError(msg)

    def pays(
        self, earliest: float, *, latest: float, after: int, prefix: int, growth: float
    ) -> bool:
        """Whether cuts at `earliest` tokens cost less than at `latest`: see `cost_of_cycles`.

        Args:
            earliest: Tokens of the prompt at which a cut may come.
            latest: Tokens at which it has to.
            after: Tokens that a cut may leave.
            prefix: Tokens at the begin of a prompt that a cut leaves as they are.
            growth: Tokens that each call adds.
        """
        # Turns go as a whole: a cut leaves half of one less than it may.
        left = int(max(prefix, after - growth / 2))

        def cost(mark: float) -> float:
            return cost_of_cycles(
                max(1, ceil((mark - left) / growth)),
                after=left,
                prefix=prefix,
                growth=growth,
                turns=self.turns,
                rates=self.rates,
            )

        return cost(earliest) < cost(latest)

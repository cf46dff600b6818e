"""What one answer of a model cost, for whoever keeps books of his own."""

from typing import NamedTuple

from langchain_core.outputs import LLMResult

from llmops_langchain.callbacks.reading import read_answer
from llmops_langchain.callbacks.spent import cost_of, rates_of
from llmops_langchain.models import PriceBook

__all__ = ["Paid", "paid"]


class Paid(NamedTuple):
    """Tokens and price of an answer; nothing, if a cache gave it."""

    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float | None = 0.0
    """`None`: no price is known."""
    model: str | None = None


def paid(response: LLMResult, prices: PriceBook) -> Paid:
    """What an answer cost, as far as it tells.

    Args:
        response: The answer.
        prices: Knows what tokens cost.
    """
    answer = read_answer(response)
    if answer.cache_tier is not None or answer.usage is None:
        return Paid(model=answer.model)
    usage = answer.usage
    provider, own = answer.route.get("provider"), rates_of(answer.route.get("prices"))
    cost = cost_of(prices, answer.model, usage, provider, answer.tier, own=own)
    dollars = None if cost.unpriced else cost.nano_dollars / 1e9
    return Paid(usage.input_tokens, usage.output_tokens, dollars, answer.model)

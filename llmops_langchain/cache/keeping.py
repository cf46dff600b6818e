"""What of an answer is kept: the whole of a whole one, with what it cost."""

from collections.abc import Sequence

from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

from llmops_langchain.cache.codec import encode
from llmops_langchain.cache.endings import are_whole
from llmops_langchain.models import PriceBook, read_usage, service_tier

__all__ = ["written"]


def written(generations: Sequence[Generation], prices: PriceBook | None) -> bytes | None:
    """The answers as bytes; `None` if they were cut short, or cannot be written down."""
    try:
        if not are_whole(generations):
            return None
        return encode(generations, cost=_cost(generations[0], prices))
    except Exception:  # noqa: BLE001 - the answer was paid for and goes to the user, however odd it is
        return None


def _cost(generation: Generation, prices: PriceBook | None) -> int:
    """Nano-dollars, by the name under which the provider answered; 0 where that has no price.

    With several choices each carries the usage of the whole call: the first is enough.
    """
    message = generation.message if isinstance(generation, ChatGeneration) else None
    if prices is None or not isinstance(message, AIMessage) or message.usage_metadata is None:
        return 0
    said = message.response_metadata
    tier = service_tier(said, message.usage_metadata)
    usage = read_usage(message.usage_metadata, tier)
    model = said.get("model_name") or said.get("model")
    if not model or usage is None:
        return 0
    price = prices.price(str(model), usage, provider=said.get("model_provider"), tier=tier)
    return price.nano_dollars if price else 0

"""What a call spent: the tokens that were told, or an estimate of them, and their price."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from langchain_core.outputs import ChatGeneration, Generation

from llmops_langchain.callbacks.endings import bills_input
from llmops_langchain.callbacks.marks import kept_for_an_hour
from llmops_langchain.callbacks.reading import Answer
from llmops_langchain.callbacks.runs import Call
from llmops_langchain.models import PriceBook, Rates, TokenUsage
from llmops_langchain.tokens import counter_for
from llmops_langchain.tokens.parts import MESSAGE_TOKENS

__all__ = ["NOTHING", "Cost", "cost_of", "rates_of", "tokens_of"]

logger = logging.getLogger(__name__)

NOTHING = TokenUsage()
"""No token at all."""


class Cost(NamedTuple):
    """What tokens cost."""

    nano_dollars: int
    version: str | None
    """Which price list says so."""
    unpriced: bool
    """No price is known for the model; the amount is 0, or by the price for such models."""


_FREE = Cost(0, None, unpriced=False)


def cost_of(
    prices: PriceBook,
    model: str | None,
    usage: TokenUsage,
    provider: str | None,
    tier: str | None,
    *,
    own: Rates | None = None,
) -> Cost:
    """The price of `usage`, by `own` rates if there are some; nothing costs nothing."""
    if not usage.input_tokens and not usage.output_tokens and usage == NOTHING:
        return _FREE
    if own is not None:
        return Cost(own.cost(usage), own.version, unpriced=False)
    price = prices.price(model or "", usage, provider=provider, tier=tier)
    if price is None:
        return Cost(0, None, unpriced=True)
    return Cost(price.nano_dollars, price.version, unpriced=price.fallback)


def rates_of(stated: object) -> Rates | None:
    """The prices that a router's choice has of its own; `None` if there are none."""
    if not isinstance(stated, Mapping):
        return None
    return Rates.plain(**stated)


def tokens_of(
    call: Call, answer: Answer | None, error: BaseException | None, model: str | None
) -> tuple[TokenUsage, bool]:
    """The tokens that were paid for (for a hit: at the time), and whether they are estimated."""
    told = answer.usage if answer else None
    if answer is not None and told is not None:
        if not answer.says_how_long and kept_for_an_hour(call.prompt, call.settings):
            told = replace(told, written_1h_tokens=told.written_tokens)
        if told.output_tokens or not answer.choices:
            return told, False
    if answer is None and (error is None or not bills_input(error)):
        return NOTHING, False
    try:
        return _estimate(call, answer.choices if answer else (), told, model)
    except Exception as unheard_of:  # noqa: BLE001 - a message that cannot be counted loses no call
        logger.warning("tokens could not be counted: %s", type(unheard_of).__name__)
        return told or NOTHING, True


def _estimate(
    call: Call, choices: Sequence[Generation], told: TokenUsage | None, model: str | None
) -> tuple[TokenUsage, bool]:
    output_tokens = _output_tokens(choices, model) if choices else 0
    if told is not None:
        # A stream that broke off early may have told its input alone.
        return replace(told, output_tokens=output_tokens), output_tokens > 0
    input_tokens = _input_tokens(call, model)
    return TokenUsage(input_tokens=input_tokens, output_tokens=output_tokens), True


def _input_tokens(call: Call, model: str | None) -> int:
    counter = counter_for(model or "")
    tools = [tool for tool in call.settings.get("tools") or () if isinstance(tool, Mapping)]
    if isinstance(call.prompt, str):
        return counter.text(call.prompt) + counter.tools(tools)
    return counter.messages(call.prompt, tools)


def _output_tokens(choices: Sequence[Generation], model: str | None) -> int:
    counter = counter_for(model or "")
    return sum(
        # A message has tool calls and thoughts too; its format is not part of what is billed.
        counter.message(each.message) - MESSAGE_TOKENS
        if isinstance(each, ChatGeneration)
        else counter.text(each.text)
        for each in choices
    )

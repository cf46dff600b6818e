"""The event of a call of a language model, from its beginning and its end."""

import time
from uuid import UUID

from llmops_langchain.callbacks.endings import was_cut_off
from llmops_langchain.callbacks.prompt_digest import prompt_digest
from llmops_langchain.callbacks.reading import Answer
from llmops_langchain.callbacks.runs import Call
from llmops_langchain.callbacks.spent import NOTHING, cost_of, rates_of, tokens_of
from llmops_langchain.ledger import LLM_CALL, Event
from llmops_langchain.models import PriceBook

__all__ = ["call_event"]


def call_event(
    call: Call,
    run_id: UUID,
    answer: Answer | None,
    error: BaseException | None = None,
    *,
    prices: PriceBook,
    ts: float,
) -> Event:
    """What became of a call: its tokens, its price, its times.

    Args:
        call: As it began.
        run_id: LangChain's; the event's id.
        answer: What came; `None` if nothing did.
        error: What it ended with, if it did not end well.
        prices: Knows what tokens cost.
        ts: When it ended, UTC seconds since the Unix epoch.
    """
    model = (answer and answer.model) or call.model
    tier = answer.tier if answer else None
    cache_tier = answer.cache_tier if answer else None
    paid, estimated = tokens_of(call, answer, error, model)
    provider = (answer and answer.route.get("provider")) or call.provider
    own = rates_of((answer and answer.route.get("prices")) or call.prices)
    cost = cost_of(prices, model, paid, provider, tier, own=own)
    if cost.unpriced and call.model not in (None, model):
        # A gateway may answer under a name of its own; it was asked under one that has a price.
        cost = cost_of(prices, call.model, paid, provider, tier)
    spent = NOTHING if cache_tier else paid
    # Of a call that was cut off nobody tells what the provider billed.
    is_open = error is not None and (estimated or answer is not None)
    counted = max(cost.nano_dollars, call.at_risk if is_open else 0)
    first_token = call.first_token
    return Event(
        id=run_id,
        name=LLM_CALL,
        ts=ts,
        **call.scope.of_event,
        provider=provider,
        model=model,
        tier=tier,
        run_id=run_id,
        parent_run_id=call.parent_run_id,
        cache_key=prompt_digest(call.prompt, call.settings),
        input_tokens=spent.input_tokens,
        output_tokens=spent.output_tokens,
        cached_tokens=spent.cached_tokens,
        written_tokens=spent.written_tokens,
        reasoning_tokens=spent.reasoning_tokens,
        audio_tokens=spent.audio_input_tokens + spent.audio_output_tokens,
        cost=0 if cache_tier else counted,
        saved=cost.nano_dollars if cache_tier else 0,
        price_version=cost.version,
        latency=time.perf_counter() - call.started,
        time_to_first_token=None if first_token is None else first_token - call.started,
        status="error" if error else "ok",
        error_class=type(error).__name__ if error else None,
        cache_tier=cache_tier,
        estimated=estimated,
        unpriced=cost.unpriced,
        aborted=was_cut_off(error),
        routed=bool(answer and answer.route),
        reservation_id=call.reservation_id,
    )

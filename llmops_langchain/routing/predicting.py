"""What is expected of each model for one request: quality, cost, latency."""

from collections.abc import Mapping, Sequence

from llmops_langchain.models import PriceBook, TokenUsage
from llmops_langchain.models.rates import Rates
from llmops_langchain.routing.choice import ModelChoice
from llmops_langchain.routing.decision import Prediction
from llmops_langchain.routing.health import Health
from llmops_langchain.routing.request import Before
from llmops_langchain.routing.target import prior_quality, strengths

__all__ = ["USUAL_ANSWER", "Expected", "answer_lengths", "priors", "rates_of_all", "sized", "told"]

USUAL_ANSWER = 300.0
"""Tokens an answer is expected to have before any was heard."""

_STAYS_WARM = 300.0
"""Seconds that providers keep a prompt in their cache."""

Expected = tuple[float, float]
"""Quality, and how much of it was learnt."""


def rates_of_all(choices: Sequence[ModelChoice], prices: PriceBook) -> dict[str, Rates | None]:
    """What each choice charges, by its name."""
    return {choice.name: choice.rates(prices) for choice in choices}


def priors(
    choices: Sequence[ModelChoice], rates: Mapping[str, Rates | None], complexity: float
) -> dict[str, float]:
    """Quality of each choice before anything was learnt, by its name."""
    strong = strengths(rates, {choice.name: choice.strength for choice in choices})
    return {name: prior_quality(each, complexity) for name, each in strong.items()}


def answer_lengths(names: Sequence[str], health: Health) -> dict[str, float]:
    """Tokens that an answer of each model is expected to have, by their names."""
    known = {name: health.answer_tokens(name) for name in names}
    lengths = [each for each in known.values() if each]
    # One that was not asked yet is taken to answer at such length as the others.
    usual = sum(lengths) / len(lengths) if lengths else USUAL_ANSWER
    return {name: each or usual for name, each in known.items()}


def sized(
    choices: Sequence[ModelChoice],
    tokens: Mapping[str, int],
    health: Health,
    before: Before | None,
    now: float,
) -> dict[str, TokenUsage]:
    """Tokens of the call for each choice.

    Who answered this conversation a moment ago has it in its provider's prompt cache: to switch
    loses that discount.
    """
    answers = answer_lengths([choice.name for choice in choices], health)
    is_warm = before is not None and now - before.at < _STAYS_WARM
    return {
        name: TokenUsage(
            input_tokens=tokens[name],
            output_tokens=round(each),
            cached_tokens=min(before.tokens, tokens[name])
            if before is not None and is_warm and before.choice == name
            else 0,
        )
        for name, each in answers.items()
    }


def told(
    name: str,
    expected: Expected,
    usage: TokenUsage,
    rate: Rates | None,
    latency: float | None,
) -> Prediction:
    """All of it as one record."""
    quality, trust = expected
    return Prediction(
        name=name,
        quality=quality,
        cost=None if rate is None else rate.cost(usage),
        latency=latency,
        trust=trust,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
    )

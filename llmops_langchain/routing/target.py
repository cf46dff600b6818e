"""What a router is to achieve, and who should be asked for it: pure functions over predictions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.models import TokenUsage, nano_dollars
from llmops_langchain.models.rates import Rates
from llmops_langchain.routing.decision import Prediction

__all__ = ["Target", "Terms", "Verdict", "gain", "prior_quality", "ranked", "strengths"]

NANO = 10**9
"""Nano-dollars of a dollar."""

_EQUAL, _SPREAD = 1e-9, 7_919.0
"""Gains that differ by less are equal; a draw times this, without its whole part, is another."""

_EVEN = 0.5
"""How sure a guess is that is as often too high as too low."""

_CERTAIN, _STEEP = 4.0, 4.0
"""Log-odds of a good answer by the strongest model, and how much they fall for the weakest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What you want of a router: good enough at the lowest price, or a share of the strongest.

    Args:
        quality: Ask the cheapest model that will do: so much of the best model's quality is kept.
            Until enough outcomes are known to find out what that takes, whoever is expected to be
            at least so good will do, as a share of the best expected.
        confidence: How sure to be that it is kept, 0.5 to 1, by a bootstrap over known outcomes.
        strong_share: Instead, give this share of the calls to the strongest model: those that
            gain the most by it.
        dollars_per_day: Ask cheaper models, the more of it is spent before the day (UTC) is over.
            It bounds nothing: that is for a budget and `ops.guard`.
        max_latency: Seconds; a model that took longer of late is left out.
        sticky: Whether a conversation stays with its model as long as that may be asked.
        explore: Share of calls whose model is drawn at random, so that others are learnt of too.

    Raises:
        ConfigurationError: If a share is not between 0 and 1, or a number makes no sense.
    """

    quality: float = 0.95
    confidence: float = 0.75
    strong_share: float | None = None
    dollars_per_day: Decimal | float | str | None = None
    max_latency: float | None = None
    sticky: bool = False
    explore: float = 0.0

    def __post_init__(self) -> None:
        for name in ("quality", "strong_share", "explore"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                msg = f"`{name}` is a share between 0 and 1, got {share!r}"
                raise ConfigurationError(msg)
        if not _EVEN <= self.confidence < 1:
            msg = f"`confidence` is from 0.5 to below 1, got {self.confidence!r}"
            raise ConfigurationError(msg)
        if self.max_latency is not None and not self.max_latency > 0:
            msg = f"`max_latency` is in seconds and must be positive, got {self.max_latency!r}"
            raise ConfigurationError(msg)
        if self.dollars_per_day is not None and not nano_dollars(self.dollars_per_day) > 0:
            msg = f"`dollars_per_day` must be positive, got {self.dollars_per_day!r}"
            raise ConfigurationError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an order depends on beside the predictions and the target."""

    weight: float | None = None
    """Quality that a dollar is worth, as the target's quality takes it; `None`: not known yet."""
    pace: float | None = None
    """Likewise, as what is left for the day takes it."""
    least_gain: float | None = None
    """With a `strong_share`, what asking the strongest has to gain."""
    tied: float = 1.0
    """The share of requests with just that gain that go to the strongest."""
    draw: float | None = None
    """From 0 to below 1, for a call that may explore."""
    stays_with: str | None = None
    """Who answered the conversation before, if it stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An order in which to ask, and what decided it."""

    names: tuple[str, ...]
    propensity: float
    """How likely it was that the first is the first."""
    reasons: tuple[str, ...]


def ranked(predictions: Sequence[Prediction], target: Target, terms: Terms = Terms()) -> Verdict:
    """Whom to ask, the first choice first; the others in the order in which they would follow.

    Args:
        predictions: At least one.
        target: What is wanted.
        terms: What else it depends on.
    """
    best = max(predictions, key=lambda each: (each.quality, -_cost(each)))
    order, reasons = _by_target(predictions, best, target, terms)
    if terms.pace is not None:
        frugal = _by_utility(predictions, terms.pace)
        if _cost(frugal[0]) < _cost(order[0]):
            order = frugal
            reasons = ("what is left of the day's dollars asks for a cheaper model",)
    stays = next((each for each in order if each.name == terms.stays_with), None)
    if stays is not None:
        reasons = ("the conversation stays with its model",)
        return _told(_first(stays, order), best, 1.0, reasons)
    if not target.explore or terms.draw is None:
        return _told(order, best, 1.0, reasons)
    usual, even = order[0], target.explore / len(order)
    if terms.draw < target.explore:
        drawn = order[min(len(order) - 1, int(terms.draw / target.explore * len(order)))]
        order = _first(drawn, order)
        reasons = ("it was drawn at random, to learn of it",)
    likely = even + (1 - target.explore) * (order[0] is usual)
    return _told(order, best, likely, reasons)


def _by_target(
    predictions: Sequence[Prediction], best: Prediction, target: Target, terms: Terms
) -> tuple[list[Prediction], tuple[str, ...]]:
    if target.strong_share is not None and terms.least_gain is not None:
        needed = best.quality if _gains(gain(predictions), terms) else 0.0
    elif terms.weight is not None:
        told = f"a dollar is worth {terms.weight:.3g} of quality, as known outcomes have it"
        return _by_utility(predictions, terms.weight), (told,)
    else:
        needed = target.quality * best.quality
    good = sorted((each for each in predictions if each.quality >= needed), key=_by_cost)
    others = sorted((each for each in predictions if each.quality < needed), key=_by_quality)
    return [*good, *others], (f"{needed:.2f} is enough",)


def _gains(gained: float, terms: Terms) -> bool:
    """Whether a request is among those that gain the most; the draw tells equal ones apart."""
    if terms.least_gain is None or abs(gained - terms.least_gain) > _EQUAL:
        return terms.least_gain is None or gained > terms.least_gain
    return math.fmod((terms.draw or 0.0) * _SPREAD, 1.0) < terms.tied


def gain(predictions: Sequence[Prediction]) -> float:
    """How much better the best is expected to be than the cheapest."""
    cheapest = min(predictions, key=_by_cost)
    return max(each.quality for each in predictions) - cheapest.quality


def strengths(
    rates: Mapping[str, Rates | None], declared: Mapping[str, float | None]
) -> dict[str, float]:
    """How good each model is before anything was learnt: as declared, else by its price.

    The cheapest is 0, the dearest 1, between them by the logarithm; 0.5 where no price tells.
    """
    usual = TokenUsage(input_tokens=1_000, output_tokens=300)
    paid = {name: rate.cost(usual) for name, rate in rates.items() if rate is not None}
    cheapest = min((cost for cost in paid.values() if cost), default=10)
    # One that is free is a little cheaper than all others.
    costs = {name: math.log(cost or cheapest / 10) for name, cost in paid.items()}
    low, high = min(costs.values(), default=0.0), max(costs.values(), default=0.0)
    return {
        name: stated
        if stated is not None
        else (costs[name] - low) / (high - low)
        if name in costs and high > low
        else 0.5
        for name, stated in declared.items()
    }


def prior_quality(strength: float, complexity: float) -> float:
    """How likely a good answer is before anything was learnt: weak models fail on hard requests.

    The numbers are set by hand: with a `quality` of 0.95 the weakest model is asked up to a
    complexity of about a third.
    """
    return 1.0 / (1.0 + math.exp(_STEEP * complexity * (1.0 - strength) - _CERTAIN))


def _told(
    order: Sequence[Prediction], best: Prediction, propensity: float, why: tuple[str, ...]
) -> Verdict:
    first = order[0]
    learnt = (
        f"{first.trust:.0%} of it learnt" if first.trust else "by the prior, nothing was learnt"
    )
    reasons = [f"{first.name} is expected to be good with {first.quality:.2f}, {learnt}", *why]
    if first.name != best.name:
        reasons.append(f"{best.name} is expected to be better, with {best.quality:.2f}")
    if first.dollars is not None:
        reasons.append(f"it is expected to cost ${first.dollars:.6f}")
    return Verdict(
        names=tuple(each.name for each in order), propensity=propensity, reasons=tuple(reasons)
    )


def _first(one: Prediction, order: Sequence[Prediction]) -> list[Prediction]:
    return [one, *(each for each in order if each is not one)]


def _by_utility(predictions: Sequence[Prediction], weight: float) -> list[Prediction]:
    def loss(each: Prediction) -> tuple[float, float]:
        price = math.inf if each.cost is None else weight * each.cost / NANO
        return price - each.quality, _cost(each)

    return sorted(predictions, key=loss)


def _cost(each: Prediction) -> float:
    return math.inf if each.cost is None else each.cost


def _by_cost(each: Prediction) -> tuple[float, float]:
    return _cost(each), -each.quality


def _by_quality(each: Prediction) -> tuple[float, float]:
    return -each.quality, _cost(each)

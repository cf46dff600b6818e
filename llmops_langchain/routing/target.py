"""What a router is to achieve, and who should be asked for it: pure functions over predictions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.models import TokenUsage
from llmops_langchain.models.rates import Rates
from llmops_langchain.routing.decision import Prediction

__all__ = ["Target", "Verdict", "prior_quality", "ranked", "strengths"]

_CERTAIN, _STEEP = 4.0, 4.0
"""Log-odds of a good answer by the strongest model, and how much they fall for the weakest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What you want of a router: good enough at the lowest price, or a share of the strongest.

    Args:
        quality: Ask the cheapest model whose answer is expected to be at least so good, as a share
            of the best expected.
        strong_share: Instead, give this share of the calls to the strongest model: those that
            gain the most by it.
        max_latency: Seconds; a model that took longer of late is left out.

    Raises:
        ConfigurationError: If a share is not between 0 and 1, or a number makes no sense.
    """

    quality: float = 0.95
    strong_share: float | None = None
    max_latency: float | None = None

    def __post_init__(self) -> None:
        for name in ("quality", "strong_share"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                msg = f"`{name}` is a share between 0 and 1, got {share!r}"
                raise ConfigurationError(msg)
        if self.max_latency is not None and not self.max_latency > 0:
            msg = f"`max_latency` is in seconds and must be positive, got {self.max_latency!r}"
            raise ConfigurationError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An order in which to ask, and what decided it."""

    names: tuple[str, ...]
    reasons: tuple[str, ...]


def ranked(
    predictions: Sequence[Prediction], target: Target, *, least_gain: float | None = None
) -> Verdict:
    """Whom to ask, the first choice first; the others in the order in which they would follow.

    Args:
        predictions: At least one.
        target: What is wanted.
        least_gain: With a `strong_share`, what asking the strongest has to gain.
    """
    best = max(predictions, key=lambda each: (each.quality, -_cost(each)))
    needed = target.quality * best.quality
    if target.strong_share is not None and least_gain is not None:
        gained = gain(predictions)
        needed = best.quality if gained >= least_gain else 0.0
    good = sorted((each for each in predictions if each.quality >= needed), key=_by_cost)
    others = sorted((each for each in predictions if each.quality < needed), key=_by_quality)
    order = [*good, *others]
    return Verdict(names=tuple(each.name for each in order), reasons=_told(order[0], best, needed))


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
    costs = {
        name: math.log(rate.cost(usual))
        for name, rate in rates.items()
        if rate and rate.cost(usual)
    }
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


def _told(first: Prediction, best: Prediction, needed: float) -> tuple[str, ...]:
    learnt = (
        f"{first.trust:.0%} of it learnt" if first.trust else "by the prior, nothing was learnt"
    )
    reasons = [f"{first.name} is expected to be good with {first.quality:.2f}, {learnt}"]
    if first.name != best.name:
        reasons.append(
            f"{needed:.2f} is enough; {best.name} is expected to be better, with "
            f"{best.quality:.2f}, and costs more"
        )
    if first.dollars is not None:
        reasons.append(f"it is expected to cost ${first.dollars:.6f}")
    return tuple(reasons)


def _cost(each: Prediction) -> float:
    return math.inf if each.cost is None else each.cost


def _by_cost(each: Prediction) -> tuple[float, float]:
    return _cost(each), -each.quality


def _by_quality(each: Prediction) -> tuple[float, float]:
    return -each.quality, _cost(each)

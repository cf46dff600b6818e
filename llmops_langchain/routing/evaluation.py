"""Is routing worth it? Measured on known outcomes that the guesses did not learn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.models import dollars
from llmops_langchain.routing.blending import blended
from llmops_langchain.routing.frontier import (
    cheapest,
    expected_calibration_error,
    gain_curve,
    improvement,
    told,
)
from llmops_langchain.routing.quality import Prompts, QualityModel
from llmops_langchain.routing.weights import FRUGAL, Known, calibrated, picks

__all__ = ["Dataset", "Evaluation", "ModelScore", "evaluated"]

Floats = NDArray[np.float64]

_DRAWS = 300
"""Samples of the bootstrap."""

_INTERVAL = (0.05, 0.95)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Prompts with the outcomes of every model."""

    names: tuple[str, ...]
    prompts: Prompts
    scores: Floats
    """0 to 1, shape `(prompts, models)`."""
    costs: Floats
    """Dollars that were paid, of the same shape."""
    expected_costs: Floats
    """Dollars that are expected beforehand."""
    priors: Floats
    """Quality before anything was learnt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScore:
    """One model, asked everything."""

    name: str
    quality: float
    """Mean score, 0 to 1."""
    cost: Decimal
    """US dollars of one call on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What routing is worth on a dataset; each prompt was guessed without its own outcomes."""

    prompts: int
    models: tuple[ModelScore, ...]
    """The cheapest first."""
    quality: float
    """Mean score of the routed answers, with the weight of a dollar found on the other half."""
    cost: Decimal
    """US dollars of one routed call on average."""
    target: float
    """The share of the best model's quality that was wanted."""
    kept: float
    """The share of it that was kept."""
    apgr: float
    """Mean share of the best model's gain over the cheapest; 0.5 is a draw."""
    cpt50: float
    """Share of calls to the best model that half of its gain takes."""
    cpt80: float
    aiq: float
    """Mean quality over the range of the models' costs."""
    cost_at_95: float
    """Cost of 95 % of the best model's quality, over what that model costs; best hindsight."""
    static_at_95: float
    """The same for the best draw between single models, in hindsight too."""
    ece: float
    """How far expected quality is from what was seen, 0 to 1."""
    saved: float
    """Share of the cost of the best draw between single models of the same quality."""
    low: float
    """5 % of bootstrap samples have less."""
    high: float
    """5 % have more."""

    @property
    def is_worth_it(self) -> bool:
        """Whether routing costs less than the best draw between single models, for sure."""
        return self.low > 0

    @property
    def advice(self) -> str:
        """What to do, in a sentence."""
        if self.is_worth_it:
            return (
                f"route: it saves {self.saved:.0%} ({self.low:.0%} to {self.high:.0%}) of what "
                "single models of the same quality cost"
            )
        needed = self.target * max(each.quality for each in self.models)
        name = next(each.name for each in self.models if each.quality >= needed)
        return (
            f"do not route: asking {name} alone does as well, as far as {self.prompts} prompts tell"
        )

    def __str__(self) -> str:
        rows = [(each.name, f"{each.quality:.3f}", f"${each.cost:.6f}") for each in self.models]
        rows.append(("routed", f"{self.quality:.3f}", f"${self.cost:.6f}"))
        table = told(("model", "quality", "a call"), rows)
        figures = (
            f"APGR {self.apgr:.3f}, CPT50 {self.cpt50:.0%}, CPT80 {self.cpt80:.0%}, "
            f"AIQ {self.aiq:.3f}, ECE {self.ece:.3f}"
        )
        costs = (
            f"95 % of the best quality for {self.cost_at_95:.0%} of the best model's cost, "
            f"{self.static_at_95:.0%} without routing"
        )
        return f"{table}\n{figures}\n{costs}\n{self.advice}"


def evaluated(
    data: Dataset,
    *,
    target: float = 0.95,
    confidence: float = 0.75,
    folds: int = 5,
    seed: int = 0,
) -> Evaluation:
    """What routing would have been worth, by cross-validation.

    Args:
        data: At least two prompts for each fold, and two models.
        target: Share of the best model's quality that is wanted.
        confidence: How sure to be that it is kept.
        folds: Into how many parts the prompts are divided.
        seed: Of that division and of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data.scores))
    expected = _honest(data, np.array_split(order, folds))
    weak, best = _ends(data)
    ranking = expected[:, best] - expected[:, weak]
    apgr, cpt50, cpt80 = gain_curve(ranking, data.scores[:, weak], data.scores[:, best])
    routed = _routed(data, expected, np.array_split(order, 2), target, confidence)
    quality, cost = _of(data.scores, routed), _of(data.costs, routed)
    points = _points(data, expected)
    single = np.column_stack([data.scores.mean(axis=0), data.costs.mean(axis=0)])
    needed, whole = 0.95 * single[best, 0], max(float(single[best, 1]), 1e-12)
    saved = _saved(data, quality, cost, rng)
    return Evaluation(
        prompts=len(data.scores),
        models=_models(data),
        quality=float(quality.mean()),
        cost=_dollars(float(cost.mean())),
        target=target,
        kept=float(quality.mean() / max(single[best, 0], 1e-12)),
        apgr=apgr,
        cpt50=cpt50,
        cpt80=cpt80,
        aiq=improvement(points, float(single[:, 1].min()), float(single[:, 1].max())),
        cost_at_95=cheapest(points, needed) / whole,
        static_at_95=cheapest(single, needed) / whole,
        ece=expected_calibration_error(expected.ravel(), data.scores.ravel()),
        saved=saved[0],
        low=saved[1],
        high=saved[2],
    )


def _honest(data: Dataset, parts: Sequence[NDArray[np.intp]]) -> Floats:
    """Quality of each model for each prompt, by what was learnt from the other parts."""
    expected = np.empty_like(data.scores)
    for part in parts:
        others = np.setdiff1d(np.arange(len(data.scores)), part)
        scores: Mapping[str, Floats] = {
            name: data.scores[others, at] for at, name in enumerate(data.names)
        }
        model = QualityModel.fit(data.prompts.rows(others), scores, data.names)
        told, numbers = model.predict(data.prompts.rows(part)), np.array([float(len(others))])
        usual, trust = data.priors[others].mean(axis=0), told.trust[:, np.newaxis]
        expected[part], _ = blended(told.mean, model.base, numbers, data.priors[part], usual, trust)
    return expected


def _routed(
    data: Dataset,
    expected: Floats,
    halves: Sequence[NDArray[np.intp]],
    target: float,
    confidence: float,
) -> NDArray[np.intp]:
    """Whom each prompt goes to, with the weight of a dollar that the other half tells."""
    chosen = np.empty(len(expected), np.intp)
    for here, there in (halves, tuple(reversed(halves))):
        known = Known(
            expected[there],
            data.scores[there],
            np.ones_like(expected[there]),
            data.expected_costs[there],
        )
        weight = calibrated(known, target, confidence=confidence)
        costs = data.expected_costs[here]
        chosen[here] = (
            _cheapest_enough(expected[here], costs, target)
            if weight is None
            else picks(expected[here], costs, weight)
        )
    return chosen


def _cheapest_enough(expected: Floats, costs: Floats, target: float) -> NDArray[np.intp]:
    """The cheapest that is expected to do, where too little is known to weigh a dollar."""
    enough = expected >= target * expected.max(axis=1, keepdims=True)
    return np.asarray(np.argmin(np.where(enough, costs, np.inf), axis=1), np.intp)


def _points(data: Dataset, expected: Floats) -> Floats:
    """Quality and cost for each weight of a dollar, and those of single models."""
    dearest = max(float(data.costs.mean(axis=0).max()), 1e-12)
    weights = [0.0, *np.geomspace(1e-3, 1e4, 60) / dearest, FRUGAL]
    rows = [
        (float(_of(data.scores, at).mean()), float(_of(data.costs, at).mean()))
        for weight in weights
        for at in (picks(expected, data.expected_costs, weight),)
    ]
    single = zip(data.scores.mean(axis=0).tolist(), data.costs.mean(axis=0).tolist(), strict=True)
    return np.array([*rows, *single])


def _saved(
    data: Dataset, quality: Floats, cost: Floats, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Share saved against the best draw between single models, and a bootstrap interval."""
    number = len(quality)
    draws = rng.multinomial(number, np.full(number, 1 / number), _DRAWS) / number
    told_apart = np.vstack([np.full(number, 1 / number), draws])
    qualities, costs = told_apart @ data.scores, told_apart @ data.costs
    routed = np.column_stack([told_apart @ quality, told_apart @ cost])
    shares = [
        1.0 - paid / max(cheapest(np.column_stack([one, two]), min(had, one.max())), 1e-12)
        for one, two, (had, paid) in zip(qualities, costs, routed, strict=True)
    ]
    low, high = np.quantile(shares[1:], _INTERVAL).tolist()
    return float(shares[0]), low, high


def _models(data: Dataset) -> tuple[ModelScore, ...]:
    made = [
        ModelScore(name=name, quality=quality, cost=_dollars(cost))
        for name, quality, cost in zip(
            data.names,
            data.scores.mean(axis=0).tolist(),
            data.costs.mean(axis=0).tolist(),
            strict=True,
        )
    ]
    return tuple(sorted(made, key=lambda each: each.cost))


def _ends(data: Dataset) -> tuple[int, int]:
    """The cheapest model, and the best; of equally good ones the dearer."""
    quality, cost = data.scores.mean(axis=0), data.costs.mean(axis=0)
    best = int(np.lexsort((cost, quality))[-1])
    return int(cost.argmin()), best


def _of(table: Floats, columns: NDArray[np.intp]) -> Floats:
    return np.asarray(table[np.arange(len(table)), columns], np.float64)


def _dollars(cost: float) -> Decimal:
    return dollars(round(cost * 10**9))

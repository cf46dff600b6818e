"""What is wanted of a router, and what it does about it."""

from dataclasses import fields
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from routed import choices, large, small

from llmops_langchain import LLMOps, ModelRouter, Target
from llmops_langchain.routing import Prediction
from llmops_langchain.routing.health import Health
from llmops_langchain.routing.learner import Learner
from llmops_langchain.routing.logbook import Logbook
from llmops_langchain.routing.target import Terms, ranked
from llmops_langchain.routing.weights import FRUGAL, Known, affordable, calibrated, doubly_robust

RNG = np.random.default_rng(0)

shares = st.floats(0, 1)
weights = st.none() | st.floats(0, 1e6)
predictions = st.lists(
    st.tuples(shares, st.integers(0, 10**9) | st.none()), min_size=1, max_size=5
).map(
    lambda told: [
        Prediction(
            name=f"m{at}",
            quality=quality,
            cost=cost,
            latency=None,
            trust=0.0,
            input_tokens=1,
            output_tokens=1,
        )
        for at, (quality, cost) in enumerate(told)
    ]
)
terms = st.builds(
    Terms,
    weight=weights,
    pace=weights,
    least_gain=st.none() | shares,
    draw=st.none() | st.floats(0, 1, exclude_max=True),
    stays_with=st.none() | st.sampled_from(["m0", "m1", "gone"]),
)
targets = st.builds(Target, quality=shares, strong_share=st.none() | shares, explore=shares)


@given(predictions, targets, terms)
def test_an_order_has_everybody_once_and_repeats_itself(predictions, target, terms) -> None:
    verdict = ranked(predictions, target, terms)
    assert sorted(verdict.names) == sorted(each.name for each in predictions)
    assert 0 < verdict.propensity <= 1
    assert ranked(predictions, target, terms) == verdict
    if terms.stays_with in verdict.names:
        assert verdict.names[0] == terms.stays_with


@given(predictions, targets, terms)
def test_the_chances_to_be_first_add_up(predictions, target, terms) -> None:
    if not target.explore or terms.stays_with is not None:
        return
    likely: dict[str, float] = {}
    for draw in np.linspace(0, 1, 400, endpoint=False).tolist():
        told = {each.name: getattr(terms, each.name) for each in fields(terms)}
        verdict = ranked(predictions, target, Terms(**{**told, "draw": draw}))
        likely[verdict.names[0]] = verdict.propensity
    reached = sum(likely.values())
    # A share below what 400 draws tell apart may not be reached.
    assert 1 - target.explore - 1e-9 <= reached <= 1 + 1e-9


@given(predictions, shares, st.floats(0, 1e3), st.floats(0, 1e3))
def test_a_dollar_that_weighs_more_never_buys_a_dearer_model(predictions, share, one, other):
    light, heavy = sorted((one, other))
    cost = {each.name: float("inf") if each.cost is None else each.cost for each in predictions}
    target = Target(quality=share)
    first, second = (
        ranked(predictions, target, Terms(weight=weight)).names[0] for weight in (light, heavy)
    )
    assert cost[second] <= cost[first] * (1 + 1e-9)


def test_a_decision_is_reproducible_from_its_record() -> None:
    router = ModelRouter(*choices(small(), large()), target=Target(explore=0.5))
    seen = set()
    for number in range(40):
        decision = router.decide(f"question {number}")
        again = type(decision).from_dict(decision.to_dict(), router.choices)
        assert again == decision
        verdict = ranked(list(again.predicted.values()), Target(explore=0.5), Terms(**again.terms))
        assert verdict.names == tuple(each.name for each in decision.ranked)
        assert verdict.propensity == decision.propensity
        seen.add((decision.choice.name, decision.propensity))
    assert seen == {("small", 0.75), ("large", 0.25)}


def known(number: int, *, asked: float = 1.0) -> Known:
    """Two models: the dear one is right nine times in ten, the cheap one on every second prompt."""
    hard = RNG.random(number) < 0.5
    expected = np.column_stack([np.where(hard, 0.3, 0.95), np.full(number, 0.9)])
    scores = (RNG.random((number, 2)) < expected).astype(float)
    propensities = np.full((number, 2), asked)
    if asked < 1:
        first = RNG.random(number) < asked
        scores = np.where(np.column_stack([first, ~first]), scores, np.nan)
        propensities = np.column_stack([np.full(number, asked), np.full(number, 1 - asked)])
    return Known(expected, scores, propensities, np.tile([0.001, 0.01], (number, 1)))


@pytest.mark.parametrize("asked", [1.0, 0.5])
def test_a_weight_keeps_the_share_it_was_found_for(asked: float) -> None:
    for share in (0.8, 0.95):
        weight = calibrated(known(2_000, asked=asked), share, confidence=0.9)
        fresh = known(20_000)
        picked = np.argmax(fresh.expected - weight * fresh.costs, axis=1)
        kept = fresh.scores[np.arange(20_000), picked].mean() / fresh.scores[:, 1].mean()
        assert kept >= share - 0.01
        assert picked.mean() < 0.6


def test_too_little_is_no_basis_for_a_weight() -> None:
    assert calibrated(known(50), 0.95, confidence=0.9) is None


def test_what_was_not_asked_is_worth_what_is_expected() -> None:
    seen = known(4_000, asked=0.5)
    assert np.allclose(doubly_robust(seen).mean(axis=0), seen.expected.mean(axis=0), atol=0.05)
    wrong = Known(seen.expected * 0.5, seen.scores, seen.propensities, seen.costs)
    # Guesses that are wrong are put right by what was seen.
    assert np.allclose(doubly_robust(wrong).mean(axis=0), seen.expected.mean(axis=0), atol=0.05)


def test_what_is_affordable_falls_with_what_is_left() -> None:
    seen = known(500)
    weights = [affordable(seen.expected, seen.costs, dollars) for dollars in (1, 0.005, 0.001, 0)]
    assert weights[0] == 0
    assert weights == sorted(weights)
    assert weights[-1] == FRUGAL


def test_dear_models_are_asked_less_the_less_is_left_of_the_day(clock) -> None:
    clock.now = clock.now // 86_400 * 86_400  # midnight

    def talk(dollars: float | None) -> tuple[int, float]:
        usage = {"input_tokens": 1_000, "output_tokens": 1_000, "total_tokens": 2_000}
        made = choices(small(usage=usage), large(usage=usage))
        logbook = Logbook(Learner(clock), Health(clock), clock=clock)
        target = Target(quality=0.99, dollars_per_day=dollars)
        router = ModelRouter(*made, target=target, logbook=logbook)
        for number in range(240):
            clock.advance(360)
            router.bind(complexity=(number * 37 % 100) / 100).invoke("word " * 1_000)
        calls = [each.model.calls for each in made]
        return calls[1], (calls[0] * 3_000 + calls[1] * 30_000) / 1e6

    free, spent_freely = talk(None)
    clock.now = clock.now // 86_400 * 86_400 + 86_400
    bounded, spent = talk(2.0)
    assert spent_freely > 4
    assert spent < 2.2
    assert 0 < bounded < free


def test_a_targets_quality_is_calibrated_once_enough_is_known() -> None:
    with LLMOps("sqlite://") as ops:
        router = ops.router(*choices(small(), large()))
        assert "weight" not in router.decide("poem").terms
        router.learn(_rows(150))
        decision = router.decide("What is 7 plus 8?")
        assert decision.terms["weight"] > 0
        assert decision.choice.name == "small"
        assert router.decide("Translate poem 99").choice.name == "large"
        # Another router of the pool knows at once what its own target takes.
        assert ops.router(*choices(small(), large()), target=0.5).decide("poem").terms["weight"] > 0


def test_exploration_asks_others_too_and_says_how_likely_that_was() -> None:
    router = ModelRouter(*choices(small(), large()), target=Target(explore=0.2))
    for number in range(300):
        run_id = UUID(int=number)
        router.invoke("hello", {"run_id": run_id})
        decision = router.explain(run_id)
        assert decision.propensity == pytest.approx(0.9 if decision.choice.name == "small" else 0.1)
    assert 10 < router.choices[1].model.calls < 60


def _rows(number: int) -> list[dict[str, Any]]:
    """Sums are for everybody, poems for the large model."""
    rows = []
    for at in range(number):
        scores = {"small": float(at % 10 == 0), "large": 1.0}
        rows.append({"prompt": f"Translate poem {at}", "scores": scores})
        rows.append({"prompt": f"What is {at} plus {at}?", "scores": {"small": 1, "large": 1}})
    return rows

"""Is routing worth it? What a router says of known outcomes, and of what it saved."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from routed import choices, large, rows, small

from llmops_langchain import ConfigurationError, LLMOps, ModelChoice, ModelRouter, Target
from llmops_langchain.routing.frontier import (
    cheapest,
    expected_calibration_error,
    gain_curve,
    improvement,
)


def test_where_prompts_tell_models_apart_routing_is_worth_it() -> None:
    router = ModelRouter(*choices(small(), large()))
    found = router.evaluate(rows(400))
    assert found.is_worth_it
    assert found.advice.startswith("route: it saves")
    assert found.apgr > 0.65
    assert found.cpt50 < 0.4
    assert found.kept > 0.93
    assert 0.4 < found.cost_at_95 < 0.8
    assert found.cost_at_95 < found.static_at_95
    assert found.low <= found.saved <= found.high
    assert [each.name for each in found.models] == ["small", "large"]
    assert found.models[0].cost < found.cost < found.models[1].cost
    assert found.ece < 0.1
    assert found.advice in str(found)
    assert router.evaluate(rows(400)) == found
    assert router.decide("Translate poem 3").predicted["small"].trust == 0  # nothing was learnt


def test_where_they_do_not_it_says_so() -> None:
    found = ModelRouter(*choices(small(), large())).evaluate(rows(400, gains=False))
    assert not found.is_worth_it
    assert "do not route" in found.advice
    assert "small" in found.advice


def test_costs_that_were_paid_win_over_those_expected() -> None:
    router = ModelRouter(*choices(small(), large()))
    told = [{**row, "costs": {"small": "0.5", "large": 2}} for row in rows(40)]
    assert [each.cost for each in router.evaluate(told).models] == [Decimal("0.5"), Decimal(2)]


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ({"prompt": "x"}, "no `prompt` and `scores`"),
        ({"prompt": "x", "scores": {"other": 1}}, "no choice"),
        ({"prompt": "x", "scores": {"small": 2}}, "between 0 and 1"),
        ({"prompt": "x", "scores": {"small": 1}}, "no score of 'large'"),
    ],
)
def test_rows_that_make_no_sense_are_named(odd: dict[str, Any], told: str) -> None:
    router = ModelRouter(*choices(small(), large()))
    with pytest.raises(ConfigurationError, match=told):
        router.evaluate([*rows(40), odd])
    if told != "no score of 'large'":
        with pytest.raises(ConfigurationError, match="row 1"):
            router.learn([odd])


def test_an_evaluation_needs_something_to_go_by() -> None:
    with pytest.raises(ConfigurationError, match="20 rows"):
        ModelRouter(*choices(small(), large())).evaluate(rows(5))
    unpriced = [ModelChoice(small()), ModelChoice(large())]
    with pytest.raises(ConfigurationError, match="price"):
        ModelRouter(*unpriced, allow_unpriced=True).evaluate(rows(40))


def test_longer_answers_than_expected_do_not_cost_quality() -> None:
    usage = {"input_tokens": 1_000, "output_tokens": 900, "total_tokens": 1_900}
    with LLMOps("sqlite://") as ops:
        router = ops.router(*choices(small(usage=usage), large(usage=usage)), target=0.9)
        router.learn(rows(400))
        before = router.decide("Translate poem 7").terms["weight"]
        for prompt in ("What is 7 plus 7?", "Translate poem 8", "Translate poem 9"):
            router.invoke(prompt)
        assert router.decide("Translate poem 7").choice.name == "large"
        assert router.decide("Translate poem 7").terms["weight"] < before


def test_what_routing_would_spare_is_what_it_spares() -> None:
    usage = {"input_tokens": 1_000, "output_tokens": 500, "total_tokens": 1_500}
    with LLMOps("sqlite://") as ops:
        router = ops.router(*choices(small(usage=usage), large(usage=usage)), target=0.9)
        assert router.expected_savings() is None
        router.learn(rows(400))
        for row in rows(200):
            router.invoke(row["prompt"])
        found = router.expected_savings()
        assert (found.model, found.provider, found.prompts) == ("large", "tested", 400)
        cheap, dear = (each.model.calls for each in router.choices)
        truth = 1 - (cheap * 2_000 + dear * 20_000) / (200 * 20_000)
        assert found.share == pytest.approx(truth, rel=0.15)
        assert 0.3 < found.low <= found.share <= found.high
        assert 0.9 <= found.kept < 1.02


def test_savings_are_told_against_the_best_single_model() -> None:
    usage = {"input_tokens": 1_000, "output_tokens": 500, "total_tokens": 1_500}
    with LLMOps("sqlite://") as ops:
        router = ops.router(*choices(small(usage=usage), large(usage=usage)), target=0.9)
        assert router.savings() is None
        router.learn(rows(400))
        for row in rows(200):
            answer = router.invoke(row["prompt"])
            mark = answer.response_metadata["llmops_route"]
            router.feedback(mark["run_id"], row["scores"][mark["choice"]])
        found = router.savings(days=1)
        assert (found.calls, found.judged) == (200, 200)
        assert found.single == "large"
        asked = [each.model.calls for each in router.choices]
        assert found.cost * 10**6 == asked[0] * 2_000 + asked[1] * 20_000
        assert found.low <= found.saved <= found.high
        assert found.saved > 0.1 * float(found.single_cost)
        assert abs(found.quality - found.single_quality) < 0.06
        assert "saved $" in str(found)


def test_a_cascade_is_not_what_a_single_model_would_have_cost() -> None:
    usage = {"input_tokens": 1_000, "output_tokens": 300, "total_tokens": 1_300}
    with LLMOps("sqlite://") as ops:
        made = choices(small(usage=usage), large(usage=usage))
        router = ops.router(*made, verify=lambda answer: "large" in answer.text)
        for number in range(60):
            router.invoke(f"question {number}")
        found = router.savings()
        asked = [each.model.calls for each in made]
        assert asked[0] > 0  # until it was learnt that its answers are refused
        assert found.cost * 10**6 == asked[0] * 1_600 + asked[1] * 16_000
        assert found.single == "large"
        assert found.single_cost < found.cost
        assert found.saved < 0


def test_the_dearest_model_is_no_measure_where_a_cheap_one_is_as_good() -> None:
    """Who always asks the cheap one has saved nothing against asking the cheap one."""
    with LLMOps("sqlite://") as ops:
        router = ops.router(*choices(small(), large()), target=Target(explore=0.2))
        for number in range(200):
            answer = router.invoke(f"What is {number} plus {number}?")
            router.feedback(answer.response_metadata["llmops_route"]["run_id"], 1.0)
        found = router.savings()
        assert found.single == "small"
        assert found.saved <= 0  # exploring costs something


def test_figures_of_a_ranking_are_what_they_are_defined_to_be() -> None:
    weak, strong = np.array([1.0, 0.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0, 1.0])
    best = gain_curve(np.array([0.0, 1.0, 0.0, 1.0]), weak, strong)
    assert best == pytest.approx(((0.5 + 1 + 1 + 1) / 4, 0.25, 0.5))
    assert gain_curve(np.zeros(4), strong, weak) == (0.5, 0.5, 0.8)
    points = np.array([[0.5, 1.0], [1.0, 3.0]])
    assert cheapest(points, 0.75) == pytest.approx(2.0)
    assert cheapest(points, 2.0) == float("inf")
    assert improvement(points, 1.0, 3.0) == pytest.approx(0.75, abs=0.01)
    assert expected_calibration_error(np.array([0.2, 0.8]), np.array([0.0, 1.0])) == pytest.approx(
        0.2
    )

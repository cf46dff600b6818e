"""What is learnt of outcomes: who is good at what, in bounds, and never from nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import CountingModel

from llmops_langchain import ModelChoice, ModelRouter
from llmops_langchain.embeddings import HashedEmbeddings
from llmops_langchain.routing.quality import LANDMARKS, Prompts, QualityModel

RNG = np.random.default_rng(0)


def prompts(number: int, width: int = 8) -> Prompts:
    vectors = RNG.normal(size=(number, width))
    return Prompts(
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True), RNG.normal(size=(number, 3))
    )


def test_who_is_good_at_what_is_learnt_from_single_outcomes() -> None:
    asked, new = prompts(600), prompts(200)
    scores = {
        "code": np.where(asked.vectors[:, 0] > 0, 0.9, 0.2),
        "law": np.where(asked.vectors[:, 0] > 0, 0.2, 0.9),
    }
    went = RNG.random(600) < 0.5
    seen = {
        "code": np.where(went, scores["code"], np.nan),
        "law": np.where(went, np.nan, scores["law"]),
    }
    mean = QualityModel.fit(asked, seen, ["code", "law"]).predict(new).mean
    right = (mean[:, 0] > mean[:, 1]) == (new.vectors[:, 0] > 0)
    assert right.mean() > 0.9


def test_more_rows_than_landmarks_are_learnt_of_too() -> None:
    asked = prompts(LANDMARKS + 500)
    truth = (asked.vectors[:, 0] > 0).astype(float)
    mean = QualityModel.fit(asked, {"m": truth}, ["m"]).predict(asked).mean[:, 0]
    assert np.corrcoef(mean, truth)[0, 1] > 0.8


def test_a_model_that_nobody_asked_has_the_mean_of_all() -> None:
    asked = prompts(100)
    model = QualityModel.fit(asked, {"a": np.full(100, 0.7)}, ["a", "b"])
    assert model.predict(prompts(5)).mean[:, 1] == pytest.approx(0.7)


def test_trust_falls_away_from_what_was_learnt() -> None:
    asked = prompts(100)
    model = QualityModel.fit(asked, {"a": RNG.random(100)}, ["a"])
    near = model.predict(asked).trust
    far = model.predict(Prompts(np.zeros((1, 8)), np.full((1, 3), 99.0)))
    assert np.quantile(near, 0.05) > 0.99
    assert far.trust[0] < 0.9


@settings(max_examples=25)
@given(st.sampled_from([0.0, 0.5, 1.0, -3.0, 7.0]), st.integers(1, 60))
def test_constant_or_odd_scores_stay_in_bounds(score: float, number: int) -> None:
    asked = prompts(number)
    mean = QualityModel.fit(asked, {"a": np.full(number, score)}, ["a"]).predict(asked).mean
    assert np.isfinite(mean).all()
    assert ((mean >= 0) & (mean <= 1)).all()


def test_old_outcomes_count_less() -> None:
    asked = prompts(40)
    both = Prompts(np.tile(asked.vectors, (2, 1)), np.tile(asked.features, (2, 1)))
    scores = np.repeat([0.0, 1.0], 40)
    even = QualityModel.fit(both, {"a": scores}, ["a"]).predict(asked).mean.mean()
    drifted = QualityModel.fit(both, {"a": scores}, ["a"], counts=np.repeat([0.1, 1.0], 40))
    assert drifted.predict(asked).mean.mean() > even + 0.2


def test_a_router_changes_its_mind_by_what_it_is_told() -> None:
    made = [
        ModelChoice(
            CountingModel(model_name=name), input_per_million=price, output_per_million=price
        )
        for name, price in (("small", 1), ("large", 10))
    ]
    router = ModelRouter(*made, embeddings=HashedEmbeddings())
    assert router.decide("Translate this poem").choice.name == "small"
    for number in range(60):
        router.learn(
            [
                {"prompt": f"Translate poem {number}", "scores": {"small": 0.0, "large": 1.0}},
                {"prompt": f"What is {number} plus {number}?", "scores": {"small": 1, "large": 1}},
            ]
        )
    decision = router.decide("Translate poem 99")
    assert decision.choice.name == "large"
    assert decision.predicted["small"].trust > 0.35
    assert router.decide("What is 7 plus 8?").choice.name == "small"


def test_what_is_said_of_a_row_left_out_is_what_a_fit_without_it_says() -> None:
    asked = prompts(30)
    scores = (np.arange(30) % 3 == 0).astype(float)
    counts = np.ones(30)
    whole = QualityModel.fit(asked, {"a": scores}, ["a"], counts=counts)
    counts[7] = 1e-9
    without = QualityModel.fit(asked, {"a": scores}, ["a"], counts=counts)
    alone = without.predict(asked.rows(slice(7, 8))).mean
    assert np.allclose(whole.left_out[7], alone, atol=0.08)
    assert not np.allclose(
        whole.left_out[7], whole.predict(asked.rows(slice(7, 8))).mean, atol=1e-6
    )

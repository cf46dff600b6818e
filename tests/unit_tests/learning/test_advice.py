"""Predictions, estimates and suggestions name what they rest on, and say when they do not know."""

import math
from collections.abc import Iterator
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain import ConfigurationError, LLMOps
from llmops_langchain.learning import Learning

TASK = "Migrate the billing service to the new queue"


@pytest.fixture
def learning() -> Iterator[Learning]:
    with LLMOps("sqlite://") as ops:
        yield ops.learning


def learn(learning: Learning, number: int, **said: object) -> None:
    told = {"project_id": f"p{number}", "task_description": TASK, "success": True, "ts": number}
    learning.learn(**told | said)


def test_nothing_learnt_is_nothing_known(learning) -> None:
    found = learning.predict_success(TASK, ["python"])
    assert not found.known
    assert 0 <= found.low <= found.probability <= found.high <= 1
    assert found.high - found.low > 0.5
    assert (found.evidence, found.risks, found.n_effective) == ((), (), 0)
    assert not learning.estimate(TASK).known
    assert math.isnan(learning.estimate(TASK).value)
    assert learning.suggest("p") == []


def test_a_prediction_is_a_probability_with_an_interval() -> None:
    with LLMOps("sqlite://") as ops:

        @given(outcomes=st.lists(st.booleans(), max_size=12))
        def holds(outcomes: list[bool]) -> None:
            with ops.track(workspace=uuid4().hex):  # nothing is known there yet
                for number, success in enumerate(outcomes):
                    learn(ops.learning, number, success=success)
                before = ops.learning.predict_success(TASK)
                assert 0 <= before.low <= before.probability <= before.high <= 1
                assert 0 <= before.confidence <= 1
                learn(ops.learning, 99, success=True)
                after = ops.learning.predict_success(TASK)
                assert after.probability >= before.probability - 1e-9

        holds()


def test_the_same_task_by_the_same_model_says_most(learning) -> None:
    for number in range(12):
        learn(learning, number, model="good", success=True)
        learn(learning, 100 + number, model="bad", success=False)
    good = learning.predict_success(TASK, model="good")
    bad = learning.predict_success(TASK, model="bad")
    assert good.probability > 0.7
    assert bad.probability < 0.3
    assert good.known
    assert good.base_rate == pytest.approx(0.5, abs=0.05)
    known = {match.experience.id for match in learning.similar(TASK, k=50)}
    assert set(good.evidence) <= known


def test_risks_are_how_similar_runs_failed(learning) -> None:
    for number in range(10):
        is_late = number < 4
        learn(learning, number, success=not is_late, failure="timeout" if is_late else None)
    learn(learning, 50, success=False, failure="refused")
    first, second = learning.predict_success(TASK).risks
    assert (first.category, second.category) == ("timeout", "refused")
    assert first.share == pytest.approx(4 / 11, abs=0.05)
    assert len(first.evidence) == 4


def test_a_filter_narrows_what_a_prediction_rests_on(learning) -> None:
    for number in range(10):
        learn(learning, number, success=number < 5, agent="a" if number < 5 else "b")
    assert learning.predict_success(TASK, filter={"agent": "a"}).base_rate > 0.6
    with pytest.raises(ConfigurationError):
        learning.predict_success(TASK, filter={"colour": "red"})
    with pytest.raises(ConfigurationError):
        learning.estimate(TASK, filter={"colour": "red"})


def test_an_estimate_is_the_median_of_the_like_with_an_interval(learning) -> None:
    for number in range(40):
        learn(learning, number, metrics={"completion_time": 100 + number})
    found = learning.estimate(TASK)
    assert 80 <= found.low <= found.value <= found.high <= 200
    assert 110 <= found.value <= 139
    assert found.n_effective > 5
    assert found.known
    assert len(found.evidence) == 10
    assert not learning.estimate(TASK, metric="cost").known


def test_the_like_count_more_than_the_rest(learning) -> None:
    for number in range(40):
        learn(learning, number, metrics={"completion_time": 100 + number})
        other = "Draw a poster for the summer party"
        learn(learning, 100 + number, task_description=other, metrics={"completion_time": 9_000})
    assert learning.estimate(TASK).value < 200
    assert learning.estimate("Draw posters for a party").value == 9_000


def test_what_separates_success_from_failure_is_suggested_with_its_runs(learning) -> None:
    random = np.random.default_rng(1)
    for number in range(60):
        tested = number % 2 == 0
        learn(
            learning,
            number,
            task_description=f"{TASK} of tenant {number}",
            success=bool(random.random() < (0.95 if tested else 0.2)),
            tools=["pytest"] if tested else ["shell"],
            steps=["plan", "write"],
        )
    found = learning.suggest(task=TASK)
    do = next(each for each in found if each.kind == "do")
    avoid = next(each for each in found if each.kind == "avoid")
    assert (do.about, avoid.about) == (("tool", "pytest"), ("tool", "shell"))
    assert 0 < do.low <= do.effect <= do.high <= 1
    assert "pytest" in do.text
    assert do.evidence
    assert ("step", "plan") not in [each.about for each in found]  # all have it


def test_a_project_is_not_told_what_it_does_already(learning) -> None:
    for number in range(60):
        tested = number % 2 == 0
        learn(learning, number, success=tested, tools=["pytest"] if tested else [])
    assert [each.about for each in learning.suggest("p1")] == [("tool", "pytest")]
    assert learning.suggest("p0") == []


def test_how_similar_runs_failed_is_a_lesson(learning) -> None:
    for number in range(6):
        failed = number < 3
        learn(
            learning,
            number,
            success=not failed,
            failure="timeout" if failed else None,
            lessons=["Ask for fewer rows."] if failed else [],
        )
    (lesson,) = learning.suggest("p5")
    assert (lesson.kind, lesson.about) == ("lesson", ("failure", "timeout"))
    assert lesson.lessons == ("Ask for fewer rows.",)
    assert lesson.low <= lesson.effect <= lesson.high < 0
    assert len(lesson.evidence) == 3


def test_chance_is_seldom_a_suggestion() -> None:
    found = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        with LLMOps("sqlite://") as ops:
            for number in range(40):
                tools = [name for name in "abcdef" if random.random() < 0.5]
                success = bool(random.random() < 0.5)
                learn(ops.learning, number, success=success, tools=tools)
            found += bool(ops.learning.suggest("p1"))
    assert found <= 4  # of 20 searches for what is not there


def test_advice_needs_something_to_be_about(learning) -> None:
    with pytest.raises(ConfigurationError, match="project_id"):
        learning.suggest()
    assert learning.suggest("nobody") == []
    learn(learning, 1)
    assert learning.suggest("p1") == []  # nothing without evidence

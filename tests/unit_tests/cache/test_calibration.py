"""What labels allow: what opens, what closes, who counts for how much, and what never happens."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, cycle, islice
from math import comb, exp, fsum, log

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from llmops_langchain.cache.calibration import (
    Bound,
    Calibration,
    Label,
    Standing,
    decides_to_ask,
)
from llmops_langchain.cache.evidence import upper_bound
from llmops_langchain.errors import ConfigurationError

BOUND = Bound(max_error=0.05, shipped_threshold=0.8, floor=0.5)
LOOSE = Bound(max_error=0.3, confidence=0.8, shipped_threshold=0.8, floor=0.5)
ALONE = replace(BOUND, start="shipped", sampling=0.0)
"""Nobody judges."""

people = st.none() | st.sampled_from(["ann", "bob"])
labels = st.builds(
    Label,
    score=st.sampled_from([0.3, 0.5, 0.55, 0.7, 0.8, 0.85, 0.99, 1.0]),
    correct=st.booleans() | st.just(value=True),
    source=st.sampled_from(["shadow", "shadow", "review", "feedback"]),
    by=people,
    ts=st.just(0.0),
)
runs = st.builds(lambda label, times: [label] * times, labels, st.integers(1, 25))
histories = st.lists(runs, max_size=14).map(lambda parts: list(chain.from_iterable(parts)))
bounds = st.sampled_from([LOOSE, replace(LOOSE, start="shipped"), replace(ALONE, max_error=0.3)])


def shadow(score: float = 0.9, *, correct: bool = True) -> Label:
    return Label(score, correct, "shadow", None, 0.0)


def said(by: str | None, *, correct: bool = False) -> Label:
    return Label(0.9, correct, "feedback", by, 0.0)


def reviewed(by: str | None, *, correct: bool) -> Label:
    return Label(0.9, correct, "review", by, 0.0)


def after(bound: Bound, *parts: Iterable[Label]) -> Standing:
    calibration = Calibration(bound)
    for label in chain(*parts):
        calibration.add(label)
    return calibration.standing()


OPEN = [shadow()] * 80
"""As many as open `BOUND`."""


@pytest.mark.parametrize(("max_error", "needed"), [(0.05, 78), (0.02, 198), (0.01, 398)])
def test_so_many_correct_labels_open(max_error, needed) -> None:
    bound = replace(BOUND, max_error=max_error)
    assert after(bound).needed == needed
    assert after(bound, [shadow()] * (needed - 1)).state == "shadow"
    opened = after(bound, [shadow()] * needed)
    assert (opened.state, opened.needed, opened.wrong) == ("calibrated", None, 0)
    assert opened.error_upper < max_error


def test_before_there_is_evidence_nothing_is_served_and_all_is_asked() -> None:
    standing = after(BOUND)
    assert (standing.state, standing.threshold, standing.sampling) == ("shadow", None, 1.0)
    assert (standing.labels, standing.error_upper, standing.suspicion) == (0, 1.0, 0.0)


def test_the_shipped_threshold_serves_from_the_beginning_if_asked_to() -> None:
    bound = replace(BOUND, start="shipped")
    standing = after(bound)
    assert (standing.state, standing.threshold, standing.needed) == ("shipped", 0.8, 78)
    assert standing.sampling == 0.1
    seen = after(bound, [shadow(0.8)] * 80)
    assert (seen.state, seen.threshold) == ("calibrated", 0.8)


def test_where_nothing_was_seen_nothing_is_served() -> None:
    """Questions that were only typed otherwise prove nothing about the others."""
    sure = [shadow(1.0)] * 300
    assert after(BOUND, sure).threshold == 1.0
    assert after(BOUND, sure, [shadow(0.82)] * 19).threshold == 1.0
    assert after(BOUND, sure, [shadow(0.82)] * 20).threshold == 0.82
    assert after(replace(BOUND, start="shipped"), sure).state == "shipped"


def test_the_threshold_goes_down_as_far_as_the_labels_reach() -> None:
    lower = [shadow(score, correct=score > 0.6) for score in (0.9, 0.7, 0.55)]
    standing = after(BOUND, islice(cycle(lower), 600))
    assert standing.state == "calibrated"
    assert 0.55 < standing.threshold <= 0.7


def test_where_the_shipped_threshold_is_too_low_a_stricter_one_is_found() -> None:
    mixed = [shadow(0.97), shadow(0.85, correct=False)]
    standing = after(BOUND, islice(cycle(mixed), 400))
    assert standing.state == "calibrated"
    assert 0.85 < standing.threshold <= 0.97


def test_without_a_shipped_threshold_all_are_tested_alike() -> None:
    bound = replace(BOUND, shipped_threshold=1.01, start="shipped")
    assert after(bound).state == "shadow"
    assert after(bound, [shadow(0.9)] * 150).threshold <= 0.9


def test_a_label_counts_for_the_threshold_it_reaches() -> None:
    assert after(BOUND, [shadow(0.8)] * 78).state == "calibrated"
    assert after(BOUND, [shadow(0.7999)] * 78).state == "shadow"


def test_bad_weeks_need_not_be_outweighed_but_cost_something() -> None:
    bound = replace(BOUND, shipped_threshold=1.0, floor=1.0)
    bad = islice(cycle([shadow(1.0), shadow(1.0, correct=False)]), 1_000)
    assert 2 * after(bound).needed < after(bound, bad).needed < 350


def test_what_was_shown_stays_so_while_lower_thresholds_are_tested() -> None:
    low = [shadow(0.55, correct=False)] * 3
    wrong = [shadow(correct=False)] * 2
    parts = [low, OPEN, wrong, [shadow(0.55)] * 60]
    opened = [after(BOUND, *parts[:n]).state for n in (2, 3, 4)]
    assert opened == ["calibrated"] * 3


def test_wrong_labels_close_and_new_evidence_opens_again() -> None:
    bad = [Label(0.9, correct=False, source="shadow", by=None, ts=7.0)] * 4
    closed = after(BOUND, OPEN, bad)
    assert (closed.state, closed.threshold, closed.sampling) == ("closed", None, 1.0)
    assert (closed.closed_at, closed.times_closed) == (7.0, 1)
    assert (closed.labels, closed.needed) == (0, 78)
    again = after(BOUND, OPEN, bad, OPEN)
    assert (again.state, again.times_closed, again.closed_at) == ("calibrated", 1, 7.0)


def test_signs_of_drift_have_more_asked_again() -> None:
    quiet, worried = (after(BOUND, OPEN, [shadow(correct=False)] * n) for n in (0, 2))
    assert quiet.sampling == 0.1
    assert worried.state == "calibrated"
    assert 0.5 < worried.sampling <= 0.9
    assert after(BOUND, OPEN, [shadow(correct=False)] * 2, OPEN).sampling == 0.1


def test_who_wants_nothing_asked_again_gets_that() -> None:
    bound = replace(BOUND, sampling=0.0)
    assert after(bound, OPEN, [said(f"user-{n}") for n in range(5)]).sampling == 0.0


def test_feedback_does_not_open() -> None:
    bound = replace(BOUND, start="shipped")
    praise = [said(by, correct=True) for by in (None, *map(str, range(500)))]
    assert after(bound, praise * 2).state == "shipped"


def test_reviewers_open_where_there_is_no_judge() -> None:
    assert after(BOUND, [reviewed(None, correct=True)] * 80).state == "calibrated"


@pytest.mark.parametrize("liars", [1, 1_000])
def test_no_number_of_liars_closes_what_judges_find_right(liars) -> None:
    lies = [said(f"user-{n % liars}") for n in range(1_000)]
    standing = after(BOUND, OPEN, *([lie, lie, shadow()] for lie in lies))
    assert (standing.state, standing.times_closed) == ("calibrated", 0)
    assert standing.sampling == (0.1 if liars == 1 else 0.5)


def test_judges_go_on_closing_while_users_praise() -> None:
    praise = [said(f"user-{n}", correct=True) for n in range(100)]
    bad = [shadow(correct=False)] * 12
    assert after(BOUND, OPEN, praise, *zip(bad, praise, strict=False)).times_closed == 1


def test_few_complaints_among_many_served_are_no_suspicion() -> None:
    """A tenth is judged: 80 labels stand for 720 answers, of which 8 called wrong are few."""
    calm = after(BOUND, OPEN, *([said(f"user-{n}"), *[shadow()] * 10] for n in range(8)))
    assert (calm.suspicion, calm.sampling) == (0.0, 0.1)


def test_where_nobody_judges_complaints_close() -> None:
    praise = [said(None, correct=True)] * 30
    complaints = [said(f"user-{n % 3}") for n in range(9)]
    assert after(ALONE, praise, complaints[:8]).state == "shipped"
    assert after(ALONE, praise, complaints).state == "closed"


def test_one_person_neither_closes_nor_keeps_open_alone() -> None:
    lies, praise = [said("eve")] * 1_000, [said("eve", correct=True)] * 1_000
    lied_to = after(ALONE, [said(None, correct=True)] * 30, lies)
    assert (lied_to.state, lied_to.suspicion) == ("shipped", 0.0)
    true = [said(f"user-{n}") for n in range(20)]
    others = [said(f"user-{n}", correct=True) for n in range(20)]
    spoken = chain.from_iterable([complaint, *praise[:30]] for complaint in true)
    assert after(ALONE, others, spoken).times_closed == 1


def test_after_a_calm_a_person_counts_again() -> None:
    ann, bob, calm = [said("ann")] * 3, [said("bob")], [shadow()] * 60
    once, twice = after(BOUND, OPEN, ann, bob), after(BOUND, OPEN, ann, bob, ann)
    again = after(BOUND, OPEN, ann, bob, calm, ann, bob)
    assert once.suspicion == twice.suspicion == again.suspicion > 0


@pytest.mark.parametrize("max_error", [0.05, 0.02, 0.01])
def test_one_reviewer_neither_opens_nor_closes_nor_keeps_open(max_error) -> None:
    bound = replace(BOUND, max_error=max_error)
    enough = [shadow()] * after(bound).needed
    good, bad = ([reviewed("eve", correct=correct)] * 1_000 for correct in (True, False))
    assert after(bound, good).needed == len(enough) - 3
    assert after(bound, enough, bad).state == "calibrated"
    wrong = [shadow(correct=False)] * 12
    assert after(bound, enough, good, *zip(wrong, good, strict=False)).times_closed == 1


def test_a_standing_can_be_read() -> None:
    texts = {str(after(bound)) for bound in (BOUND, replace(BOUND, start="shipped"))}
    texts |= {str(after(BOUND, OPEN)), str(after(BOUND, OPEN, [shadow(correct=False)] * 10))}
    first_words = {text.partition(":")[0] for text in texts}
    assert first_words == {"shadow", "shipped", "calibrated", "closed"}
    assert "served from 0.9 on, at most 0.05 wrong at confidence 0.95" in str(after(BOUND, OPEN))
    assert "78 more correct labels" in str(after(BOUND))


def test_evidence_is_told_by_source() -> None:
    spoken = [said("ann"), said("bob", correct=True), reviewed("ann", correct=False)]
    standing = after(BOUND, OPEN, spoken)
    assert standing.evidence == {"shadow": (80, 0), "review": (0, 1), "feedback": (1, 1)}
    assert (standing.labels, standing.wrong) == (81, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_error": 0.0},
        {"confidence": 1.0},
        {"sampling": 1.1},
        {"floor": -0.1},
        {"shipped_threshold": 0.4},
        {"start": "open"},
        {"max_error": float("nan")},
    ],
    ids=str,
)
def test_a_bound_that_makes_no_sense_is_refused(wrong) -> None:
    with pytest.raises(ConfigurationError, match=f"`{next(iter(wrong))}` must be"):
        replace(BOUND, **wrong)


@given(bounds, histories, st.integers(0, 100))
def test_the_same_labels_come_to_the_same_standing(bound, history, looks_every) -> None:
    calibration = Calibration(bound)
    for number, label in enumerate(history):
        calibration.add(label)
        if looks_every and number % looks_every == 0:
            calibration.standing()
    assert calibration.standing() == after(bound, history)
    assert calibration.threshold == calibration.standing().threshold
    assert calibration.sampling == calibration.standing().sampling


@given(bounds, histories, labels.filter(lambda label: not label.correct))
def test_one_more_wrong_label_opens_nothing(bound, history, wrong) -> None:
    before, now = after(bound, history), after(bound, history, [wrong])
    assert now.threshold in (before.threshold, None)


@given(bounds, histories, labels.filter(lambda label: label.correct))
@example(replace(ALONE, max_error=0.3), [said(str(n)) for n in range(19)], said(None, correct=True))
def test_one_more_correct_label_closes_nothing(bound, history, correct) -> None:
    before, now = after(bound, history), after(bound, history, [correct])
    assert now.times_closed == before.times_closed
    assert (before.threshold is None) or (now.threshold is not None)
    assert now.suspicion <= before.suspicion


@given(bounds, histories, labels, st.data())
def test_scores_below_the_floor_say_nothing(bound, history, label, data) -> None:
    at = data.draw(st.integers(0, len(history)))
    below = label._replace(score=0.49)
    assert after(bound, history[:at], [below], history[at:]) == after(bound, history)


@given(bounds, histories)
def test_a_standing_keeps_within_its_limits(bound, history) -> None:
    standing = after(bound, history)
    assert 0 <= standing.suspicion <= 1
    assert standing.threshold is not None or standing.sampling == 1
    assert standing.threshold is None or 0 <= standing.sampling <= 0.9
    assert (standing.needed is None) == (standing.state == "calibrated")
    assert (standing.closed_at is None) == (standing.times_closed == 0)
    assert standing.wrong <= standing.labels <= len(history)


@given(histories)
def test_as_many_as_are_needed_open_and_not_one_less(history) -> None:
    needed = after(LOOSE, history).needed
    assume(needed is not None)
    assert after(LOOSE, history, [shadow(1.0)] * (needed - 1)).state in ("shadow", "closed")
    assert after(LOOSE, history, [shadow(1.0)] * needed).state == "calibrated"


@given(histories, st.sampled_from([{"confidence": 0.95}, {"max_error": 0.2}]))
def test_who_asks_for_more_is_not_served_sooner(history, more) -> None:
    drawn = [label for label in history if label.source == "shadow"]
    strict, loose = after(replace(LOOSE, **more), drawn), after(LOOSE, drawn)
    assume(not strict.times_closed and not loose.times_closed)
    assert strict.threshold is None or loose.threshold is not None


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 900), st.integers(1, 900), st.floats(0.5, 0.999))
@example(0, 59, 0.95)
@example(900, 1, 0.999)
def test_the_upper_bound_is_where_so_few_wrong_ones_are_that_improbable(
    wrong, correct, confidence
) -> None:
    """The definition by Clopper and Pearson, with the binomial distribution summed up."""
    labels, rate = wrong + correct, upper_bound(wrong, wrong + correct, confidence)
    parts = [_binomial(labels, k, rate) for k in range(wrong + 1)]
    assert fsum(parts) == pytest.approx(1 - confidence, rel=1e-6)


def _binomial(n: int, k: int, p: float) -> float:
    return exp(log(comb(n, k)) + k * log(p) + (n - k) * log(1 - p))


def test_the_upper_bound_of_published_tables() -> None:
    assert upper_bound(0, 0, 0.95) == upper_bound(5, 5, 0.95) == 1.0
    found = [round(upper_bound(k, 100, 0.95), 4) for k in (0, 1, 2, 5)]
    assert found == [0.0295, 0.0466, 0.0616, 0.1023]
    assert upper_bound(3, 1_000_000, 0.95) == pytest.approx(7.7537e-6, rel=1e-3)


@given(st.floats(0, 1), st.floats(0, 1.5), st.floats(1e-3, 0.9), st.floats(0.5, 0.999))
@example(1.0, 1.0, 0.05, 0.95)
@example(0.5, 0.5, 0.05, 0.95)
@example(0.0, 1.01, 0.05, 0.95)
def test_every_bound_can_be_reached(floor, shipped, max_error, confidence) -> None:
    assume(shipped >= floor)
    bound = Bound(
        max_error=max_error, confidence=confidence, shipped_threshold=shipped, floor=floor
    )
    needed = after(bound).needed
    standing = after(bound, [shadow(1.0)] * needed)
    assert (standing.state, standing.labels) == ("calibrated", needed)
    assert floor <= standing.threshold <= 1


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_who_is_asked_at_one_share_is_asked_at_every_larger_one(name, one, other) -> None:
    assert decides_to_ask(name, min(one, other)) <= decides_to_ask(name, max(one, other))
    assert decides_to_ask(name, one) == decides_to_ask(name.encode(), one)
    assert (decides_to_ask(name, 0), decides_to_ask(name, 1)) == (False, True)


def test_the_share_is_what_it_says() -> None:
    asked = sum(decides_to_ask(f"run-{n}", 0.1) for n in range(20_000))
    assert 1_870 < asked < 2_130  # three standard deviations

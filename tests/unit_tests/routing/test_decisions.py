"""Who may be asked, who is asked first, and what a decision says of itself."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from models import CountingModel

from llmops_langchain import (
    ConfigurationError,
    Limits,
    ModelChoice,
    ModelRouter,
    NoCandidateError,
    Target,
    count_tokens,
)
from llmops_langchain.clock import system_clock
from llmops_langchain.routing.features import FEATURES, complexity, features_of
from llmops_langchain.routing.health import Health
from llmops_langchain.routing.learner import Learner
from llmops_langchain.routing.logbook import Logbook

IMAGE = HumanMessage([{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}])


def choice(name: str, price: float = 1.0, **options: Any) -> ModelChoice:
    model = CountingModel(model_name=name)
    return ModelChoice(model, input_per_million=price, output_per_million=price, **options)


def look(place: str) -> str:
    """Look there."""
    return place


@pytest.mark.parametrize(
    ("lacks", "asked", "tools", "why"),
    [
        ({"tools": False}, "hello", [look], "tools"),
        ({"images": False}, [IMAGE], [], "images"),
        ({"max_input_tokens": 5}, "word " * 100, [], "context"),
        ({"provider": "elsewhere"}, "hello", [], "provider"),
        ({"region": "us"}, "hello", [], "region"),
    ],
)
def test_who_cannot_serve_is_left_out_with_the_reason(lacks, asked, tools, why: str) -> None:
    limits = Limits(allowed_providers={"tested"}, allowed_regions={"eu"})
    here = {"provider": "tested", "region": "eu"}
    router = ModelRouter(
        choice("unfit", 0.1, **{**here, **lacks}), choice("fit", 9, **here), limits=limits
    )
    decision = router.decide(asked, tools=tools)
    assert decision.choice.name == "fit"
    assert [(each.name, each.why) for each in decision.excluded] == [("unfit", why)]
    assert decision.to_dict()["excluded"][0]["told"]


def test_an_unknown_price_is_no_basis_for_a_choice_unless_allowed() -> None:
    unpriced = ModelChoice(CountingModel(model_name="unpriced"))
    with pytest.raises(NoCandidateError, match="no price"):
        ModelRouter(unpriced).decide("hello")
    assert ModelRouter(unpriced, allow_unpriced=True).decide("hello").choice is unpriced
    both = ModelRouter(unpriced, choice("priced", strength=0.5), allow_unpriced=True)
    assert both.decide("hello").choice.name == "priced"


def test_harder_requests_go_to_stronger_models() -> None:
    router = ModelRouter(choice("a", 0.1), choice("b", 1), choice("c", 10))
    order = [router.decide("hello", complexity=hard / 10).choice.name for hard in range(11)]
    assert order == sorted(order)
    assert {"a", "b", "c"} == set(order)
    assert router.select_optimal_model("hello", 0.0).choice.name == "a"


def test_a_share_of_strong_calls_is_kept() -> None:
    router = ModelRouter(choice("weak", 1), choice("strong", 9), target=Target(strong_share=0.2))
    for n in range(300):
        router.decide("x", complexity=1.0)  # a question what would be changes nothing
        router.bind(complexity=(n * 37 % 100) / 100).invoke("x")
    calls = [each.model.calls for each in router.choices]
    assert 0.15 < calls[1] / sum(calls) < 0.25


def test_equal_requests_share_the_strongest_too() -> None:
    router = ModelRouter(choice("weak", 1), choice("strong", 9), target=Target(strong_share=0.2))
    for _ in range(400):
        router.bind(complexity=0.8).invoke("x")
    weak, strong = (each.model.calls for each in router.choices)
    assert 0.13 < strong / (weak + strong) < 0.27


def test_a_free_model_is_not_stronger_than_a_cheap_one() -> None:
    router = ModelRouter(choice("free", 0), choice("cheap", 0.1), choice("dear", 10))
    hard = router.decide("hello", complexity=1.0)
    assert hard.choice.name == "dear"
    told = [hard.predicted[name].quality for name in ("free", "cheap", "dear")]
    assert told == sorted(told)
    assert ModelRouter(choice("free", 0), choice("dear", 10)).decide("x", complexity=1.0).choice


def test_a_model_by_name_is_made_when_it_is_asked_first(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    named = ModelChoice("openai:gpt-4o-mini")
    assert (named.name, named.model_name, named.provider_name) == (
        "gpt-4o-mini",
        "gpt-4o-mini",
        "openai",
    )
    assert named.can("images") is None
    assert ModelRouter(named).decide("hello").predicted["gpt-4o-mini"].cost > 0
    made = named.chat_model()
    assert named.chat_model() is made
    assert named.can("tools") is True
    assert named.replaced(name="other").name == "other"


def test_what_is_bound_to_a_model_goes_with_its_calls() -> None:
    model = CountingModel(model_name="bound")
    bound = ModelChoice(model.bind(temperature=0.5), input_per_million=1, output_per_million=1)
    assert (bound.model, bound.bound, bound.name) == (model, {"temperature": 0.5}, "bound")
    assert ModelRouter(bound).invoke("hello").content == "the answer"
    with pytest.raises(ConfigurationError, match="chat model"):
        ModelChoice(model | (lambda answer: answer))


def test_the_price_of_cached_input_is_the_choices_own() -> None:
    own = choice("own", cached_per_million="0.1").own_rates
    assert (own.input, own.cached) == (1_000_000_000, 100_000_000)


def test_who_is_too_slow_of_late_is_left_out() -> None:
    slow, other = choice("slow"), choice("other", 9)
    health = Health(system_clock)
    health.answered("slow", seconds=3.0, tokens=5)
    logbook = Logbook(Learner(system_clock), health)
    router = ModelRouter(slow, other, target=Target(max_latency=1.0), logbook=logbook)
    decision = router.decide("hello")
    assert [(each.name, each.why) for each in decision.excluded] == [("slow", "latency")]


def test_a_declared_strength_wins_over_the_price() -> None:
    router = ModelRouter(choice("cheap", 0.1, strength=1.0), choice("dear", 10, strength=0.2))
    assert router.decide("hello", complexity=1.0).choice.name == "cheap"


def test_a_decision_says_why_in_words_and_figures() -> None:
    decision = ModelRouter(choice("weak", 1), choice("strong", 9)).decide("hello")
    told = decision.to_dict()
    assert told["choice"] == "weak"
    assert told["ranked"] == ["weak", "strong"]
    assert decision.predicted["weak"].dollars < decision.predicted["strong"].dollars
    assert "hello" not in str(told)
    assert any("expected" in reason for reason in decision.reasons)


def test_targets_that_make_no_sense_are_refused() -> None:
    for options in (
        {"quality": 2},
        {"strong_share": -1},
        {"max_latency": 0},
        {"explore": 1.5},
        {"confidence": 0.2},
        {"dollars_per_day": 0},
    ):
        with pytest.raises(ConfigurationError):
            Target(**options)
    with pytest.raises(ConfigurationError, match="complexity"):
        ModelRouter(choice("a")).bind(complexity=3).invoke("hello")


@given(st.text(max_size=300))
def test_features_are_finite_and_complexity_is_a_share(text: str) -> None:
    features = features_of(text)
    assert features.shape == (len(FEATURES),)
    assert all(map(float.__eq__, features.tolist(), features.tolist()))
    assert 0 <= complexity(text) <= 1


def test_a_long_text_is_read_at_its_ends_and_looks_hard() -> None:
    assert complexity("hello") < 0.3
    assert complexity("Why is it not so? " * 10_000) > 0.9


@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=4),
    st.integers(0, 150),
    st.floats(0, 1),
)
def test_what_is_excluded_is_never_asked_and_a_decision_repeats_itself(windows, words, hard):
    made = [choice(f"m{n}", n + 1, max_input_tokens=size) for n, size in enumerate(windows)]
    router, text = ModelRouter(*made), "word " * words
    if all(count_tokens([HumanMessage(text)], "m") > size for size in windows):
        with pytest.raises(NoCandidateError) as raised:
            router.decide(text)
        assert raised.value.excluded.keys() == {each.name for each in made}
        return
    decision, again = (router.decide(text, complexity=hard) for _ in range(2))
    assert [each.name for each in decision.ranked] == [each.name for each in again.ranked]
    out = {each.name for each in decision.excluded}
    router.bind(complexity=hard).invoke(text)
    asked = {each.name for each in made if each.model.calls}
    assert asked == {decision.choice.name}
    assert not asked & out

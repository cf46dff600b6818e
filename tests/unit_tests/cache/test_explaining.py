"""`cache.explain(model, messages)`: what would happen to a call, and which part of it is new."""

import pytest
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from models import CountingModel

from llmops_langchain.cache import cache_options, cached
from llmops_langchain.ledger import track

ASKED = [SystemMessage("be brief"), HumanMessage("hi"), AIMessage("hello"), HumanMessage("q")]


@pytest.fixture(params=["cached", "set_llm_cache"])
def model(request: pytest.FixtureRequest, cache):
    if request.param == "cached":
        yield cached(CountingModel(), cache)
        return
    set_llm_cache(cache)
    yield CountingModel()
    set_llm_cache(None)


def test_a_call_that_would_be_answered_is_a_hit(model, cache, clock) -> None:
    model.invoke(ASKED)
    clock.advance(12)
    told = cache.explain(model, ASKED)
    assert (told.status, told.age) == ("hit", 12)
    assert cache.stats().hits == 0


def test_where_nothing_is_kept_it_says_so(model, cache) -> None:
    told = cache.explain(model, "q")
    assert (told.status, told.differs) == ("miss", ())


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ([SystemMessage("be kind"), *ASKED[1:]], "system"),
        ([ASKED[0], HumanMessage("hey"), *ASKED[2:]], "history"),
        ([*ASKED[:-1], HumanMessage("another")], "question"),
    ],
)
def test_the_part_that_is_new_is_named(model, cache, changed, part) -> None:
    model.invoke(ASKED)
    told = cache.explain(model, changed)
    assert (told.status, told.differs) == ("miss", (part,))
    assert f"`{part}` differs" in str(told)


def test_parameters_scope_and_model_are_named_too(cache) -> None:
    model = cached(CountingModel(), cache)
    model.invoke("q")
    assert cache.explain(model, "q", stop=["x"]).differs == ("parameters",)
    assert cache.explain(model.bind(tools=[{"name": "t", "parameters": {}}]), "q").differs == (
        "tools",
    )
    assert cache.explain(cached(CountingModel(temperature=1), cache), "q").differs == ("model",)
    with track(workspace="acme"):
        assert cache.explain(model, "q").differs == ("scope",)


def test_an_answer_that_went_stale_is_expired(model, cache, clock) -> None:
    model.invoke("q")
    clock.advance(3600)
    assert cache.explain(model, "q").status == "expired"


def test_a_call_without_a_key_says_why(cache) -> None:
    model = cached(CountingModel(), cache)
    told = cache.explain(model, "q", previous_response_id="r1")
    assert told.status == "no key"
    with cache_options(share="user"):
        assert "names no" in cache.explain(model, "q").reason


def test_what_is_no_model_has_no_key(cache) -> None:
    told = cache.explain(CountingModel().with_retry() | str, "q")
    assert (told.status, "language model" in told.reason) == ("no key", True)

"""`cache.explain(model, messages)`: what would happen to a call, and which part of it is new."""

import pytest
from cryptography.fernet import Fernet
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda
from models import CountingModel

from llmops_langchain import ConfigurationError, ResponseCache
from llmops_langchain.cache import MemoryStore, cache_options, cached
from llmops_langchain.ledger import track

ASKED = [SystemMessage("be brief"), HumanMessage("hi"), AIMessage("hello"), HumanMessage("q")]


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


@pytest.mark.parametrize("wrong", ["gpt-5", RunnableLambda(str), RunnableLambda(str) | str])
def test_what_is_no_model_is_refused(cache, wrong) -> None:
    with pytest.raises(ConfigurationError, match="language model"):
        cache.explain(wrong, "q")


@pytest.mark.parametrize("how", ["bypass", "refresh"])
def test_a_block_that_asks_anyway_is_a_miss(model, cache, how) -> None:
    model.invoke("q")
    with cache_options(**{how: True}):
        assert cache.explain(model, "q").status == "miss"


def test_a_block_for_which_the_answer_is_too_old_is_told_so(model, cache, clock) -> None:
    model.invoke("q")
    clock.advance(60)
    with cache_options(ttl=60):
        assert cache.explain(model, "q").status == "expired"


def test_the_config_says_whose_answer_it_is(cache) -> None:
    model, config = cached(CountingModel(), cache), {"metadata": {"workspace": "acme"}}
    model.invoke("q", config=config)
    assert cache.explain(model, "q", config).status == "hit"
    assert cache.explain(model.with_config(config), "q").status == "hit"
    assert cache.explain(model, "q").differs == ("scope",)


def test_structured_output_is_explained_by_its_model(cache) -> None:
    model = cached(FakeListChatModel(responses=["x"]), cache)
    model.invoke("q")
    assert cache.explain(model | StrOutputParser(), "q").status == "hit"


@pytest.mark.parametrize("way", ["cached", "set_llm_cache"])
def test_text_models_are_explained_too(cache, way) -> None:
    plain = FakeListLLM(responses=["x"])
    model = cached(plain, cache) if way == "cached" else plain
    set_llm_cache(None if way == "cached" else cache)
    model.invoke("q")
    told = cache.explain(model, "q"), cache.explain(model, "other")
    set_llm_cache(None)
    assert [each.status for each in told] == ["hit", "miss"]


def test_a_kept_answer_that_cannot_be_read_is_told_so() -> None:
    store = MemoryStore()
    old, new = (
        ResponseCache(store, encryption_keys=[Fernet.generate_key().decode()]) for _ in "12"
    )
    cached(CountingModel(), old).invoke("q")
    told = new.explain(cached(CountingModel(), new), "q")
    assert (told.status, "kept, but" in told.reason) == ("miss", True)


def test_a_store_that_is_away_is_told(database) -> None:
    cache = ResponseCache(database)
    database.close()
    assert "does not answer" in cache.explain(cached(CountingModel(), cache), "q").reason

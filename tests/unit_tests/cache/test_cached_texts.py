"""`cached(llm)` for text (not chat) models: arguments are in the key, streams are served."""

import pytest
from langchain_core.language_models import FakeListLLM
from text_models import TEXT, AsyncStreaming, Counted, Simple, Streaming

from llmops_langchain import LLMOps
from llmops_langchain.cache import cache_options, cached
from llmops_langchain.ledger import track


def test_an_equal_prompt_is_asked_once(cache) -> None:
    model = cached(Simple(), cache)
    assert [model.invoke("q") for _ in range(3)] == [TEXT] * 3
    assert model.calls == 1


async def test_async_code_shares_the_answer(cache) -> None:
    model = cached(Simple(), cache)
    assert await model.ainvoke("q") == await model.ainvoke("q") == model.invoke("q")
    assert model.calls == 1


@pytest.mark.parametrize("change", [{"temperature": 1.0}, {"stop": ["three"]}, {"seed": 1}])
def test_another_argument_is_another_call(cache, change) -> None:
    model = cached(Simple(), cache)
    model.invoke("q")
    model.invoke("q", **change)
    assert model.calls == 2


def test_another_setting_is_another_model(cache) -> None:
    first, second = (cached(Simple(temperature=heat), cache) for heat in (0, 1))
    first.invoke("q")
    second.invoke("q")
    assert (first.calls, second.calls) == (1, 1)


def test_of_a_batch_only_what_is_new_is_asked(cache) -> None:
    model = cached(Simple(), cache)
    model.invoke("b")
    model.generate(["a", "b", "c"])
    assert model._asked == ["b", "a", "c"]


async def test_of_an_async_batch_only_what_is_new_is_asked(cache) -> None:
    model = cached(Simple(), cache)
    await model.ainvoke("b")
    result = await model.agenerate(["a", "b", "c"])
    assert model._asked == ["b", "a", "c"]
    assert [each[0].text for each in result.generations] == [TEXT] * 3


def test_a_stream_is_asked_once_and_served_in_pieces(cache) -> None:
    model = cached(Streaming(), cache)
    first, second = (list(model.stream("q")) for _ in range(2))
    assert first == second == ["one ", "two ", "three "]
    assert (model.calls, model.invoke("q")) == (1, TEXT)


@pytest.mark.parametrize("model_class", [Streaming, AsyncStreaming])
async def test_an_async_stream_is_asked_once(cache, model_class) -> None:
    model = cached(model_class(), cache)
    for _ in range(2):
        assert [piece async for piece in model.astream("q")] == ["one ", "two ", "three "]
    assert model.calls == 1


async def test_a_model_that_does_not_stream_gives_its_whole_answer(cache) -> None:
    model = cached(Simple(), cache)
    assert list(model.stream("q")) == [TEXT]
    assert [piece async for piece in model.astream("q")] == [TEXT]
    assert model.calls == 1


def test_a_stream_that_is_broken_off_is_not_kept(cache) -> None:
    model = cached(Streaming(), cache)
    stream = model.stream("q")
    next(stream)
    stream.close()
    assert "".join(model.stream("q")) == TEXT
    assert model.calls == 2


def test_an_empty_stream_is_not_kept(cache) -> None:
    model = cached(Streaming(text=""), cache)
    with pytest.raises(ValueError, match="No generation chunks"):
        list(model.stream("q"))
    assert cache.stats().stored == 0


def test_tenants_are_apart(cache) -> None:
    model = cached(Simple(), cache)
    for workspace in ("a", "b", "a"):
        with track(workspace=workspace):
            model.invoke("q")
        model.invoke("q", config={"metadata": {"workspace": workspace}})
    assert model.calls == 2


def test_what_is_not_to_be_cached_is_asked(cache) -> None:
    model = cached(Simple(), cache)
    with cache_options(bypass=True):
        model.invoke("q")
        model.invoke("q")
    assert model.calls == 2


def test_a_binding_is_reached_through(cache) -> None:
    model = cached(Simple().bind(stop=["x"]), cache)
    assert model.invoke("q") == model.invoke("q")
    assert model.bound.calls == 1


def test_hits_of_a_text_model_cost_nothing() -> None:
    with LLMOps("sqlite://") as ops:
        ops.prices.set("counted", input_per_million=1, output_per_million=1)
        model = ops.cached(Counted())
        with ops.track(project="p"):
            model.invoke("q")
            model.invoke("q")
        ops.flush()
        cost = ops.analytics.cost(project="p")
    assert (cost.calls, cost.cache_hits) == (2, 1)
    assert (cost.input_tokens, cost.output_tokens) == (10, 5)


def test_it_stays_what_it_was(cache) -> None:
    plain = FakeListLLM(responses=["x"])
    model = cached(plain, cache)
    assert isinstance(model, FakeListLLM)
    assert (model.lc_id(), model._llm_type) == (plain.lc_id(), plain._llm_type)
    assert plain.cache is None


def test_a_batch_that_begins_with_a_hit_is_billed_for_the_rest() -> None:
    with LLMOps("sqlite://") as ops:
        model = ops.cached(Counted())
        with ops.track(project="warm"):
            model.invoke("a")
        with ops.track(project="batch"):
            model.generate(["a", "b", "c"])
        ops.flush()
        cost = ops.analytics.cost(project="batch")
    assert (cost.calls, cost.cache_hits) == (3, 1)
    assert (cost.input_tokens, cost.output_tokens) == (20, 10)


def test_a_copy_that_core_makes_anew_is_simply_asked(cache) -> None:
    anew = type(cached(Streaming(), cache))()
    assert ["".join(anew.stream("q")), anew.invoke("q")] == [TEXT, TEXT]
    assert anew.calls == 2

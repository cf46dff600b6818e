"""Guarded models: refused before they are asked, settled with what they used, on every path."""

import asyncio
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from conftest import FakeClock
from guarding import ASKED, COST, PRICE, recorded, until_refused
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import ConfigurableField
from models import AsyncModel, AsyncStreamingModel, CountingModel, StreamingModel
from pydantic import BaseModel, Field
from typing_extensions import override

from llmops_langchain import (
    Budget,
    BudgetExceededError,
    BudgetUnavailableError,
    ConfigurationError,
    LLMOps,
    Settings,
    UnpricedModelError,
    UnscopedCallError,
)
from llmops_langchain.callbacks.living import Living
from llmops_langchain.ledger import Scope


@pytest.fixture
def ops(clock: FakeClock) -> Iterator[LLMOps]:
    with LLMOps("sqlite://", Settings(), clock=clock) as made:
        made.prices.set("tested-model", **PRICE)
        yield made


def _invoke(model: Any) -> object:
    return model.invoke(ASKED)


def _stream(model: Any) -> object:
    return list(model.stream(ASKED))


def _ainvoke(model: Any) -> object:
    return asyncio.run(model.ainvoke(ASKED))


def _astream(model: Any) -> object:
    async def read() -> list[object]:
        return [chunk async for chunk in model.astream(ASKED)]

    return asyncio.run(read())


def _batch(model: Any) -> object:
    return model.batch([ASKED])


def _generate(model: Any) -> object:
    return model.generate([ASKED])


PATHS = [
    pytest.param(path, id=path.__name__.strip("_"))
    for path in (_invoke, _stream, _ainvoke, _astream, _batch, _generate)
]
MODELS = [
    pytest.param(kind, id=kind.__name__)
    for kind in (CountingModel, AsyncModel, StreamingModel, AsyncStreamingModel)
]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("ask", PATHS)
@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "metadata alone"])
def test_a_guarded_call_is_one_event_and_settles(
    ops: LLMOps, kind: type[CountingModel], ask: Callable[[Any], object], *, tracked: bool
) -> None:
    ops.budgets.set(Budget(project="p", limit=1))
    model = ops.guard(kind(metadata=None if tracked else {"project": "p"}))
    if tracked:
        with ops.track(project="p"):
            ask(model)
    else:
        ask(model)
    (event,) = recorded(ops)
    assert (event.project, event.status, event.input_tokens) == ("p", "ok", 10)
    status = ops.budgets.get(project="p")
    assert (status.spent, status.reserved) == (COST, 0)
    assert isinstance(model, kind)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("ask", PATHS)
def test_a_call_without_room_is_refused_before_the_model_is_asked(
    ops: LLMOps, kind: type[CountingModel], ask: Callable[[Any], object]
) -> None:
    ops.budgets.set(Budget(project="p", limit="0.000001"))
    plain = kind()
    with ops.track(project="p"), pytest.raises(BudgetExceededError, match="project 'p'"):
        ask(ops.guard(plain))
    assert plain.calls == 0
    (event,) = recorded(ops)
    assert (event.status, event.error_class, event.cost) == ("error", "BudgetExceededError", 0)


def test_without_budgets_nothing_is_in_the_way(ops: LLMOps) -> None:
    ops.guard(CountingModel()).invoke(ASKED)
    (event,) = recorded(ops)
    assert event.reservation_id is None


def test_what_is_set_aside_is_the_input_and_the_longest_answer(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=1))
    seen: list[Decimal] = []
    model = Watching(seen=lambda: seen.append(ops.budgets.get(project="p").reserved))
    with ops.track(project="p"):
        ops.guard(model).invoke(ASKED, max_tokens=100)
        ops.guard(model).invoke(ASKED, max_tokens=100, n=3)
        ops.guard(model).invoke([HumanMessage("word " * 1000)], max_tokens=1)
    counted = Decimal("0.000015")  # about 14 tokens of the question
    assert seen[0] == pytest.approx(Decimal("0.001") + counted, abs=Decimal("0.000003"))
    assert seen[1] == pytest.approx(Decimal("0.003") + counted, abs=Decimal("0.000003"))
    assert seen[2] == pytest.approx(Decimal("0.00102"), abs=Decimal("0.00001"))


def test_the_expected_answer_is_learnt_from_the_models_own(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=1))
    seen: list[Decimal] = []
    model = ops.guard(Watching(seen=lambda: seen.append(ops.budgets.get(project="p").reserved)))
    with ops.track(project="p"):
        for _ in range(11):
            model.invoke(ASKED)
    assert seen[0] > Decimal("0.01")  # 1,024 tokens
    assert seen[-1] < Decimal("0.0001")  # 5, as each answer had


def test_input_that_the_provider_counts_higher_is_corrected(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=1))
    usage = {"input_tokens": 140, "output_tokens": 1, "total_tokens": 141}
    seen: list[Decimal] = []
    told = lambda: seen.append(ops.budgets.get(project="p").reserved)  # noqa: E731 - as short as it can be
    model = ops.guard(Watching(usage=usage, seen=told))
    with ops.track(project="p"):
        for _ in range(2):
            model.invoke(ASKED, max_tokens=1)
    assert seen[0] < Decimal("0.00003")
    assert seen[1] == Decimal("0.00015")  # 140 tokens in, 1 out


def test_a_strict_budget_caps_the_answer(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=1, strict=True))
    capped: list[Any] = []
    model = Watching(kwargs_seen=capped.append, max_tokens=None)
    with ops.track(project="p"):
        ops.guard(model).invoke(ASKED)
        ops.guard(model).invoke(ASKED, max_tokens=7)
    assert [each.get("max_tokens") for each in capped] == [4096, 7]


def test_a_model_that_cannot_be_capped_is_refused_under_a_strict_budget(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=1, strict=True))
    with ops.track(project="p"), pytest.raises(ConfigurationError, match="max_tokens"):
        ops.guard(CountingModel()).invoke(ASKED)


def test_hits_are_free_even_when_the_budget_is_used_up(ops: LLMOps) -> None:
    first, second = CountingModel(), CountingModel(answer="another")
    for model in (ops.cached(ops.guard(first)), ops.guard(ops.cached(second)), ops.wrap(first)):
        ops.cache.clear()
        ops.budgets.set(Budget(project="p", limit=1))
        with ops.track(project="p"):
            model.invoke(ASKED)
            ops.budgets.set(Budget(project="p", limit=0))
            assert model.invoke(ASKED).response_metadata["llmops_cache"]["tier"] == "exact"
            with pytest.raises(BudgetExceededError):
                model.invoke("something new")
    assert (first.calls, second.calls) == (2, 1)
    assert sum(event.cost for event in recorded(ops)) == 3 * 60_000


def test_guarding_changes_no_cache_key(ops: LLMOps) -> None:
    plain = CountingModel()
    models = [ops.cached(plain), ops.wrap(plain), ops.guard(ops.cached(plain))]
    for model in models:
        model.invoke(ASKED)
    assert plain.calls == 1


def test_a_binding_is_reached_through(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=0))
    bound = CountingModel().bind(temperature=0.5)
    with ops.track(project="p"), pytest.raises(BudgetExceededError):
        ops.guard(bound).invoke(ASKED)


def test_a_failed_call_gives_back_what_was_set_aside(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=1))
    model = ops.guard(CountingModel(error=ValueError("refused by the provider")))
    with ops.track(project="p"), pytest.raises(ValueError, match="refused"):
        model.invoke(ASKED)
    status = ops.budgets.get(project="p")
    assert (status.spent, status.reserved) == (0, 0)


@pytest.mark.parametrize("tracked", [True, False])
def test_a_cancelled_ainvoke_is_billed_its_input(ops: LLMOps, *, tracked: bool) -> None:
    ops.budgets.set(Budget(project="p", limit=1))
    model = ops.guard(Hanging(metadata={"project": "p"}))

    async def cancel() -> None:
        asked = asyncio.ensure_future(model.ainvoke(ASKED))
        await Hanging.began.wait()
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked

    async def run() -> None:
        Hanging.began = asyncio.Event()
        if tracked:
            with ops.track(project="p"):
                await cancel()
        else:
            await cancel()

    asyncio.run(run())
    (event,) = recorded(ops)
    assert (event.aborted, event.estimated, event.output_tokens) == (True, True, 0)
    assert event.input_tokens > 5
    status = ops.budgets.get(project="p")
    assert status.spent > 0
    assert status.reserved == 0


def test_of_a_batch_that_fails_the_calls_that_were_made_count(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=1))
    model = ops.guard(FailsLater())
    with ops.track(project="p"), pytest.raises(ValueError, match="second"):
        model.generate([ASKED, [HumanMessage("b")]])
    status = ops.budgets.get(project="p")
    assert (status.spent, status.reserved) == (COST, 0)


@pytest.mark.parametrize("kind", [StreamingModel, AsyncStreamingModel])
@pytest.mark.parametrize("tracked", [True, False])
def test_a_stream_that_is_broken_off_is_billed_as_far_as_it_came(
    ops: LLMOps, kind: type[StreamingModel], *, tracked: bool
) -> None:
    ops.budgets.set(Budget(project="p", limit=1))
    model = ops.guard(kind(metadata={"project": "p"}))

    def read() -> None:
        arriving = model.stream(ASKED)
        next(arriving)
        arriving.close()

    if tracked:
        with ops.track(project="p"):
            read()
    else:
        read()
    (event,) = recorded(ops)
    assert (event.aborted, event.estimated) == (True, True)
    assert event.output_tokens == 2
    assert ops.budgets.get(project="p").reserved == 0


def test_a_text_model_is_guarded_too(clock: FakeClock) -> None:
    with LLMOps("sqlite://", Settings(fallback_price=(1, 10)), clock=clock) as ops:
        ops.budgets.set(Budget(project="p", limit=1))
        model = ops.guard(FakeListLLM(responses=["one", "two"]))
        with ops.track(project="p"):
            model.generate(["a", "b"])
            assert list(model.stream("a"))
            assert asyncio.run(model.ainvoke("a"))
            assert ops.budgets.get(project="p").reserved == 0
            assert ops.budgets.set(Budget(project="p", limit=0)).spent > 0
            for ask in (model.invoke, lambda said: asyncio.run(model.ainvoke(said))):
                with pytest.raises(BudgetExceededError):
                    ask("c")


def test_an_unpriced_model_is_refused_where_a_hard_budget_applies(ops: LLMOps) -> None:
    ops.guard(CountingModel(model_name="unheard-of")).invoke(ASKED)
    ops.budgets.set(Budget(project="p", limit=1))
    with ops.track(project="p"), pytest.raises(UnpricedModelError, match="unheard-of") as refused:
        ops.guard(CountingModel(model_name="unheard-of")).invoke(ASKED)
    assert refused.value.model == "unheard-of"


def test_a_fallback_price_lets_unpriced_models_through(clock: FakeClock) -> None:
    with LLMOps("sqlite://", Settings(fallback_price=(1, 10)), clock=clock) as ops:
        ops.budgets.set(Budget(project="p", limit=1))
        with ops.track(project="p"):
            ops.guard(CountingModel(model_name="unheard-of")).invoke(ASKED)
        assert ops.budgets.get(project="p").spent == COST
        assert recorded(ops)[0].unpriced


def test_a_call_of_nobody_is_refused_once_there_are_hard_budgets(clock: FakeClock) -> None:
    for settings, refused in ((Settings(), True), (Settings(unscoped="allow"), False)):
        with LLMOps("sqlite://", settings, clock=clock) as ops:
            ops.prices.set("tested-model", **PRICE)
            model = ops.guard(CountingModel())
            model.invoke(ASKED)
            ops.budgets.set(Budget(project="p", limit=1))
            if refused:
                with pytest.raises(UnscopedCallError):
                    model.invoke(ASKED)
            else:
                model.invoke(ASKED)


@pytest.mark.parametrize("path", [_invoke, _ainvoke])
def test_a_broken_store_refuses_unless_it_may_not(clock: FakeClock, tmp_path, path) -> None:
    for settings, refused in ((Settings(), True), (Settings(on_store_failure="allow"), False)):
        ops = LLMOps(f"sqlite:///{tmp_path}/a.db", settings, clock=clock)
        ops.prices.set("tested-model", **PRICE)
        ops.budgets.set(Budget(project="p", limit=1))
        model = ops.guard(CountingModel())
        ops.database.close()
        with ops.track(project="p"):
            if refused:
                with pytest.raises(BudgetUnavailableError, match="on_store_failure"):
                    path(model)
            else:
                path(model)
                assert ops._parts.gate.unguarded == 1
        ops.close()


def test_a_cheaper_model_is_asked_when_there_is_no_room(ops: LLMOps) -> None:
    ops.prices.set("cheap", input_per_million="0.01", output_per_million="0.01")
    ops.budgets.set(Budget(project="p", limit="0.001"))
    dear, cheap = StreamingModel(), StreamingModel(model_name="cheap", answer="cheap answer")
    model = ops.guard(dear, downgrade_to=cheap)
    with ops.track(project="p"):
        assert model.invoke(ASKED).content == "cheap answer"
        assert "".join(str(each.content) for each in model.stream(ASKED)).strip() == "cheap answer"
        assert asyncio.run(model.ainvoke(ASKED)).content == "cheap answer"
    assert dear.calls == 0
    assert [event.model for event in recorded(ops)] == ["cheap"] * 3
    assert ops.budgets.get(project="p").reserved == 0


def test_a_cheaper_model_that_does_not_say_its_name_is_priced_as_itself(ops: LLMOps) -> None:
    ops.prices.set("cheap", input_per_million="0.01", output_per_million="0.01")
    ops.budgets.set(Budget(project="p", limit="0.001"))
    nameless = CountingModel(model_name="cheap", metadata_of_answer={"model_name": ""})
    with ops.track(project="p"):
        ops.guard(CountingModel(), downgrade_to=nameless).invoke(ASKED)
    (event,) = recorded(ops)
    assert (event.model, event.cost) == ("cheap", 150)


def test_a_gateway_that_answers_under_a_name_of_its_own_is_priced_as_asked(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=1))
    model = CountingModel(metadata_of_answer={"model_name": "hl-70b-awq"})
    with ops.track(project="p"):
        ops.guard(model).invoke(ASKED)
    (event,) = recorded(ops)
    assert (event.model, event.cost, event.unpriced) == ("hl-70b-awq", 60_000, False)


def test_what_is_learnt_of_a_model_is_known_by_the_name_it_is_asked_by(ops: LLMOps) -> None:
    ops.prices.set("tested-model-2026-01-01", **PRICE)
    ops.budgets.set(Budget(project="p", limit=1))
    seen: list[Decimal] = []
    dated = {"model_name": "tested-model-2026-01-01"}
    told = lambda: seen.append(ops.budgets.get(project="p").reserved)  # noqa: E731 - as above
    model = ops.guard(Watching(metadata_of_answer=dated, seen=told))
    with ops.track(project="p"):
        for _ in range(11):
            model.invoke(ASKED)
    assert seen[-1] < Decimal("0.0001") < seen[0]


def test_one_odd_short_prompt_does_not_make_a_long_one_dear(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=100))
    usage = {"input_tokens": 3_000, "output_tokens": 1, "total_tokens": 3_001}
    seen: list[Decimal] = []
    told = lambda: seen.append(ops.budgets.get(project="p").reserved)  # noqa: E731 - as above
    model = ops.guard(Watching(usage=usage, seen=told))
    with ops.track(project="p"):
        model.invoke("hi", max_tokens=1)
        model.invoke("word " * 10_000, max_tokens=1)
    assert seen[1] == pytest.approx(Decimal("0.013"), abs=Decimal("0.0002"))


def test_a_cap_that_the_call_takes_away_is_none(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=1, strict=True))
    capped: list[Any] = []
    model = Watching(kwargs_seen=capped.append, max_tokens=100)
    with ops.track(project="p"):
        ops.guard(model).invoke(ASKED, max_tokens=None)
    assert capped == [{"max_tokens": 4096}]


def test_the_schema_of_the_answer_is_counted(ops: LLMOps) -> None:
    class Wide(BaseModel):
        """A form with much to say of itself."""

        answer: str = Field(description="word " * 2_000)

    ops.budgets.set(Budget(project="p", limit=1))
    seen: list[Decimal] = []
    model = Watching(seen=lambda: seen.append(ops.budgets.get(project="p").reserved))
    with ops.track(project="p"):
        ops.guard(model).invoke(ASKED, max_tokens=1, response_format=Wide)
    assert seen[0] > Decimal("0.002")


def test_a_model_rebuilt_from_a_guarded_one_is_refused(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=1))
    field = ConfigurableField(id="t")
    model = ops.guard(CountingModel()).configurable_fields(temperature=field)
    with ops.track(project="p"), pytest.raises(ConfigurationError, match="configurable_fields"):
        model.with_config(configurable={"t": 0.5}).invoke(ASKED)


@pytest.mark.parametrize("path", [_invoke, _stream, _ainvoke, _astream])
def test_a_downgraded_call_is_recorded_where_no_handler_is(ops: LLMOps, path) -> None:
    ops.prices.set("cheap", input_per_million="0.01", output_per_million="0.01")
    ops.budgets.set(Budget(project="p", limit="0.001"))
    cheap = StreamingModel(model_name="cheap")
    path(ops.guard(StreamingModel(metadata={"project": "p"}), downgrade_to=cheap))
    (event,) = recorded(ops)
    assert (event.model, event.status, event.input_tokens) == ("cheap", "ok", 10)
    assert ops.budgets.get(project="p").reserved == 0


@pytest.mark.parametrize("tracked", [True, False])
def test_a_call_cancelled_while_it_waits_has_cost_nothing(ops: LLMOps, *, tracked: bool) -> None:
    ops.budgets.set(Budget(project="p", limit="0.02"))
    held = ops._parts.reservations
    held.reserve(held.governing(Scope(project="p")), _amount(15), about={"ts": 0})
    model = ops.guard(AsyncModel(metadata={"project": "p"}), on_full="wait", timeout=30)

    async def run() -> None:
        waiting = asyncio.ensure_future(model.ainvoke(ASKED))
        await until_refused(ops, waiting)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting

    if tracked:
        with ops.track(project="p"):
            asyncio.run(run())
    else:
        asyncio.run(run())
    (event,) = recorded(ops)
    assert (event.cost, event.error_class) == (0, "BudgetError")
    assert ops.analytics.cost(project="p", days=99_999).refused_calls == 1


def test_a_strict_call_that_is_cut_off_counts_with_all_that_was_set_aside(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=1, strict=True))
    with ops.track(project="p"):
        arriving = ops.guard(StreamingModel()).stream(ASKED, max_tokens=100)
        next(arriving)
        arriving.close()
    assert ops.budgets.get(project="p").spent > Decimal("0.001")  # 100 tokens of the answer


def test_leases_of_calls_under_way_are_prolonged() -> None:
    prolonged: list[Any] = []
    living = Living(prolonged.extend, lease=600)
    first, second = uuid4(), uuid4()
    living.begin(first)
    living.begin(second)
    living.end(second)
    now = time.monotonic()
    assert living.round(now + 199)
    assert prolonged == []
    assert living.round(now + 201)
    assert prolonged == [first]
    assert not living.round(now + 8_000)  # nobody believes in it any more
    assert living.rest()
    living.close()


def test_an_error_with_figures_can_be_sent_to_another_process(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit=0))
    with ops.track(project="p"), pytest.raises(BudgetExceededError) as refused:
        ops.guard(CountingModel()).invoke(ASKED)
    again = pickle.loads(pickle.dumps(refused.value))  # noqa: S301 - our own
    assert (str(again), again.limit, again.scope) == (str(refused.value), 0, "project 'p'")
    assert isinstance(pickle.loads(pickle.dumps(UnscopedCallError())), UnscopedCallError)  # noqa: S301 - as above


def test_waiting_ends_when_there_is_room(ops: LLMOps) -> None:
    ops.budgets.set(Budget(project="p", limit="0.02"))
    held = ops._parts.gate._reservations
    reserved = held.reserve(held.governing(Scope(project="p")), _amount(15), about={"ts": 0})
    model = ops.guard(CountingModel(), on_full="wait", timeout=30)

    async def run() -> None:
        with ops.track(project="p"):
            waiting = asyncio.ensure_future(model.ainvoke(ASKED))
            await until_refused(ops, waiting)
            await asyncio.to_thread(held.release, reserved)
            await waiting

    asyncio.run(run())


@pytest.mark.parametrize("path", [_invoke, _ainvoke])
def test_waiting_has_an_end(ops: LLMOps, path) -> None:
    ops.budgets.set(Budget(project="p", limit=0))
    with ops.track(project="p"), pytest.raises(BudgetExceededError):
        path(ops.guard(CountingModel(), on_full="wait", timeout=0))


@pytest.mark.parametrize("wrong", [{"on_full": "panic"}, {"timeout": -1}])
def test_arguments_are_checked(ops: LLMOps, wrong) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        ops.guard(CountingModel(), **wrong)


def test_disabled_everything_passes_through() -> None:
    with LLMOps("sqlite://", Settings(disabled=True)) as ops:
        model = CountingModel()
        assert ops.guard(model) is model
        assert ops.wrap(model) is model


def _amount(millidollars: int) -> Any:
    from llmops_langchain.ledger import Amount

    return Amount(millidollars * 10**6, 0)


class Watching(CountingModel):
    """Lets a test look at the budget while the call is under way."""

    seen: Callable[[], object] = lambda: None
    kwargs_seen: Callable[[Any], object] = lambda _: None
    max_tokens: int | None = None

    @override
    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.seen()
        self.kwargs_seen(kwargs)
        return super()._generate(messages, stop, run_manager, **kwargs)


class FailsLater(CountingModel):
    """The second call fails."""

    @override
    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        if self.calls == 1:
            msg = "the second one"
            raise ValueError(msg)
        return super()._generate(messages, *args, **kwargs)


class Hanging(CountingModel):
    """Never answers."""

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        Hanging.began.set()
        await asyncio.Event().wait()
        raise AssertionError

"""Who answers, what happens when a model fails, and what is counted."""

from collections.abc import Iterator
from contextlib import nullcontext
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.tools import tool
from models import AsyncModel, AsyncStreamingModel, CountingModel, StreamingModel
from pydantic import BaseModel
from routed import (
    EASY,
    AuthenticationError,
    RateLimitError,
    TooLongError,
    choices,
    large,
    small,
)
from typing_extensions import override

from llmops_langchain import (
    Budget,
    BudgetExceededError,
    ConfigurationError,
    LLMOps,
    ModelChoice,
    ModelRouter,
    NoCandidateError,
    NotFoundError,
)


@pytest.fixture
def ops() -> Iterator[LLMOps]:
    with LLMOps("sqlite://") as ops:
        yield ops


def events(ops: LLMOps) -> list[Any]:
    ops.flush()
    with ops.database.begin(read_only=True) as connection:
        rows = connection.exec_driver_sql(
            "select id, run_id, parent_run_id, model, provider, input_tokens, cost, status,"
            " error_class from llmops_events order by ts, id"
        )
        return list(rows.mappings())


def test_an_easy_request_goes_to_the_cheapest_and_a_hard_one_to_the_best() -> None:
    router = ModelRouter(*choices(small(), large()))
    assert router.invoke(EASY).content == "by the small one"
    assert router.bind(complexity=0.9).invoke(EASY).content == "by the large one"
    assert router.invoke(EASY).response_metadata["llmops_route"]["choice"] == "small"


@pytest.mark.parametrize("kind", [CountingModel, AsyncModel, StreamingModel, AsyncStreamingModel])
async def test_every_way_of_asking_goes_on_to_the_next_model(kind: type[CountingModel]) -> None:
    for failing in (RateLimitError("slow down"), TimeoutError(), ConnectionError("gone")):
        first = kind(model_name="small", error=failing)
        router = ModelRouter(*choices(first, kind(model_name="large", answer="by the large one")))
        assert router.invoke(EASY).content.strip() == "by the large one"
        assert (await router.ainvoke(EASY)).content.strip() == "by the large one"
        assert "".join(c.text for c in router.stream(EASY)).strip() == "by the large one"
        assert "".join([c.text async for c in router.astream(EASY)]).strip() == "by the large one"
        assert first.calls >= 1
        [one, two] = router.batch([EASY, EASY])
        assert one.content == two.content


def test_a_refused_key_is_for_the_user_to_mend() -> None:
    other = large()
    router = ModelRouter(*choices(small(error=AuthenticationError("who are you?")), other))
    with pytest.raises(AuthenticationError):
        router.invoke(EASY)
    assert other.calls == 0


def test_a_prompt_that_is_too_long_goes_to_a_larger_window_only() -> None:
    narrow, wide = large(), CountingModel(model_name="wide", answer="by the wide one")
    router = ModelRouter(
        ModelChoice(
            small(error=TooLongError()),
            input_per_million=1,
            output_per_million=1,
            max_input_tokens=500,
        ),
        ModelChoice(narrow, input_per_million=2, output_per_million=2, max_input_tokens=400),
        ModelChoice(wide, input_per_million=9, output_per_million=9, max_input_tokens=5_000),
        target=0.0,
    )
    assert router.invoke(EASY).content == "by the wide one"
    assert narrow.calls == 0


def test_once_a_chunk_was_shown_nobody_else_answers() -> None:
    dying = StreamingModel(model_name="small", breaks_after=1)
    other = StreamingModel(model_name="large")
    shown = []
    with pytest.raises(ConnectionError):
        shown.extend(chunk.text for chunk in ModelRouter(*choices(dying, other)).stream(EASY))
    assert shown == ["one "]
    assert other.calls == 0


def test_when_all_fail_the_first_error_says_who_did() -> None:
    router = ModelRouter(*choices(small(error=RateLimitError("slow")), large(error=TimeoutError())))
    with pytest.raises(RateLimitError) as raised:
        router.invoke(EASY)
    assert raised.value.__notes__ == [
        "every model that may be asked failed (small: RateLimitError, large: TimeoutError)"
    ]


def test_a_model_that_is_asked_too_often_rests() -> None:
    busy = small(error=RateLimitError("slow down"))
    router = ModelRouter(*choices(busy, large()))
    for _ in range(5):
        router.invoke(EASY)
    assert busy.calls == 1
    [resting] = router.decide(EASY).excluded
    assert (resting.name, resting.why) == ("small", "cooldown")


def test_the_last_one_is_asked_even_while_it_rests() -> None:
    busy = small(error=RateLimitError("slow down"))
    router = ModelRouter(*choices(busy))
    for _ in range(3):
        with pytest.raises(RateLimitError):
            router.invoke(EASY)
    assert busy.calls == 3


def test_a_call_may_want_a_choice_itself() -> None:
    router = ModelRouter(*choices(small(), large()))
    assert router.bind(route_to="large").invoke(EASY).content == "by the large one"
    told = {"metadata": {"route_to": "large"}}
    assert router.invoke(EASY, told).content == "by the large one"
    assert [chunk.text for chunk in router.stream(EASY, told)] == ["by the large one", ""]
    with pytest.raises(NotFoundError, match="'huge'"):
        router.bind(route_to="huge").invoke(EASY)


def test_tools_are_bound_in_each_models_own_way() -> None:
    def clock_in(city: str) -> str:
        """Tell the time."""
        return city

    class Asked(CountingModel):
        @override
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
            self._ask("generate")
            return ChatResult(generations=[ChatGeneration(message=AIMessage(str(kwargs)))])

    router = ModelRouter(*choices(Asked(model_name="small")))
    bound = router.bind_tools([clock_in], tool_choice="any")
    assert bound.invoke(EASY).content == "{'tools': ['clock_in'], 'tool_choice': 'any'}"


def test_an_agent_works_on_it_while_its_first_model_fails() -> None:
    class Calling(CountingModel):
        @override
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self.bind(tools=[each.name for each in tools])

        @override
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
            self._ask("generate")
            calls = [{"name": "clock_in", "args": {"city": "Bern"}, "id": "1"}]
            is_first = isinstance(messages[-1], HumanMessage)
            message = AIMessage("it is noon", tool_calls=calls if is_first else [])
            return ChatResult(generations=[ChatGeneration(message=message)])

    @tool
    def clock_in(city: str) -> str:
        """Tell the time."""
        return f"noon in {city}"

    router = ModelRouter(*choices(small(error=TimeoutError()), Calling(model_name="large")))
    agent = create_agent(router, [clock_in])
    state = agent.invoke({"messages": [("user", EASY)]})
    assert [m.type for m in state["messages"]] == ["human", "ai", "tool", "ai"]
    assert state["messages"][2].content == "noon in Bern"


def test_structured_output_is_parsed_behind_the_router() -> None:
    class City(BaseModel):
        """A city."""

        name: str

    class Calling(CountingModel):
        @override
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self.bind(tools=[each.__name__ for each in tools])

        @override
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
            calls = [{"name": "City", "args": {"name": "Bern"}, "id": "1"}]
            return ChatResult(generations=[ChatGeneration(message=AIMessage("", tool_calls=calls))])

    router = ModelRouter(*choices(Calling(model_name="small")))
    assert router.with_structured_output(City).invoke(EASY) == City(name="Bern")


@pytest.mark.parametrize("attached", ["track", "handler", "both"])
def test_an_answer_is_counted_once_under_its_own_name_and_price(ops, attached: str) -> None:
    router = ops.router(*choices(small(error=ConnectionError("gone")), large()))
    config = {"callbacks": [ops.usage]} if attached != "track" else {}
    with ops.track(project="p") if attached != "handler" else nullcontext():
        router.invoke(EASY, config)
        list(router.stream(EASY, config))
    told = events(ops)
    answers = [each for each in told if each["status"] == "ok"]
    failed = [each for each in told if each["status"] == "error"]
    assert [(e["model"], e["provider"], e["input_tokens"], e["cost"]) for e in answers] == [
        ("large", "tested", 10, 200_000)
    ] * 2
    assert [(e["model"], e["error_class"], e["input_tokens"], e["cost"]) for e in failed] == [
        ("small", "ConnectionError", 0, 0)
    ] * 2
    assert {e["parent_run_id"] for e in failed} <= {e["id"] for e in answers}


def test_nobody_is_told_of_a_call_that_nobody_follows(ops) -> None:
    ops.router(*choices(small(error=TimeoutError()), large())).invoke(EASY)
    assert events(ops) == []


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
async def test_a_guarded_router_sets_aside_for_each_attempt_and_settles_the_answer(
    ops, way
) -> None:
    ops.budgets.set(Budget(project="p", limit="1", period="total"))
    first = StreamingModel(model_name="small", error=ConnectionError("gone"))
    router = ops.guard(ops.router(*choices(first, StreamingModel(model_name="large"))))
    with ops.track(project="p"):
        await _asked(router, way)
    assert ops.budgets.get(project="p").spent == Decimal("0.0002")
    assert ops.budgets.get(project="p").reserved == 0
    statuses = [(each["model"], each["status"]) for each in events(ops)]
    assert sorted(statuses) == [("large", "ok"), ("small", "error")]


async def test_a_guarded_router_without_a_handler_is_counted_once(ops) -> None:
    ops.budgets.set(Budget(project="p", limit="1", period="total"))
    router = ops.guard(ops.router(*choices(small(), large())))
    told = {"metadata": {"project": "p"}}
    router.invoke(EASY, told)
    await router.ainvoke(EASY, told)
    assert [(each["model"], each["status"]) for each in events(ops)] == [("small", "ok")] * 2


def test_a_budget_without_room_for_the_best_asks_a_cheaper_one(ops) -> None:
    ops.budgets.set(Budget(project="p", limit="0.005", period="total"))
    dear, cheap = large(), small()
    router = ops.wrap(ops.router(*choices(cheap, dear), target=1.0))
    with ops.track(project="p"):
        assert router.bind(complexity=1.0).invoke(EASY).content == "by the small one"
        assert dear.calls == 0
        assert router.decide(EASY).excluded == ()  # it did not fail, and does not rest
    ops.budgets.set(Budget(project="q", limit="0.000001", period="total"))
    with ops.track(project="q"), pytest.raises(BudgetExceededError):
        router.invoke("another question")


def test_a_wrapped_router_answers_equal_calls_once(ops) -> None:
    model = small()
    router = ops.wrap(ops.router(*choices(model, large())))
    with ops.track(project="p"):
        assert router.invoke(EASY).content == router.invoke(EASY).content
    assert model.calls == 1
    ops.flush()
    cost = ops.analytics.cost(days=1, project="p")
    assert (cost.calls, cost.cache_hits) == (2, 1)


def test_feedback_is_learnt_and_a_run_explains_itself() -> None:
    router, run_id = ModelRouter(*choices(small(), large())), uuid4()
    router.invoke(EASY, {"run_id": run_id})
    assert router.explain(run_id).choice.name == "small"
    router.feedback(run_id, 0.0)
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        router.feedback(run_id, 2)
    with pytest.raises(NotFoundError):
        router.feedback(uuid4(), 1.0)
    with pytest.raises(NotFoundError):
        router.explain(uuid4())


async def test_a_models_own_rate_limiter_is_asked() -> None:
    class Counted(InMemoryRateLimiter):
        asked = 0

        @override
        def acquire(self, *, blocking: bool = True) -> bool:
            self.asked += 1
            return True

        @override
        async def aacquire(self, *, blocking: bool = True) -> bool:
            return self.acquire(blocking=blocking)

    limiter = Counted()
    router = ModelRouter(*choices(small(rate_limiter=limiter)))
    router.invoke(EASY)
    await router.ainvoke(EASY)
    list(router.stream(EASY))
    assert [chunk async for chunk in router.astream(EASY)]
    assert limiter.asked == 4


async def test_an_embedder_that_fails_costs_no_answer(caplog) -> None:
    class Broken(Embeddings):
        @override
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise ConnectionError

        @override
        def embed_query(self, text: str) -> list[float]:
            raise ConnectionError

    router = ModelRouter(*choices(small()), embeddings=Broken())
    run_id = uuid4()
    assert router.invoke(EASY, {"run_id": run_id}).content == "by the small one"
    assert (await router.ainvoke(EASY)).content == "by the small one"
    router.feedback(run_id, 1.0)
    assert caplog.messages == ["prompts cannot be embedded: ConnectionError"]


def test_nobody_left_is_one_error_that_lists_why() -> None:
    router = ModelRouter(*choices(small(), large(), max_input_tokens=5))
    with pytest.raises(NoCandidateError) as raised:
        router.invoke("word " * 100)
    assert raised.value.excluded.keys() == {"small", "large"}
    assert "its window has 5" in str(raised.value)


def test_odd_choices_are_refused() -> None:
    for odd in (ModelRouter, lambda: ModelRouter(*choices(small(), small()))):
        with pytest.raises(ConfigurationError):
            odd()
    for options in (
        {"strength": 2},
        {"max_input_tokens": -1},
        {"input_per_million": 1},
        {"input_per_million": -1, "output_per_million": 1},
    ):
        with pytest.raises(ConfigurationError):
            ModelChoice(small(), **options)
    with pytest.raises(ConfigurationError):
        ModelChoice(7)


def test_a_router_is_known_by_its_choices_and_profile() -> None:
    seeing = {"image_inputs": True, "max_input_tokens": 900, "tool_calling": True}
    blind = {"image_inputs": False, "max_input_tokens": 500, "tool_calling": True}
    router = ModelRouter(*choices(small(profile=seeing), large(profile=blind)))
    assert router.profile == {"image_inputs": False, "max_input_tokens": 500, "tool_calling": True}


async def _asked(router: Any, way: str) -> None:
    if way in ("invoke", "stream"):
        given = getattr(router, way)(EASY)
        list(given) if way == "stream" else given
    elif way == "ainvoke":
        await router.ainvoke(EASY)
    else:
        [chunk async for chunk in router.astream(EASY)]


class OpensEmpty(StreamingModel):
    """Sends an empty chunk first, as OpenAI's and Anthropic's streams do, and may die then."""

    dies: bool = False

    @override
    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(""))
        if self.dies:
            self._ask("stream")
            msg = "the line is dead"
            raise ConnectionError(msg)
        yield from super()._stream(*args, **kwargs)


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize("guarded", [False, True])
async def test_a_stream_that_dies_before_it_said_anything_goes_on_elsewhere(
    ops, way, guarded
) -> None:
    ops.budgets.set(Budget(project="p", limit=1, period="total"))
    dying = OpensEmpty(model_name="small", dies=True)
    router = ops.router(*choices(dying, OpensEmpty(model_name="large", answer="by the large one")))
    asked = ops.guard(router) if guarded else router
    with ops.track(project="p"):
        if way == "stream":
            said = "".join(chunk.text for chunk in asked.stream(EASY))
        else:
            said = "".join([chunk.text async for chunk in asked.astream(EASY)])
    assert said.strip() == "by the large one"
    told = [(event["model"], event["status"]) for event in events(ops)]
    assert sorted(told) == [("large", "ok"), ("small", "error")]
    assert ops.budgets.get(project="p").reserved == 0


@pytest.mark.parametrize("guarded", [False, True])
def test_a_stream_that_says_nothing_is_an_answer_all_the_same(ops, guarded) -> None:
    ops.budgets.set(Budget(project="p", limit=1, period="total"))
    router = ops.router(*choices(OpensEmpty(model_name="small", answer="")))
    with ops.track(project="p"):
        asked = ops.guard(router) if guarded else router
        assert "".join(chunk.text for chunk in asked.stream(EASY)) == ""
    assert [(event["model"], event["status"]) for event in events(ops)] == [("small", "ok")]

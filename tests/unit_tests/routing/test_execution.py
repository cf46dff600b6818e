"""How a routed call is carried out: verified, in time, in its conversation, for its provider."""

import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatResult
from models import CountingModel, StreamingModel
from pydantic import BaseModel, PrivateAttr
from routed import EASY, AuthenticationError, RateLimitError, choices, large, small
from typing_extensions import override

from llmops_langchain import (
    Budget,
    ConfigurationError,
    LLMOps,
    ModelChoice,
    ModelRouter,
    NotFoundError,
    Target,
    keeps_to,
    likely,
)
from llmops_langchain.clock import system_clock
from llmops_langchain.routing.health import Health
from llmops_langchain.routing.learner import Learner
from llmops_langchain.routing.logbook import Logbook


class City(BaseModel):
    name: str


class Waiting(CountingModel):
    """Answers when it is told to; it never is, unless the test ends."""

    _told: threading.Event = PrivateAttr(default_factory=threading.Event)

    @override
    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        self._told.wait(60)
        return super()._generate(*args, **kwargs)


@pytest.fixture
def ops() -> Iterator[LLMOps]:
    with LLMOps("sqlite://") as ops:
        yield ops


def rows_of(ops: LLMOps, sql: str) -> list[Any]:
    ops.flush()
    with ops.database.begin(read_only=True) as connection:
        return list(connection.exec_driver_sql(sql).mappings())


def short(answer: AIMessage) -> bool:
    return "large" in answer.text


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("guarded", [False, True])
async def test_an_answer_that_is_not_good_enough_goes_to_a_better_model(ops, way, guarded) -> None:
    ops.budgets.set(Budget(project="p", limit=1, period="total"))
    first, second = small(), large()
    router = ops.router(*choices(first, second), verify=short)
    asked = ops.guard(router) if guarded else router
    with ops.track(project="p"):
        answer = await _said(asked, way)
    assert answer.text == "by the large one"
    mark = answer.response_metadata["llmops_route"]
    assert (mark["choice"], mark["attempts"], mark["verified"]) == ("large", 2, True)
    told = rows_of(ops, "select model, status, cost, input_tokens from llmops_events order by cost")
    # Both answers were paid for, each once.
    assert [(row["model"], row["input_tokens"]) for row in told] == [("small", 10), ("large", 10)]
    assert [row["cost"] for row in told] == [20_000, 200_000]
    if guarded:
        assert ops.budgets.get(project="p").spent * 10**9 == 220_000
        assert ops.budgets.get(project="p").reserved == 0
    [kept] = rows_of(ops, "select answered_by, cost from llmops_decisions")
    assert dict(kept) == {"answered_by": "large", "cost": 220_000}
    judged = rows_of(ops, "select choice, score, source from llmops_outcomes order by score")
    assert [tuple(row.values()) for row in judged] == [
        ("small", 0.0, "verifier"),
        ("large", 1.0, "verifier"),
    ]


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("error", [RateLimitError(), AuthenticationError()])
def test_an_answer_that_is_not_good_enough_is_better_than_none(ops, guarded, error) -> None:
    ops.budgets.set(Budget(project="p", limit=1, period="total"))
    router = ops.router(*choices(small(), large(error=error)), verify=short)
    with ops.track(project="p"):
        answer = (ops.guard(router) if guarded else router).invoke(EASY)
    assert answer.text == "by the small one"
    assert answer.response_metadata["llmops_route"]["verified"] is False
    told = rows_of(ops, "select model, status, cost from llmops_events order by cost desc")
    assert [tuple(row.values()) for row in told] == [("small", "ok", 20_000), ("large", "error", 0)]


def test_verifiers_may_be_schemas_likelihoods_or_several() -> None:
    said = AIMessage('```json\n{"name": "Paris"}\n```')
    assert keeps_to(City)(said)
    assert not keeps_to(City)(AIMessage("Paris"))
    call = {"name": "City", "args": {"name": "Paris"}, "id": "1"}
    assert keeps_to(City)(AIMessage("", tool_calls=[call]))
    assert not keeps_to(City)(AIMessage("", tool_calls=[{**call, "args": {}}]))
    odd = {"name": "City", "args": "{", "id": "1", "error": "no JSON", "type": "invalid_tool_call"}
    assert not keeps_to(City)(AIMessage("", invalid_tool_calls=[odd]))
    logprobs = {"content": [{"logprob": -0.1}, {"logprob": -0.3}]}
    sure = AIMessage("x", response_metadata={"logprobs": logprobs})
    assert likely(0.8)(sure)
    assert not likely(0.9)(sure)
    assert likely(0.9)(AIMessage("x")) is None
    with pytest.raises(ConfigurationError, match="probability"):
        likely(2)
    with pytest.raises(ConfigurationError, match="verify"):
        ModelRouter(*choices(small()), verify="schema")  # type: ignore[arg-type]

    async def slow(answer: AIMessage) -> bool:
        return bool(answer)

    with pytest.raises(ConfigurationError, match="feedback"):
        ModelRouter(*choices(small()), verify=slow)  # type: ignore[arg-type]

    wrong = small()
    wrong.answer = "Paris"
    right = large()
    right.answer = '{"name": "Paris"}'
    router = ModelRouter(*choices(wrong, right), verify=[City, likely(0.5)])
    assert router.invoke(EASY).content == '{"name": "Paris"}'
    assert ModelRouter(*choices(small()), verify=[]).invoke(EASY).content


def test_a_verifier_that_breaks_takes_the_answer_and_teaches_nothing(ops, caplog) -> None:
    def broken(answer: AIMessage) -> bool:
        raise ValueError(answer.text)

    for verify in (broken, likely(0.9), [likely(0.9)]):
        router = ops.router(*choices(small(), large()), verify=verify)
        assert router.invoke(EASY).text == "by the small one"
    assert caplog.messages == ["an answer could not be verified: ValueError"]
    assert rows_of(ops, "select * from llmops_outcomes") == []


def test_who_was_slow_is_tried_again_and_nobody_left_is_no_reason(clock) -> None:
    health = Health(clock)
    logbook = Logbook(Learner(clock), health, clock=clock)
    router = ModelRouter(
        *choices(small(), large()), target=Target(max_latency=1.0), logbook=logbook
    )
    health.answered("small", seconds=3.0, tokens=5)
    assert router.decide(EASY).choice.name == "large"
    health.answered("large", seconds=3.0, tokens=5)
    assert router.decide(EASY).choice.name == "small"  # better a slow one than none
    health.answered("large", seconds=0.1, tokens=5)
    clock.advance(301)
    assert not router.decide(EASY).excluded


def test_a_stream_that_nobody_reads_to_its_end_can_be_judged(ops) -> None:
    router = ops.router(*choices(StreamingModel(model_name="small")))
    run_id = uuid4()
    stream = router.stream(EASY, {"run_id": run_id})
    next(stream)
    stream.close()
    router.feedback(run_id, 0.0)
    [told] = rows_of(ops, "select choice, score from llmops_outcomes")
    assert tuple(told.values()) == ("small", 0.0)
    with pytest.raises(ConnectionError):
        ops.router(*choices(small(error=ConnectionError())), pool="x").invoke(
            EASY, {"run_id": (failed := uuid4())}
        )
    with pytest.raises(NotFoundError, match="no answer"):
        ops.router(*choices(small()), pool="x").feedback(failed, 1.0)


def test_the_same_messages_with_another_schema_or_of_somebody_else_are_no_retry(ops) -> None:
    router = ops.router(*choices(small()))
    config = {"metadata": {"thread_id": "1"}}
    for kwargs in ({"response_format": City}, {"response_format": str}, {"tools": [short]}):
        router.bind(**kwargs).invoke(EASY, config)
    for user in ("ann", "bob"):
        with ops.track(user=user):
            router.invoke(EASY, config)
    assert rows_of(ops, "select * from llmops_outcomes") == []


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("guarded", [False, True])
async def test_who_takes_too_long_is_followed_by_the_next(ops, way, guarded) -> None:
    ops.budgets.set(Budget(project="p", limit=1, period="total"))
    slow = Waiting(model_name="small")
    [first, second] = choices(slow, large())
    router = ops.router(first.replaced(timeout=0.05), second)
    with ops.track(project="p"):
        answer = await _said(ops.guard(router) if guarded else router, way)
    assert answer.text == "by the large one"
    slow._told.set()
    told = rows_of(ops, "select model, cost from llmops_events where model = 'large'")
    assert [tuple(row.values()) for row in told] == [("large", 200_000)]


def test_a_timeout_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        ModelChoice(small(), timeout=0)


def test_an_error_within_the_time_is_the_models_own() -> None:
    [first, second] = choices(small(error=TimeoutError("its own")), large())
    assert ModelRouter(first.replaced(timeout=30), second).invoke(EASY).text == "by the large one"


def test_a_conversation_stays_with_its_model_if_it_is_to() -> None:
    router = ModelRouter(*choices(small(), large()), target=Target(sticky=True))
    answer = router.bind(complexity=0.9).invoke(EASY)
    assert answer.text == "by the large one"
    talk = [HumanMessage(EASY), answer, HumanMessage("thanks")]
    assert router.invoke(talk).text == "by the large one"
    assert router.invoke("something else").text == "by the small one"
    assert any("stays" in reason for reason in router.decide(talk).reasons)
    # Where the messages do not tell, the thread does.
    config = {"metadata": {"thread_id": "t"}}
    router.bind(complexity=0.9).invoke("one", config)
    assert router.invoke("two", config).text == "by the large one"
    assert router.invoke("two", {"metadata": {"thread_id": "other"}}).text == "by the small one"


def test_a_warm_prompt_cache_is_part_of_the_cost_of_switching(clock) -> None:
    usage = {"input_tokens": 9_000, "output_tokens": 1_000, "total_tokens": 10_000}
    other = ModelChoice(small(), input_per_million=1, output_per_million=2)
    kept = ModelChoice(
        large(usage=usage), input_per_million=2, output_per_million=2, cached_per_million="0.2"
    )
    logbook = Logbook(Learner(clock), Health(clock), clock=clock)
    router = ModelRouter(other, kept, target=Target(quality=0.0), logbook=logbook)
    answer = router.bind(route_to="large").invoke("word " * 9_000)
    talk = [HumanMessage("word " * 9_000), answer, HumanMessage("and now?")]
    assert router.decide(talk).choice is kept
    clock.advance(600)
    assert router.decide(talk).choice is other


def test_cache_marks_reach_only_the_providers_that_know_them() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    told: dict[str, Any] = {}

    class Hearing(CountingModel):
        @override
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
            told[self.provider] = [messages[0].content, kwargs]
            return super()._generate(messages, *args, **kwargs)

    system = SystemMessage([{"type": "text", "text": "Be brief.", **mark}])
    for provider in ("anthropic", "openai"):
        model = Hearing(model_name="small", provider=provider)
        ModelRouter(*choices(model)).invoke([system, HumanMessage(EASY)], **mark)
    assert told["anthropic"] == [system.content, mark]
    assert told["openai"] == [[{"type": "text", "text": "Be brief."}], {}]
    assert "cache_control" in system.content[0]


@pytest.mark.parametrize("place", ["metadata", "configurable"])
def test_a_call_may_want_a_choice(place: str) -> None:
    router = ModelRouter(*choices(small(), large()))
    assert router.invoke(EASY, {place: {"route_to": "large"}}).text == "by the large one"


def test_a_choice_without_room_in_a_budget_is_not_asked(ops) -> None:
    ops.budgets.set(Budget(project="p", limit="0.005", period="total"))
    router = ops.router(*choices(small(), large()))
    with ops.track(project="p"):
        assert ops.guard(router).invoke(EASY).text == "by the small one"
        long = "word " * 1_000
        decision = router.decide(long, complexity=0.9)
        assert [(each.name, each.why) for each in decision.excluded] == [("large", "budget")]
        nobody = ops.router(*choices(large()))
        assert nobody.decide(long).choice.name == "large"  # what it may cost is the gate's to say


def test_a_model_that_cannot_be_made_is_said_and_passed_over(caplog) -> None:
    odd = ModelChoice("no-such-provider:small", input_per_million=1, output_per_million=1)
    router = ModelRouter(odd, *choices(large()))
    assert router.invoke(EASY).text == "by the large one"
    assert caplog.messages == ["no-such-provider:small cannot be asked: ValueError"]


def test_empty_answers_and_repeated_questions_teach_something(ops) -> None:
    router = ops.router(*choices(small(usage=None)))
    router.choices[0].model.answer = ""
    router.invoke("say nothing")
    router.choices[0].model.answer = "something"
    config = {"metadata": {"thread_id": "t"}}
    first = uuid4()
    router.invoke("again", {**config, "run_id": first})
    router.invoke("again", config)
    told = rows_of(ops, "select score, weight, source from llmops_outcomes order by weight")
    assert [tuple(row.values()) for row in told] == [
        (0.0, 0.2, "retry"),
        (0.0, 0.3, "validation"),
    ]
    router.feedback(first, 1.0)  # who knows better is believed
    [said] = rows_of(ops, "select score from llmops_outcomes where source = 'feedback'")
    assert said["score"] == 1.0


def test_after_a_rest_one_call_tries_it_while_the_others_go_elsewhere(clock) -> None:
    health = Health(clock)
    logbook = Logbook(Learner(system_clock), health, clock=clock)
    failing = small(error=RateLimitError())
    router = ModelRouter(*choices(failing, large()), logbook=logbook)
    router.invoke(EASY)
    assert health.rests_for("small") == 10
    clock.advance(11)
    health.asked("small")
    assert router.decide(EASY).choice.name == "large"
    clock.advance(11)
    assert router.decide(EASY).choice.name == "small"


async def _said(router: Any, way: str) -> AIMessage:
    if way == "invoke":
        return router.invoke(EASY)
    if way == "ainvoke":
        return await router.ainvoke(EASY)
    if way == "stream":
        return _sum(list(router.stream(EASY)))
    return _sum([chunk async for chunk in router.astream(EASY)])


def _sum(chunks: list[Any]) -> Any:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole

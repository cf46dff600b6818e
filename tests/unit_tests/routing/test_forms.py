"""The same decisions in an agent's middleware and in a graph's node."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from models import AsyncModel, CountingModel
from pydantic import BaseModel
from routed import EASY, AuthenticationError, RateLimitError, choices, large, small

from llmops_langchain import (
    Budget,
    ConfigurationError,
    LLMOps,
    ModelRouterMiddleware,
    NoCandidateError,
    RouteTaken,
    route_node,
)


class State(MessagesState):
    route: RouteTaken


@tool
def look(place: str) -> str:
    """Look there."""
    return f"nothing in {place}"


class Looking(CountingModel):
    """Looks once, then answers."""

    def _message(self) -> AIMessage:
        message = super()._message()
        if self.calls > 1:
            return message
        call = {"name": "look", "args": {"place": "the attic"}, "id": "1"}
        return AIMessage("", tool_calls=[call], usage_metadata=self.usage)

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[each.name for each in tools], **kwargs)


@pytest.fixture
def ops() -> Iterator[LLMOps]:
    with LLMOps("sqlite://") as ops:
        yield ops


def events(ops: LLMOps) -> list[tuple[Any, ...]]:
    ops.flush()
    with ops.database.begin(read_only=True) as connection:
        sql = "select model, status, cost from llmops_events where name = 'llm.call' order by ts"
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


async def test_an_agents_calls_go_where_the_router_says(ops) -> None:
    own, router = CountingModel(), ops.router(*choices(Looking(model_name="small"), large()))
    agent = create_agent(own, [look], middleware=[ModelRouterMiddleware(router)])
    with ops.track(project="p"):
        answer = agent.invoke({"messages": [EASY]})
    said = [each for each in answer["messages"] if isinstance(each, AIMessage)]
    assert [each.response_metadata["llmops_route"]["choice"] for each in said] == ["small"] * 2
    assert own.calls == 0
    assert events(ops) == [("small", "ok", 20_000)] * 2
    run_id = said[-1].response_metadata["llmops_route"]["run_id"]
    assert router.explain(run_id).choice.name == "small"
    router.feedback(run_id, 1.0)


@pytest.mark.parametrize("kind", [CountingModel, AsyncModel])
async def test_who_fails_in_an_agent_is_followed_by_the_next(ops, kind) -> None:
    first = kind(model_name="small", error=RateLimitError("slow down"))
    router = ops.router(*choices(first, kind(model_name="large", answer="by the large one")))
    agent = create_agent(small(), middleware=[ModelRouterMiddleware(router)])
    with ops.track(project="p"):
        assert agent.invoke({"messages": [EASY]})["messages"][-1].text == "by the large one"
        again = await agent.ainvoke({"messages": [EASY]})
    assert again["messages"][-1].text == "by the large one"
    assert [row[:2] for row in events(ops)] == [
        ("small", "error"),
        ("large", "ok"),
        ("large", "ok"),
    ]
    refused = ops.router(*choices(small(error=AuthenticationError()), large()), pool="other")
    with pytest.raises(AuthenticationError):
        create_agent(small(), middleware=[ModelRouterMiddleware(refused)]).invoke(
            {"messages": [EASY]}
        )


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_an_answer_in_an_agent_is_verified(ops, way: str) -> None:
    router = ops.router(*choices(small(), large()), verify=lambda answer: "large" in answer.text)
    agent = create_agent(small(), middleware=[ModelRouterMiddleware(router)])
    asked = {"messages": [EASY]}
    with ops.track(project="p"):
        answer = agent.invoke(asked) if way == "invoke" else await agent.ainvoke(asked)
    assert answer["messages"][-1].text == "by the large one"
    assert [row[0] for row in events(ops)] == ["small", "large"]


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_an_answer_in_hand_outlives_a_failed_escalation(ops, way: str) -> None:
    router = ops.router(
        *choices(small(), large(error=RateLimitError())),
        verify=lambda answer: "large" in answer.text,
    )
    agent = create_agent(small(), middleware=[ModelRouterMiddleware(router)])
    asked = {"messages": [EASY]}
    answer = agent.invoke(asked) if way == "invoke" else await agent.ainvoke(asked)
    said = answer["messages"][-1]
    assert said.text == "by the small one"
    assert said.response_metadata["llmops_route"]["verified"] is False


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_an_agent_that_pauses_is_no_failure_of_its_model(ops, way: str) -> None:
    class Pausing(AgentMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            interrupt("may I?")
            return handler(request)

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            interrupt("may I?")
            return await handler(request)

    router = ops.router(*choices(small(), large()))
    agent = create_agent(
        small(),
        middleware=[ModelRouterMiddleware(router), Pausing()],
        checkpointer=InMemorySaver(),
    )
    config, asked = {"configurable": {"thread_id": "1"}}, {"messages": [EASY]}
    for given in (asked, Command(resume=True)):
        told = (
            agent.invoke(given, config) if way == "invoke" else await agent.ainvoke(given, config)
        )
    assert told["messages"][-1].text == "by the small one"
    assert router.decide(EASY).excluded == ()


def test_marks_of_a_prompt_cache_in_an_agent_reach_only_who_knows_them(ops) -> None:
    told: list[Any] = []

    class Hearing(CountingModel):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            told.append(messages[0].content)
            return super()._generate(messages, *args, **kwargs)

    block = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    for provider in ("openai", "anthropic"):
        model = Hearing(model_name="small", provider=provider)
        router = ops.router(*choices(model), pool=provider)
        create_agent(
            small(),
            system_prompt=SystemMessage([block]),
            middleware=[ModelRouterMiddleware(router)],
        ).invoke({"messages": [EASY]})
    assert told == [[{"type": "text", "text": "Be brief."}], [block]]


def test_budgets_are_kept_by_a_guarded_router_in_an_agent(ops) -> None:
    ops.budgets.set(Budget(project="p", limit="0.004", period="total"))
    router = ops.guard(ops.router(*choices(large(), small())))
    agent = create_agent(small(), middleware=[ModelRouterMiddleware(router)])
    with ops.track(project="p"):
        agent.invoke({"messages": [EASY]})
        answer = agent.invoke({"messages": ["word " * 1_000]})
    assert answer["messages"][-1].text == "by the small one"
    assert ops.budgets.get(project="p").reserved == 0


def test_a_form_of_the_answer_is_asked_only_of_who_keeps_it(ops) -> None:
    class City(BaseModel):
        """A city."""

        name: str

    class Formed(Looking):
        def _message(self) -> AIMessage:
            call = {"name": "City", "args": {"name": "Paris"}, "id": "1"}
            return AIMessage("", tool_calls=[call], usage_metadata=self.usage)

        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self.bind(tools=[str(each) for each in tools], **kwargs)

    made = choices(small(), Formed(model_name="large"))
    router = ops.router(made[0].replaced(tools=False, structured_output=False), made[1])
    middleware = [ModelRouterMiddleware(router)]
    agent = create_agent(small(), middleware=middleware, response_format=City)
    assert agent.invoke({"messages": [EASY]})["structured_response"] == City(name="Paris")


def test_a_node_writes_the_decision_and_chooses_the_way_on(ops) -> None:
    made = choices(small(), large())
    router = ops.router(*made)
    graph = StateGraph(State)
    graph.add_node("route", route_node(router, goto={"small": "quick", "large": "careful"}))
    graph.add_node("quick", lambda state: {"messages": made[0].model.invoke(state["messages"])})
    graph.add_node("careful", lambda state: {"messages": made[1].model.invoke(state["messages"])})
    graph.add_edge(START, "route")
    compiled = graph.compile()
    easy = compiled.invoke({"messages": [EASY]})
    assert (easy["route"]["choice"], easy["messages"][-1].text) == ("small", "by the small one")
    hard = compiled.invoke({"messages": [EASY]}, {"configurable": {"complexity": 0.9}})
    assert hard["messages"][-1].text == "by the large one"
    router.feedback(hard["route"]["run_id"], 1.0)
    assert router.explain(hard["route"]["run_id"]).reasons == tuple(hard["route"]["reasons"])

    plain = StateGraph(State)
    plain.add_node("route", route_node(router))
    plain.add_edge(START, "route")
    assert plain.compile().invoke({"messages": [EASY]})["route"]["ranked"] == ["small", "large"]


def test_a_node_without_a_way_for_each_choice_is_refused(ops) -> None:
    router = ops.router(*choices(small(), large()))
    with pytest.raises(ConfigurationError, match="large"):
        route_node(router, goto={"small": "quick"})
    tiny = ops.router(*choices(small(), max_input_tokens=2))
    graph = StateGraph(State)
    graph.add_node("route", route_node(tiny))
    graph.add_edge(START, "route")
    with pytest.raises(NoCandidateError):
        graph.compile().invoke({"messages": ["word " * 50]})

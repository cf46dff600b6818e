"""A running summary by a real model: a small one, often wrong, with real tokens and delays."""

import threading
from collections.abc import Iterator

import pytest
from history_judge import faults
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver

from llmops_langchain import LLMOps
from llmops_langchain.cli.local_model import LocalModel
from llmops_langchain.memory import ContextWindow, Summarize
from llmops_langchain.middleware import ContextWindowMiddleware
from llmops_langchain.tokens import count_tokens

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.slow]

SYSTEM = SystemMessage("You are the desk of a shop for plants.")
BUDGET, MOST = 500, 120


@pytest.fixture
def ops(local_model: LocalModel) -> Iterator[LLMOps]:
    with LLMOps("sqlite://") as ops:
        ops.prices.set(local_model.model_name, input_per_million=1, output_per_million=2)
        yield ops


def talk(turns: int) -> list[BaseMessage]:
    said: list[BaseMessage] = [SYSTEM, HumanMessage("My name is Mira and my order is 4711.")]
    said.append(AIMessage("Welcome, Mira. Order 4711 is on its way."))
    for n in range(turns):
        said += [HumanMessage(f"How often should I water plant number {n}, and when?")]
        said += [AIMessage(f"Water plant {n} once a week in summer, and less in winter.")]
    return [*said, HumanMessage("What is the number of my order?")]


def test_a_long_chat_has_a_summary_in_its_budget_and_each_call_is_counted(ops, local_model) -> None:
    model = local_model.chat_model(max_tokens=100)
    name = local_model.model_name
    strategy = Summarize(ops.wrap(model), max_summary_tokens=MOST)
    window = ContextWindow(name, BUDGET, strategy)
    with ops.track(workspace="test"):
        for turns in range(8, 24, 4):
            history = talk(turns)
            sent = window.invoke(history)
            assert (
                faults(sent, history, tokens=lambda m: count_tokens(m, name), max_tokens=BUDGET)
                == []
            )
        assert sent[1].text.startswith("Summary of the conversation so far:\n\n")
        assert len(sent[1].text) > 60
        assert count_tokens(sent[1:2], name) <= MOST + 3
        assert model.invoke(sent).text
    ops.flush()
    cost = ops.analytics.cost(days=1, workspace="test")
    assert 1 <= cost.calls <= 4
    assert cost.estimated_calls == 0


async def test_an_agent_on_it_answers_every_turn(local_model) -> None:
    model = local_model.chat_model(max_tokens=40)
    window = ContextWindow(model, BUDGET, Summarize(max_summary_tokens=MOST))
    agent = create_agent(
        model,
        system_prompt=SYSTEM.text,
        middleware=[ContextWindowMiddleware(window)],
        checkpointer=InMemorySaver(),
    )
    thread = {"configurable": {"thread_id": "mira"}}
    for n in range(8):
        asked = {"messages": [("user", f"How often should I water plant number {n}? " * 4)]}
        state = await agent.ainvoke(asked, thread)
        assert state["messages"][-1].text
    assert len(state["messages"]) == 16


def test_a_model_that_is_too_late_costs_no_answer_and_helps_the_next_cut(local_model) -> None:
    model = local_model.chat_model(max_tokens=200)
    window = ContextWindow(model, BUDGET, Summarize(timeout=0.001))
    assert window.invoke(talk(20)) == ContextWindow(model, BUDGET).invoke(talk(20))
    late = [thread for thread in threading.enumerate() if thread.name == "llmops-summary"]
    for thread in late:
        thread.join()
    assert len(late) == 1
    assert window.invoke(talk(20))[1].text.startswith("Summary of the conversation so far:\n\n")

"""A support desk as a LangGraph app, with a cache, a context window and accounting.

python examples/support_agent.py                            # a small model of this machine
python examples/support_agent.py --model openai:gpt-5-mini  # the provider you have a key for
"""

import argparse
from contextlib import ExitStack

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph

from llmops_langchain import LLMOps, count_tokens
from llmops_langchain.cli.local_model import LocalModel

DESK = SystemMessage("You are the support desk of a web shop for plants. Answer in one sentence.")
THREADS = {
    "mira": ["Where is my order?", "It was due on Tuesday. How long should I wait?"],
    "jonas": ["Where is my order?", "Can you send it to my office address?"],
}


class State(MessagesState):
    """`messages` stays whole; what goes to the model stands beside it."""

    llm_input_messages: list[AnyMessage]


def support_agent(ops: LLMOps, model: BaseChatModel) -> CompiledStateGraph:
    """Cut the thread where it is too long, then ask the model or the cache."""
    cached = ops.cached(model)
    window = ops.context_window(model, max_tokens=2000 - count_tokens([DESK], model))

    def answer(state: State) -> dict:
        return {"messages": [cached.invoke([DESK, *state["llm_input_messages"]])]}

    graph = StateGraph(State)
    graph.add_node("trim", ops.trim_node(window))
    graph.add_node("answer", answer)
    graph.add_edge(START, "trim")
    graph.add_edge("trim", "answer")
    return graph.compile(checkpointer=InMemorySaver())


parser = argparse.ArgumentParser()
parser.add_argument("--model", help="such as `openai:gpt-5-mini`")
name = parser.parse_args().model

with ExitStack() as stack:
    ops = stack.enter_context(LLMOps("sqlite://"))  # in memory; "sqlite:///llmops.db" keeps it
    if name:
        model = init_chat_model(name)
    else:
        model = stack.enter_context(LocalModel()).chat_model()
        ops.prices.set(model.model_name, input_per_million="0.15", output_per_million="0.60")

    agent = support_agent(ops, model)
    for customer, questions in THREADS.items():
        with ops.track(project="support", user=customer):
            for question in questions:
                asked = {"messages": [("user", question)]}
                state = agent.invoke(asked, {"configurable": {"thread_id": customer}})
                print(f"{customer}: {question}\n  {state['messages'][-1].text}")

    ops.flush()
    cost = ops.analytics.cost(days=1, project="support")
    print(f"{cost.calls} calls, {cost.cache_hits} of them answered by the cache")
    print(f"${cost.total} spent, ${cost.saved} saved")

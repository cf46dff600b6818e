"""Many calls: batches, chains, agents, nested graphs, threads and tasks."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from operator import add
from threading import Thread
from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from usage_truth.loopback import Reply
from usage_truth.run import ASKED, Case, Run, case

__all__ = ["CASES"]

CASES: list[Case] = []
CHAINS, GRAPHS, AT_ONCE = "chains", "agents and graphs", "at once"
MANY = 8
CALLS_WEATHER = Reply(tool=("weather", {"city": "Paris"}))


@case(CASES, "a batch of three", CHAINS, paid=3)
async def batch_of_three(run: Run) -> None:
    await run.batch(run.openai(), [ASKED, "And that of Italy?", "And that of Spain?"])


@case(CASES, "`generate` of two chats", CHAINS, paid=2)
async def generate_two(run: Run) -> None:
    await run.generate(run.openai(), [[HumanMessage(ASKED)], [HumanMessage("And Italy?")]])


@case(CASES, "a prompt, a model and a parser, streamed", CHAINS, paid=1)
async def chain_streamed(run: Run) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Be short."), ("user", "{question}")])
    model = run.openai(stream_usage=True)
    await run.stream(prompt | model | StrOutputParser(), {"question": ASKED})


@case(CASES, "two models in parallel, of two providers", CHAINS, paid=2)
async def parallel_models(run: Run) -> None:
    await run.invoke(RunnableParallel(gpt=run.openai(), claude=run.claude()))


@case(CASES, "retries inside a fallback inside a chain", CHAINS, paid=1)
async def nested_recovery(run: Run) -> None:
    down = run.openai(Reply(status=500)).with_retry(
        stop_after_attempt=2, wait_exponential_jitter=False
    )
    await run.invoke(down.with_fallbacks([run.claude()]) | StrOutputParser())


@case(CASES, "an agent that runs a tool (`create_agent`)", GRAPHS, paid=2)
async def agent_with_a_tool(run: Run) -> None:
    agent = create_agent(run.openai(CALLS_WEATHER, Reply()), [weather])
    await run.invoke(agent, {"messages": [HumanMessage(ASKED)]})


@case(CASES, "an agent of Claude that runs a tool, streamed", GRAPHS, paid=2)
async def claude_agent(run: Run) -> None:
    agent = create_agent(run.claude(CALLS_WEATHER, Reply()), [weather])
    await run.stream(agent, {"messages": [HumanMessage(ASKED)]})


@case(CASES, "a tool that asks a model itself", GRAPHS, paid=3)
async def tool_with_a_model(run: Run) -> None:
    expert = run.openai()

    @tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return str(expert.invoke(f"Weather in {city}?").content)

    agent = create_agent(run.openai(CALLS_WEATHER, Reply()), [weather])
    await run.invoke(agent, {"messages": [HumanMessage(ASKED)]})


@case(CASES, "a graph inside a graph, with a model in each", GRAPHS, paid=2)
async def nested_graphs(run: Run) -> None:
    inner = graph_of("writer", asking(run.openai()))
    outer = StateGraph(Talk)
    outer.add_node("team", inner)
    outer.add_node("editor", asking(run.claude()))
    outer.add_edge(START, "team").add_edge("team", "editor").add_edge("editor", END)
    await run.invoke(outer.compile(), {"said": [ASKED]})


@case(CASES, "eight calls at once (a batch, or `asyncio.gather`)", AT_ONCE, paid=MANY)
async def many_at_once(run: Run) -> None:
    model = run.openai()
    if run.mode == "sync":
        await run.batch(model, [ASKED] * MANY)
    else:
        await asyncio.gather(*(run.invoke(model) for _ in range(MANY)))


@case(CASES, "an executor's threads, with the context copied", AT_ONCE, paid=MANY, modes=["sync"])
async def executor_threads(run: Run) -> None:
    model = run.openai()
    with ThreadPoolExecutor(4) as threads:
        for _ in range(MANY):
            threads.submit(copy_context().run, model.invoke, ASKED, run.watch.config)


@case(CASES, "plain threads, with the handler passed on", AT_ONCE, paid=MANY, modes=["sync"])
async def plain_threads(run: Run) -> None:
    model = run.openai()
    threads = [Thread(target=model.invoke, args=(ASKED, run.watch.explicit)) for _ in range(MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@case(CASES, "the handler attached twice, around the call and to it", AT_ONCE, paid=1)
async def attached_twice(run: Run) -> None:
    model = run.openai(callbacks=run.watch.explicit["callbacks"])
    chain = RunnableLambda(lambda asked: asked) | model
    await run.invoke(chain, config=run.watch.explicit)


class Talk(TypedDict):
    """What the nodes of a graph said, one after the other."""

    said: Annotated[list[str], add]


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}."


def asking(model: BaseChatModel) -> Runnable[Any, Any]:
    """A node that asks a model, in the mode of the run."""

    def ask(state: Talk) -> dict[str, list[str]]:
        return {"said": [model.invoke(state["said"][-1]).text]}

    async def aask(state: Talk) -> dict[str, list[str]]:
        return {"said": [(await model.ainvoke(state["said"][-1])).text]}

    return RunnableLambda(ask, aask)


def graph_of(name: str, node: Runnable[Any, Any]) -> Any:
    """A graph of one node."""
    graph = StateGraph(Talk)
    graph.add_node(name, node)
    graph.add_edge(START, name).add_edge(name, END)
    return graph.compile()

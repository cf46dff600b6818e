"""Runs that end become experiences, behind the app's back and never in its way."""

import asyncio
import gc
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from llmops_langchain import Experience, FinishedRun, LLMOps

TASK = "Find the cheapest train to Bergen"
IMAGE = {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}
USAGE = {"input_tokens": 30, "output_tokens": 12, "total_tokens": 42}


@dataclass(kw_only=True)
class State:
    """Of a graph whose state is an object."""

    question: str = ""
    messages: list[Any] = field(default_factory=list)


@pytest.fixture
def ops() -> Iterator[LLMOps]:
    with LLMOps("sqlite://") as ops:
        ops.prices.set("gpt-x", input_per_million=1_000, output_per_million=2_000)
        yield ops


def learnt(ops: LLMOps, task: str = TASK, **said: Any) -> list[Experience]:
    ops.flush()
    found = ops.learning.similar(task, k=100, **said)
    return sorted((each.experience for each in found), key=lambda each: each.ts)


def model(*answers: Any) -> GenericFakeChatModel:
    told = answers or ("By bus.",)
    return GenericFakeChatModel(
        messages=iter(
            each
            if isinstance(each, AIMessage)
            else AIMessage(each, usage_metadata=USAGE, response_metadata={"model_name": "gpt-x"})
            for each in told
        )
    )


def graph(*nodes: Any) -> Any:
    made = StateGraph(MessagesState)
    previous = START
    for node in nodes:
        made.add_node(node.__name__, node)
        made.add_edge(previous, node.__name__)
        previous = node.__name__
    return made.compile(checkpointer=InMemorySaver())


def test_a_model_by_itself_is_a_run(ops) -> None:
    model().invoke(TASK, {"callbacks": [ops.recorder()]})
    (run,) = learnt(ops)
    assert (run.task_description, run.success, run.model) == (TASK, True, "gpt-x")
    assert run.metrics["cost"] == pytest.approx(0.03 + 0.024)
    assert (run.metrics["input_tokens"], run.metrics["output_tokens"]) == (30, 12)
    assert run.metrics["iterations"] == 1
    assert run.metrics["completion_time"] > 0


def test_runs_inside_a_run_are_part_of_it(ops) -> None:
    chain = ChatPromptTemplate.from_template("{question}") | model()
    chain.invoke({"question": TASK}, {"callbacks": [ops.recorder()]})
    (run,) = learnt(ops)
    assert run.task_description == TASK
    assert run.metrics["iterations"] == 1


def test_whose_it_was_is_what_track_says_then_the_metadata(ops) -> None:
    config = {
        "callbacks": [ops.recorder(tech_stack=["rail"])],
        "metadata": {"project": "other", "thread_id": "t", "workspace": "stolen"},
    }
    with ops.track(workspace="acme", project="travel", user="anne", agent="booker"):
        model().invoke(TASK, config)
    (run,) = learnt(ops, workspace="acme")
    assert (run.project_id, run.user, run.agent, run.thread) == ("travel", "anne", "booker", "t")
    assert run.tech_stack == ("rail",)
    assert learnt(ops, workspace="stolen") == []


def test_what_raises_failed_by_its_category(ops) -> None:
    def late(_: Any) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        RunnableLambda(late).invoke(TASK, {"callbacks": [ops.recorder()]})
    (run,) = learnt(ops)
    assert (run.success, run.failure) == (False, "timeout")


@pytest.mark.parametrize(
    ("verdict", "success"),
    [
        (True, True),
        (False, False),
        (0.5, True),
        (0.49, False),
        (1, True),
        (np.float32(0.9), True),
        (np.bool_(0), False),
        ({"success": 0}, False),
    ],
)
def test_a_judge_says_how_it_went(ops, verdict, success) -> None:
    seen: list[FinishedRun] = []

    def judge(run: FinishedRun) -> Any:
        seen.append(run)
        return verdict

    model().invoke(TASK, {"callbacks": [ops.recorder(judge)]})
    (run,) = learnt(ops)
    assert run.success is success
    assert (seen[0].task, seen[0].text, seen[0].run_id) == (TASK, "By bus.", run.run_id)


def test_a_judge_may_give_lessons_and_may_decline(ops) -> None:
    told = {"success": False, "failure": "too slow", "lessons": ["Ask the railway."]}
    model().invoke(TASK, {"callbacks": [ops.recorder(lambda _: told)]})
    model().invoke(TASK, {"callbacks": [ops.recorder(lambda _: None)]})
    (run,) = learnt(ops)
    assert (run.failure, run.lessons) == ("too slow", ("Ask the railway.",))


@pytest.mark.parametrize("wrong", ["good", 7, {"lessons": []}, ...])
def test_a_judge_that_fails_costs_one_experience_and_is_told_once(ops, caplog, wrong) -> None:
    def judge(_: FinishedRun) -> Any:
        if wrong is ...:
            raise RuntimeError(TASK)
        return wrong

    recorder = ops.recorder(judge)
    for _ in range(2):
        model().invoke(TASK, {"callbacks": [recorder]})
    assert learnt(ops) == []
    assert recorder.dropped == 2
    assert caplog.text.count("a run was not learnt") == 1
    assert TASK not in caplog.text


def test_a_graph_tells_its_steps_tools_and_tool_errors(ops) -> None:
    @tool
    def look_up(town: str) -> str:
        """Look up a town."""
        if town == "Atlantis":
            raise ValueError(town)
        return town

    def plan(state: Any) -> Any:
        return {"messages": [model("First …").invoke(state["messages"])]}

    def search(_: Any) -> Any:
        for town in ("Bergen", "Atlantis"):
            try:
                look_up.invoke({"town": town})
            except ValueError:
                continue
        return {"messages": [model("29 euros").invoke(TASK)]}

    config = {"callbacks": [ops.recorder()], "configurable": {"thread_id": "t"}}
    graph(plan, search).invoke({"messages": [HumanMessage(TASK)]}, config)
    (run,) = learnt(ops)
    assert run.steps == ("plan", "search", "look_up", "look_up")
    assert run.tools == ("look_up",)
    assert (run.metrics["tool_errors"], run.metrics["iterations"]) == (1, 2)
    assert run.thread == "t"


def test_a_pause_for_a_human_is_no_end_and_what_goes_on_is(ops) -> None:
    def ask(_: Any) -> Any:
        return {"messages": [AIMessage(interrupt("really?"))]}

    config = {"callbacks": [ops.recorder()], "configurable": {"thread_id": "t"}}
    asking = graph(ask)
    asking.invoke({"messages": [HumanMessage(TASK)]}, config)
    assert learnt(ops) == []
    asking.invoke(Command(resume="yes"), config)
    assert [run.task_description for run in learnt(ops)] == [TASK]


async def test_a_cancelled_run_is_not_learnt(ops) -> None:
    begun = asyncio.Event()

    async def forever(_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    chain = RunnableLambda(forever)
    running = asyncio.create_task(chain.ainvoke(TASK, {"callbacks": [ops.recorder()]}))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert learnt(ops) == []


async def test_fifty_runs_at_once_have_each_their_own_tokens(ops) -> None:
    recorder = ops.recorder()

    async def calls(state: dict[str, Any]) -> str:
        for _ in range(state["calls"]):
            await model().ainvoke("again")
            await asyncio.sleep(0)
        return "done"

    chain = RunnableLambda(calls)
    await asyncio.gather(
        *(
            chain.ainvoke({"task": f"{TASK} {number}", "calls": number}, {"callbacks": [recorder]})
            for number in range(50)
        )
    )
    counts = {
        int(run.task_description.rpartition(" ")[2]): run.metrics.get("iterations", 0)
        for run in learnt(ops)
    }
    assert counts == {number: number for number in range(50)}


def test_streams_and_batches_and_text_models_are_learnt(ops) -> None:
    recorder = ops.recorder()
    list(FakeListChatModel(responses=["By bus."]).stream(f"{TASK} 1", {"callbacks": [recorder]}))
    FakeListLLM(responses=["By bus."]).invoke(f"{TASK} 2", {"callbacks": [recorder]})
    FakeListChatModel(responses=["By bus."]).batch(
        [f"{TASK} 3", f"{TASK} 4"], {"callbacks": [recorder]}
    )
    assert len(learnt(ops)) == 4


def test_the_app_does_not_wait_and_what_is_too_much_is_counted(ops, caplog) -> None:
    from llmops_langchain.learning import ExperienceRecorder

    may_go_on, judging = threading.Event(), threading.Event()

    def judge(_: FinishedRun) -> bool:
        judging.set()
        return may_go_on.wait(30)

    recorder = ExperienceRecorder(ops.learning, judge=judge, most_waiting=2)
    model().invoke(TASK, {"callbacks": [recorder]})
    assert judging.wait(30)
    for _ in range(4):
        model().invoke(TASK, {"callbacks": [recorder]})
    assert recorder.flush(0.0) is False
    assert recorder.dropped == 2
    assert "too many runs wait" in caplog.text
    may_go_on.set()
    ops.flush()
    assert ops.learning.stats().experiences == 3


def test_a_model_writes_lessons_and_is_not_learnt_from(ops) -> None:
    writer = FakeListChatModel(responses=["- Ask the railway.\n\n* Compare two days.\nc\nd"])
    recorder = ops.recorder(writer=writer)
    model().invoke(TASK, {"callbacks": [recorder]})
    (run,) = learnt(ops)
    assert run.lessons == ("Ask the railway.", "Compare two days.", "c")


def test_what_waits_is_learnt_though_nobody_holds_the_recorder(ops) -> None:
    may_go_on = threading.Event()

    def ask(number: int) -> None:
        recorder = ops.recorder(lambda _: may_go_on.wait(30))
        for each in range(number):
            model().invoke(f"{TASK} {each}", {"callbacks": [recorder]})

    ask(3)
    gc.collect()
    (thread,) = (each for each in threading.enumerate() if each.name == "llmops-recorder")
    may_go_on.set()
    thread.join(30)  # nobody holds the recorder now: its thread ends
    assert not thread.is_alive()
    assert ops.learning.stats().experiences == 3


@pytest.mark.parametrize("role", ["judge", "writer"])
def test_a_model_may_carry_the_recorder_that_asks_it(ops, role) -> None:
    asked = FakeListChatModel(responses=["Ask the railway."])
    options = {"judge": lambda run: bool(asked.invoke(run.task).text), "writer": asked}
    recorder = ops.recorder(**{role: options[role]})
    asked.callbacks = [recorder]
    asked.invoke(TASK)
    assert len(learnt(ops)) == 1


def test_a_writer_that_fails_costs_the_lessons_alone(ops) -> None:
    def writer(_: FinishedRun) -> list[str]:
        raise ConnectionError

    model().invoke(TASK, {"callbacks": [ops.recorder(writer=writer)]})
    (run,) = learnt(ops)
    assert run.lessons == ()


def test_the_task_may_be_taken_out_by_a_function(ops, caplog) -> None:
    RunnableLambda(lambda _: "ok").invoke(
        {"ticket": {"title": TASK}},
        {"callbacks": [ops.recorder(task=lambda given: given["ticket"]["title"])]},
    )
    assert len(learnt(ops)) == 1
    RunnableLambda(lambda _: "ok").invoke("x", {"callbacks": [ops.recorder(task=lambda _: 1 / 0)]})
    assert "ZeroDivisionError" in caplog.text


def test_a_run_without_a_task_is_not_learnt(ops) -> None:
    for nothing in (7, {}, [], "", {"input": {}}, object()):
        RunnableLambda(lambda _: "ok").invoke(nothing, {"callbacks": [ops.recorder()]})
    ops.flush()
    assert ops.learning.stats().experiences == 0


@pytest.mark.parametrize(
    "given",
    [
        TASK,
        [HumanMessage(TASK), AIMessage("Hm.")],
        {"messages": [("system", "Be brief."), ("user", TASK)]},
        {"messages": [{"role": "user", "content": TASK}]},
        {"messages": TASK},
        {"messages": [{"type": "human", "content": TASK}, {"type": "ai", "content": "Hm."}]},
        {"messages": [("user", [{"type": "text", "text": TASK}, IMAGE])]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": TASK}, IMAGE]}]},
        {"messages": [("user", TASK), ("stranger", "Hello")]},
        State(question=TASK),
        State(messages=[HumanMessage(TASK)]),
        {"input": TASK},
        {"question": TASK, "context": "much"},
        HumanMessage(TASK),
        ["Hello", TASK],
    ],
)
def test_the_task_is_found_where_apps_put_it(ops, given) -> None:
    RunnableLambda(lambda _: "ok").invoke(given, {"callbacks": [ops.recorder()]})
    assert [run.task_description for run in learnt(ops)] == [TASK]


def test_an_answer_of_the_cache_costs_nothing(ops) -> None:
    cached = ops.cached(FakeListChatModel(responses=["By bus."]))
    for _ in range(2):
        cached.invoke(TASK, {"callbacks": [ops.recorder()]})
    assert learnt(ops)[-1].metrics["cost"] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_learns_with_a_thread_of_its_own(tmp_path) -> None:
    with LLMOps(f"sqlite:///{tmp_path}/a.db") as ops:
        recorder = ops.recorder()
        model().invoke(TASK, {"callbacks": [recorder]})
        ops.flush()
        if not (child := os.fork()):
            model().invoke(f"{TASK} too", {"callbacks": [recorder]})
            os._exit(not recorder.flush(30))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(learnt(ops)) >= 1
        assert ops.learning.stats().experiences == 2

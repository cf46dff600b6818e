"""Nodes that read lessons and learn from a graph's state."""

from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from llmops_langchain import ConfigurationError, LLMOps, StorageError, learn_node

TASK = "Refund the order of a customer"


class State(MessagesState, total=False):
    """Of a graph that learns."""

    lessons: str
    success: bool
    task: str
    notes: list[str]
    figures: dict[str, float]


@pytest.fixture
def ops() -> Iterator[LLMOps]:
    with LLMOps("sqlite://") as ops:
        yield ops


def graph(*nodes: Any, **options: Any) -> Any:
    made, previous = StateGraph(State), START
    for place, node in enumerate(nodes):
        made.add_node(f"node{place}", node)
        made.add_edge(previous, f"node{place}")
        previous = f"node{place}"
    return made.compile(**options)


def asked(**said: Any) -> dict[str, Any]:
    return {"messages": [("user", TASK)], **said}


def test_what_one_run_learns_the_next_one_reads(ops) -> None:
    learning = ops.learn_node(lessons_key="notes", metrics_key="figures", tech_stack=["shop"])
    made = graph(ops.lessons_node(), lambda _: {"success": True}, learning)
    first = made.invoke(
        asked(notes=["Ask first."], figures={"cost": 2}),
        {"metadata": {"project": "desk", "thread_id": "t", "user": "anne"}},
    )
    assert first["lessons"] == ""
    (match,) = ops.learning.similar(TASK)
    run = match.experience
    assert (run.project_id, run.thread, run.user, run.success) == ("desk", "t", "anne", True)
    assert (run.metrics, run.tech_stack) == ({"cost": 2.0}, ("shop",))
    assert "Ask first. (that run succeeded)" in made.invoke(asked())["lessons"]


async def test_they_run_in_an_async_graph(ops) -> None:
    made = graph(ops.lessons_node(), ops.learn_node(judge=lambda _: False))
    assert (await made.ainvoke(asked()))["lessons"] == ""
    assert ops.learning.stats().experiences == 1


def test_the_task_may_stand_under_a_key(ops) -> None:
    made = graph(ops.lessons_node(task_key="task"), ops.learn_node(task_key="task"))
    made.invoke(asked(task="Water the plants", success=True))
    assert ops.learning.similar("plants")[0].experience.task_description == "Water the plants"
    assert made.invoke(asked(task=""))["lessons"] == ""


def test_what_nobody_judges_is_not_learnt(ops) -> None:
    made = graph(ops.learn_node())
    made.invoke(asked())
    graph(ops.learn_node(judge=lambda _: None)).invoke(asked(success=True))
    assert ops.learning.stats().experiences == 0


@pytest.mark.parametrize(
    ("verdict", "success"), [(0.7, True), (0.2, False), ({"success": True, "model": "m"}, True)]
)
def test_a_judge_says_what_a_recorders_may(ops, verdict, success) -> None:
    graph(ops.learn_node(judge=lambda _: verdict)).invoke(asked())
    (match,) = ops.learning.similar(TASK)
    assert match.experience.success is success


def test_a_judge_may_ask_a_human(ops) -> None:
    node = ops.learn_node(judge=lambda _: interrupt("Did it work?"))
    made, config = graph(node, checkpointer=InMemorySaver()), {"configurable": {"thread_id": "t"}}
    assert "__interrupt__" in made.invoke(asked(), config)
    assert ops.learning.stats().experiences == 0
    made.invoke(Command(resume=True), config)
    (match,) = ops.learning.similar(TASK)
    assert match.experience.success


@pytest.mark.parametrize("messages", [7, None, [object()], [("stranger", TASK)]])
def test_a_state_without_a_task_has_no_lessons(ops, messages) -> None:
    state = {"messages": messages, "success": True}
    assert ops.lessons_node()(state, {}) == {"lessons": ""}
    assert ops.learn_node()(state, {}) == {}
    assert ops.learning.stats().experiences == 0


def test_workspaces_read_their_own(ops) -> None:
    ops.learning.learn(
        project_id="p", task_description=TASK, success=True, lessons=["Of acme."], workspace="acme"
    )
    made = graph(ops.lessons_node())
    assert made.invoke(asked())["lessons"] == ""
    with ops.track(workspace="acme"):
        assert "Of acme." in made.invoke(asked())["lessons"]


def test_what_fails_breaks_no_graph(ops, monkeypatch, caplog) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise StorageError

    monkeypatch.setattr(ops.learning, "similar", away)
    monkeypatch.setattr(ops.learning, "learn", away)
    made = graph(ops.lessons_node(), ops.learn_node(judge=lambda _: True))
    assert made.invoke(asked())["lessons"] == ""
    assert "no lessons were found" in caplog.text
    assert "a run was not learnt" in caplog.text


def test_a_node_that_cannot_judge_is_refused(ops) -> None:
    with pytest.raises(ConfigurationError, match="judge"):
        learn_node(ops.learning, success_key="")

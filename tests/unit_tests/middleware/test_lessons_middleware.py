"""An agent is shown lessons once a run, where they leave the provider's prompt cache warm."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import Field

from llmops_langchain import LLMOps, StorageError
from llmops_langchain.middleware import LessonsMiddleware

REFUND, PARCEL = "Refund the order of a customer", "Trace a lost parcel"
LESSON = "Ask for the order's number first."


class Watched(BaseChatModel):
    """Keeps the prompts that it is sent; calls a tool first if it may."""

    prompts: list[list[BaseMessage]] = Field(default_factory=list)
    tool_first: bool = False

    @property
    def _llm_type(self) -> str:
        return "watched"

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.prompts.append(list(messages))
        calls = self.tool_first and messages[-1].type == "human"
        wanted = [{"name": "look_up", "args": {}, "id": "1"}] if calls else []
        said = AIMessage("Which order?", tool_calls=wanted)
        return ChatResult(generations=[ChatGeneration(message=said)])


@tool
def look_up() -> str:
    """Look up an order."""
    return "4711"


@pytest.fixture
def ops() -> Iterator[LLMOps]:
    with LLMOps("sqlite://") as ops:
        learn(ops)
        yield ops


def learn(ops: LLMOps, task: str = REFUND, lesson: str = LESSON, **said: Any) -> None:
    told = {"project_id": "p", "task_description": task, "success": False, "lessons": [lesson]}
    ops.learning.learn(**told | said)


def agent(model: Watched, *middleware: Any, **options: Any) -> Any:
    return create_agent(model, [look_up], middleware=list(middleware), **options)


def texts(prompt: list[BaseMessage]) -> list[str]:
    return [each.text for each in prompt]


def test_lessons_stand_behind_the_question_and_the_state_is_untouched(ops) -> None:
    model = Watched()
    asked = HumanMessage(REFUND)
    state = agent(model, ops.lessons(), system_prompt="Be brief.").invoke({"messages": [asked]})
    system, human = model.prompts[0]
    assert system.text == "Be brief."
    assert human.text.startswith(f"{REFUND}\n\n<past_runs>")
    assert LESSON in human.text
    assert texts(state["messages"]) == [REFUND, "Which order?"]
    assert asked.content == REFUND
    assert "llmops_lessons" not in state


async def test_every_step_of_a_run_is_shown_the_same_and_looks_once(ops, monkeypatch) -> None:
    looks, similar = [], ops.learning.similar
    monkeypatch.setattr(
        ops.learning, "similar", lambda *a, **k: looks.append(1) or similar(*a, **k)
    )
    for way in ("sync", "async"):
        model = Watched(tool_first=True)
        made, given = agent(model, ops.lessons()), {"messages": [("user", REFUND)]}
        made.invoke(given) if way == "sync" else await made.ainvoke(given)
        first, second = model.prompts
        assert texts(second)[: len(first)] == texts(first)
        assert LESSON in first[0].text
    assert len(looks) == 2


def test_in_later_turns_each_prompt_goes_on_as_the_one_before(ops) -> None:
    learn(ops, PARCEL, "Call the carrier.")
    model = Watched()
    made = agent(model, ops.lessons(min_score=0.0, k=1), checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    for question in (REFUND, PARCEL, REFUND):
        made.invoke({"messages": [("user", question)]}, config)
    first, second, third = map(texts, model.prompts)
    assert second[: len(first)] == first
    assert third[: len(second)] == second
    assert "Call the carrier." in second[-1]
    assert third[-1] == REFUND  # it was told already


def test_a_prompt_that_was_sent_without_lessons_stays_without(ops) -> None:
    model = Watched()
    made = agent(model, ops.lessons(), checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    made.invoke({"messages": [("user", PARCEL)]}, config)
    learn(ops, PARCEL, "Call the carrier.")
    made.invoke({"messages": [("assistant", "The carrier has called.")]}, config)
    first, second = map(texts, model.prompts)
    assert first == [PARCEL]
    assert second[: len(first)] == first


def test_lessons_go_with_the_message_that_they_belong_to(ops) -> None:
    made = agent(Watched(), ops.lessons(), checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    learn(ops, PARCEL, "Call the carrier.")
    for question in (REFUND, PARCEL):
        made.invoke({"messages": [("user", question)]}, config)
        state = made.get_state(config).values
        gone = [RemoveMessage(each.id) for each in state["messages"]]
        made.update_state(config, {"messages": gone})
    (kept,) = state["llmops_lessons"].values()
    assert kept["told"] == ["Call the carrier."]


def test_without_lessons_the_request_is_sent_as_it_is(ops) -> None:
    model = Watched()
    agent(model, ops.lessons()).invoke({"messages": [("user", "Sing a song of whales")]})
    assert texts(model.prompts[0]) == ["Sing a song of whales"]
    agent(model, ops.lessons()).invoke({"messages": [("user", " ")]})
    assert texts(model.prompts[1]) == [" "]


def test_content_blocks_get_one_more(ops) -> None:
    model = Watched()
    blocks = [{"type": "text", "text": REFUND}]
    agent(model, ops.lessons()).invoke({"messages": [HumanMessage(blocks)]})
    sent = model.prompts[0][0].content
    assert sent[0] == blocks[0]
    assert LESSON in sent[1]["text"]
    assert len(blocks) == 1


def test_no_workspace_is_shown_another_ones(ops) -> None:
    learn(ops, lesson="Secret of acme.", workspace="acme")
    model = Watched()
    made = agent(model, ops.lessons())
    with ops.track(workspace="acme"):
        made.invoke({"messages": [("user", REFUND)]})
    with ops.track(workspace="other"):
        made.invoke({"messages": [("user", REFUND)]})
    made.invoke({"messages": [("user", REFUND)]})
    acme, other, nobody = (texts(prompt)[0] for prompt in model.prompts)
    assert "Secret of acme." in acme
    assert LESSON not in acme
    assert other == REFUND
    assert LESSON in nobody
    assert "Secret" not in nobody


def test_a_search_that_fails_breaks_nothing_and_is_told_once(ops, monkeypatch, caplog) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise StorageError

    monkeypatch.setattr(ops.learning, "similar", away)
    model = Watched()
    made = agent(model, ops.lessons())
    for _ in range(2):
        made.invoke({"messages": [("user", REFUND)]})
    assert [texts(prompt) for prompt in model.prompts] == [[REFUND]] * 2
    assert caplog.text.count("no lessons were found") == 1


def test_tokens_and_filters_bound_what_is_shown(ops) -> None:
    model = Watched()
    for options in ({"max_tokens": 5}, {"filter": {"success": True}}, {"min_score": 1.1}):
        made = agent(model, LessonsMiddleware(ops.learning, **options))
        made.invoke({"messages": [("user", REFUND)]})
    assert [texts(prompt) for prompt in model.prompts] == [[REFUND]] * 3


def test_lessons_come_before_the_window_which_counts_them(ops) -> None:
    names = [each.name for each in ops.middleware(lessons=True, budget=True)]
    assert names == ["BudgetMiddleware", "LessonsMiddleware", "ContextWindowMiddleware"]
    model = Watched()
    made = create_agent(model, middleware=ops.middleware(lessons=True))
    made.invoke({"messages": [("user", REFUND)]})
    assert LESSON in model.prompts[0][0].text


async def test_a_stream_is_shown_them_too(ops) -> None:
    model = Watched()
    made = agent(model, ops.lessons())
    async for _ in made.astream({"messages": [("user", REFUND)]}, stream_mode="messages"):
        pass
    assert LESSON in model.prompts[0][0].text


def test_what_an_agent_learns_it_is_shown_the_next_time(ops) -> None:
    model = Watched(tool_first=True)
    made = agent(model, ops.lessons())

    def judge(run: Any) -> Any:
        return {"success": run.tools == ("look_up",), "lessons": [f"{len(run.steps)} steps do."]}

    task = "Count the spoons in the drawer"
    config = {"callbacks": [ops.recorder(judge)]}
    made.invoke({"messages": [("user", task)]}, config)
    ops.flush()
    (match,) = ops.learning.similar(task, k=1)
    assert match.experience.success
    assert match.experience.tools == ("look_up",)
    made.invoke({"messages": [("user", task)]}, config)
    assert "steps do." in model.prompts[-1][0].text

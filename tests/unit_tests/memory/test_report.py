"""A trim tells what left and why, and works it out only when asked."""

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from llmops_langchain.memory import ContextWindow, Trim
from llmops_langchain.memory.report import Reason
from llmops_langchain.memory.validity import CLEARED_NOTE


def step(call_id: str, output: str) -> list[BaseMessage]:
    call = {"name": "f", "args": {}, "id": call_id}
    return [AIMessage("", tool_calls=[call]), ToolMessage(output, tool_call_id=call_id)]


LONG = "word " * 300
OLD = [HumanMessage(LONG), AIMessage("old")]
THINNED = [HumanMessage("and then?"), *step("x", LONG), AIMessage("then")]
NOW = [HumanMessage("now?"), *step("x", LONG), *step("x", "ok")]
ORPHAN = ToolMessage("orphan", tool_call_id="gone")
HISTORY = [SystemMessage("s"), *OLD, ORPHAN, *THINNED, *NOW]


@pytest.fixture
def trim() -> Trim:
    return ContextWindow("gpt-4o", max_tokens=150).trim(HISTORY)


def test_every_message_that_left_or_changed_has_its_reason(trim: Trim) -> None:
    assert [(r.index, r.why) for r in trim.reasons] == [
        (1, "turn"),
        (2, "turn"),
        (3, "refused"),
        (5, "step"),
        (6, "step"),
        (10, "output"),
    ]
    assert all(HISTORY[r.index] is r.message for r in trim.reasons)


def test_a_message_whose_content_was_cleared_did_not_leave(trim: Trim) -> None:
    assert list(trim.removed) == [*OLD, ORPHAN, *THINNED[1:3]]
    assert [m.content for m in trim.messages if m.type == "tool"] == [CLEARED_NOTE, "ok"]


def test_freed_tokens_are_what_the_history_had_more(trim: Trim) -> None:
    window = ContextWindow("gpt-4o", max_tokens=150)
    before, after = window.check(HISTORY), window.check(trim.messages)
    assert trim.freed_tokens == before.current_tokens - after.current_tokens > 900


def test_the_report_is_about_the_history_as_it_was() -> None:
    growing = list(HISTORY)
    trim = ContextWindow("gpt-4o", max_tokens=150).trim(growing)
    growing += [HumanMessage(LONG)] * 3
    assert {r.index for r in trim.reasons} == {1, 2, 3, 5, 6, 10}


def test_nothing_left_nothing_to_report() -> None:
    trim = ContextWindow("gpt-4o", max_tokens=100_000).trim(HISTORY)
    assert (trim.reasons, trim.removed, trim.freed_tokens) == ((), (), 0)


def test_messages_given_as_tuples_are_reported_as_messages() -> None:
    trim = ContextWindow("gpt-4o", max_tokens=20).trim([("human", LONG), ("human", "now?")])
    assert trim.reasons == (Reason(index=0, message=HumanMessage(LONG), why="turn"),)

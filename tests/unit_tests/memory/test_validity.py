"""What providers refuse is told apart from what they accept, whatever the history looks like."""

import pytest
from history_judge import refusals
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from llmops_langchain.memory.validity import (
    CLEARED_NOTE,
    cleared,
    current_question,
    pinned,
    turns,
    valid,
)


def calls(*ids: str | None) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": i} for i in ids])


def result(call_id: str) -> ToolMessage:
    return ToolMessage("ok", tool_call_id=call_id)


SYSTEM, ASK, SAY, AGAIN = SystemMessage("s"), HumanMessage("q"), AIMessage("a"), HumanMessage("q2")
BAD_ARGS = {"name": "f", "args": "{", "id": "x", "error": None}
UNPARSED = AIMessage("", invalid_tool_calls=[BAD_ARGS])

MALFORMED = {
    "orphan result": [ASK, result("x"), SAY, AGAIN],
    "result of an earlier turn": [ASK, SAY, AGAIN, result("x")],
    "unanswered call": [ASK, calls("x"), AGAIN],
    "half answered": [ASK, calls("x", "y"), result("x"), AGAIN],
    "answered too late": [ASK, calls("x"), AGAIN, result("x")],
    "two results for one call": [ASK, calls("x"), result("x"), result("x"), SAY],
    "same id twice in one message": [ASK, calls("x", "x"), result("x"), result("x"), SAY],
    "call without an id": [ASK, calls(None), SAY],
    "arguments that did not parse": [ASK, UNPARSED, AGAIN],
    "system message in the middle": [SYSTEM, ASK, SAY, SYSTEM, AGAIN],
    "answer first": [SYSTEM, SAY, ASK],
    "removal among messages": [ASK, RemoveMessage(id="1"), SAY],
    "questions in a row": [ASK, AGAIN, result("x")],
}


@pytest.mark.parametrize("history", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_history_becomes_valid(history) -> None:
    repaired = valid(history)
    assert refusals(repaired) == []
    assert [m for m in history if m in repaired and m.type == "human"]


@pytest.mark.parametrize(
    "history",
    [
        [ASK],
        [SYSTEM, SYSTEM, ASK, SAY],
        [ASK, calls("x", "y"), result("y"), result("x"), SAY, AGAIN],
        [ASK, calls("x"), result("x"), calls("x"), result("x"), SAY],
        [ASK, calls("x", "y"), result("x")],
        [ASK, calls("x")],
        [ASK, AGAIN, SAY],
    ],
)
def test_a_valid_history_stays_as_it_is(history) -> None:
    assert refusals(history) == []
    assert valid(history) == history


def test_the_first_of_two_results_for_a_call_stays() -> None:
    first, second = result("x"), ToolMessage("other", tool_call_id="x")
    assert valid([ASK, calls("x"), first, second])[-1] is first


def test_without_any_question_the_steps_stay() -> None:
    assert valid([SYSTEM, SAY, result("x"), calls("y"), result("y")]) == [
        SYSTEM,
        SAY,
        calls("y"),
        result("y"),
    ]


def test_a_chat_message_is_what_its_role_says() -> None:
    system, user = ChatMessage("s", role="developer"), ChatMessage("q", role="user")
    said = [ChatMessage("a", role="assistant"), ChatMessage("c", role="critic")]
    assert valid([system, SAY, user, *said]) == [system, user, *said]
    assert current_question([user, *said]) == 0


def test_turns_come_newest_first_and_are_read_on_demand() -> None:
    newest_first = turns([SYSTEM, SAY, ASK, SAY, AGAIN], 1)
    assert next(newest_first) == [AGAIN]
    assert list(newest_first) == [[ASK, SAY], [SAY]]


def test_a_cleared_output_is_a_copy_with_the_same_ids() -> None:
    output = ToolMessage("long", tool_call_id="x", id="1", artifact=[1], status="error")
    note = cleared(output)
    assert (note.content, output.content) == (CLEARED_NOTE, "long")
    assert note.model_copy(update={"content": "long"}) == output


def test_system_and_question_are_put_back_where_they_were() -> None:
    step = [calls("x"), result("x")]
    history = [SYSTEM, ASK, SAY, AGAIN, *step]
    assert pinned([ASK, SAY, *step], history) == history
    assert pinned([], history) == [SYSTEM, AGAIN]
    assert pinned([SYSTEM, AGAIN], history) == [SYSTEM, AGAIN]


def test_nothing_is_put_back_into_a_history_without_either() -> None:
    assert pinned([SAY], [SAY, SAY]) == [SAY]

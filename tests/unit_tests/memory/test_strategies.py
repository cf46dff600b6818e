"""The sliding window keeps what matters most, in an order that can be told beforehand."""

import pytest
from history_judge import refusals
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from llmops_langchain.errors import ContextWindowError
from llmops_langchain.memory import STRATEGIES, Room, sliding_window
from llmops_langchain.memory.strategies import checked
from llmops_langchain.memory.validity import CLEARED_NOTE

NOTE = len(CLEARED_NOTE)


def room(max_tokens: int, *, taken: int = 0) -> Room:
    """A room in which a token is a character."""
    return Room(max_tokens=max_tokens, taken=taken, count=lambda m: len(m.content))


def turn(name: str, *outputs: int) -> list[BaseMessage]:
    """A question and an answer of 10 tokens each, and tool steps with outputs of given lengths."""
    steps: list[BaseMessage] = []
    for i, size in enumerate(outputs):
        call = {"name": "f", "args": {}, "id": f"{name}{i}"}
        steps += [
            AIMessage("call", tool_calls=[call]),
            ToolMessage(str(i) * size, tool_call_id=call["id"]),
        ]
    return [HumanMessage(name * 10), *steps, AIMessage(name.upper() * 10)]


def texts(messages: list[BaseMessage]) -> list[str]:
    """What is in each message: the first letter, `note` for a cleared output."""
    return ["note" if m.content == CLEARED_NOTE else str(m.content)[:1] for m in messages]


SYSTEM, NOW = SystemMessage("s" * 10), HumanMessage("?" * 10)


def test_the_newest_turns_stay_whole() -> None:
    kept = sliding_window([SYSTEM, *turn("a"), *turn("b"), *turn("c"), NOW], room(60))
    assert texts(kept) == ["s", "b", "B", "c", "C", "?"]


def test_an_earlier_turn_that_does_not_fit_gives_up_its_tool_steps() -> None:
    kept = sliding_window([SYSTEM, *turn("a"), *turn("b", 99), NOW], room(60))
    assert texts(kept) == ["s", "a", "A", "b", "B", "?"]


def test_of_the_tool_steps_of_an_earlier_turn_the_newest_that_fit_stay() -> None:
    kept = sliding_window([*turn("b", 10, 10, 99, 10), NOW], room(60))
    assert texts(kept) == ["b", "c", "1", "c", "3", "B", "?"]


def test_a_turn_too_long_to_keep_does_not_stop_older_ones() -> None:
    long = [HumanMessage("l" * 50), AIMessage("L" * 50)]
    assert texts(sliding_window([*turn("a"), *long, *turn("c"), NOW], room(50))) == list("aAcC?")


def test_an_earlier_question_never_stays_without_an_answer() -> None:
    unanswered = turn("b", 99)[:-1]
    assert texts(sliding_window([*turn("a"), *unanswered, NOW], room(60))) == ["a", "A", "?"]


def test_only_what_is_kept_is_read() -> None:
    never_read = [NOW, *[None] * 1000]
    kept = sliding_window([SYSTEM, *never_read, *turn("a"), *turn("b"), NOW], room(60))
    assert texts(kept) == ["s", "a", "A", "b", "B", "?"]


def test_the_search_for_a_turn_that_fits_ends() -> None:
    long = [HumanMessage("l" * 50), AIMessage("L" * 50)]
    counted: list[BaseMessage] = []
    limited = Room(max_tokens=30, taken=0, count=lambda m: counted.append(m) or len(m.content))
    assert texts(sliding_window([*turn("a"), *long * 500, NOW], limited)) == ["?"]
    assert len(counted) < 150


def test_one_oversize_output_of_the_current_turn_is_cleared_alone() -> None:
    current = turn("q", 30, 500, 30)[:-1]
    kept = sliding_window([SYSTEM, *turn("a"), *current], room(100 + 2 * NOTE))
    assert texts(kept) == ["s", "a", "A", "q", "c", "0", "c", "note", "c", "2"]


def test_the_newest_output_is_the_last_to_be_cleared() -> None:
    current = turn("q", 300, 300, 300)[:-1]
    kept = sliding_window(current, room(700 + NOTE))
    assert texts(kept) == ["q", "c", "note", "c", "1", "c", "2"]


def test_an_output_smaller_than_the_note_is_not_cleared() -> None:
    kept = sliding_window(turn("q", 5, 500)[:-1], room(30 + NOTE))
    assert texts(kept) == ["q", "c", "0", "c", "note"]


def test_where_clearing_is_not_enough_the_oldest_steps_of_the_current_turn_go() -> None:
    kept = sliding_window([*turn("a"), *turn("q", *[500] * 9)[:-1]], room(10 + 2 * (4 + NOTE)))
    assert texts(kept) == ["q", "c", "note", "c", "note"]


def test_room_left_by_a_cleared_output_goes_to_earlier_turns() -> None:
    kept = sliding_window([*turn("a"), *turn("b"), *turn("q", 500)[:-1]], room(60 + NOTE))
    assert texts(kept) == ["a", "A", "b", "B", "q", "c", "note"]


def test_calls_still_open_at_the_very_end_stay() -> None:
    history = [*turn("a"), *turn("q", 500)[:-2]]
    assert texts(sliding_window(history, room(20))) == ["q", "c"]


def test_too_long_a_question_is_refused_with_its_figures() -> None:
    with pytest.raises(ContextWindowError) as refused:
        sliding_window([SYSTEM, *turn("a"), NOW], room(50, taken=31))
    assert (refused.value.needed_tokens, refused.value.max_tokens) == (51, 50)


def test_without_any_question_the_newest_steps_stay() -> None:
    history = [SYSTEM, *[AIMessage(letter * 10) for letter in "abc"]]
    assert texts(sliding_window(history, room(30))) == ["s", "b", "c"]


@pytest.mark.parametrize(
    ("history", "needed"),
    [
        ([AIMessage("a" * 50)], 50),
        ([SYSTEM, *turn("q", 500)[1:3]], 14 + NOTE),
        ([ToolMessage("t" * 50, tool_call_id="x")], 50),
    ],
)
def test_nothing_to_send_is_refused(history, needed) -> None:
    with pytest.raises(ContextWindowError) as refused:
        sliding_window(history, room(20))
    assert refused.value.needed_tokens == needed


def test_system_messages_alone_may_be_all_there_is() -> None:
    orphan = ToolMessage("t" * 50, tool_call_id="x")
    assert sliding_window([SYSTEM, orphan], room(20)) == [SYSTEM]


def test_a_callable_gets_back_what_it_forgot() -> None:
    history = [SYSTEM, *turn("a"), *turn("b", 20), *turn("q", 20)[:-1]]
    kept = checked(lambda messages, _: messages[-1:])(history, room(100))
    assert texts(kept) == ["s", "q"]
    kept = checked(lambda messages, _: messages[-3:])(history, room(100))
    assert texts(kept) == ["s", "q", "c", "0"]
    assert refusals(kept) == []


def test_a_callable_may_add_messages_of_its_own() -> None:
    summary = HumanMessage("summary")
    kept = checked(lambda messages, _: [summary, messages[-1]])([SYSTEM, *turn("a"), NOW], room(40))
    assert kept == [SYSTEM, summary, NOW]


def test_a_callable_that_keeps_too_much_is_cut() -> None:
    history = [SYSTEM, *turn("a"), *turn("b"), NOW]
    assert texts(checked(lambda messages, _: messages)(history, room(45))) == ["s", "b", "B", "?"]


def test_a_callable_that_keeps_nothing_gets_the_sliding_window() -> None:
    history = [AIMessage("a" * 10), AIMessage("b" * 10)]
    assert texts(checked(lambda *_: [])(history, room(15))) == ["b"]


def test_a_callable_cannot_change_the_history() -> None:
    history = [*turn("a"), *turn("b"), NOW]
    kept = checked(lambda messages, _: messages.clear() or [])(history, room(30))
    assert (texts(kept), len(history)) == (["?"], 5)


def test_messages_too_many_to_fit_are_not_even_counted() -> None:
    limited = Room(max_tokens=30, taken=0, count=lambda _: pytest.fail("counted"), least=4)
    assert not limited.holds([NOW] * 8)


def test_counting_whether_all_fits_stops_at_the_first_that_does_not() -> None:
    counted: list[BaseMessage] = []
    limited = Room(max_tokens=30, taken=0, count=lambda m: counted.append(m) or len(m.content))
    assert not limited.holds([NOW] * 1000)
    assert len(counted) == 4
    assert limited.holds([NOW] * 3)


def test_the_table_names_every_strategy() -> None:
    assert set(STRATEGIES) == {"sliding_window", "important_first", "relevant", "summarize"}

"""What is asked at the support desk, and the graph that answers."""

from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.runnables import RunnableLambda

from llmops_langchain.cli.support_desk import (
    CustomerThread,
    briefing,
    first_turns,
    shop_threads,
    support_graph,
    take_turn,
    threads_of_file,
)
from llmops_langchain.errors import ConfigurationError

question_lists = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), max_size=4)


def openings() -> list[tuple[str, ...]]:
    """Every beginning of every thread: what an exact cache sees again or not."""
    asked = [accumulate((q,) for q in thread.questions) for thread in shop_threads()]
    return [beginning for each in asked for beginning in each]


def all_of(state: dict) -> dict:
    return {"llm_input_messages": state["messages"]}


def last_of(state: dict) -> dict:
    return {"llm_input_messages": state["messages"][-1:]}


def test_the_shop_brings_forty_turns_and_more_in_twelve_named_threads() -> None:
    threads = shop_threads()
    assert len({thread.name for thread in threads}) == 12
    assert sum(len(thread.questions) for thread in threads) >= 40


def test_a_fifth_of_the_shops_turns_repeat_one_before_with_its_whole_history() -> None:
    seen = openings()
    repeated = len(seen) - len(set(seen))
    assert repeated / len(seen) >= 0.2


def test_the_third_turn_already_repeats_the_first() -> None:
    first, _, third = openings()[:3]
    assert third == first


def test_one_thread_writes_more_than_all_the_others_together() -> None:
    *others, longest = sorted(sum(map(len, thread.questions)) for thread in shop_threads())
    assert longest > sum(others)


def test_a_file_has_a_question_a_line_and_a_blank_line_between_threads(tmp_path: Path) -> None:
    file = tmp_path / "questions.txt"
    file.write_text("\nWhere is it?\n  And now? \n\n\nHow much is a pot?\n", "utf-8")
    asked = [thread.questions for thread in threads_of_file(file)]
    assert asked == [("Where is it?", "And now?"), ("How much is a pot?",)]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"], ids=["empty", "blank", "binary"])
def test_a_file_without_questions_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "questions.txt"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"questions\.txt"):
        threads_of_file(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.txt"):
        threads_of_file(tmp_path / "gone.txt")


@given(asked=question_lists, turns=st.integers(0, 15))
def test_the_first_turns_are_the_beginning_of_what_is_asked(
    asked: list[list[str]], turns: int
) -> None:
    threads = [CustomerThread(name="n", customer="c", questions=tuple(each)) for each in asked]
    kept = [q for thread in first_turns(threads, turns) for q in thread.questions]
    assert kept == [q for each in asked for q in each][:turns]


def test_the_desk_remembers_a_thread_and_keeps_threads_apart() -> None:
    graph = support_graph(FakeListChatModel(responses=["one", "two", "three"]), all_of)
    answers = [take_turn(graph, thread, "?").answer for thread in ("a", "a", "b")]
    messages = [
        len(graph.get_state({"configurable": {"thread_id": thread}}).values["messages"])
        for thread in ("a", "b")
    ]
    assert (answers, messages) == (["one", "two", "three"], [4, 2])


def test_what_the_trim_node_leaves_out_is_counted() -> None:
    graph = support_graph(FakeListChatModel(responses=["yes"]), last_of)
    turns = [take_turn(graph, "a", "?") for _ in range(3)]
    assert [turn.messages_cut for turn in turns] == [0, 2, 4]
    assert not any(turn.cached for turn in turns)


def test_the_model_is_told_the_briefing_before_what_trim_left() -> None:
    sent = []
    model = FakeListChatModel(responses=["yes"])
    graph = support_graph(
        RunnableLambda(lambda asked: sent.append(asked) or asked) | model, last_of
    )
    take_turn(graph, "a", "Where is it?")
    assert [m.text for m in sent[0]] == [*(m.text for m in briefing()), "Where is it?"]

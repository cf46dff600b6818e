"""How a conversation began stays beside its newest turns."""

import random

import pytest
from history_judge import faults
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from llmops_langchain.errors import ContextWindowError
from llmops_langchain.memory import ContextWindow, Room, sliding_window
from llmops_langchain.memory.important import important_first
from llmops_langchain.memory.validity import is_pinned, pin

SYSTEM, NOW = SystemMessage("s" * 10), HumanMessage("?" * 10)


def room(max_tokens: int, **more) -> Room:
    """A room in which a token is a character."""
    return Room(max_tokens=max_tokens, taken=0, count=lambda m: len(m.content), **more)


def turn(name: str, size: int = 10) -> list[BaseMessage]:
    return [HumanMessage(name * size), AIMessage(name.upper() * size)]


def first_letters(messages: list[BaseMessage]) -> str:
    return "".join(str(m.content)[:1] for m in messages)


def test_the_first_turn_stays_with_the_newest() -> None:
    history = [SYSTEM, *turn("a"), *turn("b"), *turn("c"), *turn("d"), NOW]
    assert first_letters(important_first(history, room(60))) == "saAdD?"


def test_what_stands_before_the_first_question_is_no_turn() -> None:
    history = [SYSTEM, AIMessage("w" * 10), *turn("a"), *turn("b"), *turn("c"), NOW]
    assert first_letters(important_first(history, room(60))) == "saAcC?"


def test_a_first_turn_of_more_than_half_the_room_goes() -> None:
    history = [*turn("a", 30), *turn("b"), *turn("c"), NOW]
    assert first_letters(important_first(history, room(100))) == "bBcC?"


def test_the_first_turn_leaves_the_current_one_whole() -> None:
    call = {"name": "f", "args": {}, "id": "1"}
    current = [NOW, AIMessage("call", tool_calls=[call]), ToolMessage("o" * 80, tool_call_id="1")]
    history = [*turn("a"), *turn("b"), *current]
    assert important_first(history, room(110)) == current


@pytest.mark.parametrize(
    "history",
    [
        [SYSTEM, NOW],
        [SYSTEM, AIMessage("w" * 10), NOW],
        [SYSTEM, AIMessage("a" * 30), AIMessage("b" * 10)],
    ],
)
def test_without_an_earlier_turn_it_is_the_sliding_window(history) -> None:
    assert important_first(history, room(30)) == sliding_window(history, room(30))


def test_what_is_pinned_goes_before_the_first_turn() -> None:
    held = [pin(HumanMessage("p" * 10)), AIMessage("P" * 40)]
    history = [SYSTEM, *turn("a"), *held, *turn("b"), *turn("c"), NOW]
    assert first_letters(important_first(history, room(60, pinned=is_pinned))) == "saAp?"
    assert first_letters(important_first(history, room(35, pinned=is_pinned))) == "sp?"


def test_too_long_a_question_is_refused() -> None:
    with pytest.raises(ContextWindowError):
        important_first([SYSTEM, *turn("a"), NOW], room(15))


def test_it_has_a_name() -> None:
    history = [
        m for i in range(40) for m in (HumanMessage(f"Question {i}?"), AIMessage(f"Answer {i}."))
    ]
    kept = ContextWindow("gpt-4o", 100, "important_first").invoke([*history, NOW])
    assert kept[:2] == history[:2]
    assert kept[-3:] == [*history[-2:], NOW]


@given(st.integers(0, 2**32).map(random.Random), st.integers(20, 400))
@settings(deadline=None)
def test_what_stays_is_valid_and_fits(rng, budget) -> None:
    history: list[BaseMessage] = [SYSTEM] * rng.randint(0, 1)
    for at in range(rng.randint(1, 12)):
        history += turn("abcdefghijkl"[at], rng.choice([1, 10, 60]))
    history.append(NOW)
    kept = important_first(history, room(budget))
    size = lambda messages: sum(len(m.content) for m in messages)  # noqa: E731
    assert faults(kept, history, tokens=size, max_tokens=budget) == []

"""The sticky cut keeps the prompt's prefix until the window is nearly full again."""

import json
from collections.abc import Iterator
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from llmops_langchain.errors import ContextWindowError
from llmops_langchain.memory import ContextWindow, Room, Trim, sliding_window
from llmops_langchain.memory.sticky import carried, sticky
from llmops_langchain.memory.validity import CLEARED_NOTE

SYSTEM = SystemMessage("s" * 100, id="system")


def room(max_tokens: int = 1000) -> Room:
    """A room in which a token is a character."""
    return Room(max_tokens=max_tokens, taken=0, count=lambda m: len(m.content))


def picks(history, room: Room) -> list[BaseMessage]:
    """Keep the turns that say what the question says, and the last ones."""
    asked = max(i for i, m in enumerate(history) if m.type == "human")
    about = str(history[asked].content)[:1]
    named = [m for m in history[1:asked] if str(m.content)[:1] == about]
    return sliding_window([history[0], *named, *history[asked:]], room)


def prompt(history, previous=(), max_tokens: int = 1000) -> list[BaseMessage]:
    return sticky(history, previous, sliding_window, room(max_tokens))[0]


def chat(turns: int, size: int = 25) -> list[BaseMessage]:
    """A chat of `turns` turns of twice `size` tokens, and one more question."""
    kinds = [HumanMessage, AIMessage] * turns + [HumanMessage]
    return [SYSTEM, *(kind("x" * size, id=str(i)) for i, kind in enumerate(kinds))]


def loop(*outputs: int) -> list[BaseMessage]:
    """A question and one tool step per output, of the given lengths."""
    history: list[BaseMessage] = [SYSTEM, HumanMessage("q" * 20, id="q")]
    for i, size in enumerate(outputs):
        call = {"name": "f", "args": {}, "id": "same id"}
        history.append(AIMessage("c" * 5, id=f"c{i}", tool_calls=[call]))
        history.append(ToolMessage("o" * size, id=f"o{i}", tool_call_id="same id"))
    return history


def calls_of(history: list[BaseMessage]) -> Iterator[list[BaseMessage]]:
    """The history as it was at each call of the model."""
    for at in range(1, len(history) + 1):
        if history[at - 1].type != "ai" and (at == len(history) or history[at].type == "ai"):
            yield history[:at]


def ids(messages: list[BaseMessage]) -> list[tuple[str | None, object]]:
    return [(m.id, m.content) for m in messages]


def test_below_85_percent_nothing_is_cut() -> None:
    assert prompt(chat(14)) == chat(14)  # 825 tokens


def test_at_85_percent_the_cut_goes_down_to_60() -> None:
    kept = prompt(chat(15))  # 875 tokens
    assert 550 < room().cost(kept) <= 600
    assert kept[0] is SYSTEM
    assert ids(kept[1:]) == ids(chat(15))[-len(kept) + 1 :]


def test_the_prefix_stays_equal_until_the_cut_moves() -> None:
    prompts = list(map(prompt, calls_of(chat(100))))
    moves = [i for i, (a, b) in enumerate(pairwise(prompts)) if ids(b)[: len(a)] != ids(a)]
    assert len(moves) == 15  # each cut leaves 575 tokens, the next comes six turns later at 875
    assert all(room().cost(p) < 850 for p in prompts)


def test_a_move_is_told_once_when_it_happens() -> None:
    prompts = [sticky(h, (), sliding_window, room()) for h in calls_of(chat(100))]
    told = [i for i, made in enumerate(prompts[1:]) if made.moved]
    pairs = pairwise(made.messages for made in prompts)
    assert told == [i for i, (a, b) in enumerate(pairs) if ids(b)[: len(a)] != ids(a)]


def test_where_nothing_could_be_cut_no_move_is_told() -> None:
    history = [SYSTEM, HumanMessage("q" * 800)]
    made = sticky(history, (), sliding_window, room())
    assert (made.messages, made.moved) == (history, False)


def test_outputs_cleared_in_a_long_tool_loop_stay_cleared() -> None:
    prompts = list(map(prompt, calls_of(loop(*[100] * 40))))
    moves = [1 for a, b in pairwise(prompts) if ids(b)[: len(a)] != ids(a)]
    assert any(m.content == CLEARED_NOTE for m in prompts[-1])
    assert len(moves) < len(prompts) / 2


@given(
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=40),
    tools=st.booleans(),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_the_previous_prompt_saves_time_and_changes_nothing(sizes, tools, data) -> None:
    history = loop(*sizes) if tools else [m for s in sizes for m in chat(1, s)[1:3]]
    history = [m.model_copy(update={"id": f"m{i}"}) for i, m in enumerate(history)]
    seen = data.draw(st.sampled_from(list(calls_of(history))))
    assert ids(prompt(history, prompt(seen))) == ids(prompt(history))


@given(
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=40),
    tools=st.booleans(),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_what_a_state_keeps_of_a_prompt_does_as_well(sizes, tools, data) -> None:
    history = loop(*sizes) if tools else [m for s in sizes for m in chat(1, s)[1:3]]
    history = [m.model_copy(update={"id": f"m{i}"}) for i, m in enumerate(history)]
    window = ContextWindow("gpt-4o", 1000, token_counter=lambda ms: sum(len(m.content) for m in ms))
    seen = window.trim_sticky(data.draw(st.sampled_from(list(calls_of(history)))))
    kept = json.loads(json.dumps(seen.cut))
    assert set(kept["ids"]) <= {m.id for m in history}
    made, again = window.trim_sticky(history, previous=kept), window.trim_sticky(history)
    assert ids(made.messages) == ids(again.messages)
    assert made.freed_tokens == again.freed_tokens


def letters(*said: str) -> list[BaseMessage]:
    """A chat of questions and answers of 25 tokens, each of one letter, and a last question."""
    kinds = [kind for _ in said for kind in (HumanMessage, AIMessage)]
    texts = [letter * 25 for letter in said for _ in "qa"]
    talk = [kind(text, id=str(i)) for i, (kind, text) in enumerate(zip(kinds, texts, strict=True))]
    return [SYSTEM, *talk[:-1]]


class TestReselecting:
    """A strategy that picks by the question is asked again with each question."""

    @staticmethod
    def trims(histories) -> list[Trim]:
        class Picks:
            reselects = True

            def __call__(self, history, room):
                return picks(history, room)

        count = {"token_counter": lambda ms: sum(len(m.content) for m in ms)}
        window, made = ContextWindow("gpt-4o", 1000, Picks(), **count), list[Trim]()
        for history in histories:
            made.append(window.trim_sticky(history, previous=made[-1].cut if made else ()))
            assert ids(made[-1].messages) == ids(window.trim_sticky(history).messages)
        return made

    def test_what_one_question_left_out_is_found_for_the_next(self) -> None:
        history = letters("a", *"b" * 30, "a", "b")
        about_a, about_b = self.trims([history[:-2], history])
        assert [m.content[0] for m in about_a.messages[1:]] == ["a", "a", "a"]
        assert {m.content[0] for m in about_b.messages[1:]} == {"b"}

    def test_between_two_questions_the_cut_stays(self) -> None:
        steps = list(loop(*[100] * 8)[2:])
        history = [*letters("a", *"b" * 30, "a"), *steps]
        asked = len(history) - len(steps)
        made = self.trims([history[:at] for at in range(asked, len(history) + 1, 2)])
        moved = [trim.moved for trim in made]
        assert moved[0]
        assert sum(moved) <= 2
        for before, after, has_moved in zip(made, made[1:], moved[1:], strict=False):
            begins_alike = ids(after.messages)[: len(before.messages)] == ids(before.messages)
            assert begins_alike is not has_moved

    def test_what_fits_is_left_as_it_is(self) -> None:
        history = letters(*"abcabc")
        [trim] = self.trims([history])
        assert (trim.messages, trim.moved) == (history, False)

    def test_the_discount_it_loses_is_told(self) -> None:
        history = letters("a", *"b" * 30, "a", "b", "b")
        first, other, same = self.trims([history[:-4], history[:-2], history])
        assert first.lost_prefix_tokens == 0
        assert other.lost_prefix_tokens == 75
        assert 0 < same.lost_prefix_tokens <= 600

    def test_a_window_that_stays_full_is_no_news(self) -> None:
        told: list[str] = []
        window = ContextWindow(
            "gpt-4o",
            1000,
            "relevant",
            token_counter=lambda ms: sum(len(m.content) for m in ms),
            on_warning=lambda status: told.append(status.status),
        )
        cut, history = {}, letters(*"ab" * 40)
        for end in range(2, len(history) + 1, 2):
            cut = window.trim_sticky(history[:end], previous=cut).cut
        assert told == ["warning", "critical"]


def test_with_the_previous_prompt_the_cost_does_not_grow_with_the_chat() -> None:
    counted: list[BaseMessage] = []
    watched = Room(max_tokens=1000, taken=0, count=lambda m: counted.append(m) or len(m.content))
    longest = chat(1000)
    sticky(longest, prompt(longest[:-2]), sliding_window, watched)
    assert len(counted) < 100


def test_messages_are_known_again_by_their_id() -> None:
    history = chat(3)
    stored = [m.model_copy(deep=True) for m in history[:-2]]
    again, new = carried(stored, history)
    assert new == len(history) - 2
    assert all(a is b for a, b in zip(again, history, strict=False))


@pytest.mark.parametrize(
    "previous",
    [
        [],
        [SYSTEM],
        [HumanMessage("never said", id="another thread")],
        [*chat(3), HumanMessage("undone", id="undone")],
    ],
)
def test_a_previous_prompt_from_elsewhere_is_not_used(previous) -> None:
    assert carried(previous, chat(3)) == ([], 0)


def test_an_edited_message_is_sent_as_it_is_now() -> None:
    history = chat(3)
    history[2] = AIMessage("edited", id=history[2].id)
    assert prompt(history, chat(2)) == history


def test_a_malformed_tail_is_repaired_after_a_cut() -> None:
    orphan = ToolMessage("t", tool_call_id="gone", id="orphan")
    history = [*chat(15), AIMessage("a", id="a"), orphan, HumanMessage("?", id="?")]
    assert orphan not in prompt(history, prompt(chat(15)))
    assert orphan not in prompt(history)


@pytest.mark.parametrize(("question", "kept"), [(550, 800), (750, 1000), (890, 1000)])
def test_a_question_larger_than_60_percent_leaves_what_room_there_is(question, kept) -> None:
    history = [*chat(14), AIMessage("a"), HumanMessage("q" * question)]
    sizes = list(accumulate(map(room().count, prompt(history))))
    assert kept - 60 < sizes[-1] <= kept


def test_a_question_refused_once_does_not_block_the_chat() -> None:
    refused = [SYSTEM, HumanMessage("q" * 2000, id="1")]
    with pytest.raises(ContextWindowError):
        prompt(refused)
    later = [*refused, AIMessage("sorry", id="2"), HumanMessage("shorter", id="3")]
    assert ids(prompt(later)) == [("system", SYSTEM.content), ("3", "shorter")]

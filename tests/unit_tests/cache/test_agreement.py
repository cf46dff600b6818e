"""The judge that needs no model: strict, and silent where it cannot read."""

import pytest
from langchain_core.messages import AIMessage

from llmops_langchain.cache import Comparison, answers_agree
from llmops_langchain.cache.meaning import Meaning
from llmops_langchain.cache.memory_index import MemoryIndex
from llmops_langchain.cache.verifier import shipped_verifier
from llmops_langchain.embeddings import HashedEmbeddings

EMBEDDINGS = HashedEmbeddings()
MEANING = Meaning(EMBEDDINGS, MemoryIndex(), shipped_verifier(EMBEDDINGS))


def agree(kept: AIMessage | str, fresh: AIMessage | str) -> bool | None:
    return answers_agree(Comparison("When?", "At what time?", kept, fresh), judged=MEANING.compare)


@pytest.mark.parametrize(
    ("kept", "fresh"),
    [
        ("At 9:15.", "at 9:15"),
        ("**Yes.**", "Yes"),
        ("", ""),
        ("Press the red button twice.", "Please press the red button twice."),
    ],
)
def test_the_same_words_agree(kept, fresh) -> None:
    assert agree(kept, fresh) is True
    assert agree(AIMessage(kept), AIMessage(fresh)) is True


@pytest.mark.parametrize(
    ("kept", "fresh"),
    [
        ("Your balance is -20 euros.", "Your balance is 20 euros."),
        ("Use `x <= y` here.", "Use `x >= y` here."),
        ("It costs $5.", "It costs €5."),
        ("Use C++ for that.", "Use C# for that."),
        ("Take 5 mg after a meal.", "Take 5 g after a meal."),
        ("Turn the valve to the left.", "Turn the valve to the right."),
        ("The refund was approved.", "The refund was rejected."),
        ("The meeting is on Monday at 9:15.", "The meeting is on Tuesday at 9:15."),
        ("Send 20 euros to Ann and 30 euros to Bob.", "Send 30 euros to Ann and 20 euros to Bob."),
        ("You may keep it.", "You may not keep it."),
        ("Yes.", ""),
    ],
)
def test_answers_that_contradict_each_other_do_not(kept, fresh) -> None:
    assert not agree(kept, fresh)


@pytest.mark.parametrize(
    ("kept", "fresh"),
    [
        ("word " * 300 + "You must pay.", "word " * 300 + "You may skip paying."),
        ("Die Karte wird gesperrt.", "Die Karte wird nicht gesperrt."),
    ],
)
def test_what_cannot_be_read_is_left_undecided(kept, fresh) -> None:
    assert agree(kept, fresh) is None


def test_calls_of_tools_must_be_the_same_but_for_their_ids() -> None:
    def call(at: int, name: str) -> AIMessage:
        return AIMessage("", tool_calls=[{"name": "look", "args": {"at": at}, "id": name}])

    assert agree(call(1, "a"), call(1, "b")) is True
    assert agree(call(1, "a"), call(2, "a")) is False
    assert agree(call(1, "a"), "") is False

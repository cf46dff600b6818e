"""What a question is about stays, wherever it was said; all else holds as in any cut."""

import json
import logging
import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from history_judge import faults, refusals
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from llmops_langchain.embeddings import HashedEmbeddings
from llmops_langchain.errors import ConfigurationError, ContextWindowError
from llmops_langchain.memory import ContextWindow, Room, sliding_window
from llmops_langchain.memory.relevant import Relevant
from llmops_langchain.memory.turn_index import Ranking, TurnIndexes, said
from llmops_langchain.memory.validity import is_pinned, pin
from llmops_langchain.tokens import count_tokens

LOCOMO = Path(__file__).parents[4] / "shared/data/context/locomo.json"
SYSTEM = SystemMessage("Be brief.")
SUBJECTS = [
    "football",
    "rain",
    "soup",
    "trains",
    "chess",
    "mountains",
    "bread",
    "shoes",
    "films",
    "lamps",
]


def room(max_tokens: int, **more) -> Room:
    """A room in which a token is a word."""
    return Room(max_tokens=max_tokens, taken=0, count=lambda m: len(said(m).split()) + 1, **more)


def chatter(turns: int, start: int = 0) -> list[BaseMessage]:
    """Exchanges of 12 tokens that have nothing to do with any question below."""
    return [
        message
        for at in range(start, start + turns)
        for message in (
            HumanMessage(f"I like {SUBJECTS[at % 10]} on day {at}"),
            AIMessage("That sounds nice indeed"),
        )
    ]


def texts(messages: Sequence[BaseMessage]) -> str:
    return "\n".join(said(m) for m in messages)


PIANO = [HumanMessage("Our piano came from Bergen"), AIMessage("By ship?")]
ASKED = HumanMessage("Where is the piano from?")


def test_what_the_question_is_about_stays_in_the_order_of_the_history() -> None:
    history = [SYSTEM, *chatter(5), *PIANO, *chatter(40, 5), ASKED]
    kept = Relevant()(history, room(60))
    assert [m for m in kept if any(m is each for each in PIANO)] == PIANO
    assert kept[0] is SYSTEM
    assert kept[-1] is ASKED
    places = [next(at for at, m in enumerate(history) if m is each) for each in kept]
    assert places == sorted(places)


def test_the_last_turn_and_a_share_of_the_newest_stay() -> None:
    history = [SYSTEM, *PIANO, *chatter(40), ASKED]
    newest = Relevant(recency=0.5)(history, room(110))
    assert newest[-9:] == history[-9:]
    assert Relevant(recency=0)(history, room(60))[-3:] == history[-3:]


def test_room_that_nothing_relevant_needs_goes_to_the_newest() -> None:
    history = [*chatter(40), HumanMessage("Qwertz?")]
    assert Relevant()(history, room(62)) == sliding_window(history, room(62))


def test_a_second_question_leads_on_from_the_best_turns() -> None:
    history = [
        *chatter(10),
        HumanMessage("Anna bought the piano"),
        AIMessage("Oh"),
        *chatter(20, 10),
        HumanMessage("Anna paid with an old boat"),
        AIMessage("Really? That is quite something, is it not?"),
        *chatter(20, 30),
        HumanMessage("What did the piano cost the buyer?"),
    ]
    assert "old boat" in texts(Relevant()(history, room(95)))
    one_hop = Relevant(ranking=Ranking(hop=0))
    assert "old boat" not in texts(one_hop(history, room(95)))


def test_a_question_without_words_of_its_own_asks_the_one_before_again() -> None:
    history = [*PIANO, *chatter(40), ASKED, AIMessage("Bergen."), HumanMessage("And why?")]
    assert PIANO[0] in Relevant()(history, room(60))


def test_calls_and_names_are_read_too() -> None:
    call = {"name": "lookup", "args": {"order": "4711"}, "id": "1"}
    looked_up = [
        HumanMessage("Check it please"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("It left on Monday", tool_call_id="1"),
        AIMessage("It has left"),
    ]
    history = [*chatter(10), *looked_up, *chatter(40, 10), HumanMessage("Where is order 4711?")]
    assert [m for m in Relevant()(history, room(60)) if m in looked_up] == looked_up
    named = [HumanMessage("It rained all day", name="Zoe"), AIMessage("Pity")]
    history = [*chatter(10), *named, *chatter(40, 10), HumanMessage("What did Zoe say?")]
    assert named[0] in Relevant()(history, room(60))


def test_of_a_turn_too_long_the_best_tool_steps_stay_with_question_and_answer() -> None:
    steps: list[BaseMessage] = []
    for at, output in enumerate(["rain " * 30, "piano from Bergen", "soup " * 30]):
        call = {"name": "f", "args": {}, "id": str(at)}
        steps += [AIMessage("", tool_calls=[call]), ToolMessage(output, tool_call_id=str(at))]
    turn = [HumanMessage("Look around"), *steps, AIMessage("Done")]
    history = [*chatter(5), *turn, *chatter(40, 5), ASKED]
    kept = Relevant()(history, room(60))
    assert [m for m in kept if m in turn] == [turn[0], *steps[2:4], turn[-1]]
    assert refusals(kept) == []


def test_pinned_messages_stay_whatever_is_asked() -> None:
    held = [pin(HumanMessage("My order is 4711")), AIMessage("Noted")]
    history = [SYSTEM, *chatter(10), *held, *PIANO, *chatter(40, 10), ASKED]
    kept = Relevant()(history, room(60, pinned=is_pinned))
    assert held[0] in kept
    assert PIANO[0] in kept
    with pytest.raises(ContextWindowError):
        Relevant()(history, room(11, pinned=is_pinned))


def test_a_pinned_message_no_provider_accepts_is_no_harm() -> None:
    orphan = pin(ToolMessage("x", tool_call_id="none"))
    history = [orphan, *chatter(4), orphan, *chatter(4), orphan, ASKED]
    assert refusals(Relevant()(history, room(60, pinned=is_pinned))) == []


@pytest.mark.parametrize(
    "history",
    [
        [SYSTEM],
        [SYSTEM, AIMessage("a b c"), AIMessage("d")],
        [SYSTEM, AIMessage("a b c"), ASKED],
        [ASKED],
    ],
)
def test_without_an_earlier_turn_it_is_the_sliding_window(history) -> None:
    assert Relevant()(history, room(10)) == sliding_window(history, room(10))


def test_too_long_a_question_is_refused() -> None:
    with pytest.raises(ContextWindowError):
        Relevant()([SYSTEM, *PIANO, ASKED], room(8))


def test_it_has_a_name_and_works_where_a_cut_stays() -> None:
    window = ContextWindow("gpt-4o", 400, "relevant")
    history = [SYSTEM, *PIANO, *chatter(60), ASKED]
    assert PIANO[0] in window.invoke(history)
    previous: list[BaseMessage] = []
    for end in range(2, len(history), 2):
        trim = window.trim_sticky([*history[:end]], previous=previous)
        assert refusals(trim.messages) == []
        previous = trim.messages


def test_whoever_knows_a_conversation_answers_as_one_who_reads_it_first() -> None:
    """Growing, rewritten, shortened, branched: always the same as from scratch."""
    rng = random.Random(7)  # noqa: S311 - the same in every run
    known = Relevant()
    history = [SYSTEM, *chatter(8), *PIANO, *chatter(8, 8)]
    for step in range(60):
        match rng.randrange(5):
            case 0 | 1:
                history = [*history, *chatter(rng.randint(1, 3), 100 + step)]
            case 2:
                at = rng.randrange(1, len(history))
                changed = type(history[at])(f"the piano {step}")
                history = [*history[:at], changed, *history[at + 1 :]]
            case 3:
                history = [SYSTEM, *history[1 + 2 * rng.randint(0, 2) :]]
            case _:
                history = history[: max(21, len(history) - 2 * rng.randint(1, 4))]
        asked = [*history, ASKED]
        assert known(asked, room(60)) == Relevant()(asked, room(60))


def test_a_turn_of_a_growing_chat_reads_only_what_is_new(monkeypatch) -> None:
    read: list[BaseMessage] = []

    def counted(message: BaseMessage) -> str:
        read.append(message)
        return said(message)

    monkeypatch.setattr("llmops_langchain.memory.turn_index.said", counted)
    relevant, history = Relevant(), chatter(500)
    relevant([*history, ASKED], room(60))
    read.clear()
    history = [m.model_copy() for m in history]  # as they come from a database
    relevant([*history, ASKED, AIMessage("Bergen."), HumanMessage("And the soup?")], room(60))
    assert [m.content for m in read] == [ASKED.content, "Bergen."]


def test_memory_is_bounded_and_the_oldest_conversation_goes() -> None:
    indexes = TurnIndexes(Ranking(), max_messages=100)
    for start in range(0, 200, 20):
        indexes.turns(chatter(20, start), "soup")
        assert len(indexes) <= 100
    indexes.turns(chatter(200), "soup")
    assert len(indexes) == 400
    for at in range(300):
        indexes.turns([HumanMessage(f"Hello {at}")], "soup")
    assert len(indexes) <= 100


def test_two_conversations_that_begin_alike_are_two() -> None:
    relevant = Relevant()
    greeting = [HumanMessage("Hi"), AIMessage("Hello! How can I help?")]
    one = [*greeting, *chatter(5), *PIANO, *chatter(40, 5)]
    other = [*greeting, *chatter(45, 50)]
    for _ in range(3):
        assert PIANO[0] in relevant([*one, ASKED], room(60))
        assert PIANO[0] not in relevant([*other, ASKED], room(60))


def test_threads_share_it() -> None:
    relevant, found = Relevant(), []
    histories = [[*chatter(n), *PIANO, *chatter(40, n)] for n in range(8)]

    def ask(n: int) -> None:
        for end in range(60, len(histories[n]), 2):
            history = histories[n][:end]
            found.append(PIANO[0] in relevant([*history, ASKED], room(60)))

    threads = [threading.Thread(target=ask, args=(n % 8,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found
    assert all(found)


def test_content_in_blocks_is_read() -> None:
    block = [{"type": "text", "text": "Our piano came from Bergen"}]
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    piano = [HumanMessage(block), AIMessage("By ship?")]
    history = [*piano, HumanMessage(image), AIMessage("A cat"), *chatter(40), ASKED]
    relevant = Relevant()
    for _ in range(2):
        assert piano[0] in relevant(history, room(60))


class Meanings(Embeddings):
    """Two dimensions: is it about music?"""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.error = error

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if self.error:
            raise self.error
        assert all(map(str.strip, texts))
        self.asked += texts
        return [[1.0, 0.1] if "violin" in t or "instrument" in t else [0.1, 1.0] for t in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


VIOLIN = [HumanMessage("She plays the violin on most evenings of the week here"), AIMessage("")]
MUSIC = HumanMessage("Which instrument was it?")


def test_embeddings_find_what_shares_no_word() -> None:
    history = [*chatter(10), *VIOLIN, *chatter(40, 10), MUSIC]
    assert VIOLIN[0] not in Relevant()(history, room(60))
    relevant = Relevant(Meanings())
    assert VIOLIN[0] in relevant(history, room(60))
    assert relevant.blocks
    assert not Relevant().blocks


def test_embeddings_are_asked_once_for_each_message() -> None:
    meanings = Meanings()
    relevant, history = Relevant(meanings), [*chatter(10), *VIOLIN, *chatter(40, 10)]
    relevant([*history, MUSIC], room(60))
    meanings.asked.clear()
    relevant([*history, MUSIC, AIMessage("A violin."), HumanMessage("Who?")], room(60))
    assert meanings.asked == [MUSIC.content, "A violin.", "Who?"]
    meanings.asked.clear()
    rewritten = [*history[:-2], HumanMessage("New"), AIMessage("Yes"), MUSIC]
    assert VIOLIN[0] in relevant(rewritten, room(60))
    assert meanings.asked == ["New", "Yes", MUSIC.content]


def test_embeddings_that_fail_leave_it_to_the_words(caplog) -> None:
    relevant = Relevant(Meanings(TimeoutError()))
    history = [*chatter(10), *PIANO, *chatter(40, 10), ASKED]
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert PIANO[0] in relevant(history, room(60))
    assert [r.message for r in caplog.records] == [
        "the embeddings raised TimeoutError; turns are found by their words alone"
    ]
    assert "piano" not in caplog.text


@pytest.mark.parametrize("wrong", [{"recency": 1.5}, {"recency": -0.1}, {"max_messages": 0}])
def test_wrong_arguments_are_refused(wrong) -> None:
    with pytest.raises(ConfigurationError):
        Relevant(**wrong)


def agent_history(rng: random.Random) -> list[BaseMessage]:
    """Turns with and without tools; some messages lost, doubled, moved or pinned."""
    history: list[BaseMessage] = [SYSTEM] * rng.randint(0, 2)
    for turn in range(rng.randint(1, 12)):
        history.append(HumanMessage(words(rng, 20)))
        for _ in range(rng.choice([0, 0, 1, 3])):
            ids = [f"{turn}-{rng.random()}" for _ in range(rng.randint(1, 2))]
            calls = [{"name": "f", "args": {"q": words(rng, 3)}, "id": i} for i in ids]
            history.append(AIMessage(words(rng, 3), tool_calls=calls))
            history += [ToolMessage(words(rng, 60), tool_call_id=i) for i in ids]
        history.append(AIMessage(words(rng, 30)))
    for _ in range(min(len(history), rng.choice([0, 0, 3]))):
        at = rng.randrange(len(history))
        message = history.pop(at)
        history[at:at] = rng.choice([[], [message, message], [pin(message)]])
    return [*history, HumanMessage(words(rng, 6))]


def words(rng: random.Random, most: int) -> str:
    return " ".join(rng.choices(SUBJECTS, k=rng.randint(1, most)))


SHARED = {"words": Relevant(), "meaning": Relevant(HashedEmbeddings())}


@pytest.mark.parametrize("which", SHARED)
@given(rng=st.integers(0, 2**32).map(random.Random), share=st.floats(0.05, 0.9))
@settings(max_examples=200, deadline=None)
def test_what_stays_is_valid_and_fits_and_was_said_in_this_order(which, rng, share) -> None:
    history = agent_history(rng)
    size = lambda messages: sum(map(room(0).count, messages))  # noqa: E731
    budget = max(1, int(share * size(history)))
    try:
        kept = SHARED[which](history, room(budget, pinned=is_pinned))
    except ContextWindowError as refused:
        assert refused.needed_tokens > budget  # noqa: PT017 - where it is
        return
    assert faults(kept, history, tokens=size, max_tokens=budget) == []
    rest = iter(history)
    for message in kept:
        assert any(message is m or message.id == m.id for m in rest)


@pytest.mark.skipif(not LOCOMO.exists(), reason="needs ../shared/data/context/locomo.json")
def test_most_of_the_evidence_of_a_real_question_is_kept() -> None:
    entry = json.loads(LOCOMO.read_text())[0]
    talk, history, places = entry["conversation"], [SYSTEM], {}
    for number in range(1, 20):
        for line in talk[f"session_{number}"]:
            kind = HumanMessage if line["speaker"] == talk["speaker_a"] else AIMessage
            places[line["dia_id"]] = len(history)
            history.append(kind(f"{line['speaker']}: {line['text']}"))
    window, shares = ContextWindow("gpt-4o", 4_000, "relevant"), []
    for asked in entry["qa"]:
        kept = window.invoke([*history, HumanMessage(asked["question"])])
        assert count_tokens(kept, "gpt-4o") <= 4_000
        there = set(map(id, kept))
        found = [id(history[places[e]]) in there for e in asked["evidence"] if e in places]
        shares += [sum(found) / len(found)] if found else []
    assert sum(shares) / len(shares) > 0.88

"""Conversations in the database: one order for all who write, read from the end."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import FakeClock
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core._api import LangChainDeprecationWarning
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.runnables.history import RunnableWithMessageHistory
from sqlalchemy import select

from llmops_langchain.errors import ConfigurationError, StorageError
from llmops_langchain.ledger import track
from llmops_langchain.memory import Chats, ContextWindow, WindowedChatMessageHistory
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Subject
from llmops_langchain.storage.schema import messages as rows

CALL = {"name": "f", "args": {"q": "x"}, "id": "c1", "type": "tool_call"}
ALL_KINDS: list[BaseMessage] = [
    SystemMessage("Be brief."),
    HumanMessage(
        [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ],
        name="mira",
        id="h1",
    ),
    AIMessage(
        "",
        tool_calls=[CALL],
        id="a1",
        usage_metadata={"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
        additional_kwargs={"thought": {"deep": [1, 2.5, None]}},
    ),
    ToolMessage("lone \ud800 and NUL \0 and 猫", tool_call_id="c1", artifact={"rows": 3}),
    ChatMessage("Whatever.", role="critic"),
    AIMessage("Done."),
]


@pytest.fixture
def chats(database: Database, clock: FakeClock) -> Chats:
    return Chats(database, clock=clock)


def said(chats: Chats, session: str = "s", **of: Any) -> list[Any]:
    return [message.content for message in chats.read(session, **of)]


def talk(turns: int) -> list[BaseMessage]:
    kinds = (HumanMessage, AIMessage)
    return [kind(f"{kind.__name__} {n}") for n in range(turns) for kind in kinds]


def test_every_kind_of_message_comes_back_as_it_was(chats: Chats) -> None:
    chats.add("s", ALL_KINDS)
    found = list(chats.read("s"))
    assert all(message.id for message in found)
    assert [m.model_copy(update={"id": None}) for m in found] == [
        m.model_copy(update={"id": None}) for m in ALL_KINDS
    ]
    assert [m.id for m in found if m.id in ("h1", "a1")] == ["h1", "a1"]


def test_chunks_are_kept_as_whole_messages(chats: Chats) -> None:
    chats.add("s", [AIMessageChunk("Hi")])
    [found] = chats.read("s")
    assert type(found) is AIMessage


def test_what_was_told_before_is_passed_over_and_what_is_replaced_stays_in_its_place(
    chats: Chats,
) -> None:
    first = [HumanMessage("one", id="1"), AIMessage("two", id="2")]
    assert chats.add("s", first) == 2
    assert chats.add("s", [*first, HumanMessage("three", id="3"), HumanMessage("x", id="3")]) == 1
    assert chats.replace("s", AIMessage("2nd", id="2"))
    assert said(chats) == ["one", "2nd", "three"]
    assert not chats.replace("s", AIMessage("?", id="9"))
    assert not chats.replace("nobody's", AIMessage("?", id="1"))
    with pytest.raises(ConfigurationError, match="`id`"):
        chats.replace("s", AIMessage("?"))
    [chat] = chats.list()
    assert chat.messages == 3


def test_the_tokens_of_a_chat_follow_what_is_in_it(chats: Chats) -> None:
    chats.add("s", [HumanMessage("a few words here", id="1")])
    before = chats.list()[0].tokens
    chats.replace("s", HumanMessage("a few words here " * 10, id="1"))
    assert chats.list()[0].tokens > 5 * before


@pytest.mark.parametrize("name", ["", "x" * 301])
def test_a_conversation_needs_a_name(chats: Chats, name: str) -> None:
    with pytest.raises(ConfigurationError, match="needs a name"):
        chats.add(name, talk(1))


def test_workspaces_never_see_each_others(chats: Chats) -> None:
    chats.add("s", [HumanMessage("of nobody")])
    chats.add("s", [HumanMessage("of a")], workspace="a")
    with track(workspace="b", user="mira"):
        chats.add("s", [HumanMessage("of b")])
        assert said(chats) == ["of b"]
        assert [(chat.workspace, chat.user) for chat in chats.list()] == [("b", "mira")]
    assert said(chats) == ["of nobody"]
    assert said(chats, workspace="a") == ["of a"]
    assert chats.delete(session="s", workspace="a") == 1
    assert said(chats, workspace="b") == ["of b"]


def test_the_newest_chats_come_first(chats: Chats, clock: FakeClock) -> None:
    for session in ("old", "new", "old"):
        clock.advance(10)
        chats.add(session, talk(1), user="mira")
    found = chats.list(user="mira")
    assert [chat.session for chat in found] == ["old", "new"]
    assert (found[0].changed_at - found[0].created_at, found[0].messages) == (20, 4)
    assert chats.list(user="jonas") == []


def test_what_is_exported_can_be_imported(chats: Chats) -> None:
    chats.add("s", ALL_KINDS, user="mira")
    chats.add("t", talk(2), user="jonas")
    lines = [json.loads(json.dumps(line)) for line in chats.export()]
    assert len(lines) == len(ALL_KINDS) + 4
    assert chats.import_(iter(lines)) == 0
    assert chats.import_(iter(lines), workspace="copy") == len(lines)
    assert said(chats, workspace="copy") == said(chats)
    assert len(list(chats.export(user="jonas"))) == 4
    assert len(list(chats.export(session="s"))) == len(ALL_KINDS)
    with pytest.raises(ConfigurationError, match="line 1 "):
        chats.import_(iter([{"type": "human"}]))


def test_a_session_or_all_of_a_user_is_deleted(chats: Chats) -> None:
    for session, user in (("a", "mira"), ("b", "mira"), ("c", "jonas")):
        chats.add(session, talk(2), user=user)
    assert chats.delete(session="nobody's") == 0
    assert chats.delete(user="mira") == 8
    assert [chat.session for chat in chats.list()] == ["c"]
    for wrong in ({}, {"session": "c", "user": "jonas"}):
        with pytest.raises(ConfigurationError, match="either a `session` or a `user`"):
            chats.delete(**wrong)


@pytest.mark.parametrize(
    ("whom", "left"),
    [
        (Subject(user="mira"), {"t"}),
        (Subject(thread="t"), {"s", "u"}),
        (Subject(user="mira", workspace="w"), {"s", "t"}),
    ],
)
def test_a_person_or_a_thread_is_forgotten(
    chats: Chats, database: Database, whom: Subject, left: set[str]
) -> None:
    chats.add("s", talk(1), user="mira")
    chats.add("t", talk(1), user="jonas")
    chats.add("u", talk(1), user="mira", workspace="w")
    gone = chats.forget(whom)
    kept = {chat.session for of in ("", "w") for chat in chats.list(workspace=of)}
    assert kept == left
    with database.begin(read_only=True) as connection:
        assert len(connection.execute(select(rows.c.seq)).all()) == 6 - gone


def test_what_nobody_added_to_for_long_goes(database: Database, clock: FakeClock) -> None:
    chats = Chats(database, retention=100, clock=clock)
    chats.add("old", talk(2))
    clock.advance(60)
    chats.add("new", talk(1))
    clock.advance(40)
    assert chats.maintain(clock()) == {"expired": 4}
    assert [chat.session for chat in chats.list()] == ["new"]
    assert Chats(database, clock=clock).maintain(clock() + 1e9) == {"expired": 0}


class TestTail:
    def test_it_is_the_end_and_the_system_messages(self, chats: Chats) -> None:
        chats.add("s", [SystemMessage("Rules.", id="r"), *talk(500)])
        tail = chats.tail("s", tokens=200)
        assert tail.messages[0].content == "Rules."
        assert tail.messages[-1].content == "AIMessage 499"
        assert not tail.whole
        assert 20 < len(tail.messages) < 200

    @pytest.mark.parametrize("turns", [0, 1, 15, 16, 17, 40, 300])
    def test_a_chat_that_is_read_to_its_begin_is_whole(self, chats: Chats, turns: int) -> None:
        chats.add("s", [SystemMessage("Rules."), *talk(turns)])
        tail = chats.tail("s", tokens=100_000)
        assert tail.whole
        assert [m.content for m in tail.messages] == said(chats)

    def test_there_need_not_be_one(self, chats: Chats) -> None:
        assert chats.tail("nobody's", tokens=10).messages == []


@given(turns=st.integers(0, 80), systems=st.integers(0, 2), tokens=st.integers(0, 1_000))
@settings(max_examples=40)
def test_the_end_of_a_chat_is_a_suffix_behind_its_systems(
    turns: int, systems: int, tokens: int
) -> None:
    head = [SystemMessage(f"Rule {n}") for n in range(systems)]
    with Database("sqlite://") as database:
        chats = Chats(database)
        chats.add("s", [*head, *talk(turns)])
        whole, tail = said(chats), chats.tail("s", tokens=tokens)
    found = [m.content for m in tail.messages]
    assert found[:systems] == whole[:systems]
    assert found[systems:] == whole[len(whole) - len(found) + systems :]
    assert tail.whole == (found == whole)


class TestHistory:
    def test_it_is_what_fits_and_everything_is_kept(self, chats: Chats) -> None:
        window = ContextWindow("gpt-4o", max_tokens=120)
        history = WindowedChatMessageHistory(chats, "s", window)
        history.add_messages([SystemMessage("Rules."), *talk(200)])
        found = history.messages
        assert [found[0].content, found[-1].content] == ["Rules.", "AIMessage 199"]
        assert window.check(found).share <= 1
        assert len(said(chats)) == 401
        assert window.check(found).share > 0.8

    def test_another_strategy_sees_the_whole(self, chats: Chats) -> None:
        def first_two(history: Any, _: Any) -> Any:
            return history[:2]

        window = ContextWindow("gpt-4o", max_tokens=60, strategy=first_two)
        history = WindowedChatMessageHistory(chats, "s", window)
        history.add_messages(talk(200))
        assert history.messages[0].content == "HumanMessage 0"

    def test_a_model_with_larger_tokens_is_given_more_rows(self, chats: Chats) -> None:
        window = ContextWindow("gpt-4o", max_tokens=300, token_counter=lambda _: 1)
        history = WindowedChatMessageHistory(chats, "s", window)
        history.add_messages(talk(500))
        assert 290 < len(history.messages) <= 300

    def test_a_turn_that_does_not_fit_does_not_close_the_chat(self, chats: Chats) -> None:
        window = ContextWindow("gpt-4o", max_tokens=20)
        history = WindowedChatMessageHistory(chats, "s", window)
        history.add_messages([SystemMessage("Rules."), HumanMessage("word " * 500)])
        assert [m.content for m in history.messages] == ["Rules."]

    async def test_it_works_from_asyncio(self, chats: Chats) -> None:
        history = WindowedChatMessageHistory(chats, "s")
        await history.aadd_messages(talk(2))
        assert len(await history.aget_messages()) == 4
        await history.aclear()
        assert history.messages == []

    def test_runnables_with_a_history_use_it(self, chats: Chats) -> None:
        model = FakeListChatModel(responses=["First.", "Second."])
        window = ContextWindow("gpt-4o", max_tokens=1000)
        with pytest.warns(LangChainDeprecationWarning):
            chain = RunnableWithMessageHistory(
                model, lambda session: WindowedChatMessageHistory(chats, session, window)
            )
        for asked in ("One?", "Two?"):
            chain.invoke([HumanMessage(asked)], {"configurable": {"session_id": "s"}})
        assert said(chats) == ["One?", "First.", "Two?", "Second."]


def test_with_a_key_no_text_is_in_the_database(lasting_url: str) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    with Database(lasting_url) as database:
        Chats(database, encryption_keys=[old]).add("s", [HumanMessage("the secret word")])
        with database.begin(read_only=True) as connection:
            bodies = connection.execute(select(rows.c.body)).scalars().all()
        assert all(b"secret" not in body for body in bodies)
        assert said(Chats(database, encryption_keys=[new, old])) == ["the secret word"]
        with pytest.raises(StorageError, match="key that is not known"):
            said(Chats(database, encryption_keys=[new]))


def test_a_closed_database_says_so_and_nothing_is_lost_silently(lasting_url: str) -> None:
    database = Database(lasting_url)
    chats = Chats(database)
    chats.add("s", talk(1))
    database.close()
    with pytest.raises(StorageError):
        chats.add("s", talk(1))
    with pytest.raises(StorageError):
        said(chats)


WRITER = """
import sys
from langchain_core.messages import HumanMessage
from llmops_langchain.memory import Chats
from llmops_langchain.storage import Database

url, number, batches = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with Database(url, lock_timeout=60) as database:
    chats = Chats(database)
    for batch in range(batches):
        chats.add("s", [HumanMessage(f"{number} {batch} {at}") for at in range(3)])
"""


@pytest.mark.parametrize("batches", [10, pytest.param(150, marks=pytest.mark.slow)])
def test_processes_that_write_at_once_keep_every_batch_together(
    lasting_url: str, batches: int
) -> None:
    with Database(lasting_url) as database:
        Chats(database).add("t", talk(1))
        given = [sys.executable, "-c", WRITER, lasting_url]
        writers = [subprocess.Popen([*given, str(n), str(batches)]) for n in range(3)]
        assert [writer.wait(120) for writer in writers] == [0, 0, 0]
        found = said(Chats(database))
    threes = [found[at : at + 3] for at in range(0, len(found), 3)]
    assert all(len({tuple(each.split()[:2]) for each in three}) == 1 for three in threes)
    assert sorted(found) == sorted(
        f"{n} {b} {at}" for n in range(3) for b in range(batches) for at in range(3)
    )


def test_threads_that_tell_the_same_tell_it_once(chats: Chats) -> None:
    told = [HumanMessage(str(n), id=str(n)) for n in range(40)]
    start = threading.Barrier(4, timeout=60)

    def tell(number: int) -> int:
        mine = told[10 * number :] + told[: 10 * number]
        start.wait()
        return sum(chats.add("s", mine[at : at + 5]) for at in range(0, 40, 5))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(tell, range(4))) == 40
    assert sorted(said(chats), key=int) == [message.content for message in told]

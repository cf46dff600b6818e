"""What was said is kept with its event: encrypted, for a while, and never at a call's cost."""

import base64
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from conftest import FakeClock
from hypothesis import example, given, settings
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, Generation, LLMResult
from sqlalchemy import select
from unit_tests.ledger.reading import any_text

from llmops_langchain.callbacks import contents as module
from llmops_langchain.callbacks.contents import Content, Contents
from llmops_langchain.errors import DatabaseLockedError, StorageError
from llmops_langchain.ledger import LLM_CALL, Event, Ledger
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Subject
from llmops_langchain.storage.schema import contents as table

KEYS = tuple(base64.b64encode(letter * 32).decode() for letter in (b"a", b"b"))
PROMPT = [SystemMessage("Be brief."), HumanMessage("A secret?", name="anne")]
DAY = 86_400.0


def event(**fields: Any) -> Event:
    usual = {"ts": FakeClock().now, "workspace": "acme", "user": "anne", "thread": "chat"}
    return Event(name=LLM_CALL, **{**usual, **fields})


def told(*answers: Any) -> LLMResult:
    choices = [
        Generation(text=each) if isinstance(each, str) else ChatGeneration(message=each)
        for each in answers
    ]
    return LLMResult(generations=[choices])


@pytest.fixture
def kept(database: Database, clock: FakeClock) -> Iterator[Contents]:
    return Contents(database, encryption_keys=KEYS[:1], retention=DAY, clock=clock)


def keep(kept: Contents, prompt: Any, result: LLMResult | None, **fields: Any) -> UUID:
    kept.capture(one := event(**fields), prompt, result)
    return one.id


class TestReading:
    def test_messages_come_back(self, kept: Contents, clock: FakeClock) -> None:
        answer = AIMessage("Yes.", tool_calls=[{"name": "look", "args": {"x": 1}, "id": "1"}])
        prompt = [*PROMPT, AIMessage("Hm"), ToolMessage("found", tool_call_id="1")]
        of = keep(kept, prompt, told(answer))
        kept.flush()
        found = Content(event_id=of, ts=clock(), prompt=tuple(prompt), answers=(answer,))
        assert kept.read(of) == found

    def test_texts_come_back(self, kept: Contents) -> None:
        of = keep(kept, "Once upon", told("a time", "a day"))
        kept.flush()
        assert (kept.read(of).prompt, kept.read(of).answers) == ("Once upon", ("a time", "a day"))

    def test_a_call_that_failed_has_no_answer(self, kept: Contents) -> None:
        of = keep(kept, PROMPT, None)
        kept.flush()
        assert kept.read(of).answers == ()

    def test_a_streamed_answer_is_a_whole_message(self, kept: Contents) -> None:
        of = keep(kept, PROMPT, told(AIMessageChunk("Yes.", id="run-1")))
        kept.flush()
        assert kept.read(of).answers == (AIMessage("Yes.", id="run-1"),)

    def test_blocks_and_images_come_back(self, kept: Contents) -> None:
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        prompt = [HumanMessage([{"type": "text", "text": "What is it?"}, image])]
        of = keep(kept, prompt, told(AIMessage("A cat")))
        kept.flush()
        assert kept.read(of).prompt == tuple(prompt)

    def test_the_list_may_be_changed_after_the_call(self, kept: Contents) -> None:
        of = keep(kept, prompt := [*PROMPT], None)
        prompt.clear()
        kept.flush()
        assert kept.read(of).prompt == tuple(PROMPT)

    def test_what_is_not_flushed_yet_or_of_no_call_is_none(self, kept: Contents) -> None:
        of = keep(kept, PROMPT, None)
        assert kept.read(of) is None
        assert kept.read(event().id) is None

    def test_a_row_of_another_key_is_an_error(self, kept, database, clock) -> None:
        of = keep(kept, PROMPT, None)
        kept.flush()
        other = Contents(database, encryption_keys=KEYS[1:], clock=clock)
        with pytest.raises(StorageError, match="a key that is not known"):
            other.read(of)
        assert Contents(database, encryption_keys=KEYS[::-1], clock=clock).read(of) is not None

    def test_one_event_is_kept_once(self, kept: Contents) -> None:
        kept.capture(one := event(), "first", None)
        kept.capture(one, "second", None)
        kept.flush()
        kept.capture(one, "third", None)
        kept.flush()
        assert kept.read(one.id).prompt == "first"

    def test_a_flush_of_the_ledger_stores_it(self, kept: Contents, database: Database) -> None:
        with Ledger(database, interval=600) as ledger:
            ledger.flush_too(kept.flush)
            ledger.record(one := event())
            kept.capture(one, PROMPT, None)
            ledger.flush()
        assert kept.read(one.id) is not None


def test_any_text_comes_back() -> None:
    with Database("sqlite://") as database:
        kept = Contents(database)

        @settings(max_examples=50)
        @given(prompt=any_text, answer=any_text, name=any_text)
        @example(prompt="\ud800", answer="\0", name="\udfff")
        def comes_back(prompt: str, answer: str, name: str) -> None:
            one = replace(event(), ts=4e9, user=name)
            kept.capture(one, prompt, told(AIMessage(answer)))
            kept.flush()
            found = kept.read(one.id)
            assert (found.prompt, found.answers[0].content) == (prompt, answer)
            assert kept.dropped == 0

        comes_back()


def test_neither_prompt_nor_answer_can_be_read_in_the_row(kept, database: Database) -> None:
    keep(kept, [HumanMessage("A secret? " * 500)], told(AIMessage("Yes. " * 500)))
    kept.flush()
    ((body,),) = database.read(select(table.c.body))
    assert body.startswith(b"E")
    assert b"secret" not in body
    assert len(body) < 1_000  # packed before


class TestEnd:
    def test_it_is_kept_for_its_time(self, kept, database, clock: FakeClock) -> None:
        of = keep(kept, PROMPT, None)
        kept.flush()
        clock.advance(DAY - 1)
        assert kept.maintain(clock()) == {"expired": 0}
        assert kept.read(of) is not None
        clock.advance(1)
        assert kept.read(of) is None
        assert kept.maintain(clock()) == {"expired": 1}
        assert database.read(select(table.c.ts)) == []

    @pytest.mark.parametrize(
        "whom",
        [Subject(user="anne"), Subject(thread="chat"), Subject(user="anne", workspace="acme")],
    )
    def test_a_persons_texts_are_deleted(self, kept: Contents, whom: Subject) -> None:
        gone = keep(kept, PROMPT, None)
        others = [
            keep(kept, PROMPT, None, user="ben", thread="another"),
            keep(kept, PROMPT, None, user=None, thread=None),
        ]
        kept.flush()
        waiting = keep(kept, PROMPT, None)
        assert kept.forget(whom) == 2
        kept.flush()
        assert [kept.read(of) for of in (gone, waiting)] == [None, None]
        assert all(kept.read(of) for of in others)

    def test_another_tenants_texts_stay(self, kept: Contents) -> None:
        of = keep(kept, PROMPT, None)
        assert kept.forget(Subject(user="anne", workspace="b")) == 0
        kept.flush()
        assert kept.forget(Subject(user="anne", workspace="b")) == 0
        assert kept.read(of) is not None


class TestFailures:
    def test_what_cannot_be_written_down_is_counted(self, kept: Contents, caplog) -> None:
        class Odd(HumanMessage):
            def model_dump(self, **_: Any) -> Any:
                msg = "a secret"
                raise RuntimeError(msg)

        keep(kept, [Odd("A secret?")], None)
        of = keep(kept, PROMPT, None)
        with caplog.at_level(logging.ERROR):
            kept.flush()
        assert (kept.dropped, kept.read(of) is not None) == (1, True)
        assert "RuntimeError" in caplog.text
        assert "secret" not in caplog.text

    @pytest.mark.parametrize("bound", ["_MOST", "_MOST_CHARACTERS"])
    def test_memory_is_bounded(self, kept: Contents, bound: str, monkeypatch) -> None:
        monkeypatch.setattr(module, bound, {"_MOST": 2, "_MOST_CHARACTERS": 20}[bound])
        ids = [keep(kept, [HumanMessage("ten chars.")], None) for _ in range(4)]
        assert kept.dropped == 2
        kept.flush()
        assert [kept.read(of) is not None for of in ids] == [True, True, False, False]
        keep(kept, [HumanMessage("ten chars.")], None)
        assert kept.dropped == 2

    def test_it_waits_for_a_database_that_is_away(self, kept: Contents, monkeypatch) -> None:
        of = keep(kept, PROMPT, None)
        forgotten = keep(kept, PROMPT, None, user="ben")

        def away(*_: object, **__: object) -> None:
            msg = "locked"
            raise DatabaseLockedError(msg)

        with monkeypatch.context() as patch:
            patch.setattr(kept._database, "begin", away)
            with pytest.raises(DatabaseLockedError):
                kept.flush()
        later = keep(kept, "later", None)
        assert kept.forget(Subject(user="ben")) == 1
        kept.flush()
        assert all(kept.read(each) for each in (of, later))
        assert kept.read(forgotten) is None
        assert kept.dropped == 0

    def test_at_once_it_is_stored_before_capture_returns(
        self, database, clock, monkeypatch
    ) -> None:
        kept = Contents(database, at_once=True, clock=clock)
        assert kept.read(keep(kept, PROMPT, None)) is not None
        monkeypatch.setattr(database, "begin", lambda **_: 1 / 0)
        keep(kept, PROMPT, None)  # raises nothing
        assert kept.dropped == 1

    def test_a_forked_child_leaves_the_parents_to_the_parent(self, tmp_path) -> None:
        with Database(f"sqlite:///{tmp_path}/a.db") as database:
            kept = Contents(database)
            of = keep(kept, PROMPT, None, ts=4e9)
            if (child := os.fork()) == 0:
                kept.flush()
                os._exit(kept.read(of) is not None)
            assert os.waitpid(child, 0)[1] == 0
            kept.flush()
            assert kept.read(of) is not None

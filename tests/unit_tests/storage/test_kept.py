"""Parts are asked in turn; none that fails stops the others."""

import logging

import pytest
from conftest import FakeClock

from llmops_langchain import Database
from llmops_langchain.errors import DatabaseLockedError
from llmops_langchain.storage.kept import Maintenance, Subject
from llmops_langchain.storage.leases import lease

ANNE = Subject(user="anne")


class Part:
    """Notes when it was asked, and fails if it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[object] = []
        self.error = error

    def maintain(self, now: float) -> dict[str, int]:
        self._note(now)
        return {"expired": len(self.asked)}

    def forget(self, whom: Subject) -> int:
        self._note(whom)
        return len(self.asked)

    def _note(self, asked: object) -> None:
        self.asked.append(asked)
        if self.error:
            raise self.error


def test_every_part_is_asked_with_the_time(database: Database, clock: FakeClock) -> None:
    first, second = Part(), Part()
    parts = Maintenance(database, {"first": first, "second": second}, clock=clock)
    assert parts.run() == {"first": {"expired": 1}, "second": {"expired": 1}}
    assert parts.run(now=5.0) == {"first": {"expired": 2}, "second": {"expired": 2}}
    assert first.asked == second.asked == [clock(), 5.0]


def test_while_another_process_is_at_it_nothing_is_done(database, clock: FakeClock) -> None:
    part = Part()
    with lease(database, "maintain", 60, clock):
        assert Maintenance(database, {"part": part}, clock=clock).run() == {}
    assert part.asked == []


def test_a_part_that_fails_is_told_without_its_words(database, clock, caplog) -> None:
    parts = {"first": Part(RuntimeError("a secret")), "second": Part()}
    with caplog.at_level(logging.WARNING):
        done = Maintenance(database, parts, clock=clock).run()
    assert done == {"first": {"failed": 1}, "second": {"expired": 1}}
    assert "first" in caplog.text
    assert "RuntimeError" in caplog.text
    assert "a secret" not in caplog.text


def test_every_part_forgets(database: Database, clock: FakeClock) -> None:
    parts = Maintenance(database, {"first": Part(), "second": Part()}, clock=clock)
    assert parts.forget(ANNE) == {"first": 1, "second": 1}


def test_what_could_not_be_forgotten_is_raised_once_the_others_have(database, clock) -> None:
    locked, second = DatabaseLockedError("locked"), Part()
    parts = Maintenance(database, {"first": Part(locked), "second": second}, clock=clock)
    with pytest.raises(DatabaseLockedError, match="locked") as raised:
        parts.forget(ANNE)
    assert second.asked == [ANNE]
    assert raised.value.__notes__ == ["not all is forgotten: first failed; forget again"]

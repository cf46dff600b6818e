"""Old events go; those of a person lose the name and keep their figures."""

from dataclasses import replace

import pytest
from unit_tests.ledger.reading import metric, stored

from llmops_langchain.ledger import Event
from llmops_langchain.ledger.retention import EventRows
from llmops_langchain.ledger.rows import insert_new
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Subject

NOW = 1_800_000_000.0
PERSONAL = {
    "user": "anne",
    "thread": "chat",
    "task": "t",
    "tags": {"mail": "anne@example.org"},
    "cache_key": b"hash",
    "features": b"vector",
}


def store(database: Database, *events: Event) -> None:
    with database.begin() as connection:
        insert_new(connection, events)


def event(**fields: object) -> Event:
    return metric(workspace="acme", project="shop", cost=7, **fields)


def test_events_are_deleted_once_they_are_old(database: Database) -> None:
    names = ("llm.call", "context.trim", "zzz")
    old = [metric(name=name, ts=NOW - 60.5) for name in names for _ in range(3)]
    new = [metric(name=name, ts=NOW - 60) for name in names]
    store(database, *old, *new)
    rows = EventRows(database, retention=60)
    assert rows.maintain(NOW) == {"deleted": 9}
    assert stored(database) == new
    assert rows.maintain(NOW) == {"deleted": 0}


def test_more_than_a_batch_goes(database: Database) -> None:
    store(database, *(metric(ts=0) for _ in range(450)))
    assert EventRows(database, retention=60).maintain(NOW) == {"deleted": 450}


def test_without_a_retention_events_stay(database: Database) -> None:
    store(database, metric(ts=0))
    assert EventRows(database).maintain(NOW) == {"deleted": 0}
    assert len(stored(database)) == 1


def test_a_persons_events_keep_their_figures_alone(database: Database) -> None:
    hers, another = event(**PERSONAL), event(user="ben", thread="chat", task="t")
    store(database, hers, another)
    assert EventRows(database).forget(Subject(user="anne")) == 1
    assert stored(database) == [replace(hers, **dict.fromkeys(PERSONAL)), another]


def test_a_conversation_loses_its_name_and_the_user_stays(database: Database) -> None:
    chat, another = event(**PERSONAL), event(**{**PERSONAL, "thread": "another"})
    store(database, chat, another)
    assert EventRows(database).forget(Subject(thread="chat")) == 1
    gone = {name: None for name in PERSONAL if name != "user"}
    first, second = stored(database)
    assert first == replace(chat, **gone)
    # The hash of the other's prompt stands under a secret of the database.
    assert second == replace(another, cache_key=second.cache_key)
    assert second.cache_key not in (None, another.cache_key)


def test_another_tenants_user_of_that_name_stays(database: Database) -> None:
    store(database, event(user="anne"), metric(workspace="b", user="anne"))
    rows = EventRows(database)
    assert rows.forget(Subject(user="anne", workspace="acme")) == 1
    assert [each.user for each in stored(database)] == [None, "anne"]
    assert rows.forget(Subject(user="anne")) == 1


def test_any_number_of_events_loses_the_name(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmops_langchain.ledger.retention._AT_ONCE", 300)
    store(database, *(event(user="anne") for _ in range(601)))
    assert EventRows(database).forget(Subject(user="anne")) == 601
    assert {each.user for each in stored(database)} == {None}

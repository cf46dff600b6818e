"""Column types mean the same on every database."""

from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Select, select, text
from sqlalchemy.dialects import sqlite

from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import events as t
from llmops_langchain.storage.types import Id, new_id

RUN = select(t.c.id, t.c.run_id, t.c.tags)


def stored(database: Database, **columns: object) -> None:
    with database.begin() as connection:
        connection.execute(t.insert().values(name="a", ts=0.0, **columns))


def read(database: Database, statement: Select = RUN):
    with database.begin(read_only=True) as connection:
        return connection.execute(statement).one()


def test_an_id_comes_back_as_it_went(database: Database) -> None:
    event, run = new_id(), uuid4()
    stored(database, id=event, run_id=run)
    assert read(database)[:2] == (event, run)
    assert read(database, RUN.where(t.c.run_id == run)).id == event


def test_no_id_is_none(database: Database) -> None:
    stored(database, id=new_id())
    assert read(database).run_id is None


def test_sqlite_stores_an_id_in_16_bytes() -> None:
    with Database("sqlite://") as database:
        stored(database, id=new_id())
        kind = text("SELECT typeof(id), length(id) FROM llmops_events")
        assert read(database, kind) == ("blob", 16)


def test_postgresql_stores_an_id_as_its_own_type(postgres_url: str) -> None:
    with Database(postgres_url) as database:
        stored(database, id=new_id())
        kind = text("SELECT pg_typeof(id)::text FROM llmops_events")
        assert read(database, kind) == ("uuid",)


@given(st.uuids())
def test_an_id_is_its_16_bytes(value: UUID) -> None:
    kind, dialect = Id(), sqlite.dialect()
    raw = kind.process_bind_param(value, dialect)
    assert raw == value.bytes
    assert kind.process_result_value(raw, dialect) == value


def test_tags_come_back_and_no_tags_are_null(database: Database) -> None:
    tagged, plain = new_id(), new_id()
    stored(database, id=tagged, tags={"env": "dev"})
    stored(database, id=plain, tags=None)
    assert read(database, RUN.where(t.c.tags.is_(None))).id == plain
    assert read(database, RUN.where(t.c.tags.is_not(None))).tags == {"env": "dev"}


def test_ids_sort_by_the_time_they_were_made() -> None:
    made = [new_id() for _ in range(1000)]
    assert made == sorted(made)

"""Prices in the database: kept, seen by every process, and no reason for a call to fail."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest
from conftest import FakeClock, one_of_each_kind
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, text
from unit_tests.storage.processes import run

from llmops_langchain.errors import (
    ConfigurationError,
    DatabaseReadOnlyError,
    DatabaseUnavailableError,
    NotFoundError,
    StorageError,
)
from llmops_langchain.ledger import EMBEDDING, LLM_CALL, TRIM, Event, StoredPrices, UnpricedModel
from llmops_langchain.ledger.rows import insert_new
from llmops_langchain.models import PriceBook, TokenUsage
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import events, generations, prices

NOW = 1_800_000_000.0
DAY = 86_400.0
MILLION = TokenUsage(input_tokens=1_000_000)
COUNTED = select(generations.c.value).where(generations.c.name == "prices")
LOGGER = "llmops_langchain.ledger.prices"


@pytest.fixture
def book(database, clock) -> Iterator[StoredPrices]:
    with database:
        yield (made := StoredPrices(database, clock=clock))
        made.close()


def dollars(book: PriceBook, model: str, **asked: object) -> Decimal | None:
    """What a million tokens of input cost."""
    price = book.price(model, MILLION, **asked)
    return None if price is None else Decimal(price.nano_dollars) / 10**9


def set_price(book: PriceBook, model: str, price: object, **named: object) -> None:
    book.set(model, input_per_million=price, output_per_million=0, **named)


def test_a_price_outlives_its_process(database_url, clock, tmp_path) -> None:
    if database_url == "sqlite://":
        database_url = f"sqlite:///{tmp_path}/other.db"
    with Database(database_url) as database:
        first = StoredPrices(database, clock=clock)
        first.set(
            "azure/My-Model",
            input_per_million="0.15",
            output_per_million="0.000000001",
            written_per_million=Decimal("0.2"),
            tier="flex",
            valid_from=NOW + 0.123456789,
        )
        first.discount("google_genai", 0.1 + 0.2)
        kept = first.list()
        first.close()
    with Database(database_url) as database:
        second = StoredPrices(database, clock=clock)
        assert second.list() == kept
        assert dollars(second, "my-model", provider="azure", tier="flex", at=NOW + 1) == Decimal(
            "0.15"
        )
        second.close()


def test_another_book_sees_a_change_after_a_look(book, database, clock) -> None:
    other = StoredPrices(database, clock=clock)
    assert dollars(other, "m") is None
    set_price(book, "m", 1)
    assert (dollars(book, "m"), dollars(other, "m")) == (1, None)
    other.refresh()
    assert dollars(other, "m") == 1
    set_price(other, "m", 2)
    book.refresh(max_age=3600)  # the last look was less than an hour ago
    assert (dollars(book, "m"), dollars(other, "m")) == (1, 2)
    book.refresh()
    assert dollars(book, "m") == 2
    book.remove("m")
    other.refresh()
    assert (dollars(book, "m"), dollars(other, "m")) == (None, None)
    other.close()


def test_a_price_to_come_begins_by_itself_in_every_book(book, database, clock) -> None:
    set_price(book, "m", 1, valid_from=NOW + 60)
    other = StoredPrices(database, clock=clock)
    assert dollars(other, "m") is None
    clock.advance(60)
    assert (dollars(book, "m"), dollars(other, "m")) == (1, 1)
    assert dollars(other, "m", at=NOW) is None
    other.close()


def test_a_price_of_the_same_moment_replaces_the_first(book, database) -> None:
    set_price(book, "m", 1, valid_from=NOW)
    book.set("m", input_per_million=2, output_per_million=0, cached_per_million=1, valid_from=NOW)
    set_price(book, "m", 3, valid_from=NOW)
    with database.begin(read_only=True) as connection:
        (row,) = connection.execute(select(prices)).all()
    assert (row.input, row.cached) == (3 * 10**9, None)
    assert dollars(book, "m") == 3


@pytest.fixture(params=["sqlite_memory", "sqlite_file", "postgresql"])
def kind(request) -> str:
    return request.param


@pytest.fixture
def one_of_each(request, tmp_path) -> Iterator[object]:
    with one_of_each_kind(request, tmp_path, schema="prices") as opened:
        yield opened


Act = tuple[str, str, str | None, str | None, int, int]
MODELS, PROVIDERS, TIERS = ("gpt-4o", "m"), ("openai", None), ("batch", None)
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["set", "discount", "remove"]),
        st.sampled_from(MODELS),
        st.sampled_from(PROVIDERS),
        st.sampled_from(TIERS),
        st.integers(-2, 2),
        st.integers(0, 9),
    ),
    max_size=8,
)


def done(book: PriceBook, act: Act) -> bool:
    what, model, provider, tier, days, price = act
    named = {"tier": tier, "valid_from": NOW + days * DAY}
    if what == "set":
        set_price(book, model, price, provider=provider, **named)
    elif what == "discount":
        book.discount("openai", price / 10, **named)
    else:
        try:
            book.remove(model, provider=provider, **named)
        except NotFoundError:
            return False
    return True


def asked(book: PriceBook) -> list[object]:
    """Every price at every moment around now."""
    moments = [NOW + days * DAY for days in range(-3, 3)]
    which = product(MODELS, PROVIDERS, TIERS, moments)
    return [book.rates(model, who, tier=tier, at=at) for model, who, tier, at in which]


def test_a_book_in_a_database_is_what_one_in_memory_is(one_of_each, kind) -> None:
    database = one_of_each(kind)

    @settings(max_examples=15, deadline=None)
    @given(ACTS)
    def agree(acts: list[Act]) -> None:
        with database.begin() as connection:
            connection.execute(delete(prices))
        first, second = (StoredPrices(database, clock=lambda: NOW) for _ in range(2))
        memory = PriceBook(clock=lambda: NOW)
        second.rates("m")
        for act in acts:
            assert done(first, act) == done(memory, act)
        second.refresh()
        assert first.list() == second.list() == memory.list()
        assert asked(first) == asked(second) == asked(memory)
        first.close()
        second.close()

    agree()


def test_what_is_refused_leaves_no_trace(book, database) -> None:
    set_price(book, "m", 1)
    for bad in ({"input_per_million": -1}, {"model": ""}, {"tier": "x"}):
        with pytest.raises(ConfigurationError):
            book.set(**{"model": "m", "input_per_million": 2, "output_per_million": 2, **bad})
    with pytest.raises(NotFoundError):
        book.remove("other")
    assert dollars(book, "m") == 1
    with database.begin(read_only=True) as connection:
        assert connection.execute(COUNTED).scalar() == 1
        assert len(connection.execute(select(prices)).all()) == 1


class TestAwayFromTheDatabase:
    """A database that cannot be asked."""

    @pytest.fixture
    def file(self, tmp_path) -> Path:
        return tmp_path / "a.db"

    def test_to_make_one_opens_nothing_and_a_look_before_the_first_use_neither(self, file) -> None:
        with Database(f"sqlite:///{file}") as database:
            made = StoredPrices(database)
            made.preload()
            made.refresh()
            made.close()
        assert not file.exists()

    def test_a_change_is_refused_and_nothing_changed(self, file, clock) -> None:
        with Database(f"sqlite:///{file}") as database:
            set_price(StoredPrices(database, clock=clock), "m", 1)
        with Database(f"sqlite:///file:{file}?mode=ro&uri=true") as database:
            read_only = StoredPrices(database, clock=clock)
            for change in (
                lambda: set_price(read_only, "m", 2),
                lambda: read_only.discount("openai", 0.5),
                lambda: read_only.remove("m"),
            ):
                with pytest.raises(DatabaseReadOnlyError):
                    change()
            assert dollars(read_only, "m") == 1
            assert len(read_only.list()) == 1
            read_only.close()

    def test_a_commit_that_fails_changes_nothing(self, file, clock, monkeypatch) -> None:
        with Database(f"sqlite:///{file}") as database:
            made = StoredPrices(database, clock=clock)
            set_price(made, "m", 1)
            monkeypatch.setattr(made, "_counted", lambda _: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                set_price(made, "m", 2)
            monkeypatch.undo()
            assert dollars(made, "m") == 1
            set_price(made, "n", 3)
            assert (dollars(made, "m"), dollars(made, "n")) == (1, 3)
            made.close()

    def test_prices_are_those_of_the_list_until_it_is_back(self, tmp_path, clock, caplog) -> None:
        folder = tmp_path / "missing"
        with Database(f"sqlite:///{folder}/a.db") as database:
            made = StoredPrices(database, clock=clock, interval=3600)
            with caplog.at_level(logging.WARNING, LOGGER):
                assert dollars(made, "gpt-4o") == Decimal("2.5")
                for _ in range(3):
                    made.refresh()
                    assert dollars(made, "m") is None
            assert [record.getMessage() for record in caplog.records] == [
                "prices set by hand cannot be read: DatabaseUnavailableError"
            ]
            with pytest.raises(DatabaseUnavailableError):
                set_price(made, "m", 1)
            folder.mkdir()
            with Database(f"sqlite:///{folder}/a.db") as again:
                set_price(StoredPrices(again, clock=clock), "m", 7)
            made.refresh()
            assert dollars(made, "m") == 7
            made.close()

    def test_what_is_known_goes_on_to_hold(self, database, clock, caplog) -> None:
        made = StoredPrices(database, clock=clock, interval=3600)
        set_price(made, "m", 1)
        with database.begin() as connection:
            connection.execute(text("ALTER TABLE llmops_generations RENAME TO gone"))
        with caplog.at_level(logging.WARNING, LOGGER):
            made.refresh()
            made.refresh()
        assert dollars(made, "m") == 1
        assert len(made.list()) == 1
        assert len(caplog.records) == 1
        with database.begin() as connection:
            connection.execute(text("ALTER TABLE gone RENAME TO llmops_generations"))
        made.close()

    def test_later_look_ups_do_not_wait_for_a_database_that_was_away(self, tmp_path) -> None:
        with Database(f"sqlite:///{tmp_path}/missing/a.db") as database:
            made = StoredPrices(database, interval=3600)
            made.rates("gpt-4o")
            made.close()
            made._look = lambda: pytest.fail("asked the database")
            made.rates("gpt-5")

    def test_inside_a_transaction_of_the_same_thread_it_does_without(self, clock) -> None:
        with Database("sqlite://") as database:
            made = StoredPrices(database, clock=clock)
            with database.begin():
                assert dollars(made, "gpt-4o") == Decimal("2.5")
                with pytest.raises(StorageError):
                    set_price(made, "m", 1)

    def test_read_ahead_they_are_there_before_they_are_asked_for(self, database, clock) -> None:
        set_price(StoredPrices(database, clock=clock), "m", 1)
        made = StoredPrices(database, clock=clock, interval=3600)
        made.read_ahead()
        made.read_ahead()
        made.close()  # waits for it
        made._look = lambda: pytest.fail("asked the database")
        assert dollars(made, "m") == 1
        made.read_ahead()

    def test_an_interval_is_positive(self) -> None:
        with Database("sqlite://") as database, pytest.raises(ConfigurationError):
            StoredPrices(database, interval=0)


class TestOtherProcesses:
    """Processes on one database."""

    @pytest.fixture(params=["file", "postgresql"])
    def url(self, request, tmp_path) -> str:
        if request.param == "postgresql":
            return request.getfixturevalue("postgres_url")
        return f"sqlite:///{tmp_path}/a.db"

    def test_prices_set_at_once_are_all_kept_and_all_seen(self, url) -> None:
        told = run(_RACE, url)
        left, counted, seen = json.loads(told)
        assert sorted(left) == sorted(
            ["shared", *(f"m-{n}-{i}" for n in range(4) for i in range(5))]
        )
        assert counted == 4 * 11
        assert seen == [True] * 4

    def test_a_change_is_seen_without_being_asked_for(self, url) -> None:
        with Database(url) as here, Database(url) as there:
            ours, theirs = StoredPrices(here, interval=0.01), StoredPrices(there)
            assert dollars(ours, "m") is None
            set_price(theirs, "m", 1)
            deadline = time.monotonic() + 60
            while dollars(ours, "m") is None and time.monotonic() < deadline:
                time.sleep(0.005)
            assert dollars(ours, "m") == 1
            ours.close()

    def test_a_forked_child_knows_its_parents_prices_and_later_ones(self, url) -> None:
        told = json.loads(run(_FORK, url))
        assert told == {"before": 1.0, "after": 2.0, "own": 3.0}

    def test_in_memory_a_child_keeps_what_its_parent_set(self) -> None:
        assert json.loads(run(_FORK, "sqlite://")) == {"before": 1.0, "after": 1.0, "own": 3.0}


_RACE = """
    import json
    from sqlalchemy import select
    from llmops_langchain.ledger import StoredPrices
    from llmops_langchain.storage import Database
    from llmops_langchain.storage.schema import generations

    url = sys.argv[1]
    database = Database(url)
    database.upgrade()
    book = StoredPrices(database, clock=lambda: 1_800_000_000.0)
    out, into = os.pipe()

    def work(number):
        for each in range(5):
            book.set(f"m-{number}-{each}", input_per_million=number, output_per_million=each)
            book.set("shared", input_per_million=number, output_per_million=each)
            assert book.rates(f"m-{number}-{each}").input == number * 10**9
        book.set("shared", input_per_million=100, output_per_million=each)
        os.write(into, b"1" if book.rates("shared").input == 100 * 10**9 else b"0")

    at_once(4, work)
    seen = [each == ord("1") for each in os.read(out, 10)]
    with database.begin(read_only=True) as connection:
        named = generations.c.name == "prices"
        counted = connection.execute(select(generations.c.value).where(named)).scalar()
    print(json.dumps([[each.model for each in book.list()], counted, seen]))
"""

_FORK = """
    import json
    from llmops_langchain.ledger import StoredPrices
    from llmops_langchain.storage import Database

    def dollars(model):
        rates = book.rates(model)
        return rates and rates.input / 10**9

    book = StoredPrices(Database(sys.argv[1]), interval=3600)
    book.set("m", input_per_million=1, output_per_million=0)
    assert dollars("m") == 1
    changed, told = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        before = book._overrides.entries[0].input_per_million
        os.read(changed[0], 1)
        after = dollars("m")
        book.set("own", input_per_million=3, output_per_million=0)
        said = {"before": float(before), "after": after, "own": dollars("own")}
        assert dollars("m") == after
        os.write(told[1], json.dumps(said).encode())
        os._exit(0)
    book.set("m", input_per_million=2, output_per_million=0)
    os.write(changed[1], b"1")
    print(os.read(told[0], 1000).decode())
    os.waitpid(child, 0)
"""


def test_a_book_that_is_dropped_ends_its_thread(tmp_path) -> None:
    with Database(f"sqlite:///{tmp_path}/a.db") as database:
        made = StoredPrices(database, interval=3600)
        made.rates("m")
        (watch,) = (each for each in threading.enumerate() if each.name == "llmops-prices")
        made.read_ahead()  # they are there
        del made
        watch.join(60)
        assert not watch.is_alive()


def test_in_memory_there_is_no_thread(clock) -> None:
    with Database("sqlite://") as database:
        StoredPrices(database, clock=clock).rates("m")
        assert "llmops-prices" not in {each.name for each in threading.enumerate()}


def test_threads_that_set_at_once_lose_nothing(book) -> None:
    def work(thread: int) -> None:
        for each in range(5):
            set_price(book, f"m-{thread}-{each}", 1)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    known = [each.model for each in book._overrides.entries]
    assert known == sorted(f"m-{thread}-{each}" for thread in range(4) for each in range(5))


class TestUnpriced:
    """Calls that were recorded at no cost."""

    def record(self, database: Database, *recorded: Event) -> None:
        with database.begin() as connection:
            insert_new(connection, recorded)

    def call(self, **what: object) -> Event:
        return Event(**{"name": LLM_CALL, "ts": NOW, "unpriced": True, "model": "m", **what})

    def test_they_are_summed_by_model_and_provider(self, book, database) -> None:
        self.record(
            database,
            self.call(model="b", provider="p", input_tokens=3, output_tokens=4),
            self.call(model="b", provider="q", input_tokens=5),
            self.call(name=EMBEDDING, model="a", input_tokens=7),
            self.call(model="b", provider="p", input_tokens=1),
            self.call(model="priced", unpriced=False),
            self.call(model="cut", name=TRIM),
        )
        named = [(each.model, each.provider, each.calls) for each in book.unpriced()]
        assert named == [("b", "p", 2), ("a", None, 1), ("b", "q", 1)]
        assert book.unpriced()[0] == UnpricedModel(
            model="b", provider="p", calls=2, input_tokens=4, output_tokens=4
        )

    def test_they_are_those_of_the_last_days(self, book, database, clock) -> None:
        self.record(database, self.call(ts=NOW - 2 * DAY), self.call(ts=NOW - DAY))
        assert book.unpriced(days=1)[0].calls == 1
        assert book.unpriced()[0].calls == 2
        clock.advance(40 * DAY)
        assert book.unpriced() == []

    def test_a_price_set_since_does_not_rewrite_history(self, book, database) -> None:
        self.record(database, self.call())
        set_price(book, "m", 1)
        assert [each.model for each in book.unpriced()] == ["m"]

    @pytest.mark.parametrize("days", [0, -1, float("nan")])
    def test_days_are_positive(self, days) -> None:
        with Database("sqlite://") as database, pytest.raises(ConfigurationError):
            StoredPrices(database).unpriced(days=days)

    def test_the_index_leads_to_them(self, tmp_path) -> None:
        with Database(f"sqlite:///{tmp_path}/a.db") as database:
            book = StoredPrices(database, clock=FakeClock())
            asked = []
            with database.begin() as connection:
                connection.connection.driver_connection.set_trace_callback(asked.append)
            book.unpriced()
            (question,) = (each for each in asked if each.startswith("SELECT"))
            with database.begin(read_only=True) as connection:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {question}").all()
            index = next(each.name for each in events.indexes if "name" in each.columns)
            assert any(f"USING INDEX {index} (name=? AND ts>?)" in row[3] for row in plan)

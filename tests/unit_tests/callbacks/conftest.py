"""A handler over a database in memory, and what it recorded."""

from collections.abc import Iterator

import pytest
from conftest import FakeClock
from sqlalchemy import select

from llmops_langchain import Database, Event, Ledger, UsageCallbackHandler
from llmops_langchain.ledger.event import from_row
from llmops_langchain.models import PriceBook
from llmops_langchain.storage.schema import events


class Book:
    """A usage handler and the events it made."""

    def __init__(self, clock: FakeClock) -> None:
        self._database = Database("sqlite://")
        self.ledger = Ledger(self._database)
        self.prices = PriceBook(clock=clock)
        # 10 tokens in and 5 out: 60,000 nano-dollars.
        self.prices.set("tested-model", input_per_million=1, output_per_million=10)
        self.handler = UsageCallbackHandler(self.ledger, self.prices, clock=clock)

    @property
    def config(self) -> dict[str, object]:
        return {"callbacks": [self.handler]}

    def events(self) -> list[Event]:
        """Everything recorded, in the order of its ids."""
        self.ledger.flush()
        with self._database.begin(read_only=True) as connection:
            rows = connection.execute(select(events).order_by(events.c.id)).mappings()
            return [from_row(dict(row)) for row in rows]

    def only(self) -> Event:
        """The one event there is."""
        (event,) = self.events()
        return event


@pytest.fixture
def book(clock: FakeClock) -> Iterator[Book]:
    made = Book(clock)
    with made.ledger:
        yield made

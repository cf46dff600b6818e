"""What the tests of the ledger read and wait for."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import strategies as st
from sqlalchemy import select
from unit_tests.storage.processes import start

from llmops_langchain.ledger import Event
from llmops_langchain.ledger.event import from_row
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import events

# Everything a caller can put in: lone surrogates, NUL, numbers of any size.
any_text = st.text(st.characters(exclude_categories=[]), max_size=20)
_maybe_text = st.none() | any_text
_numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
_texts = (
    "unit workspace project task user agent thread provider model tier price_version error_class"
)
_counts = (
    "input_tokens output_tokens cached_tokens written_tokens reasoning_tokens audio_tokens "
    "cost saved trimmed_tokens"
)
any_event: st.SearchStrategy[Event] = st.builds(
    Event,
    name=any_text,
    ts=st.floats(allow_nan=False, allow_infinity=False),
    id=st.uuids(),
    tags=st.none() | st.dictionaries(any_text, any_text, max_size=3),
    run_id=st.none() | st.uuids(),
    parent_run_id=st.none() | st.uuids(),
    status=st.sampled_from(["ok", "error"]),
    cache_tier=st.sampled_from([None, "exact", "semantic", "other"]),
    cache_key=st.none() | st.binary(max_size=32),
    features=st.none() | st.binary(max_size=32),
    **dict.fromkeys(("value", "latency", "time_to_first_token"), _numbers),
    **dict.fromkeys(("estimated", "unpriced", "aborted", "routed"), st.booleans()),
    **dict.fromkeys(_texts.split(), _maybe_text),
    **dict.fromkeys(_counts.split(), st.integers()),
)


def metric(value: float = 1, **fields: object) -> Event:
    return Event(**({"name": "task.success", "ts": 1_800_000_000.0, "value": value} | fields))


def metrics(number: int) -> list[Event]:
    return [metric(value) for value in range(number)]


def stored(database: Database) -> list[Event]:
    """The events in the database, in the order of their ids: the one in which they were made."""
    with database.begin(read_only=True) as connection:
        rows = connection.execute(select(events).order_by(events.c.id)).mappings()
        return [from_row({**row}) for row in rows]


def eventually(check: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something is so, for a number of seconds at most."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come to be"
        threading.Event().wait(0.002)


@contextmanager
def locked(database: Database) -> Iterator[None]:
    """Inside, another process holds the write lock of an SQLite file."""
    database.upgrade()
    holder = start(
        """
        import sqlite3
        connection = sqlite3.connect(sys.argv[1], isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        print("held", flush=True)
        sys.stdin.read()
        """,
        database.path,
    )
    assert holder.stdout.readline() == "held\n"
    try:
        yield
    finally:
        holder.communicate()


def journals(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.exists() else []

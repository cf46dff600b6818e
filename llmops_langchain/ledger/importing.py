"""Events of another time or place into the table: many at once, each once, past the budgets."""

from collections.abc import Iterable, Sequence
from itertools import islice

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.ledger.event import Event, storable
from llmops_langchain.ledger.marks import DELETED_UNTIL, mark
from llmops_langchain.ledger.rollup_rows import RollupWriter
from llmops_langchain.ledger.rows import insert_new
from llmops_langchain.ledger.values import is_about_a_value
from llmops_langchain.storage import Database

__all__ = ["import_events"]

_AT_ONCE = 20_000
"""Events in one transaction."""


def import_events(
    database: Database, found: Iterable[Event], *, clock: Clock = system_clock
) -> tuple[int, int]:
    """Store events that are not there yet, and add them up; no budget counts them.

    Events from before what retention has deleted are left out: they may be in the sums already.

    Args:
        database: Where they go.
        found: Any number; a batch is in memory at a time.
        clock: Returns seconds since the Unix epoch.

    Returns:
        How many there were, and how many of them were new.

    Raises:
        StorageError: If the database cannot take them; batches that were stored stay so, and the
            whole may be imported again.
    """
    writer, number, new = RollupWriter(), 0, 0
    waiting = iter(found)
    while batch := list(islice(waiting, _AT_ONCE)):
        try:
            stored = _store(database, writer, batch, now=clock())
        except Exception as error:
            if not is_about_a_value(error):
                raise
            stored = _store(database, writer, list(map(storable, batch)), now=clock())
        number, new = number + len(batch), new + stored
    return number, new


def _store(database: Database, writer: RollupWriter, batch: Sequence[Event], *, now: float) -> int:
    with database.begin() as connection:
        # Nobody knows any more which events before this were there, and are in the sums.
        deleted = mark(connection, DELETED_UNTIL)
        if deleted is not None:
            batch = [each for each in batch if each.ts >= deleted]
        stored = insert_new(connection, batch)
        writer.add(connection, stored, now=now)
    return len(stored)

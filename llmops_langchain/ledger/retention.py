"""Events do not stay for ever, and not with the name of a person who is to be forgotten."""

from sqlalchemy import Update, bindparam, func, select, update

from llmops_langchain.ledger.marks import DELETED_UNTIL, raise_mark
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Done, Subject
from llmops_langchain.storage.schema import events
from llmops_langchain.storage.sweeping import BATCH, sweep, swept

__all__ = ["EventRows"]

_AT_ONCE = 100_000
"""Events of one person whose ids are read at a time: each time the table is read from its start."""

_NEXT_NAME = select(func.min(events.c.name)).where(events.c.name > bindparam("after"))
# By name, since the index on the time has the name in front.
_OLD = swept(events.c.id, events.c.name == bindparam("of_name"), events.c.ts < bindparam("until"))

_NAMELESS = dict.fromkeys(("thread", "task", "tags", "cache_key", "features"))
"""What may tell of a person beside the name: a call's hash and a question's vector too."""


class EventRows:
    """The events that are stored: old ones go, and those of a person lose the name.

    Args:
        database: Where they are.
        retention: Seconds that they are kept; `None` keeps them.

    Example:
        >>> with Database("sqlite://") as database:
        ...     EventRows(database, retention=86_400).maintain(now=1_800_000_000.0)
        {'deleted': 0}
    """

    def __init__(self, database: Database, *, retention: float | None = None) -> None:
        self._database, self._retention = database, retention

    def maintain(self, now: float) -> Done:
        """Delete the events that are older than `retention`."""
        if self._retention is None:
            return {"deleted": 0}
        deleted, name, until = 0, self._next_name(""), now - self._retention
        with self._database.begin() as connection:
            raise_mark(connection, DELETED_UNTIL, until)
        while name is not None:
            deleted += sweep(self._database, _OLD, of_name=name, until=until)
            name = self._next_name(name)
        return {"deleted": deleted}

    def forget(self, whom: Subject) -> int:
        """Take out of the events what tells whose they were; sums and budgets stay as they are.

        What processes have recorded in the last second is not stored yet: flush first.

        Args:
            whom: Events of a user lose user, thread, task, tags, and what their prompts were
                known by; those of a conversation the same but for the user.
        """
        touched, last = 0, _AT_ONCE
        while last == _AT_ONCE:
            last = self._forget_some(whom)
            touched += last
        return touched

    def _forget_some(self, whom: Subject) -> int:
        found = select(events.c.id).where(*whom.rows_of(events)).limit(_AT_ONCE)
        with self._database.begin(read_only=True) as connection:
            ids = list(connection.execute(found).scalars())
        change = _nameless(whom)
        for at in range(0, len(ids), BATCH):
            with self._database.begin() as connection:
                connection.execute(change, {"ids": ids[at : at + BATCH]})
        return len(ids)

    def _next_name(self, after: str) -> str | None:
        found = self._database.read_one(_NEXT_NAME, after=after)
        return None if found is None else found[0]


def _nameless(whom: Subject) -> Update:
    gone = _NAMELESS if whom.user is None else {**_NAMELESS, "user": None}
    with_ids = events.c.id.in_(bindparam("ids", expanding=True))
    return update(events).where(with_ids).values({events.c[name]: None for name in gone})

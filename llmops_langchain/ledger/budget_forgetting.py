"""Take a person out of budgets and of what is set aside."""

import orjson
from sqlalchemy import Connection, bindparam, delete, select, update

from llmops_langchain.ledger.known_budgets import bump
from llmops_langchain.storage.kept import Subject
from llmops_langchain.storage.schema import budgets, reservations

__all__ = ["forget_person"]

_PERSONAL = ("user", "thread", "task", "tags")


def forget_person(connection: Connection, whom: Subject) -> int:
    """Delete a person's own budgets, and the name from what is set aside; how many rows.

    The sums of other budgets stay, and calls under way stay set aside.
    """
    return _forget_budgets(connection, whom) + _forget_names(connection, whom)


def _forget_budgets(connection: Connection, whom: Subject) -> int:
    if whom.user is None:
        return 0
    theirs = [budgets.c.user == whom.user]
    if whom.workspace is not None:
        theirs.append(budgets.c.workspace == whom.workspace)
    bump(connection)
    return connection.execute(delete(budgets).where(*theirs)).rowcount


def _forget_names(connection: Connection, whom: Subject) -> int:
    rows = connection.execute(select(reservations.c.id, reservations.c.about)).all()
    told = ((row.id, orjson.loads(row.about)) for row in rows)
    nameless = [
        {"held": id_, "told": orjson.dumps({**about, **dict.fromkeys(_PERSONAL)}).decode()}
        for id_, about in told
        if _is_of(about, whom)
    ]
    if nameless:
        connection.execute(_RENAME, nameless)
    return len(nameless)


def _is_of(about: dict[str, object], whom: Subject) -> bool:
    return all(about.get(name) == value for name, value in whom.named.items())


_RENAME = (
    update(reservations)
    .where(reservations.c.id == bindparam("held"))
    .values(about=bindparam("told"))
)

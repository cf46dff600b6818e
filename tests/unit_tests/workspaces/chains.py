"""A workspace with a history, and an intruder who writes to its tables past this package."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, select, text, update

from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import audit_log
from llmops_langchain.workspaces import SYSTEM, Workspaces

KEY, OLD_KEY = "k" * 32, "o" * 32


def history(teams: Workspaces) -> str:
    """A workspace in which much was done: by people, by a key, by the app; its id."""
    shop = teams.create(name="Shop", owner_id="ann", owner_email="ann@example.com").id
    new = teams.invite(shop, "bo@example.com", "developer", actor="ann")
    teams.accept(new.token, user_id="bo")
    teams.create_project(shop, "checkout", actor="bo")
    key = teams.create_key(shop, name="ci", scopes=["audit.record"], actor="ann")
    by_key = teams.authenticate(key.token)
    teams.record(shop, "deployed", actor=by_key, target=("release", "r1"), after={"to": "eu"})
    teams.change_role(shop, "bo", "reviewer", actor="ann")
    teams.update(shop, name="Shops", actor=SYSTEM)
    return shop


@contextmanager
def intruder(database: Database) -> Iterator[Connection]:
    """Somebody with every right on the database, whom no trigger stops."""
    with database.begin() as connection:
        for each in _unguarded(database):
            connection.execute(text(each))
        yield connection


def _unguarded(database: Database) -> list[str]:
    if database.is_sqlite:
        names = ("audit_log_no_update", "audit_log_no_delete", "audit_people_no_update")
        return [f"DROP TRIGGER IF EXISTS llmops_{name}" for name in names]
    return [
        f"ALTER TABLE {table} DISABLE TRIGGER USER"
        for table in ("llmops_audit_log", "llmops_audit_people")
    ]


def altered(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    return value + "x" if isinstance(value, str) else value + 1_000


def rows(database: Database, workspace: str) -> list[dict[str, Any]]:
    """The log as it is stored."""
    asked = select(audit_log).where(audit_log.c.workspace == workspace).order_by(audit_log.c.seq)
    with database.begin(read_only=True) as connection:
        return [row._asdict() for row in connection.execute(asked)]


def overwrite(database: Database, row: dict[str, Any], **values: Any) -> None:
    """Write over columns of a row."""
    its = (audit_log.c.workspace == row["workspace"], audit_log.c.seq == row["seq"])
    with intruder(database) as connection:
        connection.execute(update(audit_log).where(*its).values(values))

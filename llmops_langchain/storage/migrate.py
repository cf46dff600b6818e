"""Bring the tables to this code's version: once, under a lock, or as SQL for a person to run."""

import io
import logging
import threading
from importlib.resources import files
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.schema import CreateSchema

from llmops_langchain.errors import SchemaVersionError
from llmops_langchain.storage.schema import SCHEMA_VERSION, VERSION_TABLE

if TYPE_CHECKING:  # Alembic takes 0.1 s to import and is needed only when tables change
    from alembic.config import Config

__all__ = ["current_version", "needs_upgrade", "upgrade", "upgrade_sql"]

# Any constant will do, as long as it is ours: the ASCII codes of "llmops".
_LOCK = 0x6C6C6D6F7073

# Alembic keeps the migration that runs in module globals: one at a time in a process.
_one_at_a_time = threading.Lock()


def current_version(connection: Connection) -> str | None:
    """The version of the tables, `None` if there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant


def needs_upgrade(found: str | None, expected: str = SCHEMA_VERSION) -> bool:
    """Whether revisions are missing; newer tables of the same major version are fine as they are.

    Raises:
        SchemaVersionError: If the tables are of a newer major version.
    """
    if found is None:
        return True
    theirs, ours = _parts(found), _parts(expected)
    if theirs[0] > ours[0]:
        msg = (
            f"the tables are of version {found}, this release works on {ours[0]}.x: "
            "upgrade with `pip install -U llmops-langchain`; nothing was changed"
        )
        raise SchemaVersionError(msg, found=found, expected=expected)
    return theirs < ours


def upgrade(connection: Connection, *, schema: str | None = None) -> None:
    """Apply what is missing, in the caller's transaction; processes take turns."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        # `IF NOT EXISTS` asks for the right to create schemas even if there is nothing to create.
        if schema is not None and not inspect(connection).has_schema(schema):
            connection.execute(CreateSchema(schema))
    # Alembic tells each step at INFO, in the log of an app that did not ask for it.
    told = logging.getLogger("alembic")
    if told.level == logging.NOTSET:
        told.setLevel(logging.WARNING)
    # Another process may have been first while this one waited for the lock.
    if not needs_upgrade(current_version(connection)):
        return
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    with _one_at_a_time:
        command.upgrade(config, "head")


def upgrade_sql(dialect: str, *, schema: str | None = None) -> str:
    """The whole schema as SQL for `dialect` (`"sqlite"` or `"postgresql"`), nothing is run."""
    from alembic import command

    output = io.StringIO()
    config = _config()
    config.output_buffer = output
    config.attributes["dialect"] = dialect
    with _one_at_a_time:
        command.upgrade(config, "head", sql=True)
    if schema is None:
        return output.getvalue()
    use = f'CREATE SCHEMA IF NOT EXISTS "{schema}";\n\nSET search_path TO "{schema}";\n\n'
    return use + output.getvalue()


def _parts(version: str) -> tuple[int, int]:
    try:
        major, minor = map(int, version.split("."))
    except ValueError as error:
        msg = f"{version!r} is no version of these tables: `{VERSION_TABLE}` was changed by hand"
        raise SchemaVersionError(msg, found=version, expected=SCHEMA_VERSION) from error
    return major, minor


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option(
        "script_location", str(files("llmops_langchain.storage").joinpath("migrations"))
    )
    config.attributes["version_table"] = VERSION_TABLE
    return config

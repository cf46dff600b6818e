"""Facts for `llmops doctor`, gathered from the settings, this host and the database."""

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, LargeBinary, and_, bindparam, func, select, text
from sqlalchemy.sql.elements import KeyedColumnElement

from llmops_langchain.cli.findings import Facts, Stored
from llmops_langchain.clock import Clock
from llmops_langchain.errors import LLMOpsError, SchemaVersionError
from llmops_langchain.ledger import LLM_CALL
from llmops_langchain.ledger.journal import journal_directory
from llmops_langchain.settings import Settings
from llmops_langchain.storage import Database
from llmops_langchain.storage.migrate import current_version
from llmops_langchain.storage.schema import (
    SCHEMA_VERSION,
    budget_alerts,
    budgets,
    cache_entries,
    contents,
    events,
    prices,
    reservations,
    semantic_vectors,
    workspaces,
)
from llmops_langchain.tokens.vocabularies import vocabulary

__all__ = ["gathered", "network_file_system"]

_DAY = 86_400.0
_GRACE = 60.0  # seconds that whoever is due may take
_SAMPLE = 1_000  # rows whose first byte is looked at

_EXTRAS = {
    "agents": "langchain",
    "crypto": "cryptography",
    "export": "pyarrow",
    "learning": "chromadb",
    "local": "xllamacpp",
    "otel": "opentelemetry.sdk",
    "postgres": "psycopg",
    "redis": "redis",
    "semantic": "onnxruntime",
    "server": "fastapi",
    "tokens": "quicktok",
}
"""A package of each extra; the setting that needs it is told below."""

_SHARED = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone"),
        *("fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"),
        *("ocfs2", "orangefs", "smb3", "smbfs"),
    )
)
"""Linux's names of file systems that several hosts may use at a time."""

_TEXTS: Mapping[str, KeyedColumnElement[bytes]] = {
    "llmops_cache_entries.value": cache_entries.c.value,
    "llmops_contents.body": contents.c.body,
    "llmops_semantic_vectors.body": semantic_vectors.c.body,
}
"""Columns that are encrypted where there is a key; the first byte of a row tells."""

_JOURNAL_IS_LEFT_AFTER = 60.0  # seconds since it was written to


def gathered(database: Database, settings: Settings, clock: Clock) -> Facts:
    """What is known of an installation; nothing is changed, and no table is made.

    Args:
        database: As the app has it, but that it makes no tables.
        settings: As the app has them.
        clock: Returns seconds since the Unix epoch.
    """
    stored, trouble = _stored(database, clock)
    folder = (
        None
        if settings.durability == "commit"
        else journal_directory(database, settings.journal_dir)
    )
    return Facts(
        database=database.url.render_as_string(hide_password=True),
        expected_version=SCHEMA_VERSION,
        today=datetime.fromtimestamp(clock(), UTC).date(),
        is_sqlite=database.is_sqlite,
        in_memory=database.is_sqlite and database.path is None,
        stored=stored,
        trouble=trouble,
        network_file_system=network_file_system(database.path),
        journals=None if folder is None else str(folder),
        journals_writable=folder is None or _is_writable(folder),
        left_journals=0 if folder is None else _left(folder, clock()),
        has_key=bool(settings.encryption_key),
        has_audit_key=bool(settings.audit_key or settings.audit_key_file),
        keeps_content=settings.capture_content,
        vocabularies={name: vocabulary(name).backend for name in ("cl100k_base", "o200k_base")},
        price_day=_price_day(datetime.fromtimestamp(clock(), UTC).date()),
        extras={extra: _is_installed(package) for extra, package in _EXTRAS.items()},
        needed_extras=_needed(settings),
    )


def network_file_system(path: Path | None, mounts: Path = Path("/proc/mounts")) -> str | None:
    """The type of the file system that `path` lies on, if several hosts may use it at a time.

    `None` also where this cannot be told: only Linux lists its mounts in a file.
    """
    if path is None or not mounts.is_file():
        return None
    place, best, kind = path.resolve(), Path("/"), ""
    for line in mounts.read_text().splitlines():
        _, where, its_kind, *_ = line.split(" ")
        # Spaces in a name are written as octal numbers.
        mount = Path(where.encode().decode("unicode_escape"))
        if place.is_relative_to(mount) and len(mount.parts) >= len(best.parts):
            best, kind = mount, its_kind
    return kind if kind in _SHARED else None


def _stored(database: Database, clock: Clock) -> tuple[Stored | None, str]:
    if database.path is not None and not database.path.exists():
        return None, "the file is not there yet: run the app, or `llmops db upgrade`"
    try:
        with database.begin(read_only=True) as connection:
            return _asked(connection, clock), ""
    except SchemaVersionError as error:
        found = error.found
        return (None if found is None else Stored(version=found)), str(error)
    except LLMOpsError as error:
        return None, str(error)


def _asked(connection: Connection, clock: Clock) -> Stored:
    now = clock()
    own_prices, newest = connection.execute(
        select(func.count(), func.max(prices.c.changed_at)).select_from(prices)
    ).one()
    return Stored(
        version=current_version(connection) or SCHEMA_VERSION,
        journal_mode=_journal_mode(connection),
        clock_offset=_clock_offset(connection, clock),
        plain_texts={name: _plain(connection, column) for name, column in _TEXTS.items()},
        unpriced=_unpriced(connection, now - 30 * _DAY),
        own_prices=own_prices,
        newest_own_price=newest,
        hard_budgets=_count(connection, budgets.c.hard),
        workspaces=_count(connection, workspaces.c.purged_at.is_(None)),
        unscoped_calls=_count(
            connection,
            and_(events.c.name == LLM_CALL, events.c.ts >= now - 7 * _DAY),
            *(events.c[name].is_(None) for name in ("workspace", "project", "user")),
        ),
        overdue_reservations=_count(
            connection,
            and_(reservations.c.billed.is_(None), reservations.c.expires_at < now - _GRACE),
        ),
        untold_alerts=_count(
            connection,
            and_(
                budget_alerts.c.notified_at.is_(None),
                budget_alerts.c.claimed_until < now - _GRACE,
            ),
        ),
    )


def _count(connection: Connection, *conditions: Any) -> int:
    found: int = connection.execute(select(func.count()).where(*conditions)).scalar_one()
    return found


def _plain(connection: Connection, column: KeyedColumnElement[bytes]) -> int:
    """Rows that are not encrypted, of the first ones; empty ones hold nothing."""
    first = func.substr(column, 1, 1, type_=LargeBinary)
    sample = select(first.label("first")).where(column != b"").limit(_SAMPLE).subquery()
    plain = select(func.count()).where(sample.c.first != bindparam("mark", b"E", LargeBinary))
    found: int = connection.execute(plain).scalar_one()
    return found


def _unpriced(connection: Connection, since: float) -> dict[str, int]:
    model = func.coalesce(events.c.model, "unknown")
    calls = (
        select(model, func.count())
        .where(events.c.name == LLM_CALL, events.c.ts >= since, events.c.unpriced)
        .group_by(events.c.model)
    )
    return {row[0]: row[1] for row in connection.execute(calls)}


def _journal_mode(connection: Connection) -> str | None:
    if connection.dialect.name != "sqlite":
        return None
    return str(connection.execute(text("PRAGMA journal_mode")).scalar_one())


def _clock_offset(connection: Connection, clock: Clock) -> float:
    """Seconds the server is ahead, from the middle of the question's way."""
    if connection.dialect.name == "sqlite":
        return 0.0
    asked = clock()
    theirs = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
    return float(theirs) - (asked + clock()) / 2


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in it, or it can be made itself."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    return os.access(place, os.W_OK | os.X_OK)


def _left(folder: Path, now: float) -> int:
    return sum(now - written > _JOURNAL_IS_LEFT_AFTER for written in _written(folder))


def _written(folder: Path) -> Iterable[float]:
    for path in folder.glob("*.journal"):
        try:
            yield path.stat().st_mtime
        except OSError:  # stored just now
            continue


def _price_day(today: date) -> date | None:
    """The newest day, up to today, from which a price in the data holds."""
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    if snapshot.from_auto_update:
        return snapshot.timestamp.date()
    models = (model for provider in snapshot.providers for model in provider.models)
    parts = (part for model in models if isinstance(model.prices, list) for part in model.prices)
    days = (getattr(part.constraint, "start_date", None) for part in parts)
    return max((day for day in days if day is not None and day <= today), default=None)


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # what it is a part of
        return False


def _needed(settings: Settings) -> dict[str, str]:
    needed = {}
    if settings.encryption_key:
        needed["crypto"] = "`encryption_key`"
    if settings.cache_url:
        needed["redis"] = "`cache_url`"
    return needed

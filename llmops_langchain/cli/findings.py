"""What facts about an installation mean, and what to do: decided from values alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Literal

__all__ = ["Facts", "Finding", "Level", "Stored", "findings"]

Level = Literal["ok", "warn", "fail"]

_OLD_PRICES = 60  # days
_CLOCKS_DIFFER, _CLOCKS_ARE_WRONG = 1.0, 30.0  # seconds
_NAMED = 3  # of many


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check, and what came of it."""

    check: str
    level: Level
    said: str
    do: str = ""
    """The way out; empty where all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the database told."""

    version: str
    """Of its tables."""
    journal_mode: str | None = None
    """SQLite's."""
    clock_offset: float = 0.0
    """Seconds that the server's clock is ahead of this host's."""
    plain_texts: Mapping[str, int] = field(default_factory=dict)
    """Rows with text that is not encrypted, of the first thousand, by column."""
    unpriced: Mapping[str, int] = field(default_factory=dict)
    """Calls of the last 30 days whose model had no price, by model."""
    own_prices: int = 0
    """Prices and discounts that were set by hand."""
    newest_own_price: float | None = None
    """When the last of them was set, epoch seconds."""
    hard_budgets: int = 0
    """Budgets that refuse."""
    workspaces: int = 0
    """Those that were not purged."""
    unscoped_calls: int = 0
    """Calls of the last 7 days that named no workspace, project and user."""
    overdue_reservations: int = 0
    """Set aside for calls nobody heard of again, for longer than their lease."""
    untold_alerts: int = 0
    """Alerts whose time to be told is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found on this host, and in the database if it could be asked."""

    database: str
    """Its URL without a password."""
    expected_version: str
    """Of tables that this release works on."""
    today: date
    is_sqlite: bool = True
    in_memory: bool = False
    stored: Stored | None = None
    """`None` if the database could not be asked."""
    trouble: str = ""
    """Why not."""
    network_file_system: str | None = None
    """Type of the file system that an SQLite file lies on, if other hosts may share it."""
    journals: str | None = None
    """Folder of the journals; `None` if there are none."""
    journals_writable: bool = True
    left_journals: int = 0
    """Journals that nobody has written to for a minute."""
    has_key: bool = False
    """There is an `encryption_key`."""
    has_audit_key: bool = False
    """There is an `audit_key`, or a file with one."""
    keeps_content: bool = False
    """`capture_content` is set."""
    vocabularies: Mapping[str, str] = field(default_factory=dict)
    """What counts tokens, by encoding: `quicktok`, `tiktoken` or `estimate`."""
    price_day: date | None = None
    """Day of the newest price in the price data; `None` if it is not told."""
    extras: Mapping[str, bool] = field(default_factory=dict)
    """Whether what an extra brings is installed."""
    needed_extras: Mapping[str, str] = field(default_factory=dict)
    """Setting that cannot be honoured without an extra, by extra."""


def findings(facts: Facts) -> list[Finding]:
    """What each check came to; those of the database's content only where it could be asked."""
    found = [each(facts) for each in _ALWAYS]
    if facts.stored is None:
        return found
    tables = _tables(facts, facts.stored)
    if tables.level == "fail":
        return [*found, tables]
    return [*found, tables, *(each(facts, facts.stored) for each in _OF_STORED)]


def _database(facts: Facts) -> Finding:
    if facts.stored is None:
        return Finding(check="database", level="fail", said=facts.database, do=facts.trouble)
    return Finding(check="database", level="ok", said=facts.database)


def _hosts(facts: Facts) -> Finding:
    check = "more than one host"
    if not facts.is_sqlite:
        return Finding(check=check, level="ok", said="PostgreSQL serves any number of hosts")
    if facts.network_file_system:
        return Finding(
            check=check,
            level="fail",
            said=f"the SQLite file lies on {facts.network_file_system}, which other hosts may use",
            do="more than one host means PostgreSQL; for one host take a disk of its own: SQLite's "
            "locks do not hold over a network",
        )
    return Finding(
        check=check,
        level="ok",
        said="SQLite serves the processes of this host; more than one host means PostgreSQL",
    )


def _journals(facts: Facts) -> Finding:
    check = "journals"
    if facts.journals is None:
        said = "none: a database in memory, `durability=commit`, or a system without file locks"
        return Finding(check=check, level="ok", said=said)
    if not facts.journals_writable:
        return Finding(
            check=check,
            level="fail",
            said=f"{facts.journals} cannot be written to: a killed process loses its events",
            do="give the process write access to it, or set LLMOPS_JOURNAL_DIR",
        )
    if facts.left_journals:
        return Finding(
            check=check,
            level="warn",
            said=f"{facts.left_journals} in {facts.journals} were not stored for a minute",
            do="a process died, or the database was away: the next process that records stores "
            "them, or `llmops maintain`",
        )
    return Finding(check=check, level="ok", said=facts.journals)


def _tokens(facts: Facts) -> Finding:
    guessed = sorted(name for name, by in facts.vocabularies.items() if by == "estimate")
    if guessed:
        return Finding(
            check="token counts",
            level="warn",
            said=f"no vocabulary of {', '.join(guessed)} on this machine: tokens are estimated",
            do="pip install 'llmops-langchain[tokens]'",
        )
    counted = ", ".join(f"{name} by {by}" for name, by in sorted(facts.vocabularies.items()))
    return Finding(check="token counts", level="ok", said=counted)


def _price_data(facts: Facts) -> Finding:
    check = "price data"
    if facts.price_day is None:
        return Finding(check=check, level="ok", said="of an unknown date")
    age = (facts.today - facts.price_day).days
    if age > _OLD_PRICES:
        return Finding(
            check=check,
            level="warn",
            said=f"the newest price is of {facts.price_day}, {age} days ago",
            do="pip install -U genai-prices",
        )
    return Finding(check=check, level="ok", said=f"the newest price is of {facts.price_day}")


def _extras(facts: Facts) -> Finding:
    check = "extras"
    missing = {extra: why for extra, why in facts.needed_extras.items() if not facts.extras[extra]}
    if missing:
        return Finding(
            check=check,
            level="fail",
            said="; ".join(f"{why} needs the extra `{extra}`" for extra, why in missing.items()),
            do=f"pip install 'llmops-langchain[{','.join(missing)}]'",
        )
    there = ", ".join(name for name, is_there in facts.extras.items() if is_there) or "none"
    absent = ", ".join(name for name, is_there in facts.extras.items() if not is_there)
    also = f"; not installed: {absent}" if absent else ""
    return Finding(check=check, level="ok", said=f"installed: {there}{also}")


def _tables(facts: Facts, stored: Stored) -> Finding:
    check, said = "tables", f"version {stored.version}"
    theirs, ours = _parts(stored.version), _parts(facts.expected_version)
    if theirs[0] > ours[0]:
        said = f"{said}; this release works on {ours[0]}.x"
        return Finding(check=check, level="fail", said=said, do="pip install -U llmops-langchain")
    if theirs < ours:
        said = f"{said}; this release needs {facts.expected_version}"
        return Finding(check=check, level="fail", said=said, do="llmops db upgrade --url …")
    return Finding(check=check, level="ok", said=said)


def _readers(facts: Facts, stored: Stored) -> Finding:
    check = "readers beside writers"
    if not facts.is_sqlite or facts.in_memory:
        return Finding(check=check, level="ok", said="do not wait for each other")
    if stored.journal_mode != "wal":
        return Finding(
            check=check,
            level="warn",
            said=f"the file is in journal mode {stored.journal_mode!r}: readers wait for writers",
            do="sqlite3 FILE 'PRAGMA journal_mode = WAL'; some file systems cannot do it",
        )
    return Finding(check=check, level="ok", said="write-ahead log is on")


def _text(facts: Facts, stored: Stored) -> Finding:
    check = "text at rest"
    plain = {name: rows for name, rows in stored.plain_texts.items() if rows}
    where = ", ".join(f"{name} ({rows:,} rows)" for name, rows in plain.items())
    if plain and not facts.has_key:
        return Finding(
            check=check,
            level="warn",
            said=f"text is stored and there is no `encryption_key`: {where}",
            do="set LLMOPS_ENCRYPTION_KEY, or let only its users read the database; "
            "`llmops doctor --text` lists every column",
        )
    if plain:
        return Finding(
            check=check,
            level="warn",
            said=f"rows from before there was an `encryption_key` are plain: {where}",
            do="they are not served any longer: `ops.cache.clear()` deletes them",
        )
    said = "encrypted" if facts.has_key else "no text is stored; there is no `encryption_key`"
    return Finding(check=check, level="ok", said=said)


def _audit(facts: Facts, stored: Stored) -> Finding:
    check = "audit log"
    if not stored.workspaces:
        return Finding(check=check, level="ok", said="there are no workspaces")
    if facts.has_audit_key:
        said = (
            f"a key signs those of {stored.workspaces:,} workspaces; `llmops audit verify` proves"
        )
        return Finding(check=check, level="ok", said=said)
    return Finding(
        check=check,
        level="warn",
        said=f"of {stored.workspaces:,} workspaces is not signed: who may write to the database "
        "can write it anew",
        do="`llmops audit new-key FILE`, and set LLMOPS_AUDIT_KEY_FILE",
    )


def _unpriced(_: Facts, stored: Stored) -> Finding:
    check = "models without a price"
    if not stored.unpriced:
        return Finding(check=check, level="ok", said="none in the last 30 days")
    most = sorted(stored.unpriced.items(), key=lambda each: -each[1])
    named = ", ".join(f"{model!r} ({calls:,} calls)" for model, calls in most[:_NAMED])
    more = f" and {len(most) - _NAMED} more" if len(most) > _NAMED else ""
    return Finding(
        check=check,
        level="warn",
        said=f"in the last 30 days {named}{more} count as $0",
        do="`ops.prices.set(…)`, or `Settings(fallback_price=…)`",
    )


def _own_prices(_: Facts, stored: Stored) -> Finding:
    said = f"{stored.own_prices:,}"
    if stored.newest_own_price is not None:
        day = datetime.fromtimestamp(stored.newest_own_price, UTC).date()
        said += f", the last of {day}: they win over the price data"
    return Finding(check="prices set by hand", level="ok", said=said)


def _scopes(_: Facts, stored: Stored) -> Finding:
    check = "calls without a scope"
    if not stored.unscoped_calls:
        return Finding(check=check, level="ok", said="none in the last 7 days")
    said = f"{stored.unscoped_calls:,} in the last 7 days named no workspace, project and user"
    if not stored.hard_budgets:
        return Finding(check=check, level="ok", said=said)
    return Finding(
        check=check,
        level="warn",
        said=f"{said}, and there are {stored.hard_budgets:,} hard budgets",
        do="call inside `ops.track(workspace=…)`; guarded ones are refused unless "
        "`Settings(unscoped='allow')`",
    )


def _reservations(_: Facts, stored: Stored) -> Finding:
    return _due(
        "reservations",
        stored.overdue_reservations,
        "calls nobody heard of again still hold money of their budgets",
    )


def _alerts(_: Facts, stored: Stored) -> Finding:
    return _due("budget alerts", stored.untold_alerts, "alerts were not told")


def _due(check: str, number: int, what: str) -> Finding:
    """Something that housekeeping would have done."""
    if not number:
        return Finding(check=check, level="ok", said="none is overdue")
    do = "run `llmops maintain --watch` beside the app"
    return Finding(check=check, level="warn", said=f"{number:,} {what}", do=do)


def _clocks(_: Facts, stored: Stored) -> Finding:
    check, apart = "clocks", abs(stored.clock_offset)
    if apart <= _CLOCKS_DIFFER:
        return Finding(check=check, level="ok", said="this host and the database agree")
    return Finding(
        check=check,
        level="fail" if apart > _CLOCKS_ARE_WRONG else "warn",
        said=f"this host is {apart:.1f} s off the database server",
        do="keep both by NTP: leases and budgets' periods go by the hosts' clocks",
    )


_ALWAYS: tuple[Callable[[Facts], Finding], ...] = (
    *(_database, _hosts, _journals, _tokens, _price_data, _extras),
)
_OF_STORED: tuple[Callable[[Facts, Stored], Finding], ...] = (
    *(_readers, _text, _audit, _unpriced, _own_prices, _scopes, _reservations, _alerts, _clocks),
)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))

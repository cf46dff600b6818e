"""Events to files and back: a page of them in memory at a time, in four formats."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO
from itertools import chain, islice
from math import isfinite
from pathlib import Path
from typing import Any, Literal, cast, get_args
from uuid import UUID

import orjson
from sqlalchemy import Boolean, Column, Double, Integer, func, literal, select, tuple_

from llmops_langchain.analytics.questions import Question
from llmops_langchain.analytics.reading import conditions_of_events
from llmops_langchain.errors import ConfigurationError, MissingExtraError
from llmops_langchain.ledger import Event
from llmops_langchain.ledger.event import from_row, storable
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import events

__all__ = ["Format", "exported", "format_of", "imported", "write_parquet", "written"]

Format = Literal["json", "ndjson", "csv", "parquet"]
"""How events are written: one JSON array, a JSON object a line, a table, columns."""

_PAGE = 5_000
_SUFFIXES = {".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson", ".csv": "csv"} | {
    ".parquet": "parquet"
}
# What stands for the text of prompts stays in the database.
_COLUMNS = {
    str(column.key): column for column in events.c if column.key not in ("cache_key", "features")
}
_TEXTS = frozenset(
    name for name, column in _COLUMNS.items() if not isinstance(column.type, (Integer, Double))
)
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
"""What a spreadsheet takes a cell's text for a formula by, and the mark against it."""

_Row = dict[str, Any]


def format_of(path: Path, given: str | None) -> Format:
    """The format that was named, or that of the file's name.

    Raises:
        ConfigurationError: If there is none of this name.
    """
    found = given or _SUFFIXES.get(path.suffix.lower())
    if found not in get_args(Format):
        msg = (
            f"`format` is one of {', '.join(get_args(Format))}, or the file's name ends so, got "
            f"{given or path.name!r}"
        )
        raise ConfigurationError(msg)
    return cast("Format", found)


def exported(database: Database, question: Question, form: Format) -> Iterator[bytes]:
    """The events of a question as the bytes of a file, by name and time.

    What is recorded meanwhile may or may not be in it. Money is in nano-dollars.

    Args:
        database: Where they are.
        question: Which; no names are all of them.
        form: Not `parquet`, which is no stream: see `write_parquet`.
    """
    return _WRITERS[form](_rows(database, question))


def written(lines: Iterable[bytes], form: Format, target: Path) -> int:
    """Write what `exported` gives; how many events there were."""
    number = 0
    with target.open("wb") as file:
        for line in lines:
            number += 1
            file.write(line)
    # The head of a table, the end of an array.
    return number - (form in ("csv", "json"))


def write_parquet(database: Database, question: Question, target: Path) -> int:
    """Write the events of a question as columns; how many there were.

    Raises:
        MissingExtraError: If `pyarrow` is not installed.
    """
    pa, parquet = _arrow()
    kinds = {Boolean: pa.bool_(), Double: pa.float64()}
    schema = pa.schema([(name, _kind_of(column, kinds, pa)) for name, column in _COLUMNS.items()])
    number, rows = 0, _rows(database, question)
    with parquet.ParquetWriter(target, schema) as writer:
        while page := list(islice(rows, 10 * _PAGE)):
            for row in page:
                row["tags"] = _told(row["tags"])
            writer.write_table(pa.Table.from_pylist(page, schema=schema))
            number += len(page)
    return number


def imported(source: Path, form: Format) -> Iterator[Event]:
    """The events of a file that was exported, a page in memory at a time.

    Raises:
        ConfigurationError: If a line is no event; the message says which one.
        MissingExtraError: If `pyarrow` is needed and not installed.
    """
    rows, number = _READERS[form](source), 0
    while True:
        number += 1
        try:
            row = next(rows, None)
            event = None if row is None else _event(row)
        except (ValueError, TypeError, AttributeError) as error:
            msg = f"row {number} of {source.name!r} is no event ({type(error).__name__})"
            raise ConfigurationError(msg) from error
        if event is None:
            return
        yield event


def _event(row: _Row) -> Event:
    known = {name: row[name] for name in row.keys() & _COLUMNS.keys()}
    tags = known.get("tags")
    if isinstance(tags, str):
        known["tags"] = orjson.loads(tags)
    event = storable(from_row(known))
    if not isfinite(event.ts):
        msg = "a moment is a number"
        raise ValueError(msg)
    return event


def _rows(database: Database, question: Question) -> Iterator[_Row]:
    names = question.names or tuple(_all_names(database))
    for name in names:
        yield from _rows_of(database, question, name)


def _all_names(database: Database) -> Iterator[str]:
    name: str | None = ""
    while True:
        after = select(func.min(events.c.name)).where(events.c.name > name)
        with database.begin(read_only=True) as connection:
            name = connection.execute(after).scalar()
        if name is None:
            return
        yield name


def _rows_of(database: Database, question: Question, name: str) -> Iterator[_Row]:
    """Page by page along the index, so that no transaction stays open."""
    place = tuple_(events.c.ts, events.c.id)
    asked = (
        select(*_COLUMNS.values())
        .where(
            events.c.name == name,
            events.c.ts >= question.span.since,
            events.c.ts < question.span.until,
            *conditions_of_events(question),
        )
        .order_by(events.c.ts, events.c.id)
        .limit(_PAGE)
    )
    after = asked
    while True:
        with database.begin(read_only=True) as connection:
            page = connection.execute(after).all()
        for found in page:
            yield {
                key: str(value) if isinstance(value, UUID) else value
                for key, value in zip(_COLUMNS, found, strict=True)
            }
        if len(page) < _PAGE:
            return
        last = dict(zip(_COLUMNS, page[-1], strict=True))
        # The first condition is what the index is entered by.
        after = asked.where(
            events.c.ts >= last["ts"],
            place > tuple_(last["ts"], literal(last["id"], events.c.id.type)),
        )


def _as_ndjson(rows: Iterable[_Row]) -> Iterator[bytes]:
    for row in rows:
        yield orjson.dumps(_set(row), option=orjson.OPT_APPEND_NEWLINE)


def _as_json(rows: Iterable[_Row]) -> Iterator[bytes]:
    before = b"[\n"
    for row in rows:
        yield before + orjson.dumps(_set(row))
        before = b",\n"
    yield b"\n]\n" if before != b"[\n" else b"[]\n"


def _as_csv(rows: Iterable[_Row]) -> Iterator[bytes]:
    yield _line(_COLUMNS)
    for row in rows:
        row["tags"] = _told(row["tags"])
        yield _line(_cell(name, value) for name, value in row.items())


def _line(cells: Iterable[Any]) -> bytes:
    line = StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().encode()


def _cell(name: str, value: Any) -> Any:
    if name in _TEXTS and isinstance(value, str) and value.startswith(_RISKY):
        return f"'{value}"
    if isinstance(value, bool):
        return int(value)
    return repr(value) if isinstance(value, float) else value


def _told(tags: Mapping[str, str] | None) -> str | None:
    return None if tags is None else orjson.dumps(tags).decode()


def _set(row: _Row) -> _Row:
    """What is set."""
    return {name: value for name, value in row.items() if value is not None}


def _of_ndjson(source: Path) -> Iterator[_Row]:
    with source.open("rb") as lines:
        for line in lines:
            if line.strip():
                yield _object(line)


def _of_json(source: Path) -> Iterator[_Row]:
    """An array with an element a line, as it was written; any other is read at once."""
    with source.open("rb") as lines:
        first = lines.readline()
        if first.strip() != b"[":
            yield from orjson.loads(first + lines.read())
            return
        for line in lines:
            row = line.strip().removesuffix(b",")
            if row and row != b"]":
                yield _object(row)


def _object(text: bytes) -> _Row:
    found = orjson.loads(text)
    return found if isinstance(found, dict) else {"ts": None}


def _of_csv(source: Path) -> Iterator[_Row]:
    with source.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            yield {
                name: _value(_COLUMNS[name], cell)
                for name, cell in row.items()
                if name in _COLUMNS and cell
            }


def _value(column: Column[Any], cell: str) -> Any:
    if isinstance(column.type, Boolean):
        return cell not in ("0", "False", "false")
    if isinstance(column.type, Double):
        return float(cell)
    if isinstance(column.type, Integer):
        return int(cell)
    return cell.removeprefix("'")


def _of_parquet(source: Path) -> Iterator[_Row]:
    _, parquet = _arrow()
    with parquet.ParquetFile(source) as file:
        pages = file.iter_batches(batch_size=_PAGE)
        yield from map(_set, chain.from_iterable(page.to_pylist() for page in pages))


def _kind_of(column: Column[Any], kinds: Mapping[type, Any], pa: Any) -> Any:
    for kind, found in kinds.items():
        if isinstance(column.type, kind):
            return found
    return pa.int64() if isinstance(column.type, Integer) else pa.string()


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        package = "pyarrow"
        raise MissingExtraError(package, extra="export") from error
    return pa, parquet


_WRITERS: dict[str, Callable[[Iterable[_Row]], Iterator[bytes]]] = {
    "json": _as_json,
    "ndjson": _as_ndjson,
    "csv": _as_csv,
}
_READERS: dict[str, Callable[[Path], Iterator[_Row]]] = {
    "json": _of_json,
    "ndjson": _of_ndjson,
    "csv": _of_csv,
    "parquet": _of_parquet,
}

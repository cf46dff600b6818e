"""What routers learnt, as a file that another machine can take in; it holds no text."""

from base64 import b85decode, b85encode
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger import Scope
from llmops_langchain.routing.records import Outcome
from llmops_langchain.routing.seen import packed, unpacked

__all__ = ["read_outcomes", "write_outcomes"]

_FORMAT = "llmops-outcomes-1"
_NAMES = ("choice", "score", "source", "ts", "input_tokens", "propensity", "weight")


def write_outcomes(path: Path, embedder: str, outcomes: Iterable[Outcome]) -> int:
    """Write outcomes as JSON lines, without names of people; how many.

    Raises:
        OSError: If the file cannot be written.
    """
    number = 0
    with path.open("wb") as file:
        file.write(orjson.dumps({"format": _FORMAT, "embedder": embedder}) + b"\n")
        for each in outcomes:
            row: dict[str, Any] = {name: getattr(each, name) for name in _NAMES}
            row |= {"id": str(each.decision_id), "seen": b85encode(packed(each.seen)).decode()}
            file.write(orjson.dumps(row) + b"\n")
            number += 1
    return number


def read_outcomes(path: Path, embedder: str) -> Iterator[Outcome]:
    """The outcomes of a file.

    Args:
        path: A file that `write_outcomes` wrote.
        embedder: Who made the vectors here: those of another tell nothing.

    Raises:
        ConfigurationError: If it is no such file, or of another embedder; it says which line.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        _check(path, file.readline(), embedder)
        for number, line in enumerate(file, 2):
            try:
                row = orjson.loads(line)
                told = {name: row[name] for name in _NAMES}
                seen = unpacked(b85decode(row["seen"]))
                outcome = Outcome(**told, decision_id=UUID(row["id"]), seen=seen, scope=Scope())
            except (KeyError, TypeError, ValueError) as error:
                msg = f"line {number} of {path.name} is no outcome; the others were not taken in"
                raise ConfigurationError(msg) from error
            yield replace(outcome, score=min(1.0, max(0.0, float(outcome.score))))


def _check(path: Path, line: bytes, embedder: str) -> None:
    try:
        head = orjson.loads(line)
    except ValueError:
        head = None
    if not isinstance(head, dict) or head.get("format") != _FORMAT:
        msg = f"{path.name} holds no outcomes of a router: its first line says so"
        raise ConfigurationError(msg)
    if head.get("embedder") != embedder:
        msg = (
            f"{path.name} was learnt by {head.get('embedder')!r}, this router learns by "
            f"{embedder!r}: give it the same `embeddings=`"
        )
        raise ConfigurationError(msg)

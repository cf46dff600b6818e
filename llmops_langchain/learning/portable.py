"""Experiences as lines of JSON, out and in."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any

import orjson

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.learning.experience import Experience

__all__ = ["Imported", "read_lines", "write_lines"]

_MOST_NAMED = 100
"""Lines that are named; of more only the number is told."""

File = str | PathLike[str] | IO[Any]


@dataclass(slots=True, kw_only=True)
class Imported:
    """What became of the lines of a file."""

    learnt: int = 0
    rejected: int = 0
    """Lines that hold no experience."""
    reasons: list[tuple[int, str]]
    """The number of each rejected line, from 1, and what is wrong with it; the first hundred."""

    def reject(self, line: int, reason: str) -> None:
        """Count a line, and say why."""
        self.rejected += 1
        if len(self.reasons) < _MOST_NAMED:
            self.reasons.append((line, reason))


def write_lines(to: File, experiences: Iterable[Experience]) -> int:
    """Write one line each; how many.

    Raises:
        OSError: If the file cannot be written.
    """
    number = 0
    with _opened(to, "wb") as file:
        for number, each in enumerate(experiences, start=1):  # noqa: B007 - the last is returned
            line = orjson.dumps(each.to_dict(), option=orjson.OPT_APPEND_NEWLINE)
            file.write(line.decode() if hasattr(file, "encoding") else line)
    return number


def read_lines(source: File, imported: Imported) -> Iterator[tuple[int, dict[str, Any]]]:
    """What each line says, with its number; one that is no JSON object is rejected.

    Raises:
        OSError: If the file cannot be read.
    """
    with _opened(source, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                said = orjson.loads(line)
            except ValueError:
                said = None
            if isinstance(said, dict):
                yield number, said
            else:
                imported.reject(number, "no JSON object")


def _opened(file: File, mode: str) -> AbstractContextManager[IO[Any]]:
    if isinstance(file, str | PathLike):
        return Path(file).open(mode)
    if not hasattr(file, "write" if "w" in mode else "read"):
        msg = f"a path or an open file is needed, got {type(file).__name__}"
        raise ConfigurationError(msg)
    return nullcontext(file)

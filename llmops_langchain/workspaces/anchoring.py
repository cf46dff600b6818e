"""Anchors in a file: one line of JSON each, added to and read back."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.workspaces.verifying import Anchor

__all__ = ["anchors_of_lines", "anchors_to_file", "line_of"]


def line_of(anchor: Anchor) -> str:
    """An anchor as a line of JSON."""
    return orjson.dumps(asdict(anchor)).decode()


def anchors_to_file(path: Path) -> Callable[[Sequence[Anchor]], None]:
    """A function that adds anchors to a file, for `Workspaces.on_anchor`.

    A file beside the database proves little: let it lie on another host, or be shipped there.
    """

    def add(anchors: Sequence[Anchor]) -> None:
        lines = "".join(f"{line_of(each)}\n" for each in anchors).encode()
        # One write at the end of the file: processes that add to it do not mix their lines.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, lines)
            os.fsync(file)
        finally:
            os.close(file)

    return add


def anchors_of_lines(text: str) -> list[Anchor]:
    """The anchors of such a file.

    Raises:
        ConfigurationError: If a line is none; it says which.
    """
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            said = orjson.loads(line)
            found.append(
                Anchor(
                    workspace=str(said["workspace"]),
                    seq=int(said["seq"]),
                    hash=str(said["hash"]),
                    ts=float(said["ts"]),
                )
            )
        except (KeyError, TypeError, ValueError):
            msg = f"line {number} is no anchor, as `llmops audit anchor` writes them"
            raise ConfigurationError(msg) from None
    return found

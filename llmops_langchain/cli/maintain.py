"""`llmops maintain`: housekeeping, once or for as long as the app runs."""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_langchain.cli.options import Url
from llmops_langchain.errors import StorageError

if TYPE_CHECKING:  # what `--help` does not need
    from llmops_langchain import LLMOps

__all__ = ["maintain"]

_STEP = 0.2
"""Seconds in which a signal is noticed: Python goes on sleeping after one."""


class _Stop:
    """Whether somebody asked this program to end."""

    is_set = False

    def ask(self, *_: object) -> None:
        self.is_set = True

    def wait(self, seconds: float) -> bool:
        """Sleep, unless asked to end; whether that was so."""
        until = time.monotonic() + seconds
        while not self.is_set and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _STEP))
        return self.is_set


def maintain(
    url: Url = "sqlite:///llmops.db",
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until Ctrl-C or SIGTERM, a round at a time.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two rounds of `--watch`.")
    ] = 60.0,
) -> None:
    """Delete what is old, settle what was left open, and tell what was not told.

    One process at a time does it, on any number of hosts: run it beside the app, or from cron.
    """
    from llmops_langchain import LLMOps

    with LLMOps(url) as ops:
        path = ops.database.path
        if path is not None and not path.exists():
            typer.echo(f"{path} is not there yet: run the app first.", err=True)
            raise typer.Exit(1)
        if watch:
            _watch(ops, interval)
        else:
            typer.echo(_told(ops.maintain()))


def _watch(ops: "LLMOps", interval: float) -> None:
    with _stopping() as stop:
        while not stop.is_set:
            try:
                typer.echo(_told(ops.maintain()))
            except StorageError as error:  # the next round may find it better
                typer.echo(f"llmops: {error}", err=True)
            stop.wait(interval)


@contextmanager
def _stopping() -> Iterator[_Stop]:
    """Let a round end before the program does."""
    stop, before = _Stop(), dict[int, Any]()
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, stop.ask)
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _told(done: Mapping[str, Mapping[str, int]]) -> str:
    """One line for a round."""
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if not done:
        return f"{when} another process is at it"
    parts = (
        f"{part}: {', '.join(f'{number:,} {what}' for what, number in counts.items() if number)}"
        for part, counts in done.items()
        if any(counts.values())
    )
    return f"{when} {'; '.join(parts) or 'nothing was due'}"

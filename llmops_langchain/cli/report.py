"""`llmops report`: the table of a demo, made from what the database holds."""

from decimal import Decimal
from typing import TYPE_CHECKING

import typer

from llmops_langchain.cli.options import Url

if TYPE_CHECKING:  # what `--help` does not need
    from rich.table import Table

    from llmops_langchain import LLMOps
    from llmops_langchain.analytics import CostReport
    from llmops_langchain.ledger import Event

__all__ = ["DEMO_RUN", "print_run", "report"]

DEMO_RUN = "demo.run"
"""Name of the event at the end of a demo; its value is the seconds that the customers took."""

_TOLD_BY_THE_RUN = {
    "Equal calls at one moment": "rush",
    "First word of a hit that is streamed": "first_word",
    "Questions asked in other words": "reworded",
    "Calls at once with a budget": "budget",
    "A fact of long ago, small window": "remembered",
    "Questions by a router of two": "routed",
    "Learnt from runs, by itself": "learnt",
    "A team, and its audit log": "team",
    "A made-up month, looked at": "month",
}
"""Rows that the run's event tells in its tags."""

_EVER = 36_500.0
"""Days; a run has a workspace of its own, so that no other calls are in it."""


def report(url: Url = "sqlite:///llmops.db") -> None:
    """Print the table of the newest demo again, from the database."""
    from llmops_langchain import LLMOps

    with LLMOps(url) as ops:
        run = _newest_run(ops)
        if run is None:
            where = ops.database.url.render_as_string(hide_password=True)
            typer.echo(f"{where} knows of no demo yet: run `llmops demo` first.", err=True)
            raise typer.Exit(1)
        print_run(ops, run)


def print_run(ops: "LLMOps", run: "Event") -> None:
    """Print what a demo used, spent and saved.

    Args:
        ops: Over the database that has the run's events; flushed.
        run: The event `DEMO_RUN` that the demo ended with.
    """
    from rich.console import Console

    cost = ops.analytics.cost(_EVER, workspace=run.workspace, project=run.project)
    Console().print(_table(run, cost))


def _newest_run(ops: "LLMOps") -> "Event | None":
    path = ops.database.path
    if path is not None and not path.exists():
        return None  # looking for a run must not make an empty database
    ops.flush()  # a demo that was killed left its events in a journal
    from sqlalchemy import select

    from llmops_langchain.ledger.event import from_row
    from llmops_langchain.storage.schema import events

    runs = select(events).where(events.c.name == DEMO_RUN).order_by(events.c.ts.desc()).limit(1)
    with ops.database.begin(read_only=True) as connection:
        row = connection.execute(runs).mappings().first()
    return None if row is None else from_row({**row})


def _table(run: "Event", cost: "CostReport") -> "Table":
    from rich.table import Table

    tags = run.tags or {}
    table = Table(
        title=f"{cost.calls} customer turns on {tags.get('model')}",
        caption=tags.get("prices"),
        caption_justify="left",
        show_header=False,
        min_width=60,
    )
    table.add_column()
    table.add_column(justify="right")
    for name, value in _rows(run.value or 0.0, cost):
        table.add_row(name, value)
    for name, tag in _TOLD_BY_THE_RUN.items():
        if tag in tags:
            table.add_row(name, tags[tag])
    return table


def _rows(seconds: float, cost: "CostReport") -> list[tuple[str, str]]:
    asked = cost.calls - cost.cache_hits
    without = cost.total + cost.saved
    rows = [
        ("Calls", f"{cost.calls:,}"),
        ("answered by the model", f"{asked:,}"),
        ("answered by the cache", f"{cost.cache_hits:,} ({_share(cost.cache_hits, cost.calls)})"),
        ("Tokens in", f"{cost.input_tokens:,}"),
        ("Tokens out", f"{cost.output_tokens:,}"),
        ("Tokens trimmed", f"{cost.trimmed_tokens:,}"),
        ("Spent", _money(cost.total)),
        ("Saved by the cache", _money(cost.saved_by_cache)),
        ("Saved by trimming", _money(cost.saved_by_trimming)),
        ("Share saved", _share(cost.saved, without)),
        ("Time", f"{seconds:.1f} s, {cost.latency:.1f} s of it in calls"),
    ]
    if cost.unpriced_calls:
        rows.append(("Calls without a known price", f"{cost.unpriced_calls:,}"))
    return rows


def _money(dollars: Decimal) -> str:
    return f"${dollars:.6f}"


def _share(part: Decimal | int, whole: Decimal | int) -> str:
    return f"{part / whole if whole else 0:.0%}"

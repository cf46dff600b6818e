"""`llmops doctor`: what is well, what is not, and what to do about it."""

from typing import TYPE_CHECKING, Annotated

import typer

from llmops_langchain.cli.options import Url

if TYPE_CHECKING:  # what `--help` does not need
    from rich.table import Table

    from llmops_langchain.cli.findings import Finding

__all__ = ["doctor"]

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    url: Url = "sqlite:///llmops.db",
    *,
    text: Annotated[
        bool, typer.Option("--text", help="List every column that can hold text, too.")
    ] = False,
) -> None:
    """Check an installation, with the settings of the environment; exit code 1 if a check fails."""
    from rich.console import Console

    from llmops_langchain.cli.facts import gathered
    from llmops_langchain.cli.findings import findings
    from llmops_langchain.clock import system_clock
    from llmops_langchain.settings import Settings
    from llmops_langchain.storage import Database

    settings = Settings.from_env()
    with Database(
        url,
        schema=settings.db_schema,
        auto_migrate=False,
        lock_timeout=settings.lock_timeout,
    ) as database:
        found = findings(gathered(database, settings, system_clock))
    console = Console()
    console.print(_checks(found))
    if text:
        console.print(_columns())
    if any(each.level == "fail" for each in found):
        raise typer.Exit(1)


def _checks(found: "list[Finding]") -> "Table":
    from rich.markup import escape
    from rich.table import Column, Table

    table = Table("check", "", Column("found", overflow="fold"), "what to do")
    for each in found:
        level = f"[{_COLOURS[each.level]}]{each.level}[/]"
        table.add_row(each.check, level, escape(each.said), escape(each.do))
    return table


def _columns() -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from llmops_langchain.storage.text_at_rest import TEXT_AT_REST

    table = Table("column", "holds", "kept", "protection", title="Text at rest")
    for each in TEXT_AT_REST:
        name = f"{each.table}: {', '.join(each.columns)}"
        table.add_row(*map(escape, (name, each.holds, each.kept, each.protection)))
    return table

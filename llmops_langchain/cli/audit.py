"""`llmops audit`: prove the audit log, take its end to a safe place, make keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_langchain.cli.options import Url

if TYPE_CHECKING:  # what `--help` does not need
    from llmops_langchain import AuditReport, Workspaces

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Prove the audit log, and keep its end safe.")

Workspace = Annotated[str | None, typer.Option(help="Only this one; by default all.")]


@app.command()
def verify(
    url: Url = "sqlite:///llmops.db",
    workspace: Workspace = None,
    anchors: Annotated[
        Path | None, typer.Option(help="A file that `llmops audit anchor` wrote.")
    ] = None,
) -> None:
    """Read every entry, and say where it was tampered with.

    Exit code 1 if it was, 2 if a key or an anchor is missing that would tell.
    """
    from llmops_langchain.workspaces import anchors_of_lines

    kept = [] if anchors is None else anchors_of_lines(_read(anchors))
    if anchors is not None and not kept:
        typer.echo(f"llmops: {anchors} holds no anchor", err=True)
        raise typer.Exit(2)
    with _workspaces(url) as workspaces:
        reports = workspaces.verify_audit(workspace, anchors=kept)
    for each in reports:
        typer.echo(_told(each))
    if not all(each.ok or each.is_unproved for each in reports):
        raise typer.Exit(1)
    if any(each.is_unproved for each in reports):
        raise typer.Exit(2)


@app.command()
def anchor(url: Url = "sqlite:///llmops.db") -> None:
    """Print where each log ends now, a line of JSON each: keep it where nobody changes it."""
    from llmops_langchain.workspaces import line_of

    with _workspaces(url) as workspaces:
        for each in workspaces.anchors():
            typer.echo(line_of(each))


@app.command()
def export(
    workspace: Annotated[str, typer.Argument(help="Its id.")],
    url: Url = "sqlite:///llmops.db",
) -> None:
    """Print every entry as a line of JSON, the oldest first, with names and hashes."""
    from llmops_langchain.workspaces import SYSTEM

    with _workspaces(url) as workspaces:
        for line in workspaces.export_audit(workspace, actor=SYSTEM):
            typer.echo(line)


@app.command(name="new-key")
def new_key(
    file: Annotated[Path, typer.Argument(help="Made, or given a new first line.")],
) -> None:
    """Put a new signing key into a file that only you can read; earlier keys stay behind it."""
    from llmops_langchain.workspaces import write_new_key

    made = write_new_key(file)
    typer.echo(f"Key {made} is in {file}: set LLMOPS_AUDIT_KEY_FILE={file}")


@contextmanager
def _workspaces(url: str) -> "Iterator[Workspaces]":
    from llmops_langchain import LLMOps

    with LLMOps(url) as ops:
        path = ops.database.path
        if path is not None and not path.exists():
            typer.echo(f"{path} is not there yet: run the app first.", err=True)
            raise typer.Exit(2)
        yield ops.workspaces


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        typer.echo(f"llmops: {path} cannot be read: {type(error).__name__}", err=True)
        raise typer.Exit(2) from error


def _told(report: "AuditReport") -> str:
    """A line for a log, and one for each place where something is wrong."""
    signed = f"{report.signed:,} signed" if report.signed else "not signed"
    head = f"{report.workspace}: {report.entries:,} entries, {signed}, {report.anchors} anchors"
    if report.ok:
        return f"{head}: as it was written"
    places = (f"  entry {each.seq}: {each.kind}: {each.said}" for each in report.findings)
    if report.is_unproved:
        way_out = "  set LLMOPS_AUDIT_KEY_FILE to all its keys; --anchors prove what no key signed"
        return "\n".join([f"{head}: CANNOT BE VERIFIED", *places, way_out])
    return "\n".join([f"{head}: TAMPERED WITH", *places])

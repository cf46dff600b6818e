"""`llmops rebuild`: what is worked out from other rows, made anew or compared with them."""

from typing import TYPE_CHECKING, Annotated

import typer

from llmops_langchain.cli.options import Url

if TYPE_CHECKING:  # what `--help` does not need
    from llmops_langchain import LLMOps
    from llmops_langchain.ledger import Rebuilt

__all__ = ["rebuild"]


def rebuild(
    url: Url = "sqlite:///llmops.db",
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Change nothing; exit with 1 if something is wrong.")
    ] = False,
    learning: Annotated[
        bool, typer.Option(help="The index of experiences too, not only the sums of events.")
    ] = True,
) -> None:
    """Make sums of events and the index of experiences anew; the app may go on meanwhile."""
    from llmops_langchain import LLMOps

    with LLMOps(url) as ops:
        path = ops.database.path
        if path is not None and not path.exists():
            typer.echo(f"{path} is not there yet: run the app first.", err=True)
            raise typer.Exit(1)
        sums = ops.analytics.rebuild(verify=verify)
        typer.echo(_told(sums, "wrong" if verify else "mended"))
        is_right = sums.right and (not learning or _index(ops, verify=verify))
    if verify and not is_right:
        raise typer.Exit(1)


def _told(sums: "Rebuilt", word: str) -> str:
    lines = [f"sums of events: {sums.rows:,} rows of {sums.days:,} days, {sums.wrong:,} {word}"]
    for each in sums.differences:
        _, name, day, *_ = each.key
        had = "nothing" if each.stored is None else f"{each.stored[0]:,} events"
        made = "nothing" if each.expected is None else f"{each.expected[0]:,}"
        lines.append(f"  {name} on day {day} since 1970: {had} for {made}")
    return "\n".join(lines)


def _index(ops: "LLMOps", *, verify: bool) -> bool:
    if not ops.learning.stats().experiences:
        return True
    index = ops.learning.rebuild(verify=verify)
    typer.echo(
        f"index of experiences: {index.embedded:,} without a vector, {index.missing:,} missing, "
        f"{index.surplus:,} too many, {index.unreadable:,} unreadable"
    )
    return index.right

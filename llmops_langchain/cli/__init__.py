"""The `llmops` command. A command loads what it needs when it runs, so that `--help` is quick."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from llmops_langchain import __version__
from llmops_langchain.cli import audit, db
from llmops_langchain.cli.demo import demo
from llmops_langchain.cli.doctor import doctor
from llmops_langchain.cli.maintain import maintain
from llmops_langchain.cli.rebuild import rebuild
from llmops_langchain.cli.report import report
from llmops_langchain.errors import LLMOpsError

__all__ = ["app"]


class _OneLineErrors(TyperGroup):
    """Tells an error that was raised on purpose in one line, and exits with 2."""

    def invoke(self, ctx: Any) -> Any:  # Typer brings its own copy of click since 0.26
        try:
            return super().invoke(ctx)
        except LLMOpsError as error:
            typer.echo(f"llmops: {error}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=_OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its frames show local variables, prompts among them
    help="Cache, context window and usage accounting for LangChain and LangGraph.",
)
app.add_typer(db.app, name="db")
app.add_typer(audit.app, name="audit")
app.command()(demo)
app.command()(report)
app.command()(doctor)
app.command()(maintain)
app.command()(rebuild)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it with the flag's value
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Take what stands before a command."""

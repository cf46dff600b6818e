"""`llmops db`: bring the tables of a database up to date."""

from typing import Annotated

import typer

from llmops_langchain.cli.options import Url

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Bring the tables of a database up to date.")


@app.command()
def upgrade(
    url: Url = "sqlite:///llmops.db",
    schema: Annotated[
        str | None,
        typer.Option(help="PostgreSQL schema of the tables; else `LLMOPS_DB_SCHEMA`."),
    ] = None,
    *,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL and run nothing.")] = False,
) -> None:
    """Create or change the tables so that they fit this release."""
    from llmops_langchain.settings import Settings
    from llmops_langchain.storage import Database

    settings = Settings.from_env()
    with Database(
        url,
        schema=schema or settings.db_schema,
        auto_migrate=False,
        lock_timeout=settings.lock_timeout,
    ) as database:
        if sql:
            typer.echo(database.upgrade_sql())
        else:
            typer.echo(f"The tables are of version {database.upgrade()}.")


@app.command(name="row-security")
def row_security(
    role: Annotated[str, typer.Option(help="The login of the app; it must own no table.")],
    schema: Annotated[
        str | None,
        typer.Option(help="PostgreSQL schema of the tables; else `LLMOPS_DB_SCHEMA`."),
    ] = None,
) -> None:
    """Print SQL by which PostgreSQL shows the app one workspace at a time; run it as the owner."""
    from llmops_langchain.settings import Settings
    from llmops_langchain.workspaces import row_security_sql

    typer.echo(row_security_sql(role, schema=schema or Settings.from_env().db_schema))

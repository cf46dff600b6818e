"""A step of the demo: a team with roles, and an audit log in which an edit shows."""

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what `--help` does not need
    from llmops_langchain import Workspaces
    from llmops_langchain.storage import Database

__all__ = ["work_as_a_team"]

_WANTED = (
    ("bo", "projects.update"),
    ("cy", "projects.read"),
    ("cy", "projects.update"),
    ("bo", "members.invite"),
    ("eve", "projects.read"),
)


def work_as_a_team() -> dict[str, str]:
    """Let a team of three do what they may and may not, then edit its log behind its back.

    All of it in memory: entries of an audit log cannot be deleted again.
    """
    from rich.console import Console

    from llmops_langchain import Database, Workspaces

    console = Console()
    with Database("sqlite://") as database:
        teams = Workspaces(database, audit_keys=[secrets.token_hex(32)])
        shop = _team(teams)
        console.print(
            "\n[bold]A team: Ann owns it, Bo develops, Cy views, Eve is a stranger[/bold]"
        )
        refused = 0
        for actor, permission in _WANTED:
            answer = _asked(teams, shop, actor, permission)
            refused += answer != "allowed"
            console.print(f"  {actor}: {permission}  [cyan]{answer}[/cyan]")
        (proved,) = teams.verify_audit(shop)
        _edit(database)
        (found,) = teams.verify_audit(shop)
        place = ", ".join(f"entry {each.seq} {each.kind}" for each in found.findings)
        console.print(
            f"  audit log: {proved.entries} entries, as written: {proved.ok}; "
            f"after an edit in the database: [yellow]{place}[/yellow]"
        )
    allowed = len(_WANTED) - refused
    places = ", ".join(str(each.seq) for each in found.findings)
    return {"team": f"{allowed} allowed, {refused} refused; edit of {places} found"}


def _team(teams: "Workspaces") -> str:
    shop = teams.create(name="Shop", owner_id="ann", owner_email="ann@example.com").id
    for name, role in (("bo", "developer"), ("cy", "viewer")):
        letter = teams.invite(shop, f"{name}@example.com", role, actor="ann")
        teams.accept(letter.token, user_id=name)
    teams.create_project(shop, "plants", actor="bo")
    return shop


def _asked(teams: "Workspaces", shop: str, actor: str, permission: str) -> str:
    from llmops_langchain import NotFoundError, PermissionDeniedError

    try:
        teams.require(actor, permission, shop, "plants" if permission != "members.invite" else None)
    except PermissionDeniedError:
        return "refused, and recorded"
    except NotFoundError:
        return "no such workspace"
    return "allowed"


def _edit(database: "Database") -> None:
    """What somebody with every right on the database might do: Cy was never a viewer."""
    from sqlalchemy import text

    with database.begin() as connection:
        connection.execute(text("DROP TRIGGER llmops_audit_log_no_update"))
        edit = 'UPDATE llmops_audit_log SET after = \'{"role":"admin"}\' WHERE seq = 6'
        connection.execute(text(edit))

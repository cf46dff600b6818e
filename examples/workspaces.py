"""A team: roles, an invitation, a key for a service, a budget, and a log that proves itself.

python examples/workspaces.py  # offline
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from langchain_core.language_models import FakeListChatModel

from llmops_langchain import (
    AuthenticationError,
    LLMOps,
    NotFoundError,
    PermissionDeniedError,
    Settings,
)
from llmops_langchain.workspaces import write_new_key


def main() -> None:
    """Make a team, let it work, and look what stands in its audit log."""
    with TemporaryDirectory() as folder:
        write_new_key(key_file := Path(folder, "audit.key"))
        with LLMOps(f"sqlite:///{folder}/team.db", Settings(audit_key_file=key_file)) as ops:
            shop = a_team(ops)
            work(ops, shop)
            for entry in reversed(ops.workspaces.audit(shop, actor="ann")):
                print(f"{entry.seq:3} {entry.actor!s:36} {entry.action} {entry.target}")
            (report,) = ops.workspaces.verify_audit()
            print(f"{report.entries} entries, {report.signed} signed, as written: {report.ok}")


def a_team(ops: LLMOps) -> str:
    """Ann owns it, Bo develops, Cy watches."""
    teams = ops.workspaces
    teams.on_invitation(lambda new: print(f"to {new.invitation.email}: join {new.workspace_name}"))
    shop = teams.create(name="Shop", owner_id="ann", owner_email="ann@example.com").id
    for name, role in (("bo", "developer"), ("cy", "viewer")):
        letter = teams.invite(shop, f"{name}@example.com", role, actor="ann")
        teams.accept(letter.token, user_id=name)
    teams.create_project(shop, "checkout", actor="bo")
    teams.set_budget(shop, "checkout", limit="5", actor="ann")
    return shop


def work(ops: LLMOps, shop: str) -> None:
    """What is allowed, and what is not."""
    teams = ops.workspaces
    model = ops.wrap(FakeListChatModel(responses=["Done."]))
    ops.prices.set("fakelistchatmodel", input_per_million=1, output_per_million=2)
    teams.require("bo", "projects.update", shop, "checkout")
    with ops.track(workspace=shop, project="checkout", user="bo"):
        print(model.invoke("Write the form").content)
    for actor, permission in (("cy", "projects.update"), ("eve", "projects.read")):
        try:
            teams.require(actor, permission, shop, "checkout")
        except (PermissionDeniedError, NotFoundError) as error:
            print(type(error).__name__, error)

    key = teams.create_key(shop, name="ci", scopes=["analytics.track"], actor="ann")
    print(teams.authenticate(key.token).kind, teams.budgets(shop, actor="cy")[0].remaining)
    teams.revoke_key(shop, key.key.id, actor="ann")
    try:
        teams.authenticate(key.token)
    except AuthenticationError as error:
        print(error)


if __name__ == "__main__":
    main()

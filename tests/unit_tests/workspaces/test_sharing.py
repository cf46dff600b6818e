"""What teams share: projects and who sees them, budgets with their entries, one `LLMOps`."""

import os
from collections.abc import Iterator
from decimal import Decimal

import pytest
from conftest import FakeClock
from langchain_core.language_models import FakeListChatModel

from llmops_langchain import BudgetExceededError, LLMOps
from llmops_langchain.errors import (
    AuditError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
)
from llmops_langchain.settings import Settings
from llmops_langchain.workspaces import Workspaces, write_new_key

KEY = "k" * 32


@pytest.fixture
def ops(database_url: str, clock: FakeClock) -> Iterator[LLMOps]:
    with LLMOps(database_url, Settings(audit_key=KEY, durability="commit"), clock=clock) as ops:
        yield ops


@pytest.fixture
def teams(ops: LLMOps) -> Workspaces:
    return ops.workspaces


@pytest.fixture
def shop(teams: Workspaces) -> str:
    """Ann owns it; Bo, Cy and Dee develop."""
    shop = teams.create(name="Shop", owner_id="ann", owner_email="ann@example.com").id
    for person in ("bo", "cy", "dee"):
        new = teams.invite(shop, f"{person}@example.com", "developer", actor="ann")
        teams.accept(new.token, user_id=person)
    return shop


def seen(teams: Workspaces, shop: str, person: str) -> list[str]:
    return [each.id for each in teams.projects(shop, actor=person)]


class TestProjects:
    def test_who_sees_what_is_not_shared_with_everybody(self, teams, shop) -> None:
        teams.create_project(shop, "p", actor="bo", shared=False)
        assert {who: seen(teams, shop, who) for who in ("ann", "bo", "cy")} == {
            "ann": ["p"],
            "bo": ["p"],
            "cy": [],
        }
        teams.share_project(shop, "p", actor="bo", user_id="cy")
        teams.share_project(shop, "p", actor="bo", user_id="cy")  # again: nothing more
        assert (seen(teams, shop, "cy"), seen(teams, shop, "dee")) == (["p"], [])
        assert teams.project(shop, "p", actor="cy").shared_with == ("cy",)
        teams.unshare_project(shop, "p", actor="bo", user_id="cy")
        assert seen(teams, shop, "cy") == []

    def test_it_may_be_shared_with_everybody_and_back(self, teams, shop) -> None:
        teams.create_project(shop, "p", actor="bo", shared=False)
        teams.share_project(shop, "p", actor="bo")
        assert seen(teams, shop, "dee") == ["p"]
        teams.unshare_project(shop, "p", actor="bo")
        assert seen(teams, shop, "dee") == []

    def test_nobody_changes_what_they_do_not_see(self, teams, shop) -> None:
        teams.create_project(shop, "p", actor="bo", shared=False)
        for call in (
            lambda: teams.project(shop, "p", actor="cy"),
            lambda: teams.rename_project(shop, "p", name="x", actor="cy"),
            lambda: teams.share_project(shop, "p", actor="cy", user_id="cy"),
            lambda: teams.require("cy", "projects.update", shop, "p"),
        ):
            with pytest.raises(NotFoundError, match="no project 'p'"):
                call()

    def test_a_share_ends_with_the_membership(self, teams, shop) -> None:
        teams.create_project(shop, "p", actor="bo", shared=False)
        teams.share_project(shop, "p", actor="bo", user_id="cy")
        teams.leave(shop, actor="cy")
        new = teams.invite(shop, "cy@example.com", "developer", actor="ann")
        teams.accept(new.token, user_id="cy")
        assert seen(teams, shop, "cy") == []

    def test_it_is_named_renamed_and_ended(self, teams, shop) -> None:
        made = teams.create_project(shop, "p", actor="bo", name=" Plants ")
        assert (made.name, made.made_by, made.shared) == ("Plants", "bo", True)
        teams.rename_project(shop, "p", name="Trees", actor="cy")
        assert teams.project(shop, "p", actor="bo").name == "Trees"
        teams.delete_project(shop, "p", actor="ann")
        assert seen(teams, shop, "ann") == []
        actions = [each.action for each in teams.audit(shop, actor="ann", limit=3)]
        assert actions == ["project.deleted", "project.renamed", "project.created"]

    def test_an_id_is_there_once_in_a_workspace(self, teams, shop) -> None:
        teams.create_project(shop, "p", actor="bo")
        with pytest.raises(ConflictError, match="'p'"):
            teams.create_project(shop, "p", actor="cy")
        other = teams.create(name="B", owner_id="bo", owner_email="bo@example.com").id
        assert teams.create_project(other, "p", actor="bo")

    def test_it_is_shared_with_members_alone(self, teams, shop) -> None:
        teams.create_project(shop, "p", actor="bo", shared=False)
        with pytest.raises(NotFoundError, match="no member 'eve'"):
            teams.share_project(shop, "p", actor="bo", user_id="eve")


class TestBudgets:
    def test_a_budget_holds_and_is_told(self, ops, teams, shop) -> None:
        teams.create_project(shop, "p", actor="bo")
        teams.set_budget(shop, "p", limit="0", actor="ann")
        model = ops.guard(FakeListChatModel(responses=["x"]))
        ops.prices.set("fakelistchatmodel", input_per_million=1, output_per_million=1)
        with ops.track(workspace=shop, project="p"), pytest.raises(BudgetExceededError):
            model.invoke("hello")
        (entry,) = teams.audit(shop, actor="ann", action="budget.set")
        assert (entry.actor, entry.target, entry.after["limit"]) == ("ann", "p", "0")

    def test_who_may_read_sees_those_of_projects_they_see(self, teams, shop) -> None:
        teams.create_project(shop, "open", actor="bo")
        teams.create_project(shop, "closed", actor="bo", shared=False)
        for project in (None, "open", "closed"):
            teams.set_budget(shop, project, limit=5, actor="ann")
        other = teams.create(name="B", owner_id="eve", owner_email="eve@example.com").id
        teams.set_budget(other, limit=9, actor="eve")
        found = {
            who: [each.budget.project for each in teams.budgets(shop, actor=who)]
            for who in ("bo", "cy")
        }
        assert found == {"bo": [None, "open", "closed"], "cy": [None, "open"]}
        assert teams.budgets(shop, actor="cy")[0].remaining == Decimal(5)

    def test_a_refusal_leaves_the_budget_as_it_was(self, ops, teams, shop) -> None:
        teams.create_project(shop, "p", actor="bo")
        teams.set_budget(shop, "p", limit=5, actor="ann")
        with pytest.raises(PermissionDeniedError):
            teams.set_budget(shop, "p", limit=500, actor="bo")
        with pytest.raises(PermissionDeniedError):
            teams.remove_budget(shop, "p", actor="bo")
        assert ops.budgets.get(workspace=shop, project="p").limit == 5
        assert len(teams.audit(shop, actor="ann", action="access.denied")) == 1

    def test_an_entry_that_cannot_be_written_leaves_the_budget_too(self, ops, shop) -> None:
        keyless = Workspaces(ops.database, budgets=ops.budgets)
        with pytest.raises(AuditError):
            keyless.set_budget(shop, limit=5, actor="ann")
        assert ops.budgets.list() == []

    def test_it_is_taken_away_by_its_period(self, teams, shop) -> None:
        for period in ("day", "month"):
            teams.set_budget(shop, limit=5, period=period, actor="ann")
        with pytest.raises(ConfigurationError, match="several periods"):
            teams.remove_budget(shop, actor="ann")
        teams.remove_budget(shop, period="day", actor="ann")
        assert [each.budget.period for each in teams.budgets(shop, actor="ann")] == ["month"]

    def test_that_of_a_deleted_project_can_be_taken_away(self, teams, shop) -> None:
        teams.create_project(shop, "p", actor="bo", shared=False)
        teams.set_budget(shop, "p", limit=5, actor="ann")
        teams.create_role(shop, "purse", ["budgets.*", "workspace.read"], actor="ann")
        teams.change_role(shop, "cy", "purse", actor="ann")
        with pytest.raises(NotFoundError, match="no project"):  # not shared with Cy
            teams.remove_budget(shop, "p", actor="cy")
        teams.delete_project(shop, "p", actor="ann")
        assert teams.budgets(shop, actor="bo") == []  # nobody knows whom it was shared with
        teams.remove_budget(shop, "p", actor="cy")
        assert teams.budgets(shop, actor="ann") == []

    def test_without_an_llmops_there_are_none(self, database, clock) -> None:
        alone = Workspaces(database, clock=clock)
        shop = alone.create(name="S", owner_id="ann", owner_email="ann@example.com").id
        for call in (alone.budgets, alone.remove_budget):
            with pytest.raises(ConfigurationError, match=r"ops\.workspaces"):
                call(shop, actor="ann")

    @pytest.mark.parametrize("odd", ["", "a\0b", 5])
    def test_an_odd_project_is_a_clear_error(self, teams, shop, odd) -> None:
        with pytest.raises(ConfigurationError, match="project"):
            teams.set_budget(shop, odd, limit=5, actor="ann")


class TestOneForTheApp:
    def test_a_forgotten_person_leaves_every_team(self, ops, teams, shop) -> None:
        with ops.track(workspace=shop, user="bo"):
            ops.cached(FakeListChatModel(responses=["x"])).invoke("hello")
        touched = ops.forget(user="bo")
        assert touched["workspaces"] > 0
        assert touched["events"] == 1
        assert teams.list("bo") == []

    def test_housekeeping_is_one_round_for_all(self, ops, teams, shop, clock) -> None:
        teams.invite(shop, "eve@example.com", "viewer", actor="ann", expires_in=1)
        clock.advance(2)
        assert ops.maintain()["workspaces"]["invitations expired"] == 1

    def test_it_is_no_help_that_can_be_switched_off(self, database_url) -> None:
        with LLMOps(database_url, Settings(disabled=True)) as ops:
            shop = ops.workspaces.create(name="S", owner_id="a", owner_email="a@example.com").id
            with pytest.raises(NotFoundError):
                ops.workspaces.require("eve", "projects.read", shop)

    def test_keys_come_from_a_file_and_from_the_settings(self, database_url, tmp_path) -> None:
        path = tmp_path / "audit.key"
        write_new_key(path)
        settings = Settings(audit_key=KEY, audit_key_file=path)
        with LLMOps(database_url, settings) as ops:
            shop = ops.workspaces.create(name="S", owner_id="a", owner_email="a@example.com").id
            assert ops.workspaces.verify_audit(shop)[0].signed == 2

    @pytest.mark.parametrize("key", ["short", "a" * 40 + ",short"])
    def test_a_weak_key_is_refused_when_the_app_starts(self, key) -> None:
        with pytest.raises(ConfigurationError, match="32 characters"):
            LLMOps("sqlite://", Settings(audit_key=key))

    async def test_asyncio_has_a_twin_of_each(self, teams) -> None:
        made = await teams.acreate(name="S", owner_id="ann", owner_email="ann@example.com")
        new = await teams.ainvite(made.id, "bo@example.com", "viewer", actor="ann")
        assert (await teams.aaccept(new.token, user_id="bo")).role == "viewer"
        assert await teams.aallowed("bo", "projects.read", made.id)
        with pytest.raises(PermissionDeniedError):
            await teams.arequire("bo", "members.invite", made.id)
        assert (await teams.averify_audit(made.id))[0].ok

    def test_a_forked_child_asks_for_itself(self, ops, teams, shop) -> None:
        if ops.database.path is None and ops.database.is_sqlite:
            return  # a database in memory is not shared
        assert teams.allowed("bo", "projects.read", shop)
        child = os.fork()
        if child == 0:
            os._exit(0 if teams.allowed("bo", "projects.read", shop) else 1)
        assert os.waitpid(child, 0)[1] == 0

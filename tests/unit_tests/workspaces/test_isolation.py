"""No statement reaches into two workspaces, and PostgreSQL itself shows one at a time."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FakeClock
from sqlalchemy import event, func, insert, select, text
from sqlalchemy.exc import IntegrityError
from unit_tests.workspaces.chains import KEY, history

import llmops_langchain.workspaces as package
from llmops_langchain import LLMOps
from llmops_langchain.errors import ConfigurationError, LLMOpsError
from llmops_langchain.settings import Settings
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Subject
from llmops_langchain.storage.schema import (
    TENANT_TABLES,
    api_keys,
    members,
    project_shares,
    projects,
)
from llmops_langchain.workspaces import SYSTEM, Workspaces, row_security_sql

NAMES = [table.name for table in TENANT_TABLES]
OF_A_TENANT = re.compile(r"\b(" + "|".join(NAMES) + r")\b")

# What looks for a workspace before one is known: by a hash of a secret, by the person who asks,
# and for the housekeeping of all. They read ids, and no more of a table than this.
ACROSS = (
    r"FROM llmops_api_keys \s*WHERE llmops_api_keys\.token_hash = ",
    r"FROM llmops_invitations \s*WHERE llmops_invitations\.token_hash = ",
    r"JOIN llmops_members ON .* WHERE llmops_members\.user_id = ",
    r"^SELECT llmops_members\.workspace .* UNION SELECT llmops_audit_people\.workspace ",
    r"^SELECT DISTINCT llmops_\w+\.(id|workspace) FROM llmops_(workspaces|invitations) ",
    r"^SELECT llmops_workspaces\.id, [\w., ]*_seq FROM llmops_workspaces ORDER BY",
)


def names_its_workspace(statement: str) -> bool:
    """Whether each tenant table of a statement is bound to one workspace."""
    flat = " ".join(statement.split())
    if any(re.search(each, flat) for each in ACROSS):
        return True
    if flat.startswith("INSERT"):
        table = OF_A_TENANT.search(flat)[1]
        first = "id" if table == "llmops_workspaces" else "workspace"
        return re.search(rf"INTO {table} \([^)]*\b{first}\b", flat) is not None
    _, _, where = flat.partition(" WHERE ")
    conditions = f"{where} {' '.join(re.findall(r' ON (.*?) WHERE', flat))}"
    return all(
        re.search(rf"{name}\.{'id' if name == 'llmops_workspaces' else 'workspace'} = ", conditions)
        for name in set(OF_A_TENANT.findall(flat))
    )


def everything(ops: LLMOps) -> set[str]:  # noqa: PLR0915 - each method once
    """Call every method once, in a life of a workspace; the names that were called."""
    teams, called = ops.workspaces, set()

    def call(method, /, *arguments, **named):
        called.add(method)
        return getattr(teams, method)(*arguments, **named)

    shop = call("create", name="Shop", owner_id="ann", owner_email="ann@example.com").id
    for person in ("bo", "cy"):
        new = call("invite", shop, f"{person}@example.com", "developer", actor="ann")
        call("accept", new.token, user_id=person)
    call("decline", call("invite", shop, "dee@example.com", "viewer", actor="ann").token)
    new = call("invite", shop, "eve@example.com", "viewer", actor="ann")
    call("invitations", shop, actor="ann")
    call("revoke_invitation", shop, new.invitation.id, actor="ann")
    call("get", shop, actor="bo")
    call("list", "bo")
    call("update", shop, name="Shops", actor="ann")
    call("members", shop, actor="bo")
    call("create_role", shop, "lead", ["members.*"], actor="ann")
    call("update_role", shop, "lead", ["projects.*"], actor="ann")
    call("roles", shop, actor="bo")
    call("check_permission", "lead", "projects.read", workspace=shop)
    call("change_role", shop, "cy", "viewer", actor="ann")
    call("delete_role", shop, "lead", actor="ann")
    call("create_project", shop, "p", actor="bo", shared=False)
    call("share_project", shop, "p", actor="bo", user_id="cy")
    call("projects", shop, actor="cy")
    call("project", shop, "p", actor="cy")
    call("require", "cy", "projects.read", shop, "p")
    call("allowed", "cy", "projects.update", shop)
    call("unshare_project", shop, "p", actor="bo", user_id="cy")
    call("rename_project", shop, "p", name="P", actor="bo")
    call("set_budget", shop, "p", limit="5", actor="ann")
    call("budgets", shop, actor="ann")
    call("remove_budget", shop, "p", actor="ann")
    key = call("create_key", shop, name="k", scopes=["projects.read"], actor="ann", project="p")
    call("authenticate", key.token)
    call("rotate_key", shop, key.key.id, actor="ann")
    call("keys", shop, actor="ann")
    call("revoke_key", shop, key.key.id, actor="ann")
    call("delete_project", shop, "p", actor="ann")
    call("record", shop, "did", actor="bo")
    call("audit", shop, actor="ann")
    list(call("export_audit", shop, actor="ann"))
    call("verify_audit")
    call("on_anchor", len)
    call("anchors")
    call("maintain", ops._clock())
    call("leave", shop, actor="cy")
    call("forget", Subject(user="bo"))
    call("invite", shop, "bo@example.com", "admin", actor="ann")
    call("accept", call("invite", shop, "bo@example.com", "admin", actor="ann").token, user_id="bo")
    call("transfer_ownership", shop, "bo", actor="ann")
    call("remove_member", shop, "ann", actor="bo")
    call("delete", shop, actor="bo")
    call("restore", shop, actor="bo")
    call("delete", shop, actor="bo")
    call("purge", shop, actor="bo")
    call("on_invitation", len)
    call("after_fork")
    return called


@pytest.fixture
def ops(database_url: str) -> Iterator[LLMOps]:
    settings = Settings(audit_key=KEY, durability="commit")
    with LLMOps(database_url, settings, clock=FakeClock()) as ops:
        yield ops


def test_every_statement_of_every_method_names_its_workspace(ops) -> None:
    said: list[str] = []
    with ops.database.begin() as connection:
        engine = connection.engine

    # The views that transactions run on are options of one engine, and share its events.
    @event.listens_for(engine, "before_cursor_execute")
    def hear(_connection, _cursor, statement, *_) -> None:
        said.append(statement)

    called = everything(ops)
    heard = {each for each in said if OF_A_TENANT.search(each)}
    public = {
        name
        for name, member in inspect.getmembers(Workspaces, inspect.isfunction)
        if not name.startswith("_")
        and not inspect.iscoroutinefunction(member)
        and not inspect.isasyncgenfunction(member)
    }
    assert called == public
    assert len(heard) > 60
    assert [each for each in heard if not names_its_workspace(each)] == []


@pytest.mark.parametrize(
    "leak",
    [
        "SELECT llmops_members.role FROM llmops_members WHERE llmops_members.user_id = ?",
        "UPDATE llmops_projects SET name = ?",
        "DELETE FROM llmops_api_keys WHERE llmops_api_keys.id = ?",
        "INSERT INTO llmops_roles (name) VALUES (?)",
        "SELECT 1 FROM llmops_members JOIN llmops_roles ON 1 WHERE llmops_members.workspace = ?",
    ],
)
def test_a_statement_that_names_none_would_be_found(leak) -> None:
    assert not names_its_workspace(leak)


def test_statements_on_tenants_tables_are_built_in_one_module() -> None:
    builders = {"select", "insert", "update", "delete", "text"}
    elsewhere = {
        path.name: node.module
        for path in Path(package.__file__).parent.glob("*.py")
        if path.name != "statements.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("sqlalchemy")
        and builders & {each.name for each in node.names}
    }
    assert elsewhere == {}


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (project_shares, {"project": "theirs", "user_id": "ann", "created_at": 0}),
        (project_shares, {"project": "ours", "user_id": "bo", "created_at": 0}),
        (
            api_keys,
            {
                "id": __import__("uuid").UUID(int=1),
                "name": "k",
                "hint": "h",
                "token_hash": b"x",
                "scopes": "[]",
                "project": "theirs",
                "made_by": "ann",
                "created_at": 0,
            },
        ),
    ],
)
def test_the_tables_themselves_join_nothing_across(database, clock, table, row) -> None:
    teams = Workspaces(database, clock=clock)
    ours = teams.create(name="A", owner_id="ann", owner_email="ann@example.com").id
    theirs = teams.create(name="B", owner_id="bo", owner_email="bo@example.com").id
    teams.create_project(ours, "ours", actor="ann")
    teams.create_project(theirs, "theirs", actor="bo")
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(insert(table).values(workspace=ours, **row))


class TestRowSecurity:
    """PostgreSQL with the recipe: the app logs in as somebody who owns no table."""

    @pytest.fixture
    def owner(self, postgres_url: str) -> Iterator[Database]:
        with Database(postgres_url) as database:
            database.upgrade()
            with database.begin() as connection:
                connection.execute(text("DROP ROLE IF EXISTS llmops_app"))
                connection.execute(text("CREATE ROLE llmops_app LOGIN"))
                for each in row_security_sql("llmops_app").split("\n"):
                    connection.exec_driver_sql(each)
            yield database
            with database.begin() as connection:
                connection.execute(text("DROP OWNED BY llmops_app"))
                connection.execute(text("DROP ROLE llmops_app"))

    @pytest.fixture
    def app_url(self, owner: Database, postgres_url: str) -> str:
        assert not owner.is_sqlite
        return postgres_url.replace("postgres:@", "llmops_app:@")

    @pytest.fixture
    def teams(self, app_url: str) -> Iterator[Workspaces]:
        with Database(app_url) as database:
            yield Workspaces(database, audit_keys=[KEY])

    def test_every_method_works_behind_it(self, app_url) -> None:
        settings = Settings(audit_key=KEY, durability="commit")
        with LLMOps(app_url, settings) as ops:
            assert everything(ops)
            assert all(each.ok for each in ops.workspaces.verify_audit())

    def test_a_statement_that_names_no_workspace_sees_nothing(self, teams) -> None:
        history(teams)
        with teams._tenants.database.begin() as connection:
            for table in TENANT_TABLES:
                counted = select(func.count()).select_from(table)
                assert connection.execute(counted).scalar_one() == 0, table.name

    def test_a_statement_sees_the_workspace_it_names_alone(self, teams) -> None:
        ours, theirs = history(teams), history(teams)
        with teams._tenants.begin(workspace=ours) as connection:
            seen = set(connection.execute(select(members.c.workspace)).scalars())
            changed = text("UPDATE llmops_members SET role = 'owner'")
            assert connection.execute(changed).rowcount == 2
            taken = text("UPDATE llmops_members SET workspace = :w")
            assert seen == {ours}
        with pytest.raises(LLMOpsError), teams._tenants.begin(workspace=ours) as connection:
            connection.execute(taken, {"w": theirs})
        assert {each.role for each in teams.members(theirs, actor=SYSTEM)} == {"owner", "reviewer"}

    def test_a_person_sees_the_workspaces_of_their_own_alone(self, teams) -> None:
        ours = history(teams)
        teams.create(name="B", owner_id="cy", owner_email="cy@example.com")
        assert [each.id for each in teams.list("ann")] == [ours]
        with teams._tenants.begin(person="ann") as connection:
            assert connection.execute(select(func.count()).select_from(projects)).scalar() == 0

    def test_the_app_cannot_change_the_log(self, teams) -> None:
        shop = history(teams)
        for each in ("UPDATE llmops_audit_log SET ts = 0", "DELETE FROM llmops_audit_log"):
            with pytest.raises(LLMOpsError), teams._tenants.begin(workspace=shop) as connection:
                connection.execute(text(each))

    @pytest.mark.parametrize("name", ["a b", 'a"; DROP TABLE x', "", "A"])
    def test_a_name_is_an_identifier(self, name) -> None:
        with pytest.raises(ConfigurationError, match="identifier"):
            row_security_sql(name)
        with pytest.raises(ConfigurationError, match="identifier"):
            row_security_sql("app", schema=name)

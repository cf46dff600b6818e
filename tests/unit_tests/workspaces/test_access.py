"""Every operation, asked for by everybody: who may gets it, nobody else does or learns a thing."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import FakeClock
from sqlalchemy import select

from llmops_langchain.errors import LastOwnerError, NotFoundError, PermissionDeniedError
from llmops_langchain.ledger import Budgets, Ledger, Reservations
from llmops_langchain.storage.schema import TENANT_TABLES, audit_log, audit_people, workspaces
from llmops_langchain.workspaces import Actor, Workspaces

KINDS = ["sqlite_memory", "postgresql"]
MEMBERS = {
    "ann": "owner",
    "bo": "admin",
    "cy": "developer",
    "di": "reviewer",
    "el": "viewer",
    "fay": "lead",
}
LEAD = ["workspace.read", "members.read", "projects.*"]
SCOPES = ["projects.read", "analytics.read"]


@dataclass
class World:
    """A workspace with somebody of each kind, and another one with a stranger."""

    teams: Workspaces
    shop: str
    actors: dict[str, Actor | str | None]
    invitation: Any
    key: Any
    closed: str = "closed"


def world(teams: Workspaces) -> World:
    shop = teams.create(name="Shop", owner_id="ann", owner_email="ann@example.com").id
    teams.create_role(shop, "lead", LEAD, actor="ann")
    teams.create_role(shop, "spare", ["projects.read"], actor="ann")
    for person, role in [*list(MEMBERS.items())[1:], ("tom", "viewer")]:
        new = teams.invite(shop, f"{person}@example.com", role, actor="ann")
        teams.accept(new.token, user_id=person)
    teams.create_project(shop, "open", actor="ann")
    teams.create_project(shop, "closed", actor="ann", shared=False)
    teams.share_project(shop, "closed", actor="ann", user_id="di")
    teams.set_budget(shop, "open", limit=5, actor="ann")
    few = teams.create_key(shop, name="few", scopes=SCOPES, actor="ann")
    other = teams.create(name="Other", owner_id="zed", owner_email="zed@example.com").id
    theirs = teams.create_key(other, name="theirs", scopes=["*"], actor="zed")
    return World(
        teams=teams,
        shop=shop,
        actors={
            **{role: person for person, role in MEMBERS.items()},
            "key": teams.authenticate(few.token),
            "nobody": None,
            "stranger": "zed",
            "stranger's key": teams.authenticate(theirs.token),
        },
        invitation=teams.invite(shop, "late@example.com", "viewer", actor="ann").invitation.id,
        key=teams.create_key(shop, name="k", scopes=["analytics.read"], actor="ann").key.id,
    )


OWNER = {"owner"}
ADMINS = {"owner", "admin"}
MAKERS = {"owner", "admin", "developer"}
ALL = {"owner", "admin", "developer", "reviewer", "viewer"}

Call = Callable[[World, Any], Any]

OPERATIONS: dict[str, tuple[Call, set[str]]] = {
    "get": (lambda w, a: w.teams.get(w.shop, actor=a), ALL | {"lead"}),
    "update": (lambda w, a: w.teams.update(w.shop, name="S", actor=a), ADMINS),
    "delete": (lambda w, a: w.teams.delete(w.shop, actor=a), OWNER),
    "restore": (lambda w, a: w.teams.restore(w.shop, actor=a), OWNER),
    "members": (lambda w, a: w.teams.members(w.shop, actor=a), ALL | {"lead"}),
    "change_role": (lambda w, a: w.teams.change_role(w.shop, "tom", "reviewer", actor=a), ADMINS),
    "remove_member": (lambda w, a: w.teams.remove_member(w.shop, "tom", actor=a), ADMINS),
    "transfer_ownership": (lambda w, a: w.teams.transfer_ownership(w.shop, "tom", actor=a), OWNER),
    "invite": (lambda w, a: w.teams.invite(w.shop, "new@example.com", "viewer", actor=a), ADMINS),
    "invitations": (lambda w, a: w.teams.invitations(w.shop, actor=a), ADMINS),
    "revoke_invitation": (
        lambda w, a: w.teams.revoke_invitation(w.shop, w.invitation, actor=a),
        ADMINS,
    ),
    "roles": (lambda w, a: w.teams.roles(w.shop, actor=a), ALL),
    "create_role": (
        lambda w, a: w.teams.create_role(w.shop, "fresh", ["projects.read"], actor=a),
        ADMINS,
    ),
    "update_role": (
        lambda w, a: w.teams.update_role(w.shop, "spare", ["members.read"], actor=a),
        ADMINS,
    ),
    "delete_role": (lambda w, a: w.teams.delete_role(w.shop, "spare", actor=a), ADMINS),
    "create_project": (
        lambda w, a: w.teams.create_project(w.shop, "fresh", actor=a),
        MAKERS | {"lead"},
    ),
    "projects": (lambda w, a: w.teams.projects(w.shop, actor=a), ALL | {"lead", "key"}),
    "project": (lambda w, a: w.teams.project(w.shop, "open", actor=a), ALL | {"lead", "key"}),
    "rename_project": (
        lambda w, a: w.teams.rename_project(w.shop, "open", name="O", actor=a),
        MAKERS | {"lead"},
    ),
    "delete_project": (
        lambda w, a: w.teams.delete_project(w.shop, "open", actor=a),
        ADMINS | {"lead"},
    ),
    "share_project": (
        lambda w, a: w.teams.share_project(w.shop, "open", actor=a, user_id="tom"),
        MAKERS | {"lead"},
    ),
    "unshare_project": (
        lambda w, a: w.teams.unshare_project(w.shop, "open", actor=a),
        MAKERS | {"lead"},
    ),
    "set_budget": (lambda w, a: w.teams.set_budget(w.shop, "open", limit=9, actor=a), ADMINS),
    "budgets": (lambda w, a: w.teams.budgets(w.shop, actor=a), ALL),
    "remove_budget": (lambda w, a: w.teams.remove_budget(w.shop, "open", actor=a), ADMINS),
    "create_key": (
        lambda w, a: w.teams.create_key(w.shop, name="n", scopes=["analytics.read"], actor=a),
        ADMINS,
    ),
    "keys": (lambda w, a: w.teams.keys(w.shop, actor=a), ADMINS),
    "rotate_key": (lambda w, a: w.teams.rotate_key(w.shop, w.key, actor=a), ADMINS),
    "revoke_key": (lambda w, a: w.teams.revoke_key(w.shop, w.key, actor=a), ADMINS),
    "audit": (lambda w, a: w.teams.audit(w.shop, actor=a), ADMINS),
    "export_audit": (lambda w, a: w.teams.export_audit(w.shop, actor=a), ADMINS),
    "record": (lambda w, a: w.teams.record(w.shop, "did", actor=a), MAKERS | {"reviewer"}),
    "require": (
        lambda w, a: w.teams.require(a, "deployments.approve", w.shop, "open"),
        ADMINS | {"reviewer"},
    ),
    "leave": (
        lambda w, a: w.teams.leave(w.shop, actor=a),
        {"admin", "developer", "reviewer", "viewer", "lead"},
    ),
}
# What asks nobody's permission: it is about the person who asks, a token, or the whole app.
OF_NOBODY = {
    *("create", "list", "accept", "decline", "authenticate", "allowed", "check_permission"),
    *("verify_audit", "anchors", "on_anchor", "on_invitation", "maintain", "forget", "after_fork"),
}
APART = {"purge"}
"""Tested below: only what was deleted can be purged."""


@pytest.fixture(params=KINDS)
def teams(request, opened, clock: FakeClock) -> Iterator[Workspaces]:
    database = opened(request.param)
    ledger = Ledger(database, durability="commit", clock=clock)
    reservations = Reservations(database, ledger, clock=clock, lease=600)
    budgets = Budgets(database, ledger, reservations, clock=clock)
    yield Workspaces(database, budgets=budgets, clock=clock)
    ledger.close()


def stored(teams: Workspaces) -> dict[str, list]:
    """All rows of all tenants, but what a refusal may add to."""
    found = {}
    heads = {workspaces.c.audit_seq.key, workspaces.c.audit_hash.key}
    with teams._tenants.database.begin(read_only=True) as connection:
        for table in TENANT_TABLES:
            if table not in (audit_log, audit_people):
                columns = [each for each in table.c if each.key not in heads]
                found[table.name] = sorted(map(repr, connection.execute(select(*columns))))
    return found


def outcome(call: Call, w: World, role: str) -> str:
    """What comes of it."""
    try:
        call(w, w.actors[role])
    except PermissionDeniedError:
        return "denied"
    except LastOwnerError:
        return "last owner"
    except NotFoundError as error:
        return "unknown" if str(error) == f"no workspace {w.shop!r}" else str(error)
    return "done"


def expected(role: str, name: str, allowed: set[str]) -> str:
    if role in ("nobody", "stranger", "stranger's key"):
        return "unknown"
    if (role, name) == ("owner", "leave"):
        return "last owner"
    return "done" if role in allowed else "denied"


def test_every_public_method_is_in_the_matrix() -> None:
    public = {
        name
        for name, member in inspect.getmembers(Workspaces, inspect.isfunction)
        if not name.startswith("_")
        and not inspect.iscoroutinefunction(member)
        and not inspect.isasyncgenfunction(member)
    }
    assert public == set(OPERATIONS) | OF_NOBODY | APART


def test_each_method_with_an_actor_has_a_twin() -> None:
    twins = {name[1:] for name in dir(Workspaces) if name.startswith("a")}
    local = {"on_anchor", "on_invitation", "maintain", "forget", "after_fork"}
    assert (set(OPERATIONS) | OF_NOBODY | APART) - local <= twins


@pytest.mark.parametrize("name", OPERATIONS)
def test_who_may_gets_it_and_nobody_else_changes_or_learns_a_thing(teams, name) -> None:
    call, allowed = OPERATIONS[name]
    w = world(teams)
    refused = [role for role in w.actors if expected(role, name, allowed) != "done"]
    before = stored(teams)
    found = {role: outcome(call, w, role) for role in refused}
    assert found == {role: expected(role, name, allowed) for role in refused}
    assert stored(teams) == before
    denied = [role for role in refused if found[role] == "denied"]
    entries = teams.audit(w.shop, actor="ann", limit=1000, action="access.denied")
    assert len(entries) == len(denied)
    for role in allowed:
        assert outcome(call, world(teams), role) == "done", role
    assert teams.verify_audit(w.shop)[0].ok


def test_an_id_that_never_was_answers_like_one_of_others(teams) -> None:
    w = world(teams)
    for name, (call, _) in OPERATIONS.items():
        w.shop = "never"
        assert {outcome(call, w, role) for role in w.actors} == {"unknown"}, name


def test_only_an_owner_purges_what_was_deleted(teams) -> None:
    w = world(teams)
    teams.delete(w.shop, actor="ann")
    purge: Call = lambda w, a: w.teams.purge(w.shop, actor=a)  # noqa: E731 - as in the table
    found = {role: outcome(purge, w, role) for role in w.actors if role != "owner"}
    members = {*MEMBERS.values(), "key"} - {"owner"}
    assert {role for role, came in found.items() if came == "denied"} == members
    assert {came for role, came in found.items() if role not in members} == {"unknown"}
    assert outcome(purge, w, "owner") == "done"
    assert outcome(purge, w, "owner") == "unknown"


def test_a_deleted_workspace_is_closed_to_everybody(teams) -> None:
    w = world(teams)
    teams.delete(w.shop, actor="ann")
    open_still = {"restore"}
    for name, (call, _) in OPERATIONS.items():
        if name not in open_still:
            assert {outcome(call, w, role) for role in w.actors} == {"unknown"}, name
    assert outcome(OPERATIONS["restore"][0], w, "owner") == "done"
    assert outcome(OPERATIONS["get"][0], w, "viewer") == "done"


@pytest.mark.parametrize(
    ("role", "is_seen"),
    [
        *(("owner", True), ("admin", True), ("lead", True)),
        *(("reviewer", True), ("developer", False), ("viewer", False)),
        ("key", True),  # its maker made the project
    ],
)
def test_a_project_that_is_not_shared_is_unknown(teams, role, is_seen) -> None:
    w = world(teams)
    actor = w.actors[role]
    assert teams.allowed(actor, "projects.read", w.shop, "closed") == is_seen
    listed = [each.id for each in teams.projects(w.shop, actor=actor)]
    assert ("closed" in listed) == is_seen
    if not is_seen:
        with pytest.raises(NotFoundError, match="no project 'closed'"):
            teams.require(actor, "projects.read", w.shop, "closed")


def test_ids_inside_of_another_workspace_are_unknown(teams: Workspaces) -> None:
    w, other = world(teams), world(teams)
    for call in (
        lambda: teams.revoke_key(w.shop, other.key, actor="ann"),
        lambda: teams.rotate_key(w.shop, other.key, actor="ann"),
        lambda: teams.revoke_invitation(w.shop, other.invitation, actor="ann"),
        lambda: teams.remove_member(w.shop, "zed", actor="ann"),
        lambda: teams.change_role(w.shop, "zed", "viewer", actor="ann"),
        lambda: teams.share_project(w.shop, "open", actor="ann", user_id="zed"),
        lambda: teams.project(w.shop, "elsewhere", actor="ann"),
    ):
        with pytest.raises(NotFoundError):
            call()

"""Processes at one moment, and processes that die: one chain without a gap, never half a change."""

import signal

import pytest
from sqlalchemy import func, select
from unit_tests.storage.processes import run, start
from unit_tests.workspaces.chains import KEY

from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import audit_log, invitations, projects
from llmops_langchain.workspaces import Workspaces

_OPEN = """
    import sys
    from contextlib import suppress
    from llmops_langchain.errors import LLMOpsError
    from llmops_langchain.storage import Database
    from llmops_langchain.workspaces import Workspaces

    url, shop, *given = sys.argv[1:]

    def teams_of(database):
        return Workspaces(database, audit_keys=["k" * 32])
"""

_WRITERS = f"""{_OPEN}
    def work(number):
        with Database(url, lock_timeout=100) as database:
            teams = teams_of(database)
            for each in range(int(given[0])):
                teams.create_project(shop, f"p{{number}}-{{each}}", actor="ann")

    at_once(8, work)
"""

_DEMOTING = f"""{_OPEN}
    admins = ["bo", "cy"]

    def work(number):
        with Database(url, lock_timeout=100) as database, suppress(LLMOpsError):
            teams_of(database).change_role(
                shop, admins[1 - number], "viewer", actor=admins[number]
            )

    at_once(2, work)
"""

_STEPPING_DOWN = f"""{_OPEN}
    owners = ["ann", "bo"]

    def work(number):
        with Database(url, lock_timeout=100) as database, suppress(LLMOpsError):
            teams_of(database).change_role(shop, owners[number], "admin", actor=owners[number])

    for _ in range(int(given[0])):
        at_once(2, work)
        with Database(url) as database:
            teams = teams_of(database)
            roles = {{each.user_id: each.role for each in teams.members(shop, actor="ann")}}
            print(sorted(roles[each] for each in owners))
            left = next(each for each in owners if roles[each] == "owner")
            for each in owners:
                if each != left:
                    teams.change_role(shop, each, "owner", actor=left)
"""

_LEAVING = f"""{_OPEN}
    owners = ["ann", "dee"]

    def work(number):
        with Database(url, lock_timeout=100) as database, suppress(LLMOpsError):
            teams_of(database).leave(shop, actor=owners[number])

    at_once(2, work)
"""

_ACCEPTING = f"""{_OPEN}
    def work(number):
        with Database(url, lock_timeout=100) as database, suppress(LLMOpsError):
            teams_of(database).accept(given[0], user_id=f"new{{number}}")

    at_once(4, work)
"""

_INVITING = f"""{_OPEN}
    def work(number):
        with Database(url, lock_timeout=100) as database:
            teams_of(database).invite(shop, "new@example.com", "viewer", actor="ann")

    at_once(4, work)
"""

_DYING = f"""{_OPEN}
    import os, signal
    from llmops_langchain.workspaces import tenants

    append = tenants.append

    def dies(*arguments, **named):
        if given[0] == "after":
            append(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    tenants.append = dies
    with Database(url) as database:
        teams_of(database).create_project(shop, "half", actor="ann")
"""

_BUSY = f"""{_OPEN}
    with Database(url) as database:
        teams, number = teams_of(database), 0
        while True:
            teams.create_project(shop, f"p{{number}}", actor="ann")
            number += 1
            print(number, flush=True)
"""


@pytest.fixture
def teams(lasting_url: str):
    with Database(lasting_url) as database:
        yield Workspaces(database, audit_keys=[KEY])


@pytest.fixture
def shop(teams: Workspaces) -> str:
    """Ann owns it; Bo and Cy are admins."""
    shop = teams.create(name="Shop", owner_id="ann", owner_email="ann@example.com").id
    for name in ("bo", "cy"):
        new = teams.invite(shop, f"{name}@example.com", "admin", actor="ann")
        teams.accept(new.token, user_id=name)
    return shop


def counted(teams: Workspaces, *conditions) -> int:
    with teams._tenants.database.begin(read_only=True) as connection:
        return connection.execute(select(func.count()).where(*conditions)).scalar_one()


def is_whole(teams: Workspaces, shop: str) -> bool:
    """Whether the chain has no gap, and each project has its entry."""
    made = counted(teams, projects.c.workspace == shop)
    told = counted(teams, audit_log.c.workspace == shop, audit_log.c.action == "project.created")
    return made == told and teams.verify_audit(shop)[0].ok


@pytest.mark.parametrize("each", [10, pytest.param(250, marks=pytest.mark.slow)])
def test_eight_processes_write_one_chain_without_a_gap(teams, shop, lasting_url, each) -> None:
    run(_WRITERS, lasting_url, shop, each)
    (report,) = teams.verify_audit(shop)
    assert report.ok
    assert report.entries == report.signed == 6 + 8 * each
    assert is_whole(teams, shop)


def test_of_two_admins_who_demote_each_other_neither_does(teams, shop, lasting_url) -> None:
    run(_DEMOTING, lasting_url, shop)
    assert [each.role for each in teams.members(shop, actor="ann")] == ["owner", "admin", "admin"]
    refused = teams.audit(shop, actor="ann", action="access.denied")
    assert {each.actor for each in refused} == {"bo", "cy"}


@pytest.mark.parametrize("rounds", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_of_two_owners_who_step_down_one_stays(teams, shop, lasting_url, rounds) -> None:
    teams.change_role(shop, "bo", "owner", actor="ann")
    told = run(_STEPPING_DOWN, lasting_url, shop, rounds)
    assert told.splitlines() == ["['admin', 'owner']"] * rounds
    assert teams.verify_audit(shop)[0].ok


def test_of_two_owners_who_leave_one_stays(teams, shop, lasting_url) -> None:
    new = teams.invite(shop, "dee@example.com", "owner", actor="ann")
    teams.accept(new.token, user_id="dee")
    run(_LEAVING, lasting_url, shop)
    owners = [each for each in teams.members(shop, actor="bo") if each.role == "owner"]
    assert len(owners) == 1


def test_of_four_who_use_one_invitation_one_joins(teams, shop, lasting_url) -> None:
    token = teams.invite(shop, "new@example.com", "viewer", actor="ann").token
    run(_ACCEPTING, lasting_url, shop, token)
    joined = [each for each in teams.members(shop, actor="ann") if each.user_id.startswith("new")]
    assert len(joined) == 1


def test_of_four_invitations_to_one_address_one_is_pending(teams, shop, lasting_url) -> None:
    run(_INVITING, lasting_url, shop)
    theirs = (invitations.c.workspace == shop, invitations.c.email_key == "new@example.com")
    assert counted(teams, *theirs) == 4
    assert counted(teams, *theirs, invitations.c.status == "pending") == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_between_change_and_entry_leaves_neither(teams, shop, lasting_url, when) -> None:
    before = teams.verify_audit(shop)[0].entries
    died = start(_DYING, lasting_url, shop, when)
    died.communicate(timeout=120)
    assert died.returncode == -signal.SIGKILL
    assert counted(teams, projects.c.workspace == shop) == 0
    assert teams.verify_audit(shop)[0].entries == before
    teams.create_project(shop, "whole", actor="ann")
    assert is_whole(teams, shop)


def test_what_a_killed_process_was_told_is_done_was_done(teams, shop, lasting_url) -> None:
    busy = start(_BUSY, lasting_url, shop)
    done = [busy.stdout.readline() for _ in range(20)]
    busy.kill()
    left, _ = busy.communicate(timeout=120)
    last = int([*done, *left.splitlines()][-1])
    assert last <= counted(teams, projects.c.workspace == shop) <= last + 1
    assert is_whole(teams, shop)

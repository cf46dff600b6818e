"""Whatever people do in whatever order: an owner stays, nobody climbs, everything is told."""

import contextlib
from collections.abc import Iterator

import pytest
from conftest import FakeClock
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from unit_tests.workspaces.chains import KEY

from llmops_langchain.errors import LLMOpsError, PermissionDeniedError
from llmops_langchain.storage import Database
from llmops_langchain.workspaces import ROLES, Workspaces, check_permission
from llmops_langchain.workspaces.permissions import PERMISSIONS

PEOPLE = [f"u{number}" for number in range(5)]
OWN = ["lead", "helper"]
people, roles = st.sampled_from(PEOPLE), st.sampled_from([*ROLES, *OWN])
patterns = st.lists(
    st.sampled_from(["*", "members.*", "projects.*", "members.update", "roles.*", "keys.*"]),
    min_size=1,
    max_size=3,
)


class Team(RuleBasedStateMachine):
    """Five people who try everything, and a book of what each of them may do."""

    database: Database

    @initialize()
    def begin(self) -> None:
        self.clock = FakeClock()
        self.teams = Workspaces(self.database, audit_keys=[KEY], clock=self.clock)
        made = self.teams.create(name="T", owner_id="u0", owner_email="u0@example.com")
        self.shop, self.tokens, self.keys = made.id, {}, []
        self.roles = {"u0": "owner", "u1": "admin", "u2": "admin", "u3": "lead"}
        self.own: dict[str, list[str]] = {"lead": ["members.*", "projects.*", "roles.*"]}
        self.teams.create_role(self.shop, "lead", self.own["lead"], actor="u0")
        for person, role in list(self.roles.items())[1:]:
            new = self.teams.invite(self.shop, f"{person}@example.com", role, actor="u0")
            self.teams.accept(new.token, user_id=person)
        self.changes = 9

    def may(self, person: str) -> set[str]:
        """What somebody may do, worked out by hand."""
        role = self.roles.get(person)
        held = self.own.get(role, [])
        fits = {p for p in PERMISSIONS for each in held if each in ("*", p, f"{p.split('.')[0]}.*")}
        return fits | {p for p in PERMISSIONS if check_permission(role or "", p)}

    @contextlib.contextmanager
    def trying(self, changes: int = 1) -> Iterator[list]:
        """A change that may be refused; the entries it must leave if it is not."""
        done: list = []
        self.clock.advance(61)
        try:
            yield done
        except PermissionDeniedError:
            changes = 1  # the refusal
        except LLMOpsError:
            changes = 0
        self.changes += changes

    @rule(actor=people, person=people, role=roles)
    def invite(self, actor, person, role) -> None:
        is_again = person in self.tokens
        with self.trying(2 if is_again else 1):
            new = self.teams.invite(self.shop, f"{person}@example.com", role, actor=actor)
            assert "members.invite" in self.may(actor)
            self.tokens[person] = (new.token, role, actor)

    @rule(person=people)
    def accept(self, person) -> None:
        token, role, inviter = self.tokens.get(person, ("", None, None))
        could = self.may(inviter) if inviter else set()
        with self.trying():
            self.teams.accept(token, user_id=person)
            assert "members.invite" in could
            self.roles[person] = role
            del self.tokens[person]
            assert self.may(person) <= could

    @rule(actor=people, person=people, role=roles)
    def change_role(self, actor, person, role) -> None:
        mine, before = self.may(actor), self.may(person)
        is_same = self.roles.get(person) == role
        with self.trying(0 if is_same else 1):
            self.teams.change_role(self.shop, person, role, actor=actor)
            self.roles[person] = role
            after = self.may(person)
            if actor == person:
                assert after <= before
            else:
                assert before < mine
                assert after < mine or (role == "owner" and self.roles[actor] == "owner")

    @rule(actor=people, person=people)
    def remove(self, actor, person) -> None:
        mine, theirs = self.may(actor), self.may(person)
        keys = sum(maker == person for maker in self.keys)
        with self.trying(1 + keys):
            self.teams.remove_member(self.shop, person, actor=actor)
            assert theirs < mine
            del self.roles[person]
            self.keys = [maker for maker in self.keys if maker != person]

    @rule(actor=people)
    def leave(self, actor) -> None:
        keys = sum(maker == actor for maker in self.keys)
        with self.trying(1 + keys):
            self.teams.leave(self.shop, actor=actor)
            del self.roles[actor]
            self.keys = [maker for maker in self.keys if maker != actor]

    @rule(actor=people, person=people)
    def transfer(self, actor, person) -> None:
        with self.trying(2):
            self.teams.transfer_ownership(self.shop, person, actor=actor)
            assert self.roles[actor] == "owner"
            self.roles |= {person: "owner", actor: "admin"}

    @rule(actor=people, name=st.sampled_from(OWN), held=patterns)
    def make_role(self, actor, name, held) -> None:
        with self.trying():
            self.teams.create_role(self.shop, name, held, actor=actor)
            self.own[name] = held
            assert self.reach(name) < self.may(actor)

    @rule(actor=people, name=st.sampled_from(OWN), held=patterns)
    def alter_role(self, actor, name, held) -> None:
        mine = self.may(actor)
        with self.trying():
            self.teams.update_role(self.shop, name, held, actor=actor)
            assert self.reach(name) < mine
            self.own[name] = held
            assert self.reach(name) < mine

    @rule(actor=people, held=patterns)
    def make_key(self, actor, held) -> None:
        with self.trying():
            self.teams.create_key(self.shop, name="k", scopes=held, actor=actor)
            self.keys.append(actor)

    def reach(self, name: str) -> set[str]:
        """What a role of the team's own may do."""
        held = self.own[name]
        return {p for p in PERMISSIONS for each in held if each in ("*", p, f"{p.split('.')[0]}.*")}

    @invariant()
    def an_owner_stays(self) -> None:
        assert "owner" in self.roles.values()

    @invariant()
    def the_book_is_right(self) -> None:
        owner = next(person for person, role in self.roles.items() if role == "owner")
        found = {each.user_id: each.role for each in self.teams.members(self.shop, actor=owner)}
        assert found == self.roles
        for person in PEOPLE:
            for each in ("members.update", "workspace.delete", "projects.read"):
                may = self.teams.allowed(person, each, self.shop)
                assert may == (each in self.may(person)), (person, each)

    @invariant()
    def everything_is_told(self) -> None:
        (report,) = self.teams.verify_audit(self.shop)
        assert report.ok, report.findings
        assert report.entries == self.changes


@pytest.mark.parametrize(
    ("kind", "examples"),
    [
        ("sqlite_memory", 15),
        ("postgresql", 4),
        pytest.param("sqlite_memory", 300, marks=pytest.mark.slow),
        pytest.param("postgresql", 40, marks=pytest.mark.slow),
    ],
)
def test_an_owner_stays_nobody_climbs_and_everything_is_told(opened, kind, examples) -> None:
    machine = type("OnThis", (Team,), {"database": opened(kind)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

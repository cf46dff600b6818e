"""Workspaces come and go, members rise and step down, and an owner always stays."""

from collections.abc import Iterator

import pytest
from conftest import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain.errors import (
    ConfigurationError,
    ConflictError,
    LastOwnerError,
    NotFoundError,
    PermissionDeniedError,
)
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Subject
from llmops_langchain.workspaces import PERMISSIONS, ROLES, SYSTEM, Workspaces, check_permission
from llmops_langchain.workspaces.permissions import Vocabulary
from llmops_langchain.workspaces.roles import outranks

VOCABULARY = Vocabulary()
PATTERNS = [*PERMISSIONS, "*", "projects.*", "*.read", "members.*", "*.*"]
patterns = st.lists(st.sampled_from(PATTERNS), max_size=5)


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


@pytest.fixture
def teams(database: Database, clock: FakeClock) -> Workspaces:
    return Workspaces(database, retention=100, clock=clock)


@pytest.fixture
def shop(teams: Workspaces) -> str:
    """Ann owns it, Bo is an admin, Cy a developer."""
    shop = teams.create(name="Shop", owner_id="ann", owner_email="ann@example.com").id
    for person, role in (("bo", "admin"), ("cy", "developer")):
        join(teams, shop, person, role)
    return shop


def join(teams: Workspaces, shop: str, person: str, role: str) -> None:
    new = teams.invite(shop, f"{person}@example.com", role, actor="ann")
    teams.accept(new.token, user_id=person)


class TestRoles:
    @pytest.mark.parametrize(
        ("role", "may", "may_not"),
        [
            ("owner", "workspace.delete", "nothing.at_all"),
            ("admin", "members.invite", "workspace.delete"),
            ("developer", "projects.create", "projects.delete"),
            ("reviewer", "deployments.approve", "projects.create"),
            ("viewer", "projects.read", "reviews.create"),
        ],
    )
    def test_each_of_the_five_may_what_it_is_for(self, role, may, may_not) -> None:
        assert check_permission(role, may)
        assert not check_permission(role, may_not)

    @pytest.mark.parametrize(("role", "permission"), [("nobody", "projects.read"), ("owner", "x")])
    def test_the_unknown_is_denied(self, role, permission) -> None:
        assert not check_permission(role, permission)

    @pytest.mark.parametrize(
        ("role", "pattern", "may"),
        [
            ("owner", "*", True),
            ("admin", "*", False),
            ("admin", "members.*", True),
            ("viewer", "projects.*", False),
            ("owner", "*.read", True),
            ("viewer", "*.read", False),
        ],
    )
    def test_a_pattern_asks_for_all_that_it_fits(self, role, pattern, may) -> None:
        assert check_permission(role, pattern) == may

    def test_each_stands_above_the_viewer_and_below_the_owner(self) -> None:
        held = {role: VOCABULARY.held(given) for role, given in ROLES.items()}
        for role in ("admin", "developer", "reviewer"):
            assert outranks(held["owner"], held[role])
            assert outranks(held[role], held["viewer"])
        assert outranks(held["admin"], held["developer"])
        assert outranks(held["admin"], held["reviewer"])

    @given(patterns, patterns)
    def test_more_patterns_never_allow_less(self, some, more) -> None:
        assert VOCABULARY.held(some) <= VOCABULARY.held([*some, *more])

    @given(patterns)
    def test_nobody_stands_above_themselves(self, some) -> None:
        assert not outranks(VOCABULARY.held(some), VOCABULARY.held(some))

    @given(patterns)
    def test_a_pattern_is_held_when_all_that_it_fits_is(self, some) -> None:
        held = VOCABULARY.held(some)
        for pattern in PATTERNS:
            fits = VOCABULARY.held([pattern]) & PERMISSIONS
            assert (pattern in held) == (fits <= held)

    @pytest.mark.parametrize("odd", ["projects", "Projects.read", "projects.**", "", "a..b", "x.y"])
    def test_what_fits_nothing_is_no_pattern(self, odd) -> None:
        with pytest.raises(ConfigurationError, match="fits no permission"):
            VOCABULARY.checked([odd])

    def test_no_pattern_at_all_is_a_clear_error(self) -> None:
        with pytest.raises(ConfigurationError, match="names no permission"):
            VOCABULARY.checked([])

    @pytest.mark.parametrize("odd", ["projects.read", [5], [None]])
    def test_patterns_are_a_list_of_texts(self, odd) -> None:
        with pytest.raises(ConfigurationError, match="list of texts"):
            VOCABULARY.checked(odd)

    def test_an_app_has_permissions_of_its_own(self, database) -> None:
        teams = Workspaces(database, permissions=["prompts.publish", "prompts.live.roll_back"])
        shop = teams.create(name="S", owner_id="ann", owner_email="ann@example.com").id
        join(teams, shop, "bo", "admin")
        teams.create_role(shop, "publisher", ["prompts.*"], actor="ann")
        assert teams.check_permission("publisher", "prompts.live.roll_back", workspace=shop)
        assert teams.allowed("ann", "prompts.publish", shop)
        assert not teams.allowed("bo", "prompts.publish", shop)
        with pytest.raises(ConfigurationError, match="2 to 5 words"):
            Workspaces(database, permissions=["publish"])


class TestOwnRoles:
    def test_a_role_of_ones_own_is_given_and_holds(self, teams, shop) -> None:
        teams.create_role(shop, "release_manager", ["deployments.*"], actor="bo")
        teams.change_role(shop, "cy", "release_manager", actor="bo")
        assert teams.allowed("cy", "deployments.approve", shop)
        assert not teams.allowed("cy", "projects.create", shop)
        teams.update_role(shop, "release_manager", ["deployments.read"], actor="bo")
        assert not teams.allowed("cy", "deployments.approve", shop)
        names = [each.name for each in teams.roles(shop, actor="bo")]
        assert names == [*ROLES, "release_manager"]

    @pytest.mark.parametrize("permissions", [["*"], ["workspace.delete"], [*ROLES["admin"]]])
    def test_a_role_is_never_above_its_maker(self, teams, shop, permissions) -> None:
        with pytest.raises(PermissionDeniedError, match="does not stand above"):
            teams.create_role(shop, "mighty", permissions, actor="bo")
        teams.create_role(shop, "small", ["projects.read"], actor="bo")
        with pytest.raises(PermissionDeniedError, match="does not stand above"):
            teams.update_role(shop, "small", permissions, actor="bo")

    def test_nobody_changes_a_role_that_is_not_below_them(self, teams, shop) -> None:
        teams.create_role(shop, "lead", ["roles.*", "members.*"], actor="ann")
        teams.change_role(shop, "cy", "lead", actor="ann")
        for attempt in (["roles.*"], ["roles.*", "members.*"]):
            with pytest.raises(PermissionDeniedError):
                teams.update_role(shop, "lead", attempt, actor="cy")
        with pytest.raises(PermissionDeniedError):
            teams.delete_role(shop, "lead", actor="cy")

    def test_a_role_that_somebody_has_or_is_to_have_stays(self, teams, shop, clock) -> None:
        teams.create_role(shop, "lead", ["projects.*"], actor="ann")
        teams.change_role(shop, "cy", "lead", actor="ann")
        with pytest.raises(ConflictError, match="another one first"):
            teams.delete_role(shop, "lead", actor="ann")
        teams.change_role(shop, "cy", "viewer", actor="ann")
        new = teams.invite(shop, "dee@example.com", "lead", actor="ann")
        with pytest.raises(ConflictError):
            teams.delete_role(shop, "lead", actor="ann")
        clock.advance(new.invitation.expires_at - clock())  # nobody can accept it any more
        teams.delete_role(shop, "lead", actor="ann")
        with pytest.raises(NotFoundError, match="is not there"):
            teams.delete_role(shop, "lead", actor="ann")

    @pytest.mark.parametrize("name", [*ROLES, "lead"])
    def test_a_name_is_taken_once(self, teams, shop, name) -> None:
        teams.create_role(shop, "lead", ["projects.read"], actor="ann")
        with pytest.raises(ConflictError, match="already"):
            teams.create_role(shop, name, ["projects.read"], actor="ann")

    @pytest.mark.parametrize("name", list(ROLES))
    def test_the_five_stay_as_they_are(self, teams, shop, name) -> None:
        with pytest.raises(NotFoundError, match="nobody changes"):
            teams.update_role(shop, name, ["projects.read"], actor="ann")

    @pytest.mark.parametrize("name", ["", "A", "a b", "x" * 33, None, 5, "ö"])
    def test_an_odd_name_is_a_clear_error(self, teams, shop, name) -> None:
        with pytest.raises(ConfigurationError, match="a role is named"):
            teams.create_role(shop, name, ["projects.read"], actor="ann")
        with pytest.raises(ConfigurationError, match="a role is named"):
            teams.change_role(shop, "cy", name, actor="ann")


class TestPlaces:
    @pytest.fixture
    def database(self, database_url: str) -> Iterator[Database]:
        """One of the test's own: it looks at all workspaces."""
        with Database(database_url) as database:
            yield database

    def test_a_workspace_has_its_maker_as_owner(self, teams, clock) -> None:
        made = teams.create(name=" Shop ", owner_id="ann", owner_email="ann@example.com")
        assert (made.name, made.role, made.created_at) == ("Shop", "owner", clock())
        assert teams.get(made.id, actor="ann") == made
        assert teams.list("ann") == [made]
        assert teams.list("bo") == []

    def test_the_app_may_choose_an_id_once(self, teams) -> None:
        who = {"name": "A", "owner_id": "ann", "owner_email": "ann@example.com"}
        assert teams.create(**who, workspace="acme").id == "acme"
        with pytest.raises(ConflictError, match="'acme'"):
            teams.create(**who | {"owner_id": "eve"}, workspace="acme")
        assert teams.list("eve") == []

    def test_the_id_of_a_purged_one_is_not_given_again(self, teams, shop) -> None:
        teams.delete(shop, actor="ann")
        teams.purge(shop, actor="ann")
        with pytest.raises(ConflictError):
            teams.create(name="x", owner_id="e", owner_email="e@example.com", workspace=shop)

    def test_a_deleted_one_is_listed_if_asked_for_and_comes_back(self, teams, shop, clock) -> None:
        teams.delete(shop, actor="ann")
        assert teams.list("bo") == []
        assert [each.deleted_at for each in teams.list("bo", deleted=True)] == [clock()]
        with pytest.raises(PermissionDeniedError):
            teams.restore(shop, actor="bo")
        assert teams.restore(shop, actor="ann").deleted_at is None
        assert teams.get(shop, actor="bo").name == "Shop"

    def test_what_is_in_use_is_not_purged(self, teams, shop) -> None:
        with pytest.raises(ConflictError, match="delete"):
            teams.purge(shop, actor="ann")

    def test_housekeeping_purges_after_the_retention(self, teams, shop, clock) -> None:
        teams.delete(shop, actor="ann")
        clock.advance(99)
        assert teams.maintain(clock())["workspaces purged"] == 0
        clock.advance(1)
        assert teams.maintain(clock())["workspaces purged"] == 1
        assert teams.maintain(clock())["workspaces purged"] == 0
        assert teams.list("ann", deleted=True) == []
        with pytest.raises(NotFoundError):
            teams.restore(shop, actor="ann")

    def test_housekeeping_ends_invitations(self, teams, shop, clock) -> None:
        teams.invite(shop, "dee@example.com", "viewer", actor="ann", expires_in=10)
        clock.advance(10)
        assert teams.maintain(clock())["invitations expired"] == 1
        assert teams.audit(shop, actor="ann", limit=1)[0].action == "invitation.expired"

    @pytest.mark.parametrize("odd", ["", " ", "a\0b", "x" * 256, None, 5, "\ud800", " a"])
    def test_odd_ids_are_clear_errors(self, teams, shop, odd) -> None:
        for call in (
            lambda: teams.get(odd, actor="ann"),
            lambda: teams.require("ann", "projects.read", odd),
            lambda: teams.create(name="x", owner_id=odd, owner_email="a@example.com"),
            lambda: teams.create_project(shop, odd, actor="ann"),
            lambda: teams.remove_member(shop, odd, actor="ann"),
        ):
            with pytest.raises(ConfigurationError, match="is a text of 1 to 255"):
                call()

    @pytest.mark.parametrize("odd", [5, b"ann", ["ann"], ""])
    def test_odd_actors_are_clear_errors(self, teams, shop, odd) -> None:
        with pytest.raises(ConfigurationError, match="actor"):
            teams.get(shop, actor=odd)


class TestMembers:
    def test_nobody_promotes_themselves(self, teams, shop) -> None:
        for person, role in (("bo", "owner"), ("cy", "admin"), ("cy", "reviewer")):
            with pytest.raises(PermissionDeniedError, match="nobody promotes themselves"):
                teams.change_role(shop, person, role, actor=person)

    def test_everybody_may_step_down(self, teams, shop) -> None:
        assert teams.change_role(shop, "bo", "developer", actor="bo").role == "developer"
        assert teams.change_role(shop, "cy", "viewer", actor="cy").role == "viewer"

    def test_nobody_touches_an_equal(self, teams, shop) -> None:
        join(teams, shop, "dee", "admin")
        join(teams, shop, "eve", "owner")
        for actor, other in (("bo", "dee"), ("ann", "eve"), ("bo", "ann")):
            with pytest.raises(PermissionDeniedError):
                teams.change_role(shop, other, "viewer", actor=actor)
            with pytest.raises(PermissionDeniedError):
                teams.remove_member(shop, other, actor=actor)

    def test_the_last_owner_stays(self, teams, shop) -> None:
        with pytest.raises(LastOwnerError, match="transfer"):
            teams.leave(shop, actor="ann")
        with pytest.raises(LastOwnerError):
            teams.change_role(shop, "ann", "viewer", actor="ann")
        with pytest.raises(LastOwnerError):
            teams.remove_member(shop, "ann", actor=SYSTEM)

    def test_ownership_is_passed_on(self, teams, shop) -> None:
        teams.transfer_ownership(shop, "cy", actor="ann")
        roles = {each.user_id: each.role for each in teams.members(shop, actor="cy")}
        assert roles == {"ann": "admin", "bo": "admin", "cy": "owner"}
        teams.leave(shop, actor="ann")
        with pytest.raises(ConflictError, match="already"):
            teams.transfer_ownership(shop, "cy", actor="cy")
        with pytest.raises(PermissionDeniedError, match="change_role"):
            teams.transfer_ownership(shop, "bo", actor=SYSTEM)

    def test_who_is_taken_out_is_out_at_once(self, teams, shop, database) -> None:
        elsewhere = Workspaces(database)
        assert elsewhere.allowed("cy", "projects.read", shop)
        teams.remove_member(shop, "cy", actor="bo")
        assert not elsewhere.allowed("cy", "projects.read", shop)
        with pytest.raises(NotFoundError):
            elsewhere.require("cy", "projects.read", shop)

    def test_the_same_role_again_changes_nothing(self, teams, shop) -> None:
        before = len(teams.audit(shop, actor="ann"))
        teams.change_role(shop, "cy", "developer", actor="ann")
        assert len(teams.audit(shop, actor="ann")) == before

    @pytest.mark.parametrize("role", ["boss", "spare"])
    def test_a_role_that_is_not_there_is_unknown(self, teams, shop, role) -> None:
        with pytest.raises(NotFoundError, match="no role"):
            teams.change_role(shop, "cy", role, actor="ann")


class TestForgetting:
    @pytest.fixture
    def database(self, database_url: str) -> Iterator[Database]:
        """One of the test's own: it looks at all workspaces."""
        with Database(database_url) as database:
            yield database

    def test_a_person_is_taken_out_of_every_workspace(self, teams, shop, database) -> None:
        other = teams.create(name="Own", owner_id="cy", owner_email="cy@own.example").id
        teams.create_project(shop, "p", actor="cy", shared=False)
        assert teams.forget(Subject(user="cy")) > 0
        assert teams.list("cy", deleted=True) == []
        assert "cy" not in [each.user_id for each in teams.members(shop, actor="ann")]
        assert "cy" not in repr(teams.projects(shop, actor="ann"))
        assert "cy@" not in everything(database)
        with pytest.raises(NotFoundError):  # nobody else was in it
            teams.get(other, actor=SYSTEM)
        assert teams.restore(other, actor=SYSTEM).name == "Own"

    def test_one_who_left_long_ago_is_forgotten_too(self, teams, shop, database) -> None:
        teams.leave(shop, actor="cy")
        assert "cy@example.com" in everything(database)
        teams.forget(Subject(user="cy"))
        assert "cy@example.com" not in everything(database)
        assert "user:cy" not in everything(database)
        assert all(each.ok for each in teams.verify_audit())

    def test_a_last_owner_with_others_is_told(self, teams, shop) -> None:
        other = teams.create(name="Own", owner_id="ann", owner_email="ann@example.com").id
        with pytest.raises(LastOwnerError) as caught:
            teams.forget(Subject(user="ann"))
        assert caught.value.workspace == shop
        assert [each.id for each in teams.list("ann", deleted=True)] == [shop]
        assert other != shop

    def test_one_tenant_alone(self, teams, shop) -> None:
        other = teams.create(name="B", owner_id="dee", owner_email="dee@example.com").id
        new = teams.invite(other, "cy@example.com", "viewer", actor="dee")
        teams.accept(new.token, user_id="cy")
        teams.forget(Subject(user="cy", workspace=other))
        assert [each.id for each in teams.list("cy")] == [shop]

    def test_an_address_that_never_joined_is_forgotten_too(self, teams, shop, database) -> None:
        teams.invite(shop, "Zed@Example.com", "viewer", actor="ann")
        assert teams.forget(Subject(user="zed@example.com")) > 0
        assert "zed@" not in everything(database).lower()
        assert teams.verify_audit(shop)[0].ok

    def test_a_conversation_is_nobody(self, teams, shop) -> None:
        assert teams.forget(Subject(thread="t")) == 0
        assert len(teams.members(shop, actor="ann")) == 3


def everything(database: Database) -> str:
    """All that is stored of workspaces, as text."""
    from sqlalchemy import select

    from llmops_langchain.storage.schema import TENANT_TABLES

    with database.begin(read_only=True) as connection:
        return repr([connection.execute(select(table)).all() for table in TENANT_TABLES])

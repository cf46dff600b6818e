"""API keys do less than their makers, end when they should, and are nowhere to be read."""

import logging

import pytest
from conftest import FakeClock
from sqlalchemy import select

from llmops_langchain.errors import (
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    StorageError,
)
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import api_keys
from llmops_langchain.workspaces import SYSTEM, Actor, Workspaces
from llmops_langchain.workspaces.tokens import digest, new_token


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


@pytest.fixture
def teams(database: Database, clock: FakeClock) -> Workspaces:
    return Workspaces(database, clock=clock)


@pytest.fixture
def shop(teams: Workspaces) -> str:
    """Ann owns it, Bo is an admin, Cy views, Dee keeps keys; there are two projects."""
    shop = teams.create(name="Shop", owner_id="ann", owner_email="ann@example.com").id
    for person, role in (("bo", "admin"), ("cy", "viewer")):
        new = teams.invite(shop, f"{person}@example.com", role, actor="ann")
        teams.accept(new.token, user_id=person)
    teams.create_role(shop, "keeper", ["keys.*", "projects.read"], actor="ann")
    new = teams.invite(shop, "dee@example.com", "keeper", actor="ann")
    teams.accept(new.token, user_id="dee")
    for project in ("one", "two"):
        teams.create_project(shop, project, actor="ann")
    return shop


def reason(teams: Workspaces, token: object) -> str:
    with pytest.raises(AuthenticationError) as caught:
        teams.authenticate(token)
    return caught.value.reason


def test_a_key_does_what_its_scopes_say_and_no_more(teams, shop) -> None:
    new = teams.create_key(shop, name="ci", scopes=["analytics.*", "projects.read"], actor="bo")
    caller = teams.authenticate(new.token)
    assert (caller.kind, caller.workspace) == ("key", shop)
    assert teams.allowed(caller, "analytics.track", shop)
    assert not teams.allowed(caller, "members.read", shop)
    assert [each.id for each in teams.projects(shop, actor=caller)] == ["one", "two"]


@pytest.mark.parametrize("scopes", [["*"], ["workspace.delete"], ["members.*", "workspace.*"]])
def test_a_key_does_no_more_than_its_maker(teams, shop, scopes) -> None:
    with pytest.raises(PermissionDeniedError, match="no more than its maker"):
        teams.create_key(shop, name="k", scopes=scopes, actor="bo")
    assert teams.create_key(shop, name="k", scopes=scopes, actor="ann")


def test_a_key_shrinks_with_its_maker(teams, shop) -> None:
    new = teams.create_key(shop, name="k", scopes=["members.*", "projects.*"], actor="bo")
    caller = teams.authenticate(new.token)
    assert teams.allowed(caller, "members.invite", shop)
    teams.change_role(shop, "bo", "developer", actor="ann")
    assert not teams.allowed(caller, "members.invite", shop)
    assert teams.allowed(caller, "projects.create", shop)


@pytest.mark.parametrize("how", ["removed", "left"])
def test_a_key_ends_with_its_maker(teams, shop, how) -> None:
    new = teams.create_key(shop, name="k", scopes=["projects.read"], actor="bo")
    caller = teams.authenticate(new.token)
    if how == "removed":
        teams.remove_member(shop, "bo", actor="ann")
    else:
        teams.leave(shop, actor="bo")
    assert reason(teams, new.token) == "revoked"
    with pytest.raises(NotFoundError):
        teams.require(caller, "projects.read", shop)


def test_keys_may_be_handed_over(teams, shop) -> None:
    new = teams.create_key(shop, name="k", scopes=["projects.read"], actor="bo")
    teams.remove_member(shop, "bo", actor="ann", keep_keys=True)
    assert teams.allowed(teams.authenticate(new.token), "projects.read", shop)
    assert teams.keys(shop, actor="ann")[0].made_by == "ann"
    assert "key.handed_over" in [each.action for each in teams.audit(shop, actor="ann")]


def test_a_key_for_one_project_does_nothing_outside_of_it(teams, shop) -> None:
    scopes = ["projects.*", "analytics.*", "budgets.*", "members.*"]
    new = teams.create_key(shop, name="k", scopes=scopes, actor="ann", project="one")
    caller = teams.authenticate(new.token)
    assert caller.project == "one"
    assert teams.allowed(caller, "analytics.track", shop, "one")
    assert not teams.allowed(caller, "analytics.track", shop, "two")
    assert [each.id for each in teams.projects(shop, actor=caller)] == ["one"]
    for call in (
        lambda: teams.require(caller, "analytics.read", shop),
        lambda: teams.members(shop, actor=caller),
        lambda: teams.create_project(shop, "three", actor=caller),
        lambda: teams.remove_member(shop, "cy", actor=caller),
    ):
        with pytest.raises(PermissionDeniedError, match="one project alone"):
            call()
    with pytest.raises(NotFoundError):
        teams.require(caller, "projects.read", shop, "two")


def test_a_key_for_a_hidden_project_sees_it_as_long_as_its_maker_does(teams, shop) -> None:
    teams.create_project(shop, "hidden", actor="ann", shared=False)
    teams.share_project(shop, "hidden", actor="ann", user_id="dee")
    of_ann, of_dee = (
        teams.create_key(shop, name="k", scopes=["projects.read"], actor=who, project="hidden")
        for who in ("ann", "dee")
    )
    callers = [teams.authenticate(each.token) for each in (of_ann, of_dee)]
    assert [teams.allowed(each, "projects.read", shop, "hidden") for each in callers] == [True] * 2
    teams.unshare_project(shop, "hidden", actor="ann", user_id="dee")
    assert [teams.allowed(each, "projects.read", shop, "hidden") for each in callers] == [
        True,
        False,
    ]
    assert [len(teams.projects(shop, actor=each)) for each in callers] == [1, 0]
    with pytest.raises(NotFoundError, match="no project"):
        teams.rotate_key(shop, of_ann.key.id, actor="dee")


def test_an_actor_made_by_hand_frees_a_key_of_nothing(teams, shop) -> None:
    new = teams.create_key(shop, name="k", scopes=["projects.*"], actor="ann", project="one")
    freed = Actor(kind="key", id=str(new.key.id))
    assert not teams.allowed(freed, "projects.read", shop, "two")
    assert not teams.allowed(freed, "projects.create", shop)
    assert not teams.allowed(Actor(kind="key", id="no id"), "projects.read", shop)


def test_a_key_that_a_key_made_ends_no_later_and_belongs_to_the_same_member(teams, shop) -> None:
    scopes = ["keys.create", "projects.read"]
    first = teams.create_key(shop, name="a", scopes=scopes, actor="ann", expires_in=100)
    caller = teams.authenticate(first.token)
    second = teams.create_key(shop, name="b", scopes=["projects.read"], actor=caller)
    assert second.key.expires_at == first.key.expires_at
    assert second.key.made_by == "ann"
    with pytest.raises(PermissionDeniedError):
        teams.create_key(shop, name="c", scopes=["projects.*"], actor=caller)


def test_a_key_of_the_app_itself_needs_no_member(teams, shop) -> None:
    new = teams.create_key(shop, name="boot", scopes=["projects.read"], actor=SYSTEM)
    assert teams.allowed(teams.authenticate(new.token), "projects.read", shop)


class TestEnds:
    def test_by_its_time(self, teams, shop, clock) -> None:
        new = teams.create_key(shop, name="k", scopes=["projects.read"], actor="ann", expires_in=60)
        caller = teams.authenticate(new.token)
        assert teams.allowed(caller, "projects.read", shop)
        clock.advance(60)
        assert reason(teams, new.token) == "expired"
        assert not teams.allowed(caller, "projects.read", shop)

    def test_at_once_when_it_is_revoked_in_every_process(self, teams, shop, database) -> None:
        new = teams.create_key(shop, name="k", scopes=["projects.read"], actor="ann")
        elsewhere = Workspaces(database)
        caller = elsewhere.authenticate(new.token)
        assert elsewhere.allowed(caller, "projects.read", shop)
        teams.revoke_key(shop, str(new.key.id), actor="bo")
        assert not elsewhere.allowed(caller, "projects.read", shop)
        assert reason(elsewhere, new.token) == "revoked"
        teams.revoke_key(shop, new.key.id, actor="bo")  # again: nothing more to do

    def test_a_rotated_one_goes_on_for_its_grace(self, teams, shop, clock) -> None:
        old = teams.create_key(shop, name="k", scopes=["projects.read"], actor="ann")
        new = teams.rotate_key(shop, old.key.id, actor="ann", grace=60)
        assert (new.key.replaces, new.key.scopes) == (old.key.id, old.key.scopes)
        assert teams.authenticate(old.token)
        clock.advance(60)
        assert reason(teams, old.token) == "expired"
        assert teams.authenticate(new.token)

    def test_a_rotated_one_lasts_as_long_as_the_one_before(self, teams, shop, clock) -> None:
        old = teams.create_key(
            shop, name="k", scopes=["projects.read"], actor="ann", expires_in=3600
        )
        clock.advance(1000)
        new = teams.rotate_key(shop, old.key.id, actor="ann")
        assert new.key.expires_at == clock() + 3600
        newer = teams.rotate_key(shop, new.key.id, actor="ann", expires_in=60)
        assert newer.key.expires_at == clock() + 60

    def test_a_key_is_told_what_it_lacks(self, teams, shop) -> None:
        new = teams.create_key(shop, name="k", scopes=["projects.read"], actor="ann")
        with pytest.raises(PermissionDeniedError, match="more scopes"):
            teams.require(teams.authenticate(new.token), "audit.read", shop)

    def test_without_a_grace_the_old_one_ends_now(self, teams, shop) -> None:
        old = teams.create_key(shop, name="k", scopes=["projects.read"], actor="ann")
        teams.rotate_key(shop, old.key.id, actor="ann", grace=0)
        assert reason(teams, old.token) == "expired"

    def test_one_is_rotated_once_and_not_when_it_has_ended(self, teams, shop) -> None:
        old = teams.create_key(shop, name="k", scopes=["projects.read"], actor="ann")
        new = teams.rotate_key(shop, old.key.id, actor="ann")
        with pytest.raises(ConflictError, match="rotated already"):
            teams.rotate_key(shop, old.key.id, actor="ann")
        teams.revoke_key(shop, new.key.id, actor="ann")
        with pytest.raises(ConflictError, match="has ended"):
            teams.rotate_key(shop, new.key.id, actor="ann")

    def test_who_may_not_do_all_of_it_does_not_rotate_it(self, teams, shop) -> None:
        mighty = teams.create_key(shop, name="k", scopes=["*"], actor="ann")
        with pytest.raises(PermissionDeniedError, match="no more than its maker"):
            teams.rotate_key(shop, mighty.key.id, actor="bo")
        assert teams.authenticate(mighty.token)

    def test_a_deleted_project_takes_its_keys_along(self, teams, shop) -> None:
        new = teams.create_key(shop, name="k", scopes=["projects.read"], actor="ann", project="one")
        teams.delete_project(shop, "one", actor="ann")
        assert reason(teams, new.token) == "unknown"


class TestSecrecy:
    def test_the_key_is_stored_as_a_hash(self, teams, shop, database, caplog) -> None:
        with caplog.at_level(logging.DEBUG):
            new = teams.create_key(shop, name="k", scopes=["projects.read"], actor="ann")
            teams.authenticate(new.token)
        asked = select(api_keys).where(api_keys.c.workspace == shop)
        with database.begin(read_only=True) as connection:
            (row,) = connection.execute(asked).all()
        assert row.token_hash == digest(new.token)
        for told in (repr(row), repr(new), repr(teams.keys(shop, actor="ann")), caplog.text):
            assert new.token not in told
        assert new.token not in repr(teams.audit(shop, actor="ann"))
        assert new.token.startswith(new.key.hint)

    @pytest.mark.parametrize("odd", [None, 5, b"", "", "llmops_key_", "\ud800" * 60, "ä" * 60])
    def test_what_is_no_key_is_unknown(self, teams, odd) -> None:
        assert reason(teams, odd) == "unknown"

    def test_a_key_from_a_file_may_end_with_its_line(self, teams, shop) -> None:
        new = teams.create_key(shop, name="k", scopes=["projects.read"], actor="ann")
        assert teams.authenticate(f"{new.token}\n").id == str(new.key.id)

    def test_a_key_that_nobody_made_is_unknown(self, teams) -> None:
        assert reason(teams, new_token("llmops_key_")) == "unknown"

    def test_an_invitation_is_no_key(self, teams, shop) -> None:
        new = teams.invite(shop, "eve@example.com", "viewer", actor="ann")
        assert reason(teams, new.token) == "unknown"


class TestUse:
    def test_it_is_noted_once_a_minute(self, teams, shop, clock) -> None:
        new = teams.create_key(shop, name="k", scopes=["projects.read"], actor="ann")
        used = []
        for _ in range(4):
            teams.authenticate(new.token)
            used.append(teams.keys(shop, actor="ann")[0].last_used_at - 1_800_000_000)
            clock.advance(25)
        assert used == [0, 0, 0, 75]

    def test_a_database_that_takes_no_note_keeps_nobody_out(self, teams, shop, monkeypatch) -> None:
        new = teams.create_key(shop, name="k", scopes=["projects.read"], actor="ann")
        begin = teams._tenants.begin

        def read_only_alone(*, read_only: bool = False, **claims):
            if not read_only:
                raise StorageError
            return begin(read_only=read_only, **claims)

        monkeypatch.setattr(teams._tenants, "begin", read_only_alone)
        assert teams.authenticate(new.token).kind == "key"


@pytest.mark.parametrize(
    ("named", "match"),
    [
        ({"name": ""}, "name"),
        ({"scopes": "projects.read"}, "list of texts"),
        ({"scopes": ["projects.fly"]}, "fits no permission"),
        ({"expires_in": 0}, "seconds"),
        ({"expires_in": float("nan")}, "seconds"),
        ({"expires_in": True}, "seconds"),
    ],
)
def test_odd_arguments_are_clear_errors(teams, shop, named, match) -> None:
    given = {"name": "k", "scopes": ["projects.read"], **named}
    with pytest.raises(ConfigurationError, match=match):
        teams.create_key(shop, actor="ann", **given)


@pytest.mark.parametrize("odd", ["no id", None, 5, "00000000-0000-0000-0000-000000000000"])
def test_a_key_that_is_not_there_is_unknown(teams, shop, odd) -> None:
    for call in (teams.revoke_key, teams.rotate_key):
        with pytest.raises(NotFoundError, match="no key"):
            call(shop, odd, actor="ann")
    with pytest.raises(NotFoundError, match="no such invitation"):
        teams.revoke_invitation(shop, odd, actor="ann")

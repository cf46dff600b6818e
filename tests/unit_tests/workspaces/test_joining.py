# ruff: noqa: RUF001 - letters that look like others are what is tested
"""Who is invited joins once, as what the inviter may still give, and nobody poses as another."""

import logging

import pytest
from conftest import FakeClock
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from llmops_langchain.errors import (
    ConfigurationError,
    ConflictError,
    InvitationError,
    NotFoundError,
    PermissionDeniedError,
)
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import invitations
from llmops_langchain.workspaces import SYSTEM, Workspaces
from llmops_langchain.workspaces.emails import address
from llmops_langchain.workspaces.tokens import HINT, digest, is_whole, new_token


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


@pytest.fixture
def teams(database: Database, clock: FakeClock) -> Workspaces:
    return Workspaces(database, clock=clock)


@pytest.fixture
def shop(teams: Workspaces) -> str:
    return teams.create(name="Shop", owner_id="ann", owner_email="ann@example.com").id


def join(teams: Workspaces, shop: str, person: str, role: str, actor: str = "ann") -> None:
    new = teams.invite(shop, f"{person}@example.com", role, actor=actor)
    teams.accept(new.token, user_id=person)


def reason(call) -> str:
    with pytest.raises(InvitationError) as caught:
        call()
    return caught.value.reason


class TestInviting:
    def test_who_accepts_is_a_member_as_what_was_said(self, teams, shop, clock) -> None:
        new = teams.invite(shop, "Bo@Example.com", "developer", actor="ann")
        clock.advance(5)
        member = teams.accept(new.token, user_id="bo", email="bo@example.com")
        assert (member.user_id, member.email, member.role) == ("bo", "Bo@example.com", "developer")
        assert teams.members(shop, actor="bo")[-1] == member
        assert [each.status for each in teams.invitations(shop, actor="ann")] == ["accepted"]

    def test_a_token_works_once(self, teams, shop) -> None:
        token = teams.invite(shop, "bo@example.com", "viewer", actor="ann").token
        teams.accept(token, user_id="bo")
        assert reason(lambda: teams.accept(token, user_id="eve")) == "accepted"
        assert reason(lambda: teams.decline(token)) == "accepted"

    def test_a_token_ends_with_its_time(self, teams, shop, clock) -> None:
        token = teams.invite(shop, "bo@example.com", "viewer", actor="ann", expires_in=60).token
        clock.advance(60)
        assert reason(lambda: teams.accept(token, user_id="bo")) == "expired"
        assert teams.invitations(shop, actor="ann")[0].status == "expired"

    def test_a_new_invitation_ends_the_one_before(self, teams, shop) -> None:
        first = teams.invite(shop, "bo@example.com", "admin", actor="ann").token
        second = teams.invite(shop, "BO@example.com", "viewer", actor="ann").token
        assert reason(lambda: teams.accept(first, user_id="bo")) == "revoked"
        assert teams.accept(second, user_id="bo").role == "viewer"

    def test_who_declines_does_not_join(self, teams, shop) -> None:
        token = teams.invite(shop, "bo@example.com", "viewer", actor="ann").token
        teams.decline(token, user_id="bo")
        assert reason(lambda: teams.accept(token, user_id="bo")) == "declined"
        assert len(teams.members(shop, actor="ann")) == 1

    def test_a_revoked_one_is_over(self, teams, shop) -> None:
        new = teams.invite(shop, "bo@example.com", "viewer", actor="ann")
        teams.revoke_invitation(shop, str(new.invitation.id), actor="ann")
        assert reason(lambda: teams.accept(new.token, user_id="bo")) == "revoked"
        again = lambda: teams.revoke_invitation(shop, new.invitation.id, actor="ann")  # noqa: E731
        assert reason(again) == "revoked"

    def test_an_address_that_is_known_to_be_another_is_refused(self, teams, shop) -> None:
        token = teams.invite(shop, "bo@example.com", "viewer", actor="ann").token
        eve = lambda: teams.accept(token, user_id="eve", email="eve@example.com")  # noqa: E731
        assert reason(eve) == "address"
        assert teams.accept(token, user_id="bo", email="bo@example.com")

    def test_who_is_a_member_is_not_invited(self, teams, shop) -> None:
        with pytest.raises(ConflictError, match="is a member"):
            teams.invite(shop, "ANN@example.com", "viewer", actor="ann")

    def test_a_member_does_not_join_twice(self, teams, shop) -> None:
        token = teams.invite(shop, "ann@other.example", "viewer", actor="ann").token
        with pytest.raises(ConflictError, match="already"):
            teams.accept(token, user_id="ann")
        assert teams.get(shop, actor="ann").role == "owner"

    @pytest.mark.parametrize("change", ["removed", "demoted"])
    def test_who_may_not_invite_any_more_lets_nobody_in(self, teams, shop, change) -> None:
        join(teams, shop, "bo", "admin")
        token = teams.invite(shop, "eve@example.com", "developer", actor="bo").token
        if change == "removed":
            teams.remove_member(shop, "bo", actor="ann")
        else:
            teams.change_role(shop, "bo", "viewer", actor="ann")
        assert reason(lambda: teams.accept(token, user_id="eve")) == "revoked"

    @pytest.mark.parametrize("role", ["owner", "admin"])
    def test_nobody_gives_what_is_not_below_them(self, teams, shop, role) -> None:
        join(teams, shop, "bo", "admin")
        with pytest.raises(PermissionDeniedError, match="does not stand above"):
            teams.invite(shop, "cy@example.com", role, actor="bo")

    def test_an_owner_and_the_app_may_make_owners(self, teams, shop) -> None:
        join(teams, shop, "bo", "owner")
        new = teams.invite(shop, "cy@example.com", "owner", actor=SYSTEM)
        assert teams.accept(new.token, user_id="cy").role == "owner"

    def test_a_deleted_workspace_takes_nobody_in(self, teams, shop) -> None:
        token = teams.invite(shop, "bo@example.com", "viewer", actor="ann").token
        teams.delete(shop, actor="ann")
        with pytest.raises(NotFoundError) as caught:
            teams.accept(token, user_id="bo")
        assert shop not in str(caught.value)


class TestDelivery:
    def test_a_function_brings_it(self, teams, shop) -> None:
        brought = []
        teams.on_invitation(brought.append)
        new = teams.invite(shop, "bo@example.com", "viewer", actor="ann")
        assert new.delivered
        assert [(each.token, each.workspace_name) for each in brought] == [(new.token, "Shop")]

    def test_one_that_fails_leaves_the_invitation(self, teams, shop, caplog) -> None:
        @teams.on_invitation
        def broken(new) -> None:
            raise OSError(new.token)

        with caplog.at_level(logging.WARNING):
            new = teams.invite(shop, "bo@example.com", "viewer", actor="ann")
        assert not new.delivered
        assert new.token not in caplog.text
        assert "OSError" in caplog.text
        assert teams.accept(new.token, user_id="bo")

    def test_several_are_called_in_turn(self, teams, shop) -> None:
        brought = []
        for name in ("mail", "chat"):
            teams.on_invitation(lambda _, name=name: brought.append(name))
        assert teams.invite(shop, "bo@example.com", "viewer", actor="ann").delivered
        assert brought == ["mail", "chat"]

    def test_a_coroutine_is_refused(self, teams) -> None:
        async def deliver(_) -> None: ...

        with pytest.raises(ConfigurationError, match="plain function"):
            teams.on_invitation(deliver)


class TestTokens:
    def test_a_token_is_shown_once_and_stored_as_a_hash(self, teams, shop, database) -> None:
        new = teams.invite(shop, "bo@example.com", "viewer", actor="ann")
        asked = select(invitations).where(invitations.c.workspace == shop)
        with database.begin(read_only=True) as connection:
            (row,) = connection.execute(asked).all()
        assert row.token_hash == digest(new.token)
        assert new.token not in repr(row)
        assert new.token not in repr(new)
        assert new.token not in repr(teams.audit(shop, actor="ann"))

    @given(st.text())
    def test_no_other_text_is_a_token(self, text) -> None:
        assert not is_whole("llmops_inv_", text)
        assert not is_whole("llmops_inv_", "llmops_inv_" + text)

    @given(st.integers(0, 59), st.sampled_from("0aZ"))
    def test_a_typo_is_found_without_the_database(self, at, letter) -> None:
        token = new_token("llmops_key_")
        typo = token[:at] + letter + token[at + 1 :]
        assert is_whole("llmops_key_", typo) == (typo == token)

    def test_two_are_never_the_same_and_tell_little(self) -> None:
        made = {new_token("llmops_key_") for _ in range(1000)}
        assert len(made) == 1000
        assert {len(each) for each in made} == {60}
        assert HINT < 20

    @pytest.mark.parametrize("odd", [None, b"", 5, "", "llmops_inv_x", "\ud800" * 60])
    def test_odd_tokens_are_unknown(self, teams, odd) -> None:
        with pytest.raises(NotFoundError, match="no such invitation"):
            teams.accept(odd, user_id="bo")


class TestAddresses:
    @pytest.mark.parametrize(
        ("one", "another"),
        [
            ("Ann@Example.com", "ann@example.COM"),
            ("jörg@müller.de", "JÖRG@xn--mller-kva.de"),
            ("ﬁn@example.com", "fin@example.com"),
            ("jo\u0308rg@example.com", "jörg@example.com"),
        ],
    )
    def test_spellings_of_one_address_are_one(self, one, another) -> None:
        assert address(one).key == address(another).key

    @pytest.mark.parametrize(
        ("real", "posing"),
        [
            ("paypal@example.com", "раураӏ@example.com"),
            ("coco@example.com", "сосо@example.com"),
            ("jorg@example.com", "jörg@example.com"),
        ],
    )
    def test_what_looks_like_a_member_is_not_invited(self, teams, shop, real, posing) -> None:
        teams.accept(teams.invite(shop, real, "viewer", actor="ann").token, user_id="bo")
        assert address(real).key != address(posing).key
        with pytest.raises(ConflictError, match="looks like"):
            teams.invite(shop, posing, "viewer", actor="ann")

    @pytest.mark.parametrize(
        "odd",
        [
            *("", "ann", "ann@", "@example.com", "ann@localhost", "a b@example.com", None, 5),
            *("ann@example.com\n", "ann\u200b@example.com", "аnn@example.com", "a@ехаmple.com"),
            *("x" * 255 + "@example.com", "a@b@example.com", "\ud800@example.com"),
        ],
    )
    def test_what_is_no_address_is_a_clear_error(self, teams, shop, odd) -> None:
        with pytest.raises(ConfigurationError, match="email"):
            teams.invite(shop, odd, "viewer", actor="ann")

    @pytest.mark.parametrize("real", ["用户@例子.广告", "админ@пример.рф", "たろう@example.jp"])
    def test_addresses_of_other_scripts_are_addresses(self, real) -> None:
        assert address(real).key

"""What is done and refused is recorded, read, exported, anchored, and without secrets."""

from pathlib import Path

import orjson
import pytest
from conftest import FakeClock
from hypothesis import given
from hypothesis import strategies as st
from unit_tests.workspaces.chains import KEY, history

from llmops_langchain.errors import (
    AuditError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
)
from llmops_langchain.storage import Database
from llmops_langchain.workspaces import (
    SYSTEM,
    Workspaces,
    anchors_of_lines,
    anchors_to_file,
    keys_of_file,
    write_new_key,
)
from llmops_langchain.workspaces.chain import Link, expected_hash
from llmops_langchain.workspaces.redaction import redacted
from llmops_langchain.workspaces.signing import AuditKeys


@pytest.fixture
def teams(database: Database, clock: FakeClock) -> Workspaces:
    return Workspaces(database, audit_keys=[KEY], clock=clock)


@pytest.fixture
def shop(teams: Workspaces) -> str:
    return history(teams)


class TestReading:
    def test_each_change_tells_who_did_what_to_whom(self, teams, shop) -> None:
        entries = teams.audit(shop, actor="ann")
        told = [(e.seq, e.actor_kind, e.actor, e.action, e.target) for e in entries[1:8:5]]
        assert told == [
            (8, "user", "ann", "member.role_changed", "bo"),
            (3, "user", "ann", "member.invited", "bo@example.com"),
        ]
        assert (entries[1].before, entries[1].after) == (
            {"role": "developer"},
            {"role": "reviewer"},
        )
        assert {each.actor_kind for each in entries} == {"user", "key", "system"}

    def test_pages_follow_each_other(self, teams, shop) -> None:
        first = teams.audit(shop, actor="ann", limit=4)
        second = teams.audit(shop, actor="ann", limit=1000, before=first[-1].seq)
        assert [each.seq for each in [*first, *second]] == [*range(9, 0, -1)]

    @pytest.mark.parametrize("limit", [0, -1, 1001])
    def test_a_page_has_a_sensible_size(self, teams, shop, limit) -> None:
        with pytest.raises(ConfigurationError, match="limit"):
            teams.audit(shop, actor="ann", limit=limit)

    def test_a_refusal_is_recorded_once_a_minute_with_its_number(self, teams, shop, clock) -> None:
        for seconds in (0, 20, 20, 30):
            clock.advance(seconds)
            with pytest.raises(PermissionDeniedError):
                teams.require("bo", "members.invite", shop)
        refused = teams.audit(shop, actor="ann", action="access.denied")
        assert [(each.actor, each.target, each.after["times"]) for each in refused] == [
            ("bo", "members.invite", 3),
            ("bo", "members.invite", 1),
        ]

    def test_a_stranger_leaves_no_entry(self, teams, shop) -> None:
        with pytest.raises(NotFoundError):
            teams.require("eve", "projects.read", shop)
        assert teams.audit(shop, actor="ann", action="access.denied") == []


class TestRecording:
    def test_an_app_adds_to_the_same_chain(self, teams, shop) -> None:
        teams.record(shop, "prompt.published", actor="bo", target=("prompt", "p1"))
        newest = teams.audit(shop, actor="ann", limit=1)[0]
        assert (newest.action, newest.target_kind, newest.target) == (
            "app.prompt.published",
            "prompt",
            "p1",
        )
        assert teams.verify_audit(shop)[0].ok

    def test_secrets_are_taken_out(self, teams, shop) -> None:
        key = teams.create_key(shop, name="x", scopes=["audit.read"], actor="ann").token
        teams.record(
            shop, "set", actor="ann", after={"api_key": "abc", "text": f"use {key} now", "n": 1}
        )
        said = teams.audit(shop, actor="ann", limit=1)[0].after
        assert said == {"api_key": "[redacted]", "text": "use [redacted] now", "n": 1}

    def test_an_entry_is_bounded(self, teams, shop) -> None:
        with pytest.raises(ConfigurationError, match="16,384"):
            teams.record(shop, "set", actor="ann", after={"text": "x" * 20_000})

    @pytest.mark.parametrize("odd", ["p1", ("a",), ("a", "b", "c"), ("", "x"), (1, 2), "xyz"])
    def test_an_odd_target_is_a_clear_error(self, teams, shop, odd) -> None:
        with pytest.raises(ConfigurationError, match="target"):
            teams.record(shop, "did", actor="ann", target=odd)

    @pytest.mark.parametrize("odd", ["hello", 5, [1]])
    def test_odd_values_are_a_clear_error(self, teams, shop, odd) -> None:
        with pytest.raises(ConfigurationError, match="dicts"):
            teams.record(shop, "did", actor="ann", after=odd)

    def test_what_is_no_json_is_refused(self, teams, shop) -> None:
        with pytest.raises(AuditError, match="JSON"):
            teams.record(shop, "set", actor="ann", after={"when": object()})
        assert teams.verify_audit(shop)[0].ok

    def test_a_viewer_records_nothing(self, teams, shop) -> None:
        teams.change_role(shop, "bo", "viewer", actor="ann")
        with pytest.raises(PermissionDeniedError):
            teams.record(shop, "set", actor="bo")

    @pytest.mark.parametrize("odd", ["", "a\0b", "\ud800", "x" * 300, None])
    def test_an_odd_action_is_a_clear_error(self, teams, shop, odd) -> None:
        with pytest.raises(ConfigurationError, match="action"):
            teams.record(shop, odd, actor="ann")

    @pytest.mark.parametrize("text", ["naïve 🙂", "\u2028", '"quoted"', "a\x00b"])
    def test_any_text_comes_back_as_it_was(self, teams, shop, text) -> None:
        teams.record(shop, "said", actor="ann", after={"text": text})
        assert teams.audit(shop, actor="ann", limit=1)[0].after == {"text": text}
        assert teams.verify_audit(shop)[0].ok


class TestRedaction:
    @pytest.mark.parametrize(
        "name", ["password", "db_password", "Secret", "client-secret", "apiKey", "access_token"]
    )
    def test_values_of_secret_names_go(self, name) -> None:
        assert redacted({name: "x", "in": {name: ["x", {"deep": 1}]}}) == {
            name: "[redacted]",
            "in": {name: "[redacted]"},
        }

    @pytest.mark.parametrize("name", ["input_tokens", "max_tokens", "token_count", "author", "key"])
    def test_other_names_stay(self, name) -> None:
        assert redacted({name: 5}) == {name: 5}

    @pytest.mark.parametrize(
        "secret",
        [
            "sk-proj-abcdefghijklmnop1234",
            "sk-ant-api03-abcdefghijklmnop",
            "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
            "AKIAABCDEFGHIJKLMNOP",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln",
            "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
        ],
    )
    def test_secrets_in_texts_go(self, secret) -> None:
        assert redacted({"text": f"a {secret} b"}) == {"text": "a [redacted] b"}

    def test_the_password_of_a_url_goes(self) -> None:
        said = redacted({"url": "postgresql://me:hunter2@db/x"})
        assert said == {"url": "postgresql://[redacted]@db/x"}

    def test_too_deep_is_a_clear_error(self) -> None:
        deep: dict[str, object] = {}
        for _ in range(10):
            deep = {"in": deep}
        with pytest.raises(ConfigurationError, match="deep"):
            redacted(deep)


class TestExport:
    def test_each_line_proves_itself(self, teams, shop) -> None:
        lines = [orjson.loads(each) for each in teams.export_audit(shop, actor="ann")]
        keys = AuditKeys([KEY])
        for each in lines:
            stored = {name: each[name] for name in Link.__dataclass_fields__}
            for name in ("previous", "hash"):
                stored[name] = bytes.fromhex(stored[name])
            assert expected_hash(Link(**stored), keys) == stored["hash"]
        assert [each["seq"] for each in lines] == [*range(1, 11)]
        assert (lines[7]["actor_name"], lines[7]["target_name"]) == ("ann", "bo")
        assert lines[-1]["action"] == "audit.exported"

    def test_who_may_only_read_may_not_export(self, teams, shop) -> None:
        teams.create_role(shop, "auditor", ["audit.read"], actor="ann")
        teams.change_role(shop, "bo", "auditor", actor="ann")
        assert teams.audit(shop, actor="bo")
        with pytest.raises(PermissionDeniedError):
            teams.export_audit(shop, actor="bo")

    def test_what_a_purged_one_left_is_exported_by_the_app_alone(self, teams, shop) -> None:
        teams.delete(shop, actor="ann")
        teams.purge(shop, actor="ann")
        lines = [*teams.export_audit(shop, actor=SYSTEM)]
        assert orjson.loads(lines[-1])["action"] == "workspace.purged"
        assert teams.verify_audit(shop)[0].entries == len(lines)
        with pytest.raises(NotFoundError):
            teams.export_audit(shop, actor="ann")
        with pytest.raises(NotFoundError):
            teams.export_audit("never", actor=SYSTEM)

    async def test_asyncio_reads_the_same(self, teams, shop) -> None:
        lines = [each async for each in teams.aexport_audit(shop, actor="ann")]
        assert [orjson.loads(each)["seq"] for each in lines] == [*range(1, 11)]

    def test_a_long_log_is_read_in_pages(self, teams, shop, monkeypatch) -> None:
        monkeypatch.setattr("llmops_langchain.workspaces.audits._PAGE", 3)
        monkeypatch.setattr("llmops_langchain.workspaces.trail._AT_ONCE", 2)
        lines = [*teams.export_audit(shop, actor="ann")]
        assert [orjson.loads(each)["seq"] for each in lines] == [*range(1, 11)]
        assert teams.verify_audit(shop)[0].ok


class TestAnchors:
    def test_housekeeping_hands_out_the_ends_that_grew(self, teams, shop, clock) -> None:
        taken = []
        teams.on_anchor(taken.extend)
        assert teams.maintain(clock())["chains anchored"] == 1
        assert teams.maintain(clock())["chains anchored"] == 0
        teams.update(shop, name="Markets", actor="ann")
        assert teams.maintain(clock())["chains anchored"] == 1
        assert [each.seq for each in taken] == [9, 10]
        assert teams.verify_audit(shop, anchors=taken)[0].anchors == 2

    @pytest.mark.usefixtures("shop")
    def test_an_anchor_that_nobody_took_is_given_again(self, teams, clock) -> None:
        @teams.on_anchor
        def away(_) -> None:
            raise OSError

        assert teams.maintain(clock())["anchors refused"] == 1
        teams._takers.clear()
        taken = []
        teams.on_anchor(taken.extend)
        teams.maintain(clock())
        assert [each.seq for each in taken] == [9]

    def test_all_who_take_them_get_them(self, teams, shop, clock, tmp_path) -> None:
        taken, path = [], tmp_path / "anchors.jsonl"
        teams.on_anchor(anchors_to_file(path))
        teams.on_anchor(taken.extend)
        teams.maintain(clock())
        assert anchors_of_lines(path.read_text()) == taken
        assert [each.workspace for each in taken] == [shop]

    def test_they_go_to_a_file_and_come_back(self, teams, shop, tmp_path, clock) -> None:
        path = tmp_path / "anchors.jsonl"
        teams.on_anchor(anchors_to_file(path))
        teams.maintain(clock())
        teams.update(shop, name="Markets", actor="ann")
        teams.maintain(clock())
        found = anchors_of_lines(path.read_text())
        assert [each.seq for each in found] == [9, 10]
        assert teams.verify_audit(shop, anchors=found)[0].ok

    def test_a_line_that_is_none_is_named(self) -> None:
        with pytest.raises(ConfigurationError, match="line 2"):
            anchors_of_lines('\n{"workspace": "a"}\n')

    @pytest.mark.parametrize("wrong", [None, 3])
    def test_what_cannot_be_called_takes_none(self, teams, wrong) -> None:
        with pytest.raises(ConfigurationError):
            teams.on_anchor(wrong)


class TestKeys:
    def test_a_new_key_goes_in_front_in_a_file_of_its_owner(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.key"
        first, second = write_new_key(path), write_new_key(path)
        assert path.stat().st_mode & 0o777 == 0o600
        assert AuditKeys(keys_of_file(path)).signing == second
        assert first in AuditKeys(keys_of_file(path))

    def test_a_key_that_others_may_read_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.key"
        write_new_key(path)
        path.chmod(0o640)
        with pytest.raises(ConfigurationError, match="chmod 600"):
            keys_of_file(path)

    def test_a_file_without_a_key_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "audit.key"
        path.touch(mode=0o600)
        with pytest.raises(ConfigurationError, match="holds no key"):
            keys_of_file(path)
        with pytest.raises(ConfigurationError, match="cannot be read"):
            keys_of_file(tmp_path / "nothing")
        with pytest.raises(ConfigurationError, match="cannot be written"):
            write_new_key(tmp_path / "no folder" / "audit.key")

    @given(st.text(min_size=32), st.text(min_size=32))
    def test_a_key_is_known_by_its_id(self, one, another) -> None:
        keys = AuditKeys([one, another])
        assert keys.signing in keys
        assert AuditKeys([another]).signing in keys


def test_the_app_itself_needs_no_membership(teams, shop) -> None:
    assert teams.audit(shop, actor=SYSTEM, limit=1)[0].actor == ""

"""Whatever is done to the audit log past this package is found, and where it was done."""

from dataclasses import replace

import pytest
from conftest import FakeClock
from sqlalchemy import delete, insert, select, text, update
from unit_tests.workspaces.chains import KEY, OLD_KEY, altered, history, intruder, overwrite, rows

from llmops_langchain.errors import AuditError, ConfigurationError, NotFoundError
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Subject
from llmops_langchain.storage.schema import audit_log, audit_people, workspaces
from llmops_langchain.workspaces import SYSTEM, Workspaces
from llmops_langchain.workspaces.chain import START, Head, linked
from llmops_langchain.workspaces.signing import AuditKeys

COLUMNS = [each.name for each in audit_log.c]


@pytest.fixture
def database(shared_database: Database) -> Database:
    return shared_database


@pytest.fixture
def teams(database: Database, clock: FakeClock) -> Workspaces:
    return Workspaces(database, audit_keys=[KEY], clock=clock)


@pytest.fixture
def shop(teams: Workspaces) -> str:
    return history(teams)


def places(teams: Workspaces, shop: str, **given) -> list[tuple[int, str]]:
    """Number and kind of each finding."""
    (report,) = teams.verify_audit(shop, **given)
    return [(each.seq, each.kind) for each in report.findings]


def test_a_chain_that_nobody_touched_is_as_it_was_written(teams, shop) -> None:
    (report,) = teams.verify_audit(shop)
    assert report.ok
    assert (report.entries, report.signed) == (9, 9)


@pytest.mark.parametrize("column", COLUMNS)
def test_each_column_of_each_row_is_found_at_its_place(teams, shop, database, column) -> None:
    for row in rows(database, shop):
        changed = {column: altered(row[column])}
        overwrite(database, row, **changed)
        found = [seq for seq, _ in places(teams, shop)]
        overwrite(database, row | changed, **{column: row[column]})
        assert found[0] == row["seq"]
        # A row that was given another number is missed here, and out of place there.
        assert set(found) == {row["seq"]} or column == "seq"
    assert places(teams, shop) == []


def test_values_of_another_type_are_found(opened, clock) -> None:
    """SQLite takes a text for a number."""
    database = opened("sqlite_file")
    teams = Workspaces(database, audit_keys=[KEY], clock=clock)
    shop = history(teams)
    row = rows(database, shop)[4]
    for column in ("ts", "previous", "hash", "seq"):
        name = "'what?'" if column != "ts" else "x'00'"
        with intruder(database) as connection:
            sql = f"UPDATE llmops_audit_log SET {column} = {name} WHERE workspace = :w AND seq = 5"  # noqa: S608 - a constant
            connection.execute(text(sql), {"w": shop})
        assert {seq for seq, _ in places(teams, shop)} == {5}, column
        with intruder(database) as connection:
            gone = (audit_log.c.workspace == shop, audit_log.c.action == row["action"])
            connection.execute(delete(audit_log).where(*gone))
            connection.execute(insert(audit_log).values(row))
    assert places(teams, shop) == []


@pytest.mark.parametrize("seq", [1, 5, 9])
def test_a_row_that_is_gone_is_missed(teams, shop, database, seq) -> None:
    with intruder(database) as connection:
        gone = (audit_log.c.workspace == shop, audit_log.c.seq == seq)
        connection.execute(delete(audit_log).where(*gone))
    assert places(teams, shop) == [(seq, "cut" if seq == 9 else "missing")]


def test_a_forged_row_at_the_end_is_found_without_the_key(teams, shop, database) -> None:
    last = rows(database, shop)[-1]
    forged = linked(
        Head(last["seq"], last["hash"]),
        AuditKeys(["f" * 32]),
        **{name: last[name] for name in COLUMNS if name not in _SEALED},
    )
    with intruder(database) as connection:
        connection.execute(insert(audit_log).values(forged.values()))
        head = {"audit_seq": forged.seq, "audit_hash": forged.hash}
        connection.execute(update(workspaces).where(workspaces.c.id == shop).values(head))
    assert places(teams, shop) == [(10, "unsigned")]


def test_a_row_behind_the_end_is_found(teams, shop, database) -> None:
    row = rows(database, shop)[-1] | {"seq": 12}
    with intruder(database) as connection:
        connection.execute(insert(audit_log).values(row))
    assert {seq for seq, _ in places(teams, shop)} == {10, 12}


def test_unsigned_rows_after_signed_ones_are_found(teams, shop, database) -> None:
    last = rows(database, shop)[-1]
    plain = linked(
        Head(last["seq"], last["hash"]),
        AuditKeys(),
        **{name: last[name] for name in COLUMNS if name not in _SEALED},
    )
    with intruder(database) as connection:
        connection.execute(insert(audit_log).values(plain.values()))
        head = {"audit_seq": plain.seq, "audit_hash": plain.hash}
        connection.execute(update(workspaces).where(workspaces.c.id == shop).values(head))
    assert places(teams, shop) == [(10, "unsigned")]


_SEALED = ("seq", "key_id", "previous", "hash")


def cut_the_end(database: Database, shop: str, *, left: int) -> None:
    """Take the newest rows away so that nothing inside of the database tells of them."""
    kept = rows(database, shop)[left - 1]
    with intruder(database) as connection:
        gone = (audit_log.c.workspace == shop, audit_log.c.seq > left)
        connection.execute(delete(audit_log).where(*gone))
        head = {"audit_seq": left, "audit_hash": kept["hash"]}
        connection.execute(update(workspaces).where(workspaces.c.id == shop).values(head))


def test_a_cut_end_shows_by_an_anchor_and_by_nothing_else(teams, shop, database) -> None:
    (anchor,) = [each for each in teams.anchors() if each.workspace == shop]
    cut_the_end(database, shop, left=6)
    assert [kind for _, kind in places(teams, shop) if kind != "unnamed"] == []
    assert (7, "cut") in places(teams, shop, anchors=[anchor])


def test_a_chain_written_anew_with_the_key_shows_by_an_anchor(teams, shop, database) -> None:
    (anchor,) = [each for each in teams.anchors() if each.workspace == shop]
    rewritten(database, shop, AuditKeys([KEY]))
    assert places(teams, shop) == []
    assert places(teams, shop, anchors=[anchor]) == [(9, "anchor")]


def rewritten(database: Database, shop: str, keys: AuditKeys) -> None:
    """Write a whole chain anew, with another time in each entry."""
    head, stored = Head(0, START), rows(database, shop)
    with intruder(database) as connection:
        connection.execute(delete(audit_log).where(audit_log.c.workspace == shop))
        for row in stored:
            bare = {name: row[name] for name in COLUMNS if name not in _SEALED}
            new = linked(head, keys, **bare | {"ts": row["ts"] + 1})
            connection.execute(insert(audit_log).values(new.values()))
            head = Head(new.seq, new.hash)
        values = {"audit_seq": head.seq, "audit_hash": head.hash, "audit_key": keys.signing}
        connection.execute(update(workspaces).where(workspaces.c.id == shop).values(values))


def test_a_chain_written_anew_without_the_key_is_not_taken_for_proved(
    teams, shop, database
) -> None:
    rewritten(database, shop, AuditKeys())
    (report,) = teams.verify_audit(shop)
    assert not report.ok
    assert [(each.seq, each.kind) for each in report.findings] == [(1, "unproved")]
    teams.update(shop, name="Markets", actor="ann")
    assert not teams.verify_audit(shop)[0].ok


def test_a_chain_that_was_emptied_is_found(teams, shop, database) -> None:
    with intruder(database) as connection:
        connection.execute(delete(audit_log).where(audit_log.c.workspace == shop))
        head = {"audit_seq": 0, "audit_hash": START, "audit_key": ""}
        connection.execute(update(workspaces).where(workspaces.c.id == shop).values(head))
    assert places(teams, shop) == [(1, "cut")]


def test_a_note_that_silences_anchors_is_found_and_does_not(teams, shop, database, clock) -> None:
    with intruder(database) as connection:
        theirs = update(workspaces).where(workspaces.c.id == shop)
        connection.execute(theirs.values(anchored_seq=10**9))
    assert places(teams, shop) == [(10, "cut")]
    taken = []
    teams.on_anchor(taken.extend)
    teams.maintain(clock())
    assert [each.seq for each in taken if each.workspace == shop] == [9]


def test_an_anchor_goes_on_to_fit_as_the_chain_grows(teams, shop) -> None:
    (anchor,) = [each for each in teams.anchors() if each.workspace == shop]
    teams.update(shop, name="Markets", actor="ann")
    (report,) = teams.verify_audit(shop, anchors=[anchor])
    assert (report.ok, report.anchors) == (True, 1)


def test_a_log_that_is_gone_with_its_workspace_shows_by_an_anchor(teams, shop) -> None:
    (anchor,) = [each for each in teams.anchors() if each.workspace == shop]
    anchor = replace(anchor, workspace="gone")
    assert places(teams, "gone", anchors=[anchor]) == [(1, "cut")]
    assert not all(each.ok for each in teams.verify_audit(anchors=[anchor]))


@pytest.mark.usefixtures("shop")
def test_a_workspace_that_never_was_cannot_be_verified(teams) -> None:
    with pytest.raises(NotFoundError):
        teams.verify_audit("never there", anchors=teams.anchors())


def test_another_name_behind_a_pseudonym_is_found(teams, shop, database) -> None:
    with intruder(database) as connection:
        theirs = (audit_people.c.workspace == shop, audit_people.c.name == "user:bo")
        connection.execute(update(audit_people).where(*theirs).values(name="user:eve"))
    assert [kind for _, kind in places(teams, shop)] == ["renamed"]


def test_a_name_that_nobody_erased_is_missed(teams, shop, database) -> None:
    with database.begin() as connection:
        theirs = (audit_people.c.workspace == shop, audit_people.c.name == "user:bo")
        connection.execute(delete(audit_people).where(*theirs))
    assert [kind for _, kind in places(teams, shop)] == ["unnamed"]


def test_a_person_is_erased_and_the_chain_holds(teams, shop, database) -> None:
    before = rows(database, shop)
    assert teams.forget(Subject(user="bo", workspace=shop)) > 0
    assert rows(database, shop)[: len(before)] == before
    assert places(teams, shop) == []
    entries = teams.audit(shop, actor="ann", limit=1000)
    assert "bo" not in repr(entries)
    assert [each.target for each in entries if each.action == "member.role_changed"] == [None]


def test_who_was_erased_and_comes_back_is_somebody_new(teams, shop) -> None:
    teams.forget(Subject(user="bo", workspace=shop))
    new = teams.invite(shop, "bo@example.com", "viewer", actor="ann")
    teams.accept(new.token, user_id="bo")
    assert places(teams, shop) == []
    joined = teams.audit(shop, actor="ann", action="member.joined")
    assert [each.target for each in joined] == ["bo", None, "ann"]


def test_a_purged_workspace_keeps_its_chain_and_no_name(teams, shop, database) -> None:
    teams.delete(shop, actor="ann")
    teams.purge(shop, actor="ann")
    assert places(teams, shop) == []
    with database.begin(read_only=True) as connection:
        asked = select(audit_people).where(audit_people.c.workspace == shop)
        assert connection.execute(asked).all() == []


def test_a_new_key_goes_on_where_the_old_one_ended(database, clock) -> None:
    shop = history(Workspaces(database, audit_keys=[OLD_KEY], clock=clock))
    both = Workspaces(database, audit_keys=[KEY, OLD_KEY], clock=clock)
    both.update(shop, name="Markets", actor="ann")
    assert places(both, shop) == []
    assert len({row["key_id"] for row in rows(database, shop)}) == 2


def test_without_the_old_key_its_rows_cannot_be_verified(database, clock) -> None:
    shop = history(Workspaces(database, audit_keys=[OLD_KEY], clock=clock))
    both = Workspaces(database, audit_keys=[KEY, OLD_KEY], clock=clock)
    both.update(shop, name="Markets", actor="ann")
    newer = Workspaces(database, audit_keys=[KEY], clock=clock)
    newer.update(shop, name="Shops", actor="ann")  # its own key wrote last
    assert places(newer, shop) == [(1, "unknown_key")]
    assert newer.verify_audit(shop)[0].is_unproved


def test_an_altered_key_id_is_no_key_that_was_forgotten(teams, shop, database) -> None:
    row = rows(database, shop)[5]
    overwrite(database, row, key_id="0" * 16, after="{}")
    (report,) = teams.verify_audit(shop)
    assert [each.seq for each in report.findings] == [6]
    assert not report.is_unproved


def test_a_signed_chain_is_not_gone_on_with_unsigned(database, teams, shop) -> None:
    keyless = Workspaces(database)
    with pytest.raises(AuditError, match="LLMOPS_AUDIT_KEY"):
        keyless.update(shop, name="Markets", actor="ann")
    assert teams.get(shop, actor="ann").name == "Shops"


def test_nor_with_another_key_alone(database, teams, shop) -> None:
    other = Workspaces(database, audit_keys=[OLD_KEY])
    with pytest.raises(AuditError, match="newest one first"):
        other.update(shop, name="Markets", actor="ann")
    assert places(teams, shop) == []


def test_a_plain_chain_may_become_a_signed_one(database, clock) -> None:
    shop = history(Workspaces(database, clock=clock))
    keyed = Workspaces(database, audit_keys=[KEY], clock=clock)
    (anchor,) = [each for each in keyed.anchors() if each.workspace == shop]
    keyed.update(shop, name="Markets", actor="ann")
    (report,) = keyed.verify_audit(shop, anchors=[anchor])
    assert (report.ok, report.entries, report.signed) == (True, 10, 1)
    (report,) = keyed.verify_audit(shop)
    assert report.is_unproved
    assert [(each.seq, each.kind) for each in report.findings] == [(1, "unproved")]


def test_no_key_stands_in_the_database(database, shop) -> None:
    assert KEY not in repr(rows(database, shop))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE llmops_audit_log SET ts = 0",
        "DELETE FROM llmops_audit_log",
        "UPDATE llmops_audit_people SET name = 'x'",
        "TRUNCATE llmops_audit_log",
        "REPLACE INTO llmops_audit_log SELECT * FROM llmops_audit_log",
        "REPLACE INTO llmops_audit_people SELECT * FROM llmops_audit_people",
    ],
)
def test_the_database_itself_refuses_to_change_the_log(clock, tmp_path, statement, request) -> None:
    urls = [f"sqlite:///{tmp_path}/guarded.db"] if "TRUNCATE" not in statement else []
    if "REPLACE" not in statement:  # SQLite's word
        urls.append(request.getfixturevalue("postgres_url"))
    for url in urls:
        with Database(url) as database:
            shop = history(Workspaces(database, clock=clock))
            before = rows(database, shop)
            with (
                pytest.raises(Exception, match="only added to"),
                database.begin() as connection,
            ):
                connection.execute(text(statement))
            assert rows(database, shop) == before


@pytest.mark.parametrize("keys", [["short"], ["k" * 32, ""]])
def test_a_weak_key_is_refused(database, keys) -> None:
    with pytest.raises(ConfigurationError, match="32 characters"):
        Workspaces(database, audit_keys=keys)


def test_all_chains_are_verified_at_once(teams, shop) -> None:
    other = history(teams)
    teams.delete(other, actor=SYSTEM)
    found = {each.workspace: each.ok for each in teams.verify_audit()}
    assert found[shop]
    assert found[other]

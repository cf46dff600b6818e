"""Chroma's index beside the rows: it follows them, is searched, and is made anew when lost."""

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmops_langchain import LLMOps, Settings
from llmops_langchain.clock import system_clock
from llmops_langchain.embeddings import HashedEmbeddings
from llmops_langchain.learning import Learning
from llmops_langchain.learning.index import ChromaIndex, Place
from llmops_langchain.learning.rows import ExperienceRows
from llmops_langchain.storage import Database

pytest.importorskip("chromadb", reason="needs the package chromadb")

NUMBER, MOST = 30, 5


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path}/a.db") as database:
        yield database


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(folder=tmp_path / "chroma")


def learning_of(database: Database, place: Place | None, **options: Any) -> Learning:
    given = {"worth": 0, "most": MOST, "interval": None} | options
    embeddings = given.pop("embeddings", None) or HashedEmbeddings(64)
    return Learning(ExperienceRows(database), embeddings, place=place, **given)


@pytest.fixture
def learning(database, place) -> Iterator[Learning]:
    learning = learning_of(database, place)
    yield learning
    learning.close()


def learn(learning: Learning, *numbers: int, **said: Any) -> None:
    for number in numbers:
        task = f"Rewrite module {word(number)} of the {word(number + 1)} service"
        told = {"project_id": "p", "task_description": task, "success": True}
        learning.learn(**told | said)


def word(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) * 3 for digit in f"{number:03}")


def finds(learning: Learning, number: int, **said: Any) -> bool:
    task = f"Rewrite module {word(number)} of the {word(number + 1)} service"
    found = learning.similar(task, k=1, **said)
    return bool(found) and found[0].experience.task_description == task


def indexed(database: Database, place: Place) -> set[str]:
    embedder = "llmops_langchain.HashedEmbeddings:hashed-words-1;dimensions=64"
    index = ChromaIndex(place, ExperienceRows(database).identity(), embedder)
    try:
        return {str(each) for each in index.ids()}
    finally:
        index.close()


def test_what_memory_does_not_hold_is_found_by_the_index(learning) -> None:
    learn(learning, *range(NUMBER))
    assert not finds(learning, 0)  # the newest five alone are in memory
    learning.flush()
    assert all(finds(learning, number) for number in range(NUMBER))
    assert learning.stats().indexed


def test_the_index_keeps_workspaces_apart(learning) -> None:
    learn(learning, *range(NUMBER), workspace="acme")
    learn(learning, *range(NUMBER, NUMBER + 8))
    learning.flush()
    assert finds(learning, 0, workspace="acme")
    assert not finds(learning, 0)
    assert not finds(learning, NUMBER, workspace="acme")


def test_forgetting_takes_vectors_out_of_the_index(learning, database, place) -> None:
    learn(learning, *range(10))
    learn(learning, *range(10, 20), project_id="q")
    learning.flush()
    assert learning.forget(project_id="p") == 10
    assert not finds(learning, 0)
    learning.close()
    assert len(indexed(database, place)) == 10


def test_rows_that_went_while_nobody_indexed_go_too(database, place) -> None:
    first = learning_of(database, place)
    learn(first, *range(10))
    first.flush()
    first.close()
    with_none = learning_of(database, None)
    with_none.forget(project_id="p")
    learn(with_none, 99)
    again = learning_of(database, place)
    again.flush()
    assert again.rebuild(verify=True).right
    again.close()
    assert len(indexed(database, place)) == 1


@pytest.mark.parametrize("harm", ["gone", "garbage", "torn"])
def test_a_damaged_index_is_made_anew_from_the_rows(database, place, harm) -> None:
    first = learning_of(database, place)
    learn(first, *range(NUMBER))
    first.flush()
    first.close()
    file = place.folder / "experiences" / "chroma.sqlite3"
    other = place.folder / "somebody.else"
    other.write_text("kept")
    if harm == "gone":
        shutil.rmtree(file.parent)
    elif harm == "garbage":
        file.write_bytes(b"no database" * 1_000)
    else:
        file.write_bytes(file.read_bytes()[:5_000])
    again = learning_of(database, place)
    again.flush()
    again.flush()
    assert all(finds(again, number) for number in range(NUMBER))
    assert again.rebuild(verify=True).right
    again.close()
    assert other.read_text() == "kept"


def test_a_rebuild_finds_and_mends_what_differs(learning, database) -> None:
    learn(learning, *range(10))
    learning.flush()
    learning._indexer._index.drop(  # a loss that Chroma does not tell of
        [row.experience.id for row in ExperienceRows(database).all(None)][:3]
    )
    assert learning.rebuild(verify=True).missing == 3
    assert learning.rebuild().indexed == 10
    assert learning.rebuild(verify=True).right


def test_another_embedder_has_an_index_of_its_own(database, place) -> None:
    first = learning_of(database, place)
    learn(first, *range(NUMBER))
    first.flush()
    first.close()
    other = learning_of(database, place, embeddings=HashedEmbeddings(128))
    assert other.rebuild().embedded == NUMBER
    assert all(finds(other, number) for number in range(NUMBER))
    other.close()
    assert indexed(database, place) == set()


def test_databases_that_share_a_place_leave_each_other_alone(database, place, tmp_path) -> None:
    first = learning_of(database, place)
    learn(first, *range(10))
    first.flush()
    first.close()
    with Database(f"sqlite:///{tmp_path}/other.db") as other:
        second = learning_of(other, place)
        learn(second, *range(4))
        second.forget(project_id="p")
        learn(second, *range(5))
        second.flush()
        second.close()
        assert len(indexed(other, place)) == 5
    assert len(indexed(database, place)) == 10


def test_it_is_not_opened_before_it_is_worth_it(database, place) -> None:
    learning = learning_of(database, place, worth=20)
    learn(learning, *range(10))
    learning.flush()
    assert not place.folder.exists()
    learn(learning, *range(10, 20))
    learning.flush()
    assert learning.stats().indexed
    learning.close()


def test_one_process_holds_the_folder_and_the_next_takes_over(database, place) -> None:
    one, other = learning_of(database, place), learning_of(database, place)
    learn(one, *range(10))
    one.flush()
    other.flush()
    assert (one.stats().indexed, other.stats().indexed) == (True, False)
    learn(other, 50)  # its rows are indexed by the holder
    one.flush()
    assert one.rebuild(verify=True).right
    one.close()
    other.flush()
    assert other.stats().indexed
    other.close()


def test_without_chroma_memory_is_searched(database, place, monkeypatch, caplog) -> None:
    monkeypatch.setitem(sys.modules, "chromadb", None)
    learning = learning_of(database, place)
    learn(learning, *range(3))
    for _ in range(2):
        learning.flush()
    assert all(finds(learning, number) for number in range(3))
    assert caplog.text.count("llmops-langchain[learning]") == 1
    learning.close()


def test_a_server_that_is_away_breaks_nothing(database, caplog) -> None:
    learning = learning_of(database, Place(url="http://127.0.0.1:9"))
    learn(learning, *range(3))
    learning.flush()
    assert finds(learning, 1)
    assert "in memory alone" in caplog.text
    learning.close()


def test_an_address_that_is_none_is_told(database, caplog) -> None:
    learning = learning_of(database, Place(url="chroma:8000"))
    learn(learning, 1)
    learning.flush()
    assert "ConfigurationError" in caplog.text


def test_the_folder_lies_beside_the_database_but_not_where_texts_are_encrypted(tmp_path) -> None:
    from cryptography.fernet import Fernet

    url = f"sqlite:///{tmp_path}/a.db"
    with LLMOps(url, Settings(chroma_dir=tmp_path / "own")) as ops:
        learn(ops.learning, 1)
        ops.learning.flush()
        assert (tmp_path / "own" / "experiences" / "chroma.sqlite3").is_file()
    with LLMOps(f"sqlite:///{tmp_path}/b.db") as ops:
        ops.learning.learn_many(
            {"project_id": n, "task_description": f"task {n}", "success": True}
            for n in range(1_000)
        )
        ops.learning.flush()
        assert (tmp_path / "b.db-chroma" / "experiences" / "chroma.sqlite3").is_file()
    keys = Settings(encryption_key=Fernet.generate_key().decode())
    with LLMOps(f"sqlite:///{tmp_path}/c.db", keys) as ops:
        ops.learning.learn_many(
            {"project_id": n, "task_description": f"task {n}", "success": True}
            for n in range(1_000)
        )
        ops.learning.flush()
        assert not (tmp_path / "c.db-chroma").exists()


LEARNER = """
import sys
from llmops_langchain import LLMOps, Settings

url, folder, name, number = sys.argv[1:]
with LLMOps(url, Settings(chroma_dir=folder)) as ops:
    for each in range(int(number)):
        ops.learning.learn(
            project_id=name, task_description=f"Task {each} of {name}", success=each % 2 == 0
        )
        print(each, flush=True)
        if each % 5 == 0:
            ops.learning.flush()
    print("done", flush=True)
    sys.stdin.read()
"""


def started(url: str, folder: Path, name: str, number: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", LEARNER, url, str(folder), name, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_four_processes_on_one_folder_lose_nothing_and_all_find(lasting_url, tmp_path) -> None:
    folder, number = tmp_path / "shared", 20
    learners = [started(lasting_url, folder, f"p{place}", number) for place in range(4)]
    try:
        for each in learners:
            # Until it has learnt all; it waits then, and still holds what it holds.
            assert list(iter(each.stdout.readline, "done\n"))
        with LLMOps(lasting_url) as ops:
            assert ops.learning.stats().experiences == 4 * number
            for place in range(4):
                match = ops.learning.similar(f"Task 7 of p{place}", k=1)[0]
                assert match.experience.project_id == f"p{place}"
    finally:
        for each in learners:
            each.stdin.close()
            each.wait(60)
            each.stdout.close()
    assert all(each.returncode == 0 for each in learners)
    with LLMOps(lasting_url, Settings(chroma_dir=folder)) as ops:
        ops.learning.flush()
        assert ops.learning.rebuild(verify=True).right


def test_what_was_acknowledged_survives_a_kill(lasting_url, tmp_path) -> None:
    learner = started(lasting_url, tmp_path / "c", "p", 10_000)
    acknowledged = -1
    for line in learner.stdout:
        acknowledged = int(line)
        if acknowledged >= 12:
            learner.kill()
            break
    rest = [int(line) for line in learner.stdout.read().split() if line.isdigit()]
    acknowledged = max([acknowledged, *rest])
    learner.wait()
    learner.stdin.close()
    learner.stdout.close()
    with LLMOps(lasting_url, Settings(chroma_dir=tmp_path / "c")) as ops:
        tasks = {f"Task {number} of p" for number in range(acknowledged + 1)}
        kept = {
            match.experience.task_description
            for match in ops.learning.similar("Task of p", k=10_000)
        }
        assert tasks <= kept
        ops.learning.flush()
        assert ops.learning.rebuild(verify=True).right


def _in_child(url: str, answers: Any) -> None:
    with LLMOps(url) as ops:
        answers.put(ops.learning.stats().experiences)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_learns_and_leaves_the_index_to_its_parent(tmp_path) -> None:
    settings = Settings(chroma_dir=tmp_path / "c")
    with LLMOps(f"sqlite:///{tmp_path}/a.db", settings) as ops:
        learn(ops.learning, *range(5))
        ops.learning.flush()
        assert ops.learning.stats().indexed
        process = multiprocessing.get_context("fork").Process(target=_learn_in_child, args=(ops,))
        process.start()
        process.join(60)
        assert process.exitcode == 0
        ops.learning.flush()
        assert ops.learning.rebuild(verify=True).right
        assert ops.learning.stats().experiences == 6


def _learn_in_child(ops: LLMOps) -> None:
    learn(ops.learning, 77)
    ops.learning.flush()
    assert finds(ops.learning, 77)
    assert not ops.learning.stats().indexed
    os._exit(0)


def test_the_clock_is_the_systems_by_default(database) -> None:
    learning = learning_of(database, None)
    learn(learning, 1)
    assert abs(learning.stats().newest - system_clock()) < 3_600

"""Every index keeps what `SemanticIndex` promises: one more of them is one more param here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache as once
from threading import Barrier, Thread
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import pytest
from conftest import FakeClock, one_of_each_kind
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typing_extensions import override

from llmops_langchain import Database
from llmops_langchain.cache import index_rows
from llmops_langchain.cache.memory_index import MemoryIndex
from llmops_langchain.cache.semantic_index import Outdated, SemanticIndex
from llmops_langchain.cache.sql_index import SqlIndex
from llmops_langchain.embeddings import unit
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.storage.packing import Packer

NOW = FakeClock().now
SCOPE, ANOTHER = b"s" * 32, b"t" * 32
KEYS = [bytes([number]) * 32 for number in range(256)]
VECTORS = unit(np.random.default_rng(0).normal(size=(600, 24)))
SQL = ("sqlite_memory", "sqlite_file", "encrypted", "postgresql", "pgvector")

OpenIndex = Callable[..., SemanticIndex]


@pytest.fixture(scope="module")
def with_pgvector(postgres_server: str) -> Iterator[str]:
    """URL of a PostgreSQL database that has the extension, in a schema of its own."""
    import psycopg

    name = f"indexes_{uuid4().hex}"
    url = postgres_server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute('CREATE SCHEMA "of pgvector"')
            owner.execute('CREATE EXTENSION vector SCHEMA "of pgvector"')
        yield url
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def databases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Database]]:
    folder = tmp_path_factory.mktemp("indexes")
    with one_of_each_kind(request, folder, schema="indexes", server="with_pgvector") as opened:
        yield opened


@once
def packer() -> Packer:
    fernet = pytest.importorskip("cryptography.fernet", reason="needs the package cryptography")
    return Packer([fernet.Fernet.generate_key().decode()])


@pytest.fixture(params=["memory", *SQL])
def open_index(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> OpenIndex:
    """Opens indexes on one place, which is empty at first; each call is another process."""
    monkeypatch.setattr(index_rows, "_PATIENCE", 60.0)  # a busy machine is no error
    test = f"test_{uuid4().hex}"
    kind = request.param
    if kind == "memory":
        one = once(lambda _space, _embedder, **options: MemoryIndex(**options))
        return lambda space="answers", embedder="e", **options: one(space, embedder, **options)
    where = {"encrypted": "sqlite_file", "pgvector": "postgresql"}
    database = request.getfixturevalue("databases")(where.get(kind, kind))
    packed = packer() if kind == "encrypted" else Packer()
    return lambda space="answers", embedder="e", **options: SqlIndex(
        database,
        packed,
        space=test + space,
        embedder=embedder,
        **{"pgvector": kind == "pgvector", **options},
    )


@pytest.fixture
def index(open_index: OpenIndex) -> SemanticIndex:
    return open_index()


@pytest.fixture
def other(open_index: OpenIndex) -> SemanticIndex:
    """What another process sees: an object of its own on the same place."""
    return open_index()


def learn(index: SemanticIndex, *numbers: int, scope: bytes = SCOPE, **told: Any) -> None:
    """Add the questions of these numbers."""
    for number in numbers:
        given = {"now": NOW, "expires_at": None} | told
        index.add(scope, KEYS[number], f"question {number}", VECTORS[number], **given)


def near(
    index: SemanticIndex, number: int, *, k: int = 300, scope: bytes = SCOPE, at: float = NOW
) -> list[int]:
    """The numbers of the nearest questions, best first."""
    return [found.key[0] for found in index.nearest(scope, VECTORS[number], k=k, now=at)]


def known(index: SemanticIndex, **told: Any) -> set[int]:
    """The numbers of all questions of a scope."""
    return set(near(index, 0, **told))


def by_force(asked: NDArray[np.float32], numbers: list[int]) -> list[int]:
    """The numbers, the nearest first."""
    return sorted(numbers, key=lambda number: -float(VECTORS[number] @ asked))


class TestNearest:
    def test_without_questions_there_is_none(self, index: SemanticIndex) -> None:
        assert index.nearest(SCOPE, VECTORS[0], k=5, now=NOW) == []

    def test_they_are_the_nearest_and_the_best_comes_first(self, index, other) -> None:
        learn(index, *range(60))
        other.look_around()
        for asked in VECTORS[300:320]:
            best = by_force(asked, list(range(60)))[:7]
            for each in (index, other):
                found = each.nearest(SCOPE, asked, k=7, now=NOW)
                assert [neighbour.key[0] for neighbour in found] == best
                assert [neighbour.question for neighbour in found] == [
                    f"question {number}" for number in best
                ]
                cosines = [neighbour.cosine for neighbour in found]
                assert cosines == pytest.approx((VECTORS[best] @ asked).tolist(), abs=1e-5)

    def test_a_question_itself_has_a_cosine_of_one(self, index: SemanticIndex) -> None:
        learn(index, *range(5))
        (found,) = index.nearest(SCOPE, VECTORS[3], k=1, now=NOW)
        assert found == (KEYS[3], "question 3", pytest.approx(1.0))
        assert found.cosine <= 1.0

    def test_no_more_come_than_are_asked_for(self, index: SemanticIndex) -> None:
        learn(index, *range(5))
        assert [len(near(index, 0, k=k)) for k in (0, 1, 4, 5, 9)] == [0, 1, 4, 5, 5]

    @pytest.mark.parametrize("text", ["", "größe \N{SNOWMAN}\n\t", "\ud800", "x" * 3_000, "a\0b"])
    def test_a_question_is_any_text(self, open_index: OpenIndex, text: str) -> None:
        index, other = open_index(), open_index()
        index.add(SCOPE, KEYS[1], text, VECTORS[1], now=NOW, expires_at=None)
        for each in (index, other):
            assert [found.question for found in each.nearest(SCOPE, VECTORS[1], k=1, now=NOW)] == [
                text
            ]

    def test_what_is_added_again_replaces_all_of_it(self, index, other) -> None:
        learn(index, 1, 2, expires_at=NOW + 60)
        known(other)
        index.add(SCOPE, KEYS[1], "again", VECTORS[9], now=NOW + 1, expires_at=NOW + 90)
        other.look_around()
        for each in (index, other):
            found = each.nearest(SCOPE, VECTORS[9], k=1, now=NOW + 70)
            assert found == [(KEYS[1], "again", pytest.approx(1.0))]
            assert known(each, at=NOW + 70) == {1}

    def test_a_vector_of_another_length_is_passed_by(self, open_index: OpenIndex) -> None:
        index = open_index()
        learn(index, 1)
        (longer,) = unit([range(1, 40)])
        index.add(SCOPE, KEYS[2], "of another model", longer, now=NOW, expires_at=None)
        assert known(index) == known(open_index()) == {1}
        assert index.nearest(SCOPE, longer[:9], k=5, now=NOW) == []


class TestApart:
    def test_scopes_never_meet(self, index, other) -> None:
        learn(index, 1, 2)
        learn(index, 2, 3, scope=ANOTHER)
        assert (known(index), known(other)) == ({1, 2}, {1, 2})
        assert known(index, scope=ANOTHER) == known(other, scope=ANOTHER) == {2, 3}
        index.drop(SCOPE, [KEYS[2]])
        assert (known(index), known(index, scope=ANOTHER)) == ({1}, {2, 3})

    def test_spaces_never_meet(self, open_index: OpenIndex) -> None:
        index, nodes = open_index(), open_index("nodes")
        learn(index, 1, 2)
        learn(nodes, 2, 3)
        index.clear()
        nodes.look_around()
        assert (known(index), known(nodes), known(open_index("nodes"))) == (set(), {2, 3}, {2, 3})

    def test_embedders_never_see_the_vectors_of_others(self, open_index: OpenIndex) -> None:
        index, others = open_index(), open_index(embedder="f")
        (longer,) = unit([range(1, 40)])
        learn(index, 1, 2)
        others.add(SCOPE, KEYS[2], "question 2", longer, now=NOW, expires_at=None)
        assert known(index) == known(open_index()) == {1, 2}
        assert [found.key for found in others.nearest(SCOPE, longer, k=9, now=NOW)] == [KEYS[2]]


class TestTime:
    def test_a_question_goes_with_its_answer(self, index, other) -> None:
        learn(index, 1, expires_at=NOW + 60)
        learn(index, 2)
        known(other)
        for now, expected in ((NOW + 59.9, {1, 2}), (NOW + 60, {2})):
            assert known(index, at=now) == known(other, at=now) == expected

    def test_stale_ones_take_no_place_among_the_nearest(self, index: SemanticIndex) -> None:
        for number in range(20):
            learn(index, number, expires_at=NOW + 10 + number)
        fresh = by_force(VECTORS[300], list(range(10, 20)))
        assert near(index, 300, k=5, at=NOW + 19.5) == fresh[:5]
        assert near(index, 300, k=50, at=NOW + 19.5) == fresh

    def test_who_comes_later_finds_no_stale_one(self, index, other) -> None:
        learn(index, 1, 2, expires_at=NOW + 60)
        learn(index, 3)
        assert known(other, at=NOW + 60) == {3}

    def test_what_is_learnt_again_lives_on(self, index, other) -> None:
        learn(index, 1, expires_at=NOW + 60)
        known(other)
        learn(index, 1, now=NOW + 50, expires_at=NOW + 110)
        other.look_around()
        assert known(index, at=NOW + 100) == known(other, at=NOW + 100) == {1}
        learn(index, 1, now=NOW + 100)
        assert known(index, at=NOW + 1e9) == {1}


class TestDrop:
    def test_dropped_questions_are_gone_and_others_stay(self, index, other) -> None:
        learn(index, *range(6))
        assert len(known(other)) == 6
        index.drop(SCOPE, [KEYS[1], KEYS[2]])
        other.look_around()
        assert known(index) == known(other) == {0, 3, 4, 5}

    def test_who_comes_later_does_not_find_them(self, index, other) -> None:
        learn(index, 1, 2)
        index.drop(SCOPE, [KEYS[2]])
        assert known(other) == {1}

    def test_what_is_not_there_may_be_dropped(self, index: SemanticIndex) -> None:
        index.drop(SCOPE, [KEYS[1]])
        index.drop(SCOPE, [])
        learn(index, 1)
        index.drop(ANOTHER, [KEYS[1]])
        assert known(index) == {1}

    def test_what_was_dropped_can_be_learnt_again(self, index, other) -> None:
        learn(index, 1, 2)
        known(other)
        other.drop(SCOPE, [KEYS[1]])
        index.look_around()
        learn(index, 1, now=NOW + 1)
        other.look_around()
        assert known(index) == known(other) == {1, 2}

    def test_very_many_are_dropped_at_once(self, index: SemanticIndex) -> None:
        keys = [number.to_bytes(32) for number in range(230)]
        for key in keys:
            index.add(SCOPE, key, "?", VECTORS[1], now=NOW, expires_at=None)
        learn(index, 255)
        index.drop(SCOPE, keys)
        assert known(index) == {255}


class TestClear:
    def test_nothing_is_left_for_anybody(self, open_index, index, other) -> None:
        learn(index, 1)
        learn(index, 2, scope=ANOTHER)
        assert (known(other), known(other, scope=ANOTHER)) == ({1}, {2})
        index.clear()
        other.look_around()
        for each in (index, other, open_index()):
            assert known(each) == known(each, scope=ANOTHER) == set()

    def test_what_is_learnt_afterwards_stays(self, index, other) -> None:
        learn(index, 1)
        known(other)
        other.clear()
        learn(index, 2)
        index.look_around()
        other.look_around()
        assert known(index) == known(other) == {2}

    def test_what_is_forgotten_in_memory_is_not_lost(self, index, other) -> None:
        learn(index, 1)
        known(index)
        index.forget()
        learn(other, 2)
        assert known(index) == {1, 2}


class TestUse:
    def test_the_least_recently_used_are_let_go(self, open_index: OpenIndex) -> None:
        index = open_index(max_items=5)
        for number in range(5):
            learn(index, number, now=NOW + number)
        index.touch([(SCOPE, KEYS[0]), (SCOPE, KEYS[9]), (ANOTHER, KEYS[1])], now=NOW + 10)
        learn(index, 5, 6, now=NOW + 20)
        assert known(index) == {0, 3, 4, 5, 6}

    def test_who_comes_later_finds_the_same(self, open_index: OpenIndex) -> None:
        index = open_index(max_items=5)
        for number in range(5):
            learn(index, number, now=NOW + number)
        index.touch([(SCOPE, KEYS[0])], now=NOW + 10)
        learn(index, 5, 6, now=NOW + 20)
        assert known(open_index(max_items=5)) == {0, 3, 4, 5, 6}

    def test_what_is_learnt_again_counts_as_new(self, open_index: OpenIndex) -> None:
        index = open_index(max_items=3)
        for at, number in enumerate((0, 1, 2, 0, 3)):
            learn(index, number, now=NOW + at)
        assert known(index) == known(open_index(max_items=3)) == {0, 2, 3}

    def test_scopes_are_bounded_apart(self, open_index: OpenIndex) -> None:
        index = open_index(max_items=3)
        learn(index, 0, 1, 2)
        for number in range(10, 20):
            learn(index, number, scope=ANOTHER, now=NOW + number)
        assert known(index) == {0, 1, 2}
        assert known(index, scope=ANOTHER) == {17, 18, 19}

    @pytest.mark.parametrize("name", ["max_items", "max_scopes"])
    def test_a_bound_must_be_positive(self, open_index: OpenIndex, name: str) -> None:
        with pytest.raises(ConfigurationError, match=f"`{name}` must be positive, got 0"):
            open_index(**{name: 0})


@pytest.mark.parametrize("open_index", SQL, indirect=True)
class TestOtherProcesses:
    def test_a_look_shows_what_they_added(self, index, other) -> None:
        learn(other, 1)
        assert known(index) == {1}
        learn(other, 2)
        learn(other, 3, scope=ANOTHER)
        index.look_around()
        assert (known(index), known(index, scope=ANOTHER)) == ({1, 2}, {3})

    def test_a_scope_that_nobody_asked_before_is_whole_without_a_look(self, index, other) -> None:
        learn(other, 1)
        known(index)
        learn(other, 2, scope=ANOTHER)
        index.look_around()
        learn(other, 3, scope=ANOTHER)
        assert known(index, scope=ANOTHER) == {2, 3}

    def test_scopes_that_leave_memory_are_read_again(self, open_index: OpenIndex) -> None:
        index, other = open_index(max_scopes=2), open_index()
        scopes = [bytes([number]) * 32 for number in range(5)]
        for number, scope in enumerate(scopes):
            learn(other, number, scope=scope)
        for round_ in range(1, 4):
            for number, scope in enumerate(scopes):
                learn(other, number + 5 * round_, scope=scope)
                index.look_around()
                expected = set(range(number, 5 * round_ + number + 1, 5))
                assert known(index, scope=scope) == expected

    def test_their_questions_are_offered_to_another_embedder_once(
        self, open_index: OpenIndex
    ) -> None:
        old, new = open_index(embedder="old"), open_index(embedder="new")
        learn(old, 1, 2, expires_at=NOW + 60)
        learn(old, 3, scope=ANOTHER)
        learn(new, 1, expires_at=NOW + 60)
        first, second = new.outdated(1), new.outdated(9)
        assert first + second == [
            Outdated(SCOPE, KEYS[2], "question 2", NOW + 60),
            Outdated(ANOTHER, KEYS[3], "question 3", None),
        ]
        assert new.outdated(9) == []
        learn(old, 4)
        assert [row.key for row in new.outdated(9)] == [KEYS[4]]

    def test_both_embedders_keep_their_vectors(self, open_index: OpenIndex) -> None:
        old, new = open_index(embedder="old"), open_index(embedder="new")
        learn(old, 1, 2)
        for row in new.outdated(9):
            (longer,) = unit([range(row.key[0], row.key[0] + 39)])
            new.add(row.scope, row.key, row.question, longer, now=NOW, expires_at=row.expires_at)
        assert old.outdated(9) == open_index(embedder="new").outdated(9) == []
        assert known(old) == known(open_index(embedder="old")) == {1, 2}
        (asked,) = unit([range(1, 40)])
        assert {each.key for each in new.nearest(SCOPE, asked, k=9, now=NOW)} == set(KEYS[1:3])

    def test_what_another_embedder_knows_for_longer_is_offered_again(
        self, open_index: OpenIndex
    ) -> None:
        old, new = open_index(embedder="old"), open_index(embedder="new")
        learn(old, 1, expires_at=NOW + 60)
        learn(new, 1, expires_at=NOW + 60)
        assert new.outdated(9) == old.outdated(9) == []
        learn(old, 1, now=NOW + 50, expires_at=NOW + 110)
        assert [row.expires_at for row in new.outdated(9)] == [NOW + 110]
        assert old.outdated(9) == []

    def test_what_is_gone_is_not_offered(self, open_index: OpenIndex) -> None:
        old, new = open_index(embedder="old"), open_index(embedder="new")
        learn(old, 1, expires_at=NOW + 60)
        learn(old, 2, 3)
        learn(new, 3)
        known(new, at=NOW + 60)
        new.drop(SCOPE, KEYS[2:4])
        assert new.outdated(9) == []
        old.look_around()
        assert known(old, at=NOW + 60) == set()


@pytest.mark.parametrize("open_index", ["memory"], indirect=True)
class TestMemory:
    def test_the_least_recently_used_scopes_are_let_go(self, open_index: OpenIndex) -> None:
        index = open_index(max_scopes=2)
        scopes = [bytes([number]) * 32 for number in range(3)]
        learn(index, 1, scope=scopes[0])
        learn(index, 2, scope=scopes[1])
        assert known(index, scope=scopes[0]) == {1}
        learn(index, 3, scope=scopes[2])
        assert [known(index, scope=scope) for scope in scopes] == [{1}, set(), {3}]

    def test_there_is_nothing_of_other_embedders(self, index: SemanticIndex) -> None:
        learn(index, 1)
        assert index.outdated(9) == []


@dataclass
class Model:
    """What `SemanticIndex` says, in the plainest words."""

    rows: dict[tuple[bytes, int], tuple[NDArray[np.float32], float]] = field(default_factory=dict)

    def near(self, scope: bytes, asked: NDArray[np.float32], k: int, now: float) -> list[int]:
        cosines = {
            key: float(vector @ asked)
            for (of, key), (vector, end) in self.rows.items()
            if of == scope and end > now
        }
        return sorted(cosines, key=cosines.__getitem__, reverse=True)[:k]


class Step(NamedTuple):
    what: str
    who: int
    scope: bytes
    key: int
    ttl: float


STEPS = st.builds(
    Step,
    st.sampled_from(["add", "add", "add", "drop", "near", "near", "look", "forget", "clear"]),
    st.integers(0, 1),
    st.sampled_from([SCOPE, ANOTHER]),
    st.integers(0, 5),
    st.sampled_from([5.0, 25.0, float("inf")]),
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEPS, min_size=5, max_size=25))
def test_any_sequence_of_operations_answers_as_the_model_does(
    open_index: OpenIndex, steps: list[Step]
) -> None:
    clock, model, space = FakeClock(), Model(), uuid4().hex
    both = [open_index(space), open_index(space)]
    for number, step in enumerate(steps):
        clock.advance(3)
        do(both, model, step, VECTORS[300 + number], clock())  # two alike would be in any order
    for index in both:
        index.look_around()
        for scope in (SCOPE, ANOTHER):
            expected = model.near(scope, VECTORS[0], 300, clock())
            assert near(index, 0, scope=scope, at=clock()) == expected


def do(
    both: list[SemanticIndex], model: Model, step: Step, vector: NDArray[np.float32], now: float
) -> None:
    """One step, by one of the two; whoever asks looks around first."""
    index = both[step.who]
    if step.what == "add":
        end = None if step.ttl == float("inf") else now + step.ttl
        given = {"now": now, "expires_at": end}
        index.add(step.scope, KEYS[step.key], f"question {step.key}", vector, **given)
        model.rows[step.scope, step.key] = (vector, now + step.ttl)
    elif step.what == "drop":
        index.drop(step.scope, [KEYS[step.key]])
        model.rows.pop((step.scope, step.key), None)
    elif step.what == "near":
        index.look_around()
        found = index.nearest(step.scope, vector, k=3, now=now)
        assert [each.key[0] for each in found] == model.near(step.scope, vector, 3, now)
    elif step.what == "clear":
        index.clear()
        model.rows = {}
    else:
        index.look_around() if step.what == "look" else index.forget()


class Worker(Thread):
    """Learns 12 questions of its own, asks for each of them, and drops every fourth."""

    def __init__(self, number: int, indexes: list[SemanticIndex], start: Barrier) -> None:
        super().__init__()
        self.index, self.scope = indexes[number % 2], (SCOPE, ANOTHER)[number // 2 % 2]
        self.numbers = range(number * 20, number * 20 + 12)
        self.left = {each for at, each in enumerate(self.numbers) if at % 4 != 3}
        self.begin, self.failure = start, None

    @override
    def run(self) -> None:
        try:
            self.begin.wait()
            self.work()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.failure = error

    def work(self) -> None:
        for at, number in enumerate(self.numbers):
            learn(self.index, number, scope=self.scope)
            assert number in known(self.index, scope=self.scope)
            self.index.look_around()
            if number not in self.left:
                self.index.drop(self.scope, [KEYS[number]])
            if at == 7:
                self.index.forget()
            self.index.touch([(self.scope, KEYS[number])], now=NOW)


def test_threads_add_ask_drop_and_look_at_once(open_index: OpenIndex) -> None:
    indexes, start = [open_index(), open_index()], Barrier(6)
    workers = [Worker(number, indexes, start) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.failure for worker in workers] == [None] * 6
    for index in indexes:
        index.look_around()
        for scope in (SCOPE, ANOTHER):
            left = set().union(*(each.left for each in workers if each.scope == scope))
            assert known(index, scope=scope) == left

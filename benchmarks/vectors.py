"""The nearest of many vectors: `VectorTable.search` against LangChain's own store in memory.

Both must find the same texts with the same cosines before anything is timed.

    python benchmarks/vectors.py
"""

from functools import partial

import numpy as np
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore
from measuring import Claim, Timing, in_turn, print_claims, print_table, sized
from numpy.typing import NDArray

from llmops_langchain.embeddings import VectorTable, unit

DIMENSIONS, NEAREST, FLOOR = 384, 5, 0.8
SMALL, LARGE = sized((1_000, 10_000), quick=(100, 300))
QUERIES, PEER_QUERIES, PUTS = sized((500, 10, 500), quick=(10, 2, 10))
GOALS = {SMALL: 30.0, LARGE: 1_000.0}
"""Microseconds a search."""

Vectors = NDArray[np.float32]


def vectors_and_queries(count: int) -> tuple[Vectors, Vectors]:
    """Random directions, and queries of which each is near one of them."""
    random = np.random.default_rng(0)
    vectors = unit(random.normal(size=(count, DIMENSIONS)))
    chosen = vectors[random.integers(count, size=QUERIES)]
    return vectors, unit(chosen + 0.02 * random.normal(size=chosen.shape))


def filled_table(vectors: Vectors) -> VectorTable[int]:
    """Ours, as large as it may get."""
    table: VectorTable[int] = VectorTable(len(vectors))
    for key, vector in enumerate(vectors):
        table.put(key, vector)
    return table


def filled_store(vectors: Vectors) -> InMemoryVectorStore:
    """The peer's, with the same vectors; nothing is embedded."""
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=DIMENSIONS))
    for key, vector in enumerate(vectors.tolist()):
        store.store[str(key)] = {"id": str(key), "vector": vector, "text": "", "metadata": {}}
    return store


def check_equality(table: VectorTable[int], store: InMemoryVectorStore, queries: Vectors) -> None:
    """Both find the same, and the table with a floor finds no more than what is above it."""
    for query in queries[:PEER_QUERIES]:
        ours = table.search(query, NEAREST)
        theirs = store.similarity_search_with_score_by_vector(query.tolist(), NEAREST)
        assert [str(key) for key, _ in ours] == [found.id for found, _ in theirs]
        assert np.allclose([cosine for _, cosine in ours], [cosine for _, cosine in theirs])
        assert table.search(query, NEAREST, FLOOR) == [hit for hit in ours if hit[1] >= FLOOR]


def compare(count: int) -> dict[str, Timing]:
    """Time a search by each, and one more vector in a full table."""
    vectors, queries = vectors_and_queries(count)
    table, store = filled_table(vectors), filled_store(vectors)
    check_equality(table, store, queries)
    ours = {
        "nearest": lambda query: table.search(query, NEAREST),
        "above a floor": lambda query: table.search(query, NEAREST, FLOOR),
    }
    peer = {"theirs": partial(store.similarity_search_with_score_by_vector, k=NEAREST)}
    spent = in_turn(ours, list(queries))
    spent |= in_turn(peer, [query.tolist() for query in queries[:PEER_QUERIES]])
    more = list(enumerate(unit(queries[:PUTS]), start=count))
    return spent | in_turn({"put": lambda item: table.put(*item)}, more)


def main() -> None:
    """Check, then time."""
    spent = {count: compare(count) for count in (SMALL, LARGE)}
    header = (
        "vectors",
        f"{NEAREST} nearest, p50 µs",
        f"those above {FLOOR}, p50 µs",
        "`InMemoryVectorStore`, p50 µs",
        "times as fast",
        "one more, and the oldest out, p50 µs",
    )
    rows = []
    for count, each in spent.items():
        nearest, above, theirs, put = (
            each[name].p50 for name in ("nearest", "above a floor", "theirs", "put")
        )
        rows.append((count, nearest, above, theirs, theirs / nearest, put))
    print_table(f"Search among vectors of {DIMENSIONS} numbers", header, rows)
    print_claims(
        Claim(
            what=f"search above a floor among {count:,} vectors",
            against=f"core `InMemoryVectorStore` ({each['theirs'].p50:,.0f} µs)",
            result=each["above a floor"].p50,
            goal=GOALS[count],
            unit="µs",
            at_most=True,
        )
        for count, each in spent.items()
    )


if __name__ == "__main__":
    main()

"""How long does it take to learn, to find what is similar, and to predict?

A workspace of 1,000 and of 20,000 experiences of sixty words each, made of random words as
frequent as words of a language are, on an SQLite file. Every question is new; each is asked with
a filter, then what to expect of it. The peer is Chroma asked for the same vectors with the same
filter in the same run: it names rows, and predicts nothing.

    python benchmarks/learning_speed.py
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings as ChromaSettings
from measuring import Claim, print_claims, print_table, sized

from llmops_langchain import LLMOps, Settings
from llmops_langchain.embeddings import WordLlamaEmbeddings

SIZES = sized((1_000, 20_000), quick=(50,))
QUESTIONS, LEARNT = sized(200, quick=5), sized(300, quick=5)
WORDS, LENGTH = 20_000, 60
STACKS = (("react", "fastapi"), ("vue", "django"), ("go",), ("react", "stripe"), ())
WANTED = {"success": True}


def main() -> None:
    """Each size in a database of its own."""
    measured = {size: measure(size) for size in SIZES}
    names = list(next(iter(measured.values())))
    rows = [(name, *(f"{measured[size][name]:,.2f}" for size in SIZES)) for name in names]
    print_table(
        "Milliseconds, by the number of experiences", ("what", *(f"{n:,}" for n in SIZES)), rows
    )
    at = SIZES[min(1, len(SIZES) - 1)]
    found = measured[at]
    print_claims(
        [
            Claim(
                what=f"similar and predict with a filter, {at:,} experiences, p95",
                against="alone",
                goal=20.0,
                result=found["similar + predict_success, p95"],
                unit="ms",
                at_most=True,
            ),
            Claim(
                what=f"similar with a filter, {at:,} experiences, p50",
                against="Chroma with the same filter, which names rows alone",
                goal=1.0,
                result=found["Chroma's query with the filter, p50"] / found["similar, p50"],
                unit="times",
            ),
        ]
    )


def measure(size: int) -> dict[str, float]:
    """Milliseconds of each step."""
    random = np.random.default_rng(size)
    words = made_words(random)
    told: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(chroma_dir=Path(folder, "index"))
        with LLMOps(f"sqlite:///{folder}/a.db", settings) as ops:
            learning = ops.learning
            started = perf_counter()
            learning.learn_many(runs(random, words, size))
            told["learn_many, each"] = 1e3 * (perf_counter() - started) / size
            told["learn, each, p50"] = percentile(
                [
                    seconds(lambda run=run: learning.learn(**run))
                    for run in runs(random, words, LEARNT)
                ],
                50,
            )
            told["the index brought to the rows"] = 1e3 * seconds(learning.flush)
            assert learning.rebuild(verify=True).right
            told["first search, which reads the rows"] = 1e3 * seconds(
                lambda: learning.similar("anything")
            )
            told |= questions(learning, random, words)
        told |= chroma(random, words, size, folder)
    return told


def questions(learning: Any, random: np.random.Generator, words: Any) -> dict[str, float]:
    """How long it takes to ask."""
    similar, both = [], []
    for number in range(QUESTIONS):
        task, stack = text(random, words), STACKS[number % len(STACKS)]
        started = perf_counter()
        found = learning.similar(task, stack, filter=WANTED)
        middle = perf_counter()
        predicted = learning.predict_success(task, stack, model="a")
        both.append(perf_counter() - started)
        similar.append(middle - started)
        assert len(found) == 5
        assert all(each.experience.success for each in found)
        assert 0 <= predicted.low <= predicted.probability <= predicted.high <= 1
    return {
        "similar, p50": percentile(similar, 50),
        "similar, p95": percentile(similar, 95),
        "similar + predict_success, p50": percentile(both, 50),
        "similar + predict_success, p95": percentile(both, 95),
    }


def chroma(random: np.random.Generator, words: Any, size: int, folder: str) -> dict[str, float]:
    """The same vectors in a collection of Chroma's own."""
    embeddings = WordLlamaEmbeddings()
    client = chromadb.PersistentClient(
        f"{folder}/peer", settings=ChromaSettings(anonymized_telemetry=False)
    )
    collection = client.create_collection(
        "peer", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    for start in range(0, size, 1_000):
        number = min(1_000, size - start)
        collection.add(
            ids=[str(start + each) for each in range(number)],
            embeddings=embeddings.embed_documents([text(random, words) for _ in range(number)]),
            metadatas=[{"success": bool(random.random() < 0.6)} for _ in range(number)],
        )
    spent = []
    for _ in range(QUESTIONS):
        task = text(random, words)
        started = perf_counter()
        vector = embeddings.embed_query(task)
        found = collection.query(query_embeddings=[vector], n_results=5, where=dict(WANTED))
        spent.append(perf_counter() - started)
        assert len(found["ids"][0]) == 5
    client.close()  # type: ignore[attr-defined]  # of all of its clients
    return {
        "Chroma's query with the filter, p50": percentile(spent, 50),
        "Chroma's query with the filter, p95": percentile(spent, 95),
    }


def runs(random: np.random.Generator, words: Any, number: int) -> Iterator[dict[str, Any]]:
    """Runs as `learn` is told of them."""
    for place in range(number):
        yield {
            "project_id": f"project-{place % 50}",
            "task_description": text(random, words),
            "success": bool(random.random() < 0.6),
            "tech_stack": STACKS[place % len(STACKS)],
            "model": "abc"[place % 3],
            "metrics": {"cost": float(random.random()), "completion_time": float(place)},
        }


def made_words(random: np.random.Generator) -> tuple[list[str], Any]:
    """Words, and how frequent each is (Zipf's law)."""
    letters = np.array(list("abcdefghijklmnopqrst"))
    made = ["".join(random.choice(letters, random.integers(4, 10))) for _ in range(WORDS)]
    shares = 1.0 / (np.arange(WORDS) + 5.0)
    return made, np.cumsum(shares / shares.sum())


def text(random: np.random.Generator, words: tuple[list[str], Any]) -> str:
    """Sixty words."""
    made, shares = words
    places = np.searchsorted(shares, random.random(LENGTH))
    return " ".join(made[min(place, WORDS - 1)] for place in places.tolist())


def seconds(call: Any) -> float:
    """How long a call takes."""
    started = perf_counter()
    call()
    return perf_counter() - started


def percentile(spent: list[float], rank: float) -> float:
    """Milliseconds."""
    return float(1e3 * np.percentile(spent, rank))


if __name__ == "__main__":
    main()

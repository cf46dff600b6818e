"""Is what was done before found, and does it tell what the next task will take?

Similar: 577 issues mention an earlier one of their project (`learning_issues.py`); MRR@10 among all
earlier ones. Peers see the same texts in the same run: Chroma with the vectors of MiniLM (cosine,
its own index, asked when it holds what is earlier), Okapi BM25 over all words (k1 1.2, b 0.75), and
the reciprocal-rank fusion of both (Cormack et al., 2009; k 60). The weights of the fusion are in
the package; what they give for a project that they were not chosen by,
`make_learning_weights.py` prints.

Effort: each issue is estimated from the earlier ones of its project. Peers: the mean of the five
nearest by cosine, and the median of the last 30. An interval is right if it holds the points. On
runs of two agents (SWE-bench Pro; 616 tasks) what a repository's tasks cost is estimated from the
runs in all others, which come without texts: all count alike.

    python benchmarks/learning_similar.py
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from math import log
from time import perf_counter

import chromadb
import numpy as np
from learning_issues import (
    DATA,
    Issue,
    Link,
    embedders,
    links,
    mean_reciprocal_rank,
    projects,
    vectors,
)
from measuring import QUICK, Claim, microseconds, print_claims, print_table, sized
from numpy.typing import NDArray

from llmops_langchain.learning.effort import effort_of, effort_weights
from llmops_langchain.learning.ranking import WEIGHTS, FusionWeights, fused
from llmops_langchain.learning.wording import WordIndex, plain
from llmops_langchain.text.bm25 import terms_of

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Key = tuple[str, int]
Vectors = Mapping[str, Floats]

EVERY = sized(3, quick=2)
"""Of so many issues one is estimated."""

AGENTS, METRICS = ("gpt5", "claude"), ("cost_usd", "tool_seconds", "steps")
KEPT = 0.93, 0.87
"""Shares of an interval of 90 %, at most and at least."""


def main() -> None:
    """Both questions, then what an answer takes."""
    issues = projects()
    found, made = links(issues), embedders()
    words = wording(issues, {(link.project, link.row) for link in found}, WordIndex)
    claims = similar(issues, found, words)
    first = next(iter(made))
    seen = {name: vectors(made[first], [plain(e.text) for e in of]) for name, of in issues.items()}
    claims += effort(issues, seen, first)
    claims += agents()
    claims += search_time([each.text for of in issues.values() for each in of])
    print_claims(claims)


class Okapi:
    """BM25 as the book has it: all words of a text, no fields, no pairs."""

    def __init__(self) -> None:
        self.texts: dict[str, dict[int, int]] = {}
        self.lengths: list[int] = []

    def add(self, text: str) -> None:
        """Append a text."""
        terms = terms_of(text)
        for term, count in Counter(terms).items():
            self.texts.setdefault(term, {})[len(self.lengths)] = count
        self.lengths.append(len(terms))

    def scores(self, text: str) -> Floats:
        """Of every text."""
        number, found = len(self.lengths), np.zeros(len(self.lengths), np.float32)
        against = 1.2 * (0.25 + 0.75 * np.array(self.lengths) / max(1.0, np.mean(self.lengths)))
        for term, asked in Counter(terms_of(text)).items():
            having = self.texts.get(term, {})
            at, counts = np.array([*having], np.intp), np.array([*having.values()], np.float64)
            rarity = log(1 + (number - len(at) + 0.5) / (len(at) + 0.5))
            found[at] += asked * rarity * counts * 2.2 / (counts + against[at])
        return found


def wording(
    issues: Mapping[str, list[Issue]],
    wanted: set[Key],
    index: Callable[[], WordIndex | Okapi],
) -> dict[Key, Floats]:
    """What each issue that is wanted shares with all before it."""
    found = {}
    for name, of in issues.items():
        known = index()
        for row, issue in enumerate(of):
            if (name, row) in wanted:
                found[name, row] = known.scores(issue.text)
            known.add(issue.text)
    return found


def similar(
    issues: Mapping[str, list[Issue]], found: list[Link], words: dict[Key, Floats]
) -> list[Claim]:
    """MRR@10 of ours with each embedder, and of peers with the first."""
    rows, ours = list[tuple[object, ...]](), dict[str, float]()
    okapi = wording(issues, {*words}, Okapi)
    for name, embeddings in embedders().items():
        raw = {of: vectors(embeddings, [e.text for e in issues[of]]) for of in issues}
        seen = {of: vectors(embeddings, [plain(e.text) for e in issues[of]]) for of in issues}
        ours[name] = mean_reciprocal_rank(found, lambda link, seen=seen: fusion(link, seen, words))
        chroma = mean_reciprocal_rank(found, chroma_scores(found, raw))
        rrf = mean_reciprocal_rank(found, lambda link, raw=raw: ranks_fused(link, raw, okapi))
        rows += [
            (f"Chroma, {name}", chroma),
            (f"reciprocal-rank fusion of Chroma and BM25, {name}", rrf),
            (f"ours, {name}", ours[name]),
        ]
    alone = mean_reciprocal_rank(found, lambda link: okapi[link.project, link.row])
    without = mean_reciprocal_rank(
        found, lambda link: fused(None, words[link.project, link.row], ages(link.row), None)
    )
    rows += [("BM25", alone), ("ours without vectors", without)]
    title = f"{len(found)} issues that mention an earlier one"
    print_table(title, ("way", "MRR@10"), rows)
    first, *_ = ours
    against = f"Chroma {rows[0][1]:.3f}, BM25 {alone:.3f}, both {rows[1][1]:.3f}"
    return [claim(f"MRR@10 of similar issues, {first}", against, ours[first], 0.53)]


def fusion(
    link: Link, seen: Vectors, words: Mapping[Key, Floats], weights: FusionWeights = WEIGHTS
) -> Doubles:
    """The package's scores of all earlier issues."""
    mine = words[link.project, link.row]
    return fused(cosines(seen[link.project], link.row), mine, ages(link.row), None, weights)


def ranks_fused(link: Link, raw: Vectors, okapi: Mapping[Key, Floats]) -> Doubles:
    """Reciprocal-rank fusion."""
    both = cosines(raw[link.project], link.row), okapi[link.project, link.row]
    return np.sum([1.0 / (61 + np.argsort(np.argsort(-each))) for each in both], axis=0)


def cosines(seen: Floats, row: int) -> Floats:
    """Of an issue with all before it."""
    found: Floats = seen[:row] @ seen[row]
    return found


def ages(row: int) -> Doubles:
    """How many are newer, of all before it."""
    return np.arange(row, dtype=np.float64)[::-1]


def chroma_scores(found: list[Link], raw: Vectors) -> Callable[[Link], Floats]:
    """The ten that Chroma returns, the best with the highest number."""
    kept, client = dict[Key, Floats](), chromadb.EphemeralClient()
    for project in {link.project for link in found}:
        collection = client.create_collection(
            "issues", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )
        done = 0
        for row in sorted({link.row for link in found if link.project == project}):
            ids = [str(at) for at in range(done, row)]
            if ids:
                collection.add(ids=ids, embeddings=raw[project][done:row])
            done, kept[project, row] = row, np.zeros(row, np.float32)
            answer = collection.query(query_embeddings=raw[project][[row]], n_results=min(10, row))
            for place, id_ in enumerate(answer["ids"][0]):
                kept[project, row][int(id_)] = 10 - place
        client.delete_collection("issues")
    return lambda link: kept[link.project, link.row]


def effort(issues: Mapping[str, list[Issue]], seen: Vectors, name: str) -> list[Claim]:
    """Story points of every `EVERY`th issue, from all before it."""
    wanted = {(of, row) for of in issues for row in range(1, len(issues[of]), EVERY)}
    words = wording(issues, wanted, WordIndex)
    errors, kept = list[tuple[float, ...]](), list[bool]()
    for project, row in sorted(wanted):
        points = np.array([each.points for each in issues[project][: row + 1]])
        before, truth = points[:row], points[row]
        dense = cosines(seen[project], row)
        alike = fused(dense, words[project, row], np.zeros(row), None)
        told = effort_of(before, effort_weights(alike, ages(row)))
        nearest = before[np.argsort(-dense, kind="stable")[:5]].mean()
        guesses = told.value, float(np.median(before[-30:])), float(nearest)
        errors.append(tuple(abs(guess - truth) for guess in guesses))
        kept.append(bool(told.low <= truth <= told.high))
    ours, last, nearest_mean = np.mean(errors, axis=0).tolist()
    held = float(np.mean(kept))
    rows = [
        (f"ours, {name}", ours, held),
        ("median of the last 30", last, "-"),
        (f"mean of the five nearest, {name}", nearest_mean, "-"),
    ]
    title = f"Story points of {len(kept):,} issues of {len(issues)} projects"
    print_table(title, ("way", "mean absolute error", "in the 90 % interval"), rows)
    against = f"last 30: {last:.2f}, five nearest: {nearest_mean:.2f}"
    return [
        claim("mean error, story points", against, ours, 2.15, at_most=True),
        claim("story points in the 90 % interval", "-", held, KEPT[0], at_most=True),
        claim("story points in the 90 % interval, at least", "-", held, KEPT[1]),
    ]


def agents() -> list[Claim]:
    """What runs in a repository took, from those in all others."""
    rows, shares = list[tuple[object, ...]](), list[float]()
    for name, repos, values in runs():
        kept = np.zeros(len(values), bool)
        for repo in np.unique(repos):
            out = repos == repo
            told = effort_of(values[~out], np.ones(int((~out).sum())))
            kept[out] = (values[out] >= told.low) & (values[out] <= told.high)
        shares.append(float(kept.mean()))
        rows.append((name, len(values), float(np.median(values)), shares[-1]))
    header = ("agent and metric", "runs", "median", "in the 90 % interval")
    print_table("Runs in repositories that were not learnt from", header, rows)
    return [
        claim("runs in the 90 % interval, most", "-", max(shares), KEPT[0], at_most=True),
        claim("runs in the 90 % interval, least", "-", min(shares), KEPT[1]),
    ]


def runs() -> Iterator[tuple[str, NDArray[np.str_], Doubles]]:
    """Repositories and values of each metric, or made-up ones."""
    path = DATA / "swebench_pro_runs.jsonl"
    if QUICK or not path.exists():
        rng = np.random.default_rng(0)
        yield "made up", rng.choice(["a", "b", "c"], 300), rng.lognormal(2.0, 1.0, 300)
        return
    told = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for agent in AGENTS:
        for metric in METRICS:
            have = [each for each in told if (each.get(agent) or {}).get(metric) is not None]
            values = np.array([float(each[agent][metric]) for each in have])
            yield f"{agent}, {metric}", np.array([each["repo"] for each in have]), values


def search_time(texts: list[str]) -> list[Claim]:
    """Words and fusion over many tasks of some 60 words."""
    number, index = sized(20_000, quick=200), WordIndex()
    start = perf_counter()
    for at in range(number):
        index.add(texts[at % len(texts)][:360])
    added = (perf_counter() - start) / number * 1e6
    asked = [text[:360] for text in texts[:: max(1, len(texts) // 200)]]
    assert index.scores(texts[0][:360]).argmax() % len(texts) == 0
    spent = [microseconds(index.scores, text) / 1_000 for text in asked]
    shares = index.scores(asked[0])
    mixed = [
        microseconds(lambda each: fused(each, each, ages(number), each), shares) / 1_000
        for _ in range(50)
    ]
    p50, p95 = np.quantile(spent, [0.5, 0.95]).tolist()
    rows = [("words", p50, p95), ("fusion", *np.quantile(mixed, [0.5, 0.95]).tolist())]
    title = f"A search among {number:,} tasks; adding one takes {added:.0f} µs"
    print_table(title, ("part", "p50, ms", "p95, ms"), rows)
    return [
        claim("words of a task among 20,000, p50", "-", p50, 4.0, unit="ms", at_most=True),
        claim("fusion of 20,000, p50", "-", float(np.median(mixed)), 1.0, unit="ms", at_most=True),
    ]


def claim(
    what: str, against: str, result: float, goal: float, *, unit: str = "", at_most: bool = False
) -> Claim:
    """A claim; quick sizes keep no goal of the full ones."""
    peer = f"{against} (quick)" if QUICK else against
    return Claim(what=what, against=peer, result=result, goal=goal, unit=unit, at_most=at_most)


if __name__ == "__main__":
    main()

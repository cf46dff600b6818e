"""How well are kinds of work recognised in real user stories and tickets, and how fast?

77 texts of backlogs and trackers, labelled by one annotator with the eight patterns, 61 drawn at
random and 16 among those that hold a keyword. Labels were read while the lexicon was written,
so the first table flatters it. Of the rules around the lexicon (when a verb, a weak phrase or a
purpose counts) one set is picked on half of the sources and scored on the others, over many
halves: that tells what picking the rules is worth, not what knowing the words is.

The peer is a list of substrings for each pattern, as a first version of such a thing has.

    python benchmarks/learning_patterns.py
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from langchain_core.embeddings import Embeddings
from measuring import Claim, in_turn, print_claims, print_table, sized

from llmops_langchain.embeddings import MiniLMEmbeddings, WordLlamaEmbeddings
from llmops_langchain.learning import evidence
from llmops_langchain.learning.patterns import Patterns

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from minilm import minilm_directory

DATA = Path(__file__).parents[2] / "shared/data/learning/patterns_labelled.jsonl"
HALVES, ROUNDS = sized((200, 20), quick=(4, 1))
MADE_UP = (
    ("garden", "As a member, I want to log in", ("authentication",)),
    ("harbour", "As a clerk, I want to delete a boat", ("crud",)),
    ("garden", "Repaint the fence", ()),
    ("harbour", "Charts of ships", ("analytics",)),
)
KEYWORDS = {
    "authentication": ("auth", "login", "log in", "sign in", "password", "user account", "jwt"),
    "crud": ("crud", "create", "add", "edit", "update", "delete", "remove", "manage"),
    "real_time": ("real-time", "realtime", "real time", "websocket", "live", "chat", "push"),
    "file_upload": ("upload", "file", "attachment", "import", "image"),
    "payment": ("payment", "pay", "stripe", "checkout", "billing", "subscription", "fee"),
    "email": ("email", "e-mail", "mail", "notification", "notify", "smtp"),
    "search": ("search", "find", "filter", "query", "elasticsearch"),
    "analytics": ("analytics", "dashboard", "report", "chart", "metric", "statistic"),
}

Found = list[frozenset[str]]


class Row(NamedTuple):
    """A text and the kinds of work that a person saw in it."""

    source: str
    text: str
    labels: frozenset[str]


class Score(NamedTuple):
    """Precision, recall and their harmonic mean, over all texts and patterns."""

    precision: float
    recall: float
    f1: float


def main() -> None:
    """The tables, then what was promised."""
    rows = labelled()
    ways = {"substrings": substrings(rows), "lexicon": found_by(Patterns.default(), rows)}
    for name, embeddings in embedders():
        ways[f"lexicon, {name}"] = found_by(Patterns.default(embeddings=embeddings), rows)
    scored = {name: score(found, rows) for name, found in ways.items()}
    print_table(
        f"All patterns, {len(rows)} texts (read while the lexicon was written)",
        ("found by", *Score._fields),
        [(name, *each) for name, each in scored.items()],
    )
    print_each("lexicon", ways["lexicon"], rows)
    print_each("substrings", ways["substrings"], rows)
    other, picked = rules(rows)
    peer = f"substrings: {scored['substrings'].f1:.3f}"
    print_claims(
        [
            Claim(what="micro-F1, in sample", against=peer, result=scored["lexicon"].f1, goal=0.85,
                  unit=""),
            Claim(what="micro-F1, rules picked on other sources", against=picked, result=other,
                  goal=0.85, unit=""),
            Claim(what="texts a second", against="-", result=speed(rows), goal=5_000.0, unit=""),
        ]
    )  # fmt: skip


def labelled() -> list[Row]:
    """What the annotator said; a made-up set where there is none."""
    if not DATA.exists():
        return [Row(source, text, frozenset(labels)) for source, text, labels in MADE_UP]
    lines = map(json.loads, DATA.read_text("utf-8").splitlines())
    return [Row(each["source"], each["text"], frozenset(each["labels"])) for each in lines]


def embedders() -> Iterator[tuple[str, Embeddings]]:
    """Those of this machine."""
    yield "WordLlama", WordLlamaEmbeddings()
    if directory := minilm_directory():
        yield "MiniLM", MiniLMEmbeddings(directory)


def substrings(rows: Sequence[Row]) -> Found:
    """What a list of keywords finds, wherever they stand."""
    return [
        frozenset(
            name
            for name, words in KEYWORDS.items()
            if any(word in row.text.lower() for word in words)
        )
        for row in rows
    ]


def found_by(patterns: Patterns, rows: Sequence[Row]) -> Found:
    """What we find."""
    return [frozenset(each.name for each in patterns.found_in(row.text)) for row in rows]


def score(found: Found, rows: Sequence[Row], only: str | None = None) -> Score:
    """Micro-averaged, or of one pattern."""
    counts = Counter[str]()
    for names, row in zip(found, rows, strict=True):
        said = names if only is None else names & {only}
        true = row.labels if only is None else row.labels & {only}
        counts.update({"right": len(said & true), "said": len(said), "true": len(true)})
    right, said_, true_ = counts["right"], counts["said"], counts["true"]
    return Score(right / max(1, said_), right / max(1, true_), 2 * right / max(1, said_ + true_))


def print_each(way: str, found: Found, rows: Sequence[Row]) -> None:
    """A line for each pattern."""
    numbers = Counter(name for row in rows for name in row.labels)
    print_table(
        f"Each pattern, {way}",
        ("pattern", "texts", *Score._fields),
        [(name, numbers[name], *score(found, rows, name)) for name in KEYWORDS],
    )


def rules(rows: Sequence[Row]) -> tuple[float, str]:
    """Micro-F1 on sources that had no say in the rules, and which rules were picked most."""
    variants: dict[str, Sequence[tuple[str, object]]] = {
        "as shipped": (),
        "verbs count anywhere": (("_is_wished", always),),
        "purposes count in full": (("_purpose", nowhere),),
        "a weak phrase is enough": (("_HALF", 1.0),),
        "weak phrases never count": (("_HALF", 0.0),),
    }
    found = {name: found_with(changes, rows) for name, changes in variants.items()}
    print_table(
        "Rules around the lexicon",
        ("rules", *Score._fields),
        [(name, *score(each, rows)) for name, each in found.items()],
    )
    rng, sources = np.random.default_rng(0), sorted({row.source for row in rows})
    picked, scores = Counter[str](), list[float]()
    for _ in range(HALVES):
        drawn = rng.permutation(sources).tolist()
        half, other = frozenset(drawn[::2]), frozenset(drawn[1::2])
        tried = {name: part(each, rows, half) for name, each in found.items()}
        best = max(tried, key=tried.__getitem__)
        picked[best] += 1
        scores.append(part(found[best], rows, other))
    (name, times), *_ = picked.most_common()
    low, high = np.quantile(scores, (0.05, 0.95))
    print(f"\nOn the other half: {np.mean(scores):.3f}, 90 % of halves {low:.3f} to {high:.3f}.")
    return float(np.mean(scores)), f"{name}: {times} of {HALVES} halves"


def part(found: Found, rows: Sequence[Row], wanted: frozenset[str]) -> float:
    """F1 on the sources that are wanted."""
    chosen = [number for number, row in enumerate(rows) if row.source in wanted]
    return score([found[each] for each in chosen], [rows[each] for each in chosen]).f1


def found_with(changes: Sequence[tuple[str, object]], rows: Sequence[Row]) -> Found:
    """What is found under other rules."""
    with ExitStack() as stack:
        for name, value in changes:
            stack.enter_context(patch.object(evidence, name, value))
        return found_by(Patterns.default(), rows)


def always(*_: object) -> bool:
    """Every verb counts."""
    return True


def nowhere(*_: object) -> range:
    """Nothing is a purpose."""
    return range(0)


def speed(rows: Sequence[Row]) -> float:
    """Texts a second, after a first pass over them."""
    patterns, texts = Patterns.default(), [row.text for row in rows]
    timed = in_turn({"found_in": patterns.found_in}, texts * ROUNDS)
    return 1e6 / timed["found_in"].mean


if __name__ == "__main__":
    main()

"""Trains the verifier of the semantic cache: writes `cache/verifier_weights.json` of the package.

    python benchmarks/train_verifier.py

It learns from two sets of labelled pairs of questions: `data/question_pairs.jsonl` beside this
script, with its card there, and `../shared/data/cache/fow_pairs.jsonl`. No text of either goes into
the weights. The same data give the same file. Figures are of a cross-validation in which no
question is in both parts; `semantic.py` measures the outcome beside its peers.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from llmops_langchain.cache.verifier import WEIGHTS, Scale
from llmops_langchain.embeddings import (
    HashedEmbeddings,
    MiniLMEmbeddings,
    WordLlamaEmbeddings,
    unit,
)
from llmops_langchain.fits import Linear, fit_logistic
from llmops_langchain.text import FEATURES, compare, question_of

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from minilm import NEEDS, minilm_directory

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

HERE = Path(__file__).parent
OWN = HERE / "data" / "question_pairs.jsonl"
ANCHORS = HERE / "data" / "anchor_pairs.jsonl"
FOW = HERE.parents[1] / "shared" / "data" / "cache" / "fow_pairs.jsonl"

ERRORS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
"""Shares of wrong answers that thresholds are stored for."""
L2 = 8.0
OWN_WEIGHT = 0.3
"""Of a pair of our own beside one of fow-cache: there are four times as many of one hand."""
NEIGHBOUR_WEIGHT = 0.1
"""Of a question beside its nearest neighbour among unrelated ones: what caches see most."""
WIDTH = 0.2
"""Of the kernel over log-odds: a threshold does not hang on the one highest trap."""
LEAST = 0.05
"""Share of paraphrases; a threshold that serves fewer is of no use, and its error is luck."""
FOLDS, SEEDS = 5, 5
HELP = frozenset(("cosine", "cosine_of_new", "covered", "equal", "slot_cosine"))
EITHER = frozenset(("shared", "slot_verb", "slot_thing", "synonyms"))
SIGNS = np.array([0 if name in EITHER else 1 if name in HELP else -1 for name in FEATURES])
"""What a feature may do to a score: raise it, lower it, or either."""
FLOOR = 0.3
"""A score below is of no use for any share of wrong answers that anyone would accept."""
NEVER = 1.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two questions, and whether one answer serves both."""

    a: str
    b: str
    category: str
    same: bool
    own: bool
    cosine: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows to learn from; arrays of one length."""

    rows: Floats
    same: Flags
    weights: Floats
    groups: NDArray[np.int64]
    """Pairs that share a question, also by way of others, have one number."""
    paraphrase: Flags
    trap: Flags
    """Neither holds for near repeats, nor for unrelated neighbours."""

    def take(self, which: Flags) -> "Sample":
        """The rows for which it holds."""
        fields = (self.rows, self.same, self.weights, self.groups, self.paraphrase, self.trap)
        return Sample(*(field[which] for field in fields))


def read_pairs(file: Path, *, own: bool) -> list[Pair]:
    """The pairs of a file."""
    found = []
    for line in file.read_text("utf-8").splitlines():
        told = json.loads(line)
        a, b = told["a"], told["b"]
        found.append(Pair(a=a, b=b, category=told["category"], same=told["same_answer"], own=own))
    return found


def vectors(embeddings: Embeddings, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Unit vectors by text."""
    unique = list(dict.fromkeys(texts))
    return dict(zip(unique, unit(embeddings.embed_documents(unique)), strict=True))


def with_cosines(pairs: Sequence[Pair], embeddings: Embeddings) -> list[Pair]:
    """The pairs, each with the cosine of its two vectors."""
    known = vectors(embeddings, [text for pair in pairs for text in (pair.a, pair.b)])
    return [
        Pair(
            a=pair.a,
            b=pair.b,
            category=pair.category,
            same=pair.same,
            own=pair.own,
            cosine=float(known[pair.a] @ known[pair.b]),
        )
        for pair in pairs
    ]


def grouped(pairs: Sequence[Pair]) -> NDArray[np.int64]:
    """Numbers of the groups that are linked by common questions.

    A neighbour is a group of its own, or all groups were one. It gives nothing away: it is of two
    groups, has always the same label and is never counted.
    """
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        while parent.setdefault(text, text) != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    for pair in pairs:
        if pair.category != "neighbour":
            parent[root(pair.a.casefold())] = root(pair.b.casefold())
    numbers: dict[str, int] = {}
    names = [
        f"{pair.a}\n{pair.b}" if pair.category == "neighbour" else root(pair.a.casefold())
        for pair in pairs
    ]
    return np.array([numbers.setdefault(name, len(numbers)) for name in names])


def neighbours(pairs: Sequence[Pair], embeddings: Embeddings) -> list[Pair]:
    """Each question of our own beside the nearest one of another group: never the same answer."""
    own = [pair for pair in pairs if pair.own]
    group = {
        text: number
        for pair, number in zip(own, grouped(own), strict=True)
        for text in (pair.a, pair.b)
    }
    known = vectors(embeddings, list(group))
    texts, matrix = list(known), np.stack(list(known.values()))
    cosines = matrix @ matrix.T
    numbers = np.array([group[text] for text in texts])
    cosines[numbers[:, np.newaxis] == numbers] = -1.0
    nearest = cosines.argmax(axis=1)
    found = {}
    for place, other in enumerate(nearest):
        a, b = sorted((texts[place], texts[other]))
        if question_of(a).normal != question_of(b).normal:
            cosine = float(cosines[place, other])
            found[a, b] = Pair(a=a, b=b, category="neighbour", same=False, own=True, cosine=cosine)
    return list(found.values())


def sample(pairs: Sequence[Pair], scale: Callable[[float], float] | None = None) -> Sample:
    """Pairs with cosines as rows; `scale` changes the cosines."""
    categories = np.array([pair.category for pair in pairs])
    same = np.array([pair.same for pair in pairs])
    apart = (categories == "near_repeat") | (categories == "neighbour")
    weights = [
        NEIGHBOUR_WEIGHT if pair.category == "neighbour" else OWN_WEIGHT if pair.own else 1.0
        for pair in pairs
    ]
    return Sample(
        np.array([row(pair, scale) for pair in pairs], np.float64),
        same,
        np.array(weights),
        grouped(pairs),
        same & ~apart,
        ~same & ~apart,
    )


def row(pair: Pair, scale: Callable[[float], float] | None) -> tuple[float, ...]:
    """The features of a pair."""
    cosine = pair.cosine or 0.0
    return compare(question_of(pair.a), question_of(pair.b), scale(cosine) if scale else cosine)


def fitted(data: Sample) -> Linear:
    """The model; a feature whose weight has the wrong sign is left out, the worst first.

    So a nearer vector never lowers a score, and a conflict never raises one.
    """
    rows = data.rows.copy()
    while True:
        model = fit_logistic(rows, data.same, l2=L2, sample_weights=data.weights)
        wrong = model.weights * SIGNS * rows.std(axis=0)
        worst = int(wrong.argmin())
        if wrong[worst] > -1e-9:
            return Linear(np.where(rows.any(axis=0), model.weights, 0.0), model.bias)
        rows[:, worst] = 0.0


def folds(groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """A fold for each row; rows of one group are in one fold."""
    unique, inverse = np.unique(groups, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(unique)) % FOLDS)[inverse]


def cross_validated(data: Sample, seed: int) -> Floats:
    """Log-odds for each row by a model that has not seen its group."""
    fold = folds(data.groups, seed)
    scores = np.empty(len(fold))
    for number in range(FOLDS):
        held = fold == number
        scores[held] = fitted(data.take(~held)).values(data.rows[held])
    return scores


def thresholds(scores: Floats, data: Sample, errors: Iterable[float] = ERRORS) -> list[float]:
    """For each share of wrong the lowest log-odds from which on it is kept; infinite if nowhere.

    Counted are paraphrases and traps. Each score is spread by a logistic kernel, so the shares
    are those expected of pairs like these and not just of these very pairs.
    """
    steps = np.linspace(-3.0, 9.0, 601)
    spread = 0.5 * (1.0 + np.tanh((scores[:, np.newaxis] - steps) / (2.0 * WIDTH)))
    right = (data.weights * data.paraphrase) @ spread
    wrong = (data.weights * data.trap) @ spread
    counted = right >= LEAST * (data.weights @ data.paraphrase)
    steps, share = steps[counted], (wrong / (right + wrong))[counted]
    found = []
    for error in errors:
        above = np.flatnonzero(share > error)
        start = above[-1] + 1 if len(above) else 0
        found.append(float(steps[start]) if start < len(steps) else float("inf"))
    return found


def probability(log_odds: float) -> float:
    """As the verifier gives it."""
    return NEVER if np.isinf(log_odds) else float(0.5 * (1.0 + np.tanh(0.5 * log_odds)))


def family(name: str, data: Sample) -> dict[str, Any]:
    """The weights of one family of embedders, and how they did in cross-validation."""
    scores = np.concatenate([cross_validated(data, seed) for seed in range(SEEDS)])
    fields = (data.rows, data.same, data.weights, data.groups, data.paraphrase, data.trap)
    repeated = Sample(*(np.concatenate([field] * SEEDS) for field in fields))
    chosen = thresholds(scores, repeated)
    model = fitted(data)
    fow = repeated.weights == 1.0
    figures = []
    for error, at in zip(ERRORS, chosen, strict=True):
        served = scores >= at
        figures.append(
            {
                "max_error": error,
                "paraphrases_served": share(served, repeated.paraphrase & fow),
                "traps_served": share(served, repeated.trap & fow),
                "own_paraphrases_served": share(served, repeated.paraphrase & ~fow),
                "own_traps_served": share(served, repeated.trap & ~fow),
            }
        )
    print(f"\n{name}: share served at each `max_error`, fow-cache and our own pairs")
    for figure in figures:
        print("  ", *(f"{key} {value:.3f}" for key, value in figure.items()))
    return {
        "weights": [float(f"{weight:.6g}") for weight in model.weights],
        "bias": float(f"{model.bias:.6g}"),
        "floor": FLOOR,
        "thresholds": [
            [error, round(probability(at), 6)] for error, at in zip(ERRORS, chosen, strict=True)
        ],
        "cross_validation": figures,
    }


def share(served: Flags, which: Flags) -> float:
    """Share of them that is served."""
    return round(float(served[which].mean()), 4)


def anchors(minilm: Embeddings) -> list[dict[str, Any]]:
    """Pairs whose cosines tell the scale of an unknown embedder."""
    pairs = [json.loads(line) for line in ANCHORS.read_text("utf-8").splitlines()]
    known = vectors(minilm, [text for pair in pairs for text in (pair["a"], pair["b"])])
    return [
        pair | {"minilm": round(float(known[pair["a"]] @ known[pair["b"]]), 4)} for pair in pairs
    ]


def scale_of(embeddings: Embeddings, told: list[dict[str, Any]]) -> Callable[[float], float]:
    """What maps their cosines to MiniLM's."""
    return Scale.measured(embeddings, told).to


def main() -> None:
    """Train every family and write the file."""
    directory = minilm_directory()
    if directory is None or not FOW.is_file():
        sys.exit(f"needs {FOW} and the packages {', '.join(NEEDS)}: see tests/minilm.py")
    written = trained(MiniLMEmbeddings(directory))
    text = json.dumps(written, indent=1, ensure_ascii=False)
    Path(str(WEIGHTS)).write_text(text + "\n", "utf-8")
    print(f"\n{WEIGHTS.name}: {len(text)} characters, version {written['version']}")


def trained(minilm: Embeddings) -> dict[str, Any]:
    """What the file is to hold."""
    pairs = read_pairs(OWN, own=True) + read_pairs(FOW, own=False)
    told = anchors(minilm)
    embedders: dict[str, Embeddings] = {
        "minilm": minilm,
        "wordllama": WordLlamaEmbeddings(),
        "hashed": HashedEmbeddings(),
    }
    measured = {
        name: with_cosines(pairs, each) + neighbours(pairs, each)
        for name, each in embedders.items()
    }
    families = {name: family(name, sample(each)) for name, each in measured.items()}
    families["generic"] = family("generic", blended(embedders, measured, told))
    written = {
        "features": list(FEATURES),
        "families": families,
        "anchors": told,
        "provenance": PROVENANCE,
    }
    digest = blake2b(json.dumps(written).encode(), digest_size=4).hexdigest()
    return {"version": f"1.{digest}"} | written


def blended(
    embedders: dict[str, Embeddings],
    measured: dict[str, list[Pair]],
    told: list[dict[str, Any]],
) -> Sample:
    """MiniLM's cosines, and WordLlama's on MiniLM's scale: an unknown embedder is like neither."""
    halves = [
        sample(measured["minilm"]),
        sample(measured["wordllama"], scale_of(embedders["wordllama"], told)),
    ]
    both = measured["minilm"] + measured["wordllama"]
    return Sample(
        np.concatenate([half.rows for half in halves]),
        np.concatenate([half.same for half in halves]),
        np.concatenate([half.weights for half in halves]),
        grouped(both),
        np.concatenate([half.paraphrase for half in halves]),
        np.concatenate([half.trap for half in halves]),
    )


PROVENANCE = {
    "trained_by": "benchmarks/train_verifier.py",
    "data": [
        {
            "name": "question_pairs.jsonl",
            "licence": "MIT",
            "credit": "written for this project",
        },
        {
            "name": "fow_pairs.jsonl of fow-cache",
            "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
            "credit": "Copyright (c) 2026 Mabon ap Gwyn",
            "changes": "only figures learnt from the pairs are in this file, none of the texts",
        },
        {"name": "anchor_pairs.jsonl", "licence": "MIT", "credit": "written for this project"},
    ],
    "lexicon": "WordNet 3.0, see llmops_langchain/text/lexicon.LICENSE",
    "l2": L2,
    "own_weight": OWN_WEIGHT,
    "neighbour_weight": NEIGHBOUR_WEIGHT,
    "folds": FOLDS,
    "seeds": list(range(SEEDS)),
}


if __name__ == "__main__":
    main()

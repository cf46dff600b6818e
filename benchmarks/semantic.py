"""The verifier on labelled pairs: right and wrong answers served, beside cosine thresholds.

Every pair is judged by a model and a threshold that saw no question of its group (nested
cross-validation). "Wrong" is read in two ways: the share of wrong answers among those served
(paraphrases and traps), which is the stricter here, and the share of traps that are served. Near
repeats are counted apart: they are easy, and with them every share of wrong looks smaller.

    python benchmarks/semantic.py             # the tables, and docs/semantic-tradeoff.svg anew

The traps are `../shared/data/cache/fow_pairs.jsonl`; without them our own pairs are judged alone.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path

import numpy as np
import train_verifier as training
from langchain_core.embeddings import Embeddings
from measuring import QUICK, Claim, print_claims, print_table, sized
from tradeoff import Point, drawn
from train_verifier import Flags, Floats, Pair, Sample

from llmops_langchain.embeddings import (
    HashedEmbeddings,
    MiniLMEmbeddings,
    WordLlamaEmbeddings,
    default_embeddings,
)

ERRORS = (0.01, 0.05)
SEEDS = sized(5, quick=1)
CATEGORIES = ("negation", "entity_swap", "number_date", "scope", "related")
PICTURE = Path(__file__).parents[1] / "docs" / "semantic-tradeoff.svg"
QQP = training.FOW.with_name("qqp.jsonl")

GPTCACHE, REDISVL = 0.6, 0.9
"""Cosines from which on the peers serve by default. gptcache 0.1.44: `Config` has
`similarity_threshold=0.8` of a range of 4, and `SearchDistanceEvaluation` scores 4 less the squared
distance, so up to 0.8 is served. redisvl 0.28.0: `SemanticCache` has `distance_threshold=0.1`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one policy served, over all folds; sums over the seeds."""

    policy: str
    served: Flags
    """Shape `(seeds, pairs)`."""
    threshold: float
    """The mean of those chosen."""
    label: str = ""
    """In the picture."""


@dataclass(frozen=True, slots=True)
class Data:
    """The pairs that are judged come first; the rest only trains."""

    pairs: Sequence[Pair]
    sample: Sample
    judged: int

    @property
    def categories(self) -> list[str]:
        """Of the pairs that are judged."""
        return [pair.category for pair in self.pairs[: self.judged]]

    def which(self, *categories: str) -> Flags:
        """Where a judged pair is of one of them."""
        return np.isin(self.categories, categories)

    @property
    def traps(self) -> Flags:
        """Judged pairs that one answer does not serve."""
        return ~self.sample.same[: self.judged]

    @property
    def cosines(self) -> Floats:
        """Of the judged pairs."""
        return np.array([pair.cosine or 0.0 for pair in self.pairs[: self.judged]])


def gathered(embeddings: Embeddings, *, own: bool) -> Data:
    """Pairs to judge, `own` or fow-cache's, and with them those of the other hand to learn from."""
    ours = training.read_pairs(training.OWN, own=True)
    theirs = training.read_pairs(training.FOW, own=False) if training.FOW.is_file() else []
    first, second = (ours, theirs) if own else (theirs, ours)
    pairs = training.with_cosines([*first, *second], embeddings)
    pairs += training.neighbours(pairs, embeddings)
    return Data(pairs, training.sample(pairs), len(first))


def splits(data: Data) -> Iterator[tuple[int, Flags, Flags]]:
    """Seed, what may be learnt from, and what is judged; never two of a group on both sides."""
    groups = data.sample.groups
    judged = np.arange(len(groups)) < data.judged
    for seed in range(SEEDS):
        fold = training.folds(groups, seed)
        for number in range(training.FOLDS):
            held = np.isin(groups, groups[judged & (fold == number)])
            yield seed, ~held, judged & held


def verifier(data: Data) -> list[Judged]:
    """Ours: model and thresholds learnt anew without the fold."""
    served = np.zeros((len(ERRORS), SEEDS, data.judged), bool)
    chosen: list[list[float]] = []
    for seed, learnt, held in splits(data):
        known = data.sample.take(learnt)
        values = training.fitted(known).values(data.sample.rows[held])
        thresholds = training.thresholds(training.cross_validated(known, seed), known, ERRORS)
        chosen.append([training.probability(each) for each in thresholds])
        for place, threshold in enumerate(thresholds):
            served[place, seed, np.flatnonzero(held)] = values >= threshold
    means = np.mean(chosen, axis=0)
    return [
        Judged(
            policy=f"verifier, ≤ {error:.0%} wrong",
            served=each,
            threshold=float(mean),
            label=f"asked for ≤ {error:.0%} wrong",
        )
        for error, each, mean in zip(ERRORS, served, means, strict=True)
    ]


def cosine_alone(data: Data) -> list[Judged]:
    """A threshold on the cosine, chosen without the fold in either reading of wrong."""
    found = []
    for reading in ("served", "traps"):
        for error in ERRORS:
            served = np.zeros((SEEDS, data.judged), bool)
            chosen = []
            for seed, learnt, held in splits(data):
                known = learnt[: data.judged]
                threshold = best_cosine(data, known, error, among_traps=reading == "traps")
                chosen.append(min(threshold, training.NEVER))
                served[seed] |= held[: data.judged] & (data.cosines >= threshold)
            what = "of traps" if reading == "traps" else "wrong"
            policy = f"cosine, ≤ {error:.0%} {what}"
            found.append(Judged(policy=policy, served=served, threshold=float(np.mean(chosen))))
    return found


def best_cosine(data: Data, known: Flags, error: float, *, among_traps: bool) -> float:
    """The lowest cosine with no more than this share of wrong among the known pairs."""
    counted = known & (data.traps | data.which("paraphrase"))
    order = np.argsort(-data.cosines[counted])
    wrong = np.cumsum(data.traps[counted][order])
    total = data.traps[counted].sum() if among_traps else np.arange(1, len(order) + 1)
    fits = np.flatnonzero(wrong / total <= error)
    return float(data.cosines[counted][order][fits[-1]]) if len(fits) else float("inf")


def fixed(data: Data, policy: str, threshold: float) -> Judged:
    """A cosine threshold as a peer ships it."""
    served = np.tile(data.cosines >= threshold, (SEEDS, 1))
    label = f"{policy.partition(',')[0]} (cosine ≥ {threshold})"
    return Judged(policy=policy, served=served, threshold=threshold, label=label)


def upper_bound(wrong: int, total: int, confidence: float = 0.95) -> float:
    """One-sided bound of a share (Clopper and Pearson, 1934), by bisection of the binomial."""
    if wrong >= total:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        terms = (
            comb(total, k) * middle**k * (1.0 - middle) ** (total - k) for k in range(wrong + 1)
        )
        low, high = (middle, high) if sum(terms) > 1.0 - confidence else (low, middle)
    return high


def shares(data: Data, judged: Judged) -> tuple[float, float, float]:
    """Means over the seeds: paraphrases served, wrong among the served, traps served."""
    right = judged.served[:, data.which("paraphrase")].sum(axis=1)
    wrong = judged.served[:, data.traps].sum(axis=1)
    return (
        float(right.mean() / data.which("paraphrase").sum()),
        float((wrong / np.maximum(1, right + wrong)).mean()),
        float(wrong.mean() / data.traps.sum()),
    )


def table(title: str, data: Data, policies: Sequence[Judged]) -> None:
    """Counts of the first seed with bounds, and shares over all seeds."""
    totals = Counter(data.categories)
    kinds = [kind for kind in CATEGORIES if totals[kind]]
    rows = []
    for each in policies:
        first = each.served[0]
        right, wrong = first[data.which("paraphrase")].sum(), first[data.traps].sum()
        near = first[data.which("near_repeat")].sum()
        mean = shares(data, each)
        rows.append(
            (
                each.policy,
                "never" if each.threshold > 1.0 else f"{each.threshold:.3f}",
                f"{right} ({right / totals['paraphrase']:.0%})",
                f"{near} ({near / max(1, totals['near_repeat']):.0%})",
                " · ".join(str(first[data.which(kind)].sum()) for kind in kinds),
                bounded(int(wrong), int(right + wrong)),
                bounded(int(wrong), int(data.traps.sum())),
                " / ".join(f"{value:.1%}" for value in mean),
            )
        )
    print_table(
        title,
        (
            "policy",
            "threshold",
            f"paraphrases served, of {totals['paraphrase']}",
            f"near repeats, of {totals['near_repeat']}",
            f"wrong: {' · '.join(kinds)}",
            "wrong among served (95 % bound)",
            "traps served (95 % bound)",
            f"mean of {SEEDS} seeds: paraphrases / wrong among served / traps",
        ),
        rows,
    )


def bounded(wrong: int, total: int) -> str:
    """A count with its share and bound."""
    if not total:
        return "0 of 0"
    share, bound = wrong / total, upper_bound(wrong, total)
    return f"{wrong} of {total} = {share:.1%} (≤ {bound:.1%})"


def auc(scores: Floats, same: Flags) -> float:
    """Area under the ROC curve; ties count half (Hanley and McNeil, 1982)."""
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    positive = int(same.sum())
    above = ranks[same].sum() - positive * (positive + 1) / 2.0
    return float(above / (positive * (len(values[inverse]) - positive)))


def outside(embeddings: Embeddings, name: str, judged: Data) -> None:
    """Pairs of Quora questions: measured, and never learnt or chosen from."""
    told = [json.loads(line) for line in QQP.read_text("utf-8").splitlines()]
    told = told[: sized(len(told), quick=200)]
    pairs = training.with_cosines(
        [
            Pair(
                a=each["text_a"],
                b=each["text_b"],
                category="qqp",
                same=each["label"] == 1,
                own=True,
            )
            for each in told
        ],
        embeddings,
    )
    sample = training.sample(pairs)
    cosines = sample.rows[:, 0]
    model = training.fitted(judged.sample)
    scores = model.values(sample.rows)
    thresholds = training.thresholds(
        training.cross_validated(judged.sample, 0), judged.sample, ERRORS
    )
    rows = []
    for error, threshold in zip(ERRORS, thresholds, strict=True):
        served = scores >= threshold
        equal = np.argsort(-cosines)[: served.sum()]
        rows.append(
            (
                f"≤ {error:.0%}",
                f"{served.sum()} of {len(pairs)}",
                f"{1.0 - sample.same[served].mean():.1%}" if served.any() else "",
                f"{1.0 - sample.same[equal].mean():.1%}" if served.any() else "",
            )
        )
    print_table(
        f"Quora question pairs, noisy labels: ROC AUC {auc(cosines, sample.same):.3f} by cosine of "
        f"{name}, {auc(scores, sample.same):.3f} by the verifier",
        ("threshold", "served", "labelled different", "the same number by cosine"),
        rows,
    )


def curve(scores: Floats, data: Data) -> list[tuple[float, float]]:
    """For falling thresholds; from 5 % of paraphrases on, of fewer the share of wrong is luck."""
    counted = data.traps | data.which("paraphrase")
    order = np.argsort(-scores[counted])
    wrong = np.cumsum(data.traps[counted][order])
    total = np.arange(1, len(order) + 1)
    served = (total - wrong) / data.which("paraphrase").sum()
    steps = ~data.traps[counted][order] & (served >= training.LEAST)
    return list(zip((wrong / total)[steps].tolist(), served[steps].tolist(), strict=True))


def cross_validated(data: Data) -> Floats:
    """Scores of the judged pairs by models that have not seen their groups, mean of the seeds."""
    scores = np.zeros(data.judged)
    for _, learnt, held in splits(data):
        values = training.fitted(data.sample.take(learnt)).values(data.sample.rows[held])
        scores[np.flatnonzero(held)] += values / SEEDS
    return scores


def embedders(minilm: Embeddings, name: str) -> Iterator[tuple[str, Callable[[], Embeddings]]]:
    """Those that have weights of their own."""
    yield name, lambda: minilm
    if name != "WordLlama":
        yield "WordLlama", WordLlamaEmbeddings
    yield "hashed words", HashedEmbeddings


def best_embedder() -> tuple[Embeddings, str]:
    """MiniLM if it is there."""
    if directory := training.minilm_directory():
        return MiniLMEmbeddings(directory), "MiniLM"
    chosen = default_embeddings()
    names = {MiniLMEmbeddings: "MiniLM", WordLlamaEmbeddings: "WordLlama"}
    return chosen, names.get(type(chosen), "hashed words")


def main() -> None:
    """Judge, print and draw."""
    embeddings, name = best_embedder()
    held_back = training.FOW.is_file()
    data = gathered(embeddings, own=not held_back)
    ours, cosine = verifier(data), cosine_alone(data)
    peers = [
        fixed(data, "GPTCache, its default", GPTCACHE),
        fixed(data, "redisvl, its default", REDISVL),
    ]
    source = "fow-cache" if held_back else "our own pairs (the shared data are missing)"
    table(f"Pairs of {source}, {name}", data, [*ours, *cosine, *peers])
    if held_back:
        own = gathered(embeddings, own=True)
        peers_own = [fixed(own, "redisvl, its default", REDISVL)]
        table(f"Our own pairs, harder, {name}", own, [*verifier(own), *peers_own])
    for other, make in embedders(embeddings, name):
        if other != name:
            further = gathered(make(), own=not held_back)
            table(f"Pairs of {source}, {other}", further, verifier(further))
    if QQP.is_file():
        outside(embeddings, name, data)
    if not QUICK and held_back and name == "MiniLM":
        PICTURE.write_text(picture(data, ours, peers), "utf-8")
    print_claims(claims(data, ours, cosine))


def picture(data: Data, ours: Sequence[Judged], peers: Sequence[Judged]) -> str:
    """Both ways of judging, and where the thresholds that were chosen beforehand lead."""

    def marks(policies: Sequence[Judged]) -> dict[str, Point]:
        found = {}
        for each in policies:
            served, wrong, _ = shares(data, each)
            found[each.label] = (wrong, served)
        return found

    return drawn(
        curve(cross_validated(data), data),
        curve(data.cosines, data),
        marks(ours),
        marks(peers),
        f"fow-cache, {data.which('paraphrase').sum()} rewordings and {data.traps.sum()} traps",
    )


def claims(data: Data, ours: Sequence[Judged], cosine: Sequence[Judged]) -> Iterator[Claim]:
    """What was promised of paraphrases, and of wrong answers among the served."""
    for goal, each, other, error in zip((30.0, 45.0), ours, cosine, ERRORS, strict=False):
        right, wrong, _ = shares(data, each)
        against = f"cosine alone ({shares(data, other)[0]:.0%})"
        yield Claim(
            what=f"paraphrases served, ≤ {error:.0%} wrong among served",
            against=against,
            result=100.0 * right,
            goal=goal,
            unit="%",
        )
        yield Claim(
            what=f"wrong among served, where ≤ {error:.0%} is asked for",
            against="the threshold's promise",
            result=100.0 * wrong,
            goal=100.0 * error,
            unit="%",
            at_most=True,
        )


if __name__ == "__main__":
    sys.exit(main())

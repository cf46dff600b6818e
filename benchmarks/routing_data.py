"""Outcomes of real models for `routing.py`, how they are divided, and what was divided how.

The rows of every split are in `data/routing_splits.json`, and a run that divides otherwise fails:
`python benchmarks/routing_data.py` writes it anew.
"""

import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from measuring import QUICK, sized
from numpy.typing import NDArray

from llmops_langchain.embeddings import default_embeddings
from llmops_langchain.routing.features import complexity, features_of
from llmops_langchain.routing.quality import Prompts

DATA = Path(__file__).parents[2] / "shared/data/routing"
SPLITS = Path(__file__).parent / "data" / "routing_splits.json"
SEEDS = sized(5, quick=1)
FEW = sized(1_500, quick=200)
"""Labels of the splits that the goals are about."""

MOST = sized(20_000, quick=1_500)
FOLDS = 5
Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

PRICES = {  # US dollars per million tokens in and out, as asked by providers or hosts of the time
    "Athene-70B": (0.9, 0.9),
    "Llama-3.1-405B-Inst": (3.5, 3.5),
    "Meta-Llama-3-70B-Instruct": (0.9, 0.9),
    "Meta-Llama-3-8B-Instruct": (0.2, 0.2),
    "Meta-Llama-3.1-405B-Instruct": (3.5, 3.5),
    "Meta-Llama-3.1-70B-Instruct": (0.88, 0.88),
    "Meta-Llama-3.1-8B-Instruct": (0.18, 0.18),
    "Mistral-Large-2": (2, 6),
    "Phi-3.5-mini-instruct": (0.1, 0.1),
    "Qwen2-72B-Instruct": (0.9, 0.9),
    "Qwen2-7B-Instruct": (0.2, 0.2),
    "Yi-1.5-34B-Chat": (0.8, 0.8),
    "Yi-1.5-9B-Chat": (0.3, 0.3),
    "claude-3-5-haiku-20241022": (0.8, 4),
    "claude-3-5-sonnet-20240620": (3, 15),
    "claude-3-5-sonnet-20241022": (3, 15),
    "claude-3-haiku-20240307": (0.25, 1.25),
    "claude-3-opus-20240229": (15, 75),
    "deepseek-v2.5-0908": (0.14, 0.28),
    "gemini-1.5-flash": (0.075, 0.3),
    "gemini-1.5-pro": (1.25, 5),
    "gemma-2-27b-it": (0.8, 0.8),
    "gemma-2-2b-it": (0.1, 0.1),
    "gemma-2-9b-it": (0.3, 0.3),
    "gpt-3.5-turbo-0125": (0.5, 1.5),
    "gpt-4o-2024-05-13": (5, 15),
    "gpt-4o-2024-08-06": (2.5, 10),
    "gpt-4o-mini-2024-07-18": (0.15, 0.6),
    "reka-core-20240501": (2, 6),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """Prompts with the outcomes of a strong and a weak model."""

    lines: Rows
    """Where each stands in the file, from 0."""
    texts: list[str]
    prompts: Prompts
    subjects: NDArray[np.str_]
    strong: Floats
    weak: Floats
    lengths: Floats
    complexities: Floats

    def rows(self, which: Rows) -> "Pair":
        """Some of them."""
        return Pair(
            self.lines[which],
            [self.texts[at] for at in which],
            self.prompts.rows(which),
            self.subjects[which],
            self.strong[which],
            self.weak[which],
            self.lengths[which],
            self.complexities[which],
        )


@dataclass(frozen=True, slots=True)
class Many:
    """Prompts with the outcomes and costs of many models."""

    prompts: Prompts
    right: Floats
    cost: Floats
    asked: Floats
    """The cost of the input alone, which is known beforehand."""


def split(number: int, labels: int, seed: int) -> tuple[Rows, Rows]:
    """Rows to learn from, and the others."""
    order = np.random.default_rng(seed).permutation(number)
    return order[: min(labels, 4 * number // 5)], order[min(labels, 4 * number // 5) :]


def by_subject(mmlu: Pair) -> Iterator[tuple[Rows, Rows]]:
    """Folds in which no subject is on both sides."""
    names = np.unique(mmlu.subjects)
    for seed in range(sized(2, quick=1)):
        order = np.random.default_rng(seed).permutation(names)
        for fold in range(FOLDS):
            out = np.isin(mmlu.subjects, order[fold::FOLDS])
            yield np.flatnonzero(~out), np.flatnonzero(out)


def two_models() -> Pair:
    """RouteLLM's outcomes, or made-up ones."""
    path = DATA / "routellm.jsonl"
    told = list(lines(path)) if path.exists() else made_up()
    some = slice(None, None, max(1, len(told) // MOST))
    order, told = np.arange(len(told))[some], told[some]
    texts = [each["prompt"] for each in told]
    return Pair(
        order,
        texts,
        seen(texts),
        np.array([each["subject"] for each in told]),
        np.array([float(each["gpt4"]) for each in told]),
        np.array([float(each["mixtral"]) for each in told]),
        np.array([float(len(text)) for text in texts]),
        np.array(list(map(complexity, texts))),
    )


def many_models() -> Many:
    """ZeroEval's outcomes with their costs, or made-up ones."""
    path = DATA / "zeroeval.npz"
    if not path.exists():
        told = made_up()
        right = np.array([[each["mixtral"], each["gpt4"]] for each in told], np.float64)
        cost = np.tile([0.001, 0.01], (len(told), 1))
        return Many(seen([each["prompt"] for each in told]), right, cost, cost / 2)
    kept = np.load(path)
    texts = [each["prompt"] for each in lines(DATA / "zeroeval_prompts.jsonl")]
    some = slice(None, None, sized(1, quick=4))
    models = [at for at, name in enumerate(kept["models"]) if str(name) in PRICES]
    prices = np.array([PRICES[str(kept["models"][at])] for at in models])
    tokens = kept["in_tokens"][:, np.newaxis] * prices[:, 0]
    cost = (tokens + kept["out_tokens"][:, models] * prices[:, 1]) / 1e6
    right = kept["correct"][some][:, models].astype(np.float64)
    return Many(seen(texts[some]), right, cost[some], tokens[some] / 1e6)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """A file's JSON lines: a prompt may hold what else ends a line."""
    return (json.loads(line) for line in path.read_text().split("\n") if line)


def seen(texts: Sequence[str]) -> Prompts:
    """Texts as a router sees them."""
    vectors = np.asarray(default_embeddings().embed_documents(list(texts)), np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Prompts(vectors, np.stack(list(map(features_of, texts))))


def made_up() -> list[dict[str, Any]]:
    """Prompts of four kinds, two of which only the strong model answers."""
    rng, told = random.Random(0), list[dict[str, Any]]()  # noqa: S311 - to be repeated
    kinds = {"add": (0.95, 0.9), "law": (0.9, 0.3), "poem": (0.9, 0.8), "proof": (0.8, 0.2)}
    for number in range(1_200):
        subject = rng.choice(list(kinds))
        strong, weak = (rng.random() < chance for chance in kinds[subject])
        text = f"{subject} {' '.join(rng.choices('abcd', k=rng.randint(3, 30)))} {number}?"
        told.append({"subject": subject, "prompt": text, "gpt4": strong, "mixtral": weak})
    return told


def check_splits(mmlu: Pair, many: Many) -> None:
    """Fail if the rows are not divided as the file says.

    Raises:
        RuntimeError: If they are not.
    """
    if not QUICK and DATA.exists() and json.loads(SPLITS.read_text()) != divided(mmlu, many):
        msg = f"the splits differ from {SPLITS.name}: write it anew, and say so"
        raise RuntimeError(msg)


def divided(mmlu: Pair, many: Many) -> dict[str, Any]:
    """Every split that figures are about, with the files whose rows are meant."""
    number, half = len(mmlu.texts), len(many.right) // 2
    files = ("routellm.jsonl", "zeroeval_prompts.jsonl", "zeroeval.npz")
    return {
        "rows": "row r of the file, from 0, is tested on if bit r of the hexadecimal number is set",
        "sha256": {name: sha256((DATA / name).read_bytes()).hexdigest() for name in files},
        f"routellm, {FEW} labels: the other rows but gsm8k's are learnt from": [
            bits(mmlu.lines[split(number, FEW, seed)[1]]) for seed in range(SEEDS)
        ],
        "routellm, subjects that are tested on; the others but gsm8k are learnt from": [
            " ".join(np.unique(mmlu.subjects[out]).tolist()) for _, out in by_subject(mmlu)
        ],
        "zeroeval: the other rows are learnt from": [
            bits(split(len(many.right), half, seed)[1]) for seed in range(SEEDS)
        ],
    }


def bits(rows: Rows) -> str:
    """Rows as one number."""
    return f"{sum(1 << int(row) for row in rows):x}"


def write_splits() -> None:
    """Put the splits of the full sizes on file, for other runs to be checked against."""
    if QUICK or not DATA.exists():
        sys.exit("the splits on file are those of the full sizes, and of the data")
    pair = two_models()
    told = divided(pair.rows(np.flatnonzero(pair.subjects != "gsm8k")), many_models())
    SPLITS.write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    write_splits()

"""Issues of ten projects in the order in which they were written, and which mention which.

Titles, descriptions and story points are of Choetkiertikul et al. (A deep learning model for
estimating story points, IEEE TSE, 2018); the data is looked for beside the checkout, without it
issues are made up. An issue that mentions an earlier one of its project is a link, and what it
mentions should be found among all earlier ones; the keys it mentions them by are taken out of all
texts. Vectors are kept in the folder for temporary files: MiniLM takes minutes for all issues.
"""

import csv
import json
import random
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from langchain_core.embeddings import Embeddings
from measuring import QUICK
from numpy.typing import NDArray

from llmops_langchain.embeddings import (
    HashedEmbeddings,
    MiniLMEmbeddings,
    WordLlamaEmbeddings,
    identity,
    unit,
)

__all__ = [
    "DATA",
    "Issue",
    "Link",
    "embedders",
    "links",
    "mean_reciprocal_rank",
    "projects",
    "reciprocal_ranks",
    "vectors",
]

Floats = NDArray[np.float32]

DATA = Path(__file__).parents[2] / "shared/data/learning"
_KEY = re.compile(r"\b[A-Z][A-Z0-9]+-\d+\b")
_FOUND = 10  # places that count


class Issue(NamedTuple):
    """One issue."""

    key: str
    text: str
    points: float


class Link(NamedTuple):
    """An issue and the earlier ones that it mentions, by their places in the project."""

    project: str
    row: int
    gold: tuple[int, ...]


def projects() -> dict[str, list[Issue]]:
    """The issues of each project, the oldest first."""
    files = sorted((DATA / "storypoints").glob("*.csv"))
    return _made_up() if QUICK or not files else {file.stem: list(_issues(file)) for file in files}


def links(issues: dict[str, list[Issue]]) -> list[Link]:
    """Which issues mention which."""
    path = DATA / "similar_gold.jsonl"
    if QUICK or not path.exists():
        # The made-up issues come in pairs.
        return [Link(name, row, (row - 1,)) for name in issues for row in range(1, 40, 2)]
    places = {name: {each.key: at for at, each in enumerate(issues[name])} for name in issues}
    found = []
    for line in path.read_text("utf-8").splitlines():
        told = json.loads(line)
        at = places[told["project"]]
        assert at[told["query"]] == told["row"]
        found.append(Link(told["project"], told["row"], tuple(at[key] for key in told["gold"])))
    return found


def embedders() -> dict[str, Embeddings]:
    """Those that are there, by name; the best first."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from minilm import minilm_directory

    directory = minilm_directory()
    best = {} if QUICK or directory is None else {"MiniLM": MiniLMEmbeddings(directory)}
    return {**best, "WordLlama": WordLlamaEmbeddings(), "hashed words": HashedEmbeddings()}


def vectors(embeddings: Embeddings, texts: Sequence[str]) -> Floats:
    """Unit vectors, from the folder for temporary files if they were made before."""
    name = sha256("\0".join([identity(embeddings), *texts]).encode()).hexdigest()
    kept = Path(tempfile.gettempdir(), f"llmops-vectors-{name[:32]}.npy")
    if not kept.exists():
        made = unit(np.asarray(embeddings.embed_documents([text or " " for text in texts])))
        np.save(kept, np.asarray(made, np.float32))
    return np.asarray(np.load(kept), np.float32)


def reciprocal_ranks(
    found: Sequence[Link], scores: Callable[[Link], NDArray[np.floating]]
) -> NDArray[np.float64]:
    """One over the place of the first issue that is mentioned, 0 if it is not among the ten best.

    Args:
        found: Links.
        scores: Of all issues before one; of two with the same the newer comes first.
    """
    ranks = []
    for link in found:
        order = link.row - 1 - np.argsort(-scores(link)[::-1], kind="stable")[:_FOUND]
        (hits,) = np.nonzero(np.isin(order, link.gold))
        ranks.append(1.0 / (hits[0] + 1) if len(hits) else 0.0)
    return np.array(ranks)


def mean_reciprocal_rank(
    found: Sequence[Link], scores: Callable[[Link], NDArray[np.floating]]
) -> float:
    """MRR@10."""
    return float(reciprocal_ranks(found, scores).mean())


def _issues(file: Path) -> Iterator[Issue]:
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            text = _KEY.sub(" ", f"{row['title']}\n{row['description']}")
            yield Issue(row["issuekey"], text, float(row["storypoint"]))


def _made_up() -> dict[str, list[Issue]]:
    rng = random.Random(0)  # noqa: S311 - to be repeated
    names = [f"{a}{b}" for a in "bdfklmnprst" for b in ("ana", "evo", "ili", "oru", "uta")]
    made: dict[str, list[Issue]] = {}
    for project in ("one", "two"):
        about = [" ".join(rng.choices(names, k=12)) for _ in range(20)]
        made[project] = [
            Issue(str(at), f"{about[at // 2]} {rng.choice(names)}", float(rng.choice((1, 2, 3, 5))))
            for at in range(40)
        ]
    return made

"""Chooses the weights in `llmops_langchain/learning/ranking.py`, each project left out in turn.

For each project that has links, the weights that rank the links of all others best, over a coarse
grid and the mean of three embedders, are tried on its own. Prints which those are, what they give
there, what the package's weights give, and how flat the top is.

    python benchmarks/make_learning_weights.py
"""

from itertools import product

import numpy as np
from learning_issues import embedders, links, projects, reciprocal_ranks, vectors
from learning_similar import fusion, wording
from measuring import print_table, sized

from llmops_langchain.learning.ranking import WEIGHTS
from llmops_langchain.learning.wording import WordIndex, plain

GRID = list(product((0.0, 0.2, 0.3, 0.4, 0.5, 0.75), (0.0, 0.01, 0.02, 0.03, 0.04, 0.05)))
"""`dense` and `age`."""


def main() -> None:
    """Every pair of weights, on every link."""
    issues = projects()
    found = links(issues)
    words = wording(issues, {(link.project, link.row) for link in found}, WordIndex)
    of = np.array([link.project for link in found])
    ranks = dict[str, np.ndarray]()
    for name, embeddings in embedders().items():
        seen = {each: vectors(embeddings, [plain(e.text) for e in issues[each]]) for each in issues}
        ranks[name] = np.array(
            [
                reciprocal_ranks(
                    found,
                    lambda link, seen=seen, dense=dense, age=age: fusion(
                        link, seen, words, WEIGHTS._replace(dense=dense, age=age)
                    ),
                )
                for dense, age in GRID[:: sized(1, quick=7)]
            ]
        )
    together = np.mean(list(ranks.values()), axis=0)
    report(ranks, together, of)


def report(ranks: dict[str, np.ndarray], together: np.ndarray, of: np.ndarray) -> None:
    """What was chosen without each project, and what it gave there."""
    grid = GRID[:: sized(1, quick=7)]
    rows, held = list[tuple[object, ...]](), {name: np.zeros(len(of)) for name in ranks}
    for project in np.unique(of):
        out = of == project
        best = int(together[:, ~out].mean(axis=1).argmax())
        for name, each in ranks.items():
            held[name][out] = each[best, out]
        rows.append((project, int(out.sum()), *grid[best]))
    print_table("Chosen by all other projects", ("project", "links", "dense", "age"), rows)
    rows = [(name, float(each.mean())) for name, each in held.items()]
    print_table("On projects that the weights were not chosen by", ("embedder", "MRR@10"), rows)
    rows = [(*pair, *(float(ranks[n][at].mean()) for n in ranks)) for at, pair in enumerate(grid)]
    print_table("Over all projects", ("dense", "age", *ranks), rows)


if __name__ == "__main__":
    main()

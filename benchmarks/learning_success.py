"""How well is success predicted from past runs, on outcomes of real models and agents?

RouteLLM: GPT-4 and Mixtral on MMLU and GSM8K (Ong et al., 2024), the subject as the stack.
SWE-bench Lite: 300 tasks by 41 agents, the repository as the stack. SWE-bench Pro: 9 models, whose
tasks come without texts here, so all are equally unlike. Small sizes draw rows at random, predict
others, and are repeated; peers see the same rows: the base rate (shrunk to one half by two rows),
the mean of the five nearest by cosine, and a logistic regression on the vectors. The oracle is the
base rate of the rows predicted, which nobody knows beforehand.

Coverage, simulated: the share of runs whose true chance lies in the 90 % interval, over hierarchies
of tasks and runners drawn at random. Coverage, real: half of the agents are known, and the rate of
the other half on a task is predicted. That rate has the noise of few runs, so the interval is taken
for a beta distribution with its mean and width, successes are drawn from it, and the outcome's
place among the draws must lie between 5 and 95 %.

    python benchmarks/learning_success.py    # the tables, and docs/learning-*.svg anew
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import log10
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from measuring import QUICK, Claim, print_claims, print_table, sized
from numpy.typing import NDArray
from routing_curves import Field, axes, dots, drawn_line, paper, words_at
from tradeoff import LEFT, WIDTH

from llmops_langchain.embeddings import default_embeddings, unit
from llmops_langchain.fits import fit_logistic
from llmops_langchain.learning.success import Cases, SuccessEstimate, success_of
from llmops_langchain.routing.frontier import expected_calibration_error

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

DATA = Path(__file__).parents[2] / "shared/data"
DOCS = Path(__file__).parents[1] / "docs"
SIZES = (10, 30, 100, 300)
DRAWS, EACH = sized(200, quick=2), 10
ASKED = sized(800, quick=20)
BESIDE = 190
PEERS = ("ours", "base rate", "five nearest", "logistic regression")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Runs of tasks by configurations, one row each."""

    name: str
    vectors: Floats
    """One a task."""
    tasks: Rows
    by: Rows
    stacks: Rows
    right: Floats

    def cases(self, known: Rows, asked: int, *, named: bool = True) -> Cases:
        """What is known, seen from the row that is asked about."""
        task, by = self.tasks[asked], int(self.by[asked])
        same = self.tasks[known] == task
        alike = np.clip(self.vectors[self.tasks[known]] @ self.vectors[task], 0.0, 1.0)
        seen = by if (self.by[known] == by).any() else -1
        return Cases(
            outcomes=self.right[known],
            weights=np.ones(len(known)),
            similarity=np.where(same, 1.0, alike),
            same_task=same,
            stack=(self.stacks[known] == self.stacks[asked]).astype(np.float64),
            tasks=self.tasks[known],
            configurations=self.by[known],
            asked_configuration=seen if named else None,
        )


def main() -> None:
    """Few rows, many rows, intervals, time."""
    sets = [each() for each in (routellm, lite, pro)] if DATA.exists() else [made_up()]
    claims, curves = list[Claim](), dict[str, Floats]()
    for each in sets:
        curves[each.name] = few_rows(each)
        claims.append(
            claim(
                f"Brier over the base rate's, {each.name}, worst size",
                float((curves[each.name][:, 0] / curves[each.name][:, 1]).max()),
                1.0,
            )
        )
    points = list[tuple[Floats, Floats]]()
    claims += many_rows(sets, points)
    claims += coverage(sets)
    claims += decision_time()
    if DATA.exists() and not QUICK:
        (DOCS / "learning-reliability.svg").write_text(drawn_reliability(points), "utf-8")
        (DOCS / "learning-curve.svg").write_text(drawn_curve(curves), "utf-8")
    print_claims(claims)


def few_rows(told: Outcomes) -> Floats:
    """Mean squared error by number of rows: ours, each peer's, and the oracle's."""
    rng, found = np.random.default_rng(1), list[list[float]]()
    for size in SIZES:
        errors, outcomes = list[list[float]](), list[float]()
        for _ in range(DRAWS):
            rows = rng.permutation(len(told.right))
            known, asked = rows[:size], rows[size : size + EACH]
            for guesses, truth in zip(guessed(told, known, asked), told.right[asked], strict=True):
                errors.append([(guess - truth) ** 2 for guess in guesses])
                outcomes.append(float(truth))
        found.append([*np.mean(errors, axis=0).tolist(), float(np.var(outcomes))])
    rows_ = [(size, *each) for size, each in zip(SIZES, found, strict=True)]
    title = f"{told.name}: Brier score, mean of {DRAWS} draws"
    print_table(title, ("rows", *PEERS, "oracle base rate"), rows_)
    return np.array(found)


def guessed(told: Outcomes, known: Rows, asked: Rows) -> Iterator[tuple[float, ...]]:
    """What each peer expects of each row."""
    right = told.right[known]
    base = (float(right.sum()) + 1.0) / (len(known) + 2.0)
    fit = fit_logistic(told.vectors[told.tasks[known]], right, l2=float(len(known)) / 10 + 1)
    lines = fit.probabilities(told.vectors[told.tasks[asked]])
    for row, line in zip(asked.tolist(), lines.tolist(), strict=True):
        cases = told.cases(known, row)
        near = np.argsort(-cases.similarity, kind="stable")[:5]
        yield success_of(cases).probability, base, float(right[near].mean()), line


def many_rows(sets: list[Outcomes], points: list[tuple[Floats, Floats]]) -> list[Claim]:
    """How well runs are ranked: cold, with one outcome of the task, with all others."""
    rng, rows, claims = np.random.default_rng(2), list[tuple[object, ...]](), list[Claim]()
    for told in sets:
        for way, goal in ways(told):
            pairs = [asked(told, row, way, rng) for row in rng.permutation(len(told.right))[:ASKED]]
            guesses, truth = np.array(pairs).T
            error = expected_calibration_error(guesses, truth)
            area = ranked(guesses, truth)
            brier, base = float(np.mean((guesses - truth) ** 2)), float(np.var(truth))
            rows.append((told.name, way, area, brier, base, error))
            points.append((guesses, truth))
            if goal:
                claims.append(claim(f"AUC, {told.name}, {way}", area, goal, at_most=False))
    header = ("set", "known of the task", "AUC", "Brier", "oracle base rate", "ECE")
    print_table("Ranked", header, rows)
    return claims


def ways(told: Outcomes) -> list[tuple[str, float]]:
    """What may be known of the asked task, with the goal."""
    if told.name == "RouteLLM":
        return [("1500 rows of others", 0.73), ("7000 rows of others", 0.73)]
    return [("nothing", 0.0), ("one outcome", 0.0), ("all other outcomes", 0.86)]


def asked(told: Outcomes, row: int, way: str, rng: np.random.Generator) -> tuple[float, float]:
    """The probability for a row, and its outcome."""
    others = np.flatnonzero(told.tasks != told.tasks[row])
    own = np.flatnonzero(told.tasks == told.tasks[row])
    own = rng.permutation(own[own != row])
    if way.endswith("rows of others"):
        known = rng.choice(others, int(way.split(maxsplit=1)[0]), replace=False)
    else:
        known = np.append(others, own[: {"nothing": 0, "one outcome": 1}.get(way, len(own))])
    return success_of(told.cases(known, row)).probability, float(told.right[row])


def coverage(sets: list[Outcomes]) -> list[Claim]:
    """How often 90 % intervals hold the truth."""
    rng = np.random.default_rng(3)
    simulated = [
        float(np.mean([holds(rng, known) for _ in range(sized(600, quick=5))]))
        for known in (0, 3, 15)
    ]
    rows = [("simulated", *simulated)]
    for told in sets:
        if told.name != "RouteLLM":
            places = [
                [
                    place
                    for _ in range(sized(400, quick=5))
                    if (place := place_of(told, rng, known)) is not None
                ]
                for known in (0, 1, 3)
            ]
            rows.append(
                (
                    f"{told.name} (0, 1, 3 outcomes)",
                    *(float(np.mean([0.05 < at < 0.95 for at in each])) for each in places),
                )
            )
    header = ("set", "no outcome of the task", "3 outcomes", "15 outcomes")
    print_table("How often the 90 % interval holds", header, rows)
    mean = float(np.mean(simulated))
    return [
        claim(
            "share outside 87 to 93 % of simulated intervals, points off",
            max(0.0, abs(mean - 0.9) - 0.03),
            0.001,
        )
    ]


def holds(rng: np.random.Generator, known: int) -> bool:
    """Whether the true chance lies in the interval, in a world that is drawn."""
    number, spread = int(rng.choice([30, 300])), float(rng.choice([0.5, 1.2, 2.0]))
    ease, strong = rng.normal(rng.normal(), spread, number // 4 + 2), rng.normal(0, 0.6, 5)
    tasks, by = rng.integers(1, len(ease), number), rng.integers(0, 5, number)
    tasks[:known] = 0
    right = rng.random(number) < 1 / (1 + np.exp(-ease[tasks] - strong[by]))
    same = tasks == 0
    found = success_of(
        Cases(
            outcomes=right.astype(np.float64),
            weights=np.ones(number),
            similarity=same.astype(np.float64),
            same_task=same,
            stack=np.ones(number),
            tasks=tasks,
            configurations=by,
            asked_configuration=int(by[-1]),
        )
    )
    return bool(found.low <= 1 / (1 + np.exp(-ease[0] - strong[by[-1]])) <= found.high)


def place_of(told: Outcomes, rng: np.random.Generator, known: int) -> float | None:
    """Where the successes of unknown agents lie among those that the interval lets expect."""
    agents = rng.permutation(int(told.by.max()) + 1)
    seen, task = np.isin(told.by, agents[::2]), rng.choice(told.tasks)
    own, held = (np.flatnonzero(each & (told.tasks == task)) for each in (seen, ~seen))
    if len(held) < 2 or len(own) < known:
        return None
    rows = np.append(np.flatnonzero(seen & (told.tasks != task))[::3], rng.permutation(own)[:known])
    found = success_of(told.cases(rows, int(held[0]), named=False))
    drawn = rng.binomial(len(held), beta(found, rng))
    hits = told.right[held].sum()
    return float((drawn < hits).mean() + rng.random() * (drawn == hits).mean())


def beta(found: SuccessEstimate, rng: np.random.Generator) -> Floats:
    """Rates that have the mean and the width of the interval."""
    mean = found.probability
    variance = max(((found.high - found.low) / 3.29) ** 2, 1e-6)
    worth = max(mean * (1 - mean) / variance - 1, 0.3)
    return rng.beta(mean * worth, (1 - mean) * worth, 1_000)


def decision_time() -> list[Claim]:
    """One prediction, from many rows."""
    rng, rows, claims = np.random.default_rng(4), list[tuple[object, ...]](), list[Claim]()
    for number, goal in sized(((20_000, 3.0), (100_000, 15.0)), quick=((1_000, 15.0),)):
        tasks = rng.integers(0, number // 3, number)
        told = Cases(
            outcomes=(rng.random(number) < 0.6).astype(np.float64),
            weights=np.ones(number),
            similarity=rng.random(number) / 2,
            same_task=tasks == 5,
            stack=(rng.random(number) < 0.5).astype(np.float64),
            tasks=tasks,
            configurations=rng.integers(0, 12, number),
            asked_configuration=3,
        )
        spent = list[float]()
        for _ in range(30):
            start = perf_counter()
            success_of(told)
            spent.append(1_000 * (perf_counter() - start))
        rows.append((number, *np.quantile(spent, [0.5, 0.95]).tolist()))
        claims.append(
            claim(
                f"a prediction from {number:,} rows, p50", float(np.median(spent)), goal, unit="ms"
            )
        )
    print_table("Time of a prediction", ("rows", "p50, ms", "p95, ms"), rows)
    return claims


def drawn_reliability(points: list[tuple[Floats, Floats]]) -> str:
    """What happened against what was predicted, in tenths of the predictions."""
    guesses, truth = (np.concatenate(each) for each in zip(*points, strict=True))
    tenths = np.array_split(np.argsort(guesses, kind="stable"), 10)
    shown = [(float(guesses[at].mean()), float(truth[at].mean())) for at in tenths]
    where = Field(left=LEFT, width=WIDTH - LEFT - BESIDE, x=(0.0, 1.0), y=(0.0, 1.0))
    fifths = {f"{percent} %": percent / 100 for percent in range(0, 101, 20)}
    x, y = where.at((1.0, 1.0))
    parts = [
        *axes(where, fifths, fifths, "predicted chance", "share that succeeded"),
        drawn_line(where, [(0.0, 0.0), (1.0, 1.0)], "other", dashed=True),
        drawn_line(where, shown, "ours"),
        *dots(where, shown, "ours-fill"),
        words_at(x + 12, y + 4, "as predicted", "text other-fill"),
        words_at(x + 12, where.at(shown[-1])[1] + 14, "what happened", "text strong ours-fill"),
    ]
    return paper(f"Predicted and real success, {len(truth):,} runs in tenths", parts)


def drawn_curve(curves: dict[str, Floats]) -> str:
    """Brier score by number of rows, the mean of the sets."""
    mean = np.mean(list(curves.values()), axis=0)
    where = Field(left=LEFT, width=WIDTH - LEFT - BESIDE, x=(1.0, log10(300)), y=(0.16, 0.24))
    down = {f"{brier:.2f}": brier for brier in (0.16, 0.18, 0.20, 0.22, 0.24)}
    across = {str(size): log10(size) for size in SIZES}
    parts = list(axes(where, across, down, "past runs", "Brier score; less is better"))
    looks = (
        ("ours", "ours", False),
        ("base rate", "other", False),
        ("five nearest", "other", True),
    )
    for at, (label, colour, dashed) in enumerate(looks):
        points = [(log10(size), float(each)) for size, each in zip(SIZES, mean[:, at], strict=True)]
        x, y = where.at(points[-1])
        parts += [
            drawn_line(where, points, colour, dashed=dashed),
            *dots(where, points, f"{colour}-fill"),
        ]
        parts.append(words_at(x + 12, y + 4, f"{label} {points[-1][1]:.3f}", f"text {colour}-fill"))
    return paper(f"Error of predicted success, mean of {len(curves)} sets", parts)


def ranked(guesses: Floats, truth: Floats) -> float:
    """The area under the curve: how often a success is ranked above a failure."""
    good, bad = guesses[truth > 0], guesses[truth == 0]
    above = (good[:, None] > bad).mean() if len(good) and len(bad) else 0.5
    return float(above + (good[:, None] == bad).mean() / 2) if len(good) and len(bad) else 0.5


def routellm() -> Outcomes:
    """Two models, each on every prompt."""
    lines = read("routing/routellm.jsonl")
    right = np.array([[each["mixtral"], each["gpt4"]] for each in lines], np.float64)
    texts = [each["prompt"] for each in lines]
    return grid("RouteLLM", texts, [each["subject"] for each in lines], right)


def lite() -> Outcomes:
    """41 agents, each on every task."""
    lines = read("learning/swebench_lite_resolved.jsonl")
    agents = json.loads((DATA / "learning/swebench_lite_submissions.json").read_text("utf-8"))
    right = np.array(
        [[agent in each["resolved_by"] for agent in agents] for each in lines], np.float64
    )
    texts = [each["problem_statement"] for each in lines]
    return grid("SWE-bench Lite", texts, [each["repo"] for each in lines], right)


def pro() -> Outcomes:
    """Nine models, some on some of the tasks."""
    lines = read("learning/swebench_pro_runs.jsonl")
    models = sorted({model for each in lines for model in each["resolved"]})
    right = np.array(
        [
            [
                np.nan if each["resolved"].get(model) is None else each["resolved"][model]
                for model in models
            ]
            for each in lines
        ],
        np.float64,
    )
    return grid("SWE-bench Pro", None, [each["repo"] for each in lines], right)


def made_up() -> Outcomes:
    """Where there is no data: nothing to quote."""
    rng = np.random.default_rng(0)
    right = (rng.random((60, 4)) < rng.random((60, 1))).astype(np.float64)
    return grid("made up", None, ["a", "b"] * 30, right)


def grid(name: str, texts: list[str] | None, stacks: list[str], right: Floats) -> Outcomes:
    """A row for each outcome that there is."""
    tasks, by = np.nonzero(~np.isnan(right))
    codes = np.unique(stacks, return_inverse=True)[1]
    vectors = np.zeros((len(right), 1))
    if texts is not None:
        vectors = unit(default_embeddings().embed_documents(texts)).astype(np.float64)
    return Outcomes(
        name=name,
        vectors=vectors,
        tasks=tasks,
        by=by,
        stacks=codes[tasks],
        right=right[tasks, by],
    )


def read(path: str) -> list[dict[str, Any]]:
    """Lines of JSON."""
    with (DATA / path).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def claim(what: str, result: float, goal: float, *, unit: str = "", at_most: bool = True) -> Claim:
    """A claim; quick sizes keep no goal of the full ones."""
    against = "- (quick)" if QUICK else "-"
    return Claim(what=what, against=against, result=result, goal=goal, unit=unit, at_most=at_most)


if __name__ == "__main__":
    main()

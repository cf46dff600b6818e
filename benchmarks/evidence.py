"""How much of what a question is about is still in the prompt after a cut, by strategy.

Long conversations of two people over months (LoCoMo, Maharana et al. 2024), as the history of a
chat: who speaks first is the user, the other one the assistant; each utterance is one message,
`Name: text`, with the caption of a photo it shares as `[photo: …]`. After the whole conversation
each of its questions is asked, and the history is cut to a budget (counted for gpt-4o, with system
message and question). The figure is the mean over the questions of the share of the messages that
hold the answer's evidence which are still there; the table says apart what it is for the questions
that have an answer (categories 1 to 4) and for all, and what share of all evidence that is.

`--choose` chooses the constants of `Ranking` on four conversations and reports the fifth, for
each of them. What is no constant there (whole turns, stems of six letters, words of four
neighbours) was settled on all five. The data (CC BY-NC: for measuring only) is looked for beside
the checkout, or is the file that is named; the picture is drawn from the former only, and without
either a made-up conversation is measured.

    python benchmarks/evidence.py [--choose] [locomo.json]
"""

import json
import random
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path
from statistics import fmean, median
from time import perf_counter_ns
from typing import NamedTuple

from evidence_curve import drawn
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    trim_messages,
)
from measuring import QUICK, Claim, microseconds, print_claims, print_table, sized

from llmops_langchain.embeddings import default_embeddings
from llmops_langchain.memory import ContextWindow, Strategy
from llmops_langchain.memory.relevant import Relevant
from llmops_langchain.memory.turn_index import Ranking
from llmops_langchain.tokens import counter_for

ROOT = Path(__file__).parents[1]
BESIDE = ROOT.parent / "shared/data/context/locomo.json"
LOCOMO = next((Path(each) for each in sys.argv[1:] if not each.startswith("-")), BESIDE)
PICTURE = ROOT / "docs/evidence.svg"
MODEL = "gpt-4o"
BUDGETS = sized((1_000, 2_000, 4_000, 8_000, 16_000), quick=(1_000, 4_000))
GOALS = {2_000: 0.84, 4_000: 0.90}
ANSWERED = range(1, 5)
"""The fifth category asks for what was never said."""
SHORT, LONG = sized((500, 5_000), quick=(100, 300))
SMALL_TALK = [
    "sun",
    "rain",
    "tea",
    "bread",
    "walk",
    "book",
    "song",
    "lake",
    "hill",
    "road",
    "train",
    "shoe",
    "lamp",
    "dog",
]
SYSTEM = SystemMessage("You are a helpful assistant.")
GRID = [
    Ranking(decay=decay, hop=hop)
    for decay, hop in product(sized((0.5, 0.6, 0.7), quick=(0.6,)), (0.0, 0.1, 0.2, 0.3))
]

Cut = Callable[[list[BaseMessage], int], Sequence[BaseMessage]]


class Question(NamedTuple):
    """A question about a conversation, and where its evidence stands."""

    text: str
    evidence: list[int]
    category: int


class Conversation(NamedTuple):
    """A history without its last question, and questions about it."""

    history: list[BaseMessage]
    questions: list[Question]


class Kept(NamedTuple):
    """What of a question's evidence a cut kept."""

    share: float
    found: int
    evidence: int
    category: int


def main() -> None:
    """Measure, print the tables and the claims, and draw the picture."""
    talks = conversations()[: sized(5, quick=1)]
    if "--choose" in sys.argv:
        print_chosen(talks)
        return
    kept = {name: [measured(cut, talks, budget) for budget in BUDGETS] for name, cut in ways()}
    print_shares(kept)
    query = median(query_times(talks))
    growing = {size: turn_time(size) for size in (SHORT, LONG)}
    rows = [
        (f"a query, {max(len(talk.history) for talk in talks):,} messages, ms", query / 1_000),
        *((f"a new turn, {size:,} messages, ms", spent / 1_000) for size, spent in growing.items()),
        ("memory a message, bytes", float(memory(talks[-1].history))),
    ]
    print_table("What `relevant` costs", ("", "p50"), rows)
    print_claims(claims(kept, query, growing[LONG] / growing[SHORT]))
    if not QUICK and LOCOMO == BESIDE and LOCOMO.exists():
        lines = {name.strip("`"): points(row) for name, row in kept.items()}
        source = "LoCoMo, questions with an answer"
        PICTURE.write_text(drawn(lines, "relevant", source), "utf-8")


def print_shares(kept: Mapping[str, Sequence[Sequence[Kept]]]) -> None:
    """Print what each strategy keeps, and `relevant` for each kind of question."""
    ours, header = kept["relevant"], ("", *(f"{budget:,}" for budget in BUDGETS))
    whose = "LoCoMo" if LOCOMO.exists() else "a made-up conversation (the shared data are missing)"
    print_table(
        f"Share of the evidence kept, mean over the questions with an answer, %: {whose}",
        header,
        [(name, *(percent(mean(each, ANSWERED)) for each in row)) for name, row in kept.items()],
    )
    kinds = {
        "several places (1)": [1],
        "a time (2)": [2],
        "by inference (3)": [3],
        "one place (4)": [4],
        "never said (5)": [5],
        "all questions": range(1, 6),
    }
    rows = [(name, *(percent(mean(each, of)) for each in ours)) for name, of in kinds.items()]
    rows.append(("share of all evidence (1 to 4)", *map(percent, map(pooled, ours))))
    print_table("`relevant`, by kind of question, %", header, rows)


def claims(
    kept: Mapping[str, Sequence[Sequence[Kept]]], query: float, growth: float
) -> list[Claim]:
    """Return what was promised; `query` is in microseconds."""
    sliding, ours = (
        dict(zip(BUDGETS, (mean(each, ANSWERED) for each in kept[name]), strict=True))
        for name in ("sliding_window", "relevant")
    )
    shares = [
        Claim(
            what=f"evidence kept at {budget:,} tokens",
            against=f"`sliding_window`: {percent(sliding[budget])} %",
            result=100 * ours[budget],
            goal=100 * goal,
            unit="%",
        )
        for budget, goal in GOALS.items()
        if budget in ours
    ]
    what = "a query, index and counts warm"
    quick = Claim(
        what=what, against="nothing", result=query / 1_000, goal=3.0, unit="ms", at_most=True
    )
    what = f"a new turn at {LONG:,} messages"
    flat = Claim(what=what, against=f"at {SHORT:,}", result=growth, goal=3.0, at_most=True)
    return [*shares, quick, flat]


def points(row: Sequence[Sequence[Kept]]) -> list[tuple[int, float]]:
    """Return what is kept at each budget."""
    return [(budget, mean(each, ANSWERED)) for budget, each in zip(BUDGETS, row, strict=True)]


def ways() -> list[tuple[str, Cut]]:
    """Return what is compared, by name."""
    trimmed = partial(
        trim_messages,
        token_counter=counter_for(MODEL).messages,
        strategy="last",
        include_system=True,
        start_on="human",
    )
    strategies = {
        "sliding_window": "sliding_window",
        "important_first": "important_first",
        "relevant": "relevant",
        "relevant, with embeddings": Relevant(default_embeddings()),
    }
    return [
        ("`trim_messages`", lambda history, budget: trimmed(history, max_tokens=budget)),
        *((name, window(strategy)) for name, strategy in strategies.items()),
    ]


def window(strategy: str | Strategy) -> Cut:
    """Return a strategy as a cut."""
    fit = cache(lambda budget: ContextWindow(MODEL, budget, strategy))
    return lambda history, budget: fit(budget).invoke(history)


def measured(cut: Cut, talks: Sequence[Conversation], budget: int) -> list[Kept]:
    """Return what each question's cut kept; each is checked first."""
    found = []
    for history, questions in talks:
        for question in questions:
            asked = HumanMessage(question.text)
            sent = cut([*history, asked], budget)
            assert sent[0] is SYSTEM
            assert sent[-1] is asked
            assert counter_for(MODEL).messages(sent) <= budget
            there = set(map(id, sent))
            held = sum(id(history[place]) in there for place in question.evidence)
            share = held / len(question.evidence)
            found.append(Kept(share, held, len(question.evidence), question.category))
    return found


def mean(kept: Sequence[Kept], categories: Sequence[int]) -> float:
    """Return the mean share over the questions of some kinds."""
    return fmean([each.share for each in kept if each.category in categories] or [0.0])


def pooled(kept: Sequence[Kept]) -> float:
    """Return the share of all evidence of all questions that have an answer."""
    kept = [each for each in kept if each.category in ANSWERED]
    return sum(each.found for each in kept) / sum(each.evidence for each in kept)


def percent(share: float) -> str:
    """Write a share as percent."""
    return f"{100 * share:.1f}"


def print_chosen(talks: Sequence[Conversation]) -> None:
    """Print, for each conversation, what the others choose and what that gives on this one."""
    tried = {ranking: [at_goals(ranking, talk) for talk in talks] for ranking in GRID}
    rows = []
    for at in range(len(talks)):
        others = {
            ranking: fmean(x for i, each in enumerate(shares) if i != at for x in each)
            for ranking, shares in tried.items()
        }
        best = max(others, key=others.__getitem__)
        ours = tried[Ranking()][at] if Ranking() in tried else tried[best][at]
        rows.append((at + 1, best.decay, best.hop, *map(percent, (*tried[best][at], *ours))))
    header = (
        "left out",
        "decay",
        "hop",
        *(f"{b:,}" for b in GOALS),
        *(f"default, {b:,}" for b in GOALS),
    )
    print_table("Constants chosen on the other conversations, %", header, rows)
    sizes = [sum(q.category in ANSWERED for q in talk.questions) for talk in talks]
    for column, budget in enumerate(GOALS, start=3):
        total = sum(size * float(row[column]) for size, row in zip(sizes, rows, strict=True))
        print(f"\nmean over the questions at {budget:,}: {total / sum(sizes):.1f} %")


def at_goals(ranking: Ranking, talk: Conversation) -> list[float]:
    """Return the mean share at each budget that has a goal."""
    cut = window(Relevant(ranking=ranking))
    return [mean(measured(cut, [talk], budget), ANSWERED) for budget in GOALS]


def query_times(talks: Sequence[Conversation]) -> Iterator[float]:
    """Yield how long each query to the longest conversation takes, its index and counts warm."""
    history, questions = max(talks, key=lambda talk: len(talk.history))
    fit = ContextWindow(MODEL, 4_000, "relevant")
    fit.invoke([*history, HumanMessage("Hello?")])
    for question in questions:
        yield microseconds(fit.invoke, [*history, HumanMessage(question.text)])


def turn_time(size: int) -> float:
    """Return how long the cut of each new turn takes in a chat of so many messages, median."""
    pool = [m for talk in conversations() for m in talk.history[1:]]
    history: list[BaseMessage] = [SYSTEM]
    while len(history) < size:
        history.append(pool[len(history) % len(pool)].model_copy())
    fit = ContextWindow(MODEL, 4_000, "relevant")
    fit.invoke([*history, HumanMessage("Hello?")])
    spent = []
    for question in conversations()[0].questions[:100]:
        history.append(HumanMessage(question.text))
        start = perf_counter_ns()
        fit.invoke(history)
        spent.append((perf_counter_ns() - start) / 1_000)
        history.append(AIMessage("Let me think about that."))
    return median(spent)


def memory(history: Sequence[BaseMessage]) -> int:
    """Return the bytes that a message takes in the index."""
    fit = ContextWindow(MODEL, 4_000, "relevant")
    ContextWindow(MODEL, 4_000, "relevant").invoke([*history, HumanMessage("Hello?")])
    tracemalloc.start()
    fit.invoke([*history, HumanMessage("Hello?")])
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken // len(history)


def conversations() -> list[Conversation]:
    """Return the conversations as histories."""
    if not LOCOMO.exists():
        return [made_up()]
    return [
        conversation(each["conversation"], each["qa"]) for each in json.loads(LOCOMO.read_text())
    ]


def made_up() -> Conversation:
    """Return small talk in which someone says where forty things are."""
    rng = random.Random(1)  # noqa: S311 - the same in every run
    history: list[BaseMessage] = [SYSTEM]
    questions = []
    for at in range(400):
        talk = " ".join(rng.choices(SMALL_TALK, k=20))
        if at % 10 == 0:
            questions.append(Question(f"Where is thing{at}?", [len(history)], 4))
            talk = f"The thing{at} is in room{at}. {talk}"
        history += [HumanMessage(talk), AIMessage(" ".join(rng.choices(SMALL_TALK, k=20)))]
    return Conversation(history, questions)


def conversation(talk: dict, asked: list[dict]) -> Conversation:
    """Return one conversation as a history; questions whose evidence is not named are left out."""
    history: list[BaseMessage] = [SYSTEM]
    places: dict[str, int] = {}
    number = 1
    while session := talk.get(f"session_{number}"):
        for said in session:
            kind = HumanMessage if said["speaker"] == talk["session_1"][0]["speaker"] else AIMessage
            photo = f" [photo: {said['blip_caption']}]" if said.get("blip_caption") else ""
            places[said["dia_id"]] = len(history)
            history.append(kind(f"{said['speaker']}: {said['text']}{photo}"))
        number += 1
    questions = []
    for each in asked:
        evidence = sorted({places[name] for name in each["evidence"] if name in places})
        if evidence:
            questions.append(Question(each["question"], evidence, each["category"]))
    return Conversation(history, questions)


if __name__ == "__main__":
    main()

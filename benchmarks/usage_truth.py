"""Who says what providers billed: every case of the usage-truth suite, for each handler.

Loopback servers answer as OpenAI and Anthropic do and keep what they billed; LangChain's clients
ask them. A handler is right about a case if its tokens and, where it has a notion of cost, its
dollars agree with the bills, sync and async.

    python benchmarks/usage_truth.py            # the tables
    python benchmarks/usage_truth.py --write    # and into docs/usage-truth.md
    python benchmarks/usage_truth.py --check    # fails if that page says anything else
"""

# ruff: noqa: E402 - the suite stands beside the tests
import logging
import sys
import warnings
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from io import StringIO
from pathlib import Path

from measuring import Claim, print_claims, print_table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # before this folder, which has a module of the same name
from usage_truth.bills import costs
from usage_truth.cases import CASES
from usage_truth.handlers import langfuse_observations
from usage_truth.loopback import Loopback
from usage_truth.run import Case
from usage_truth.scoring import Score, scored

PAGE = ROOT / "docs" / "usage-truth.md"
BEGIN, END = "<!-- tables: `benchmarks/usage_truth.py --write` -->\n", "<!-- end of the tables -->"
NAMES = {
    "ours": "`ops.track`",
    "core": "`UsageMetadataCallbackHandler`",
    "community": "`OpenAICallbackHandler`",
    "langfuse": "Langfuse's `CallbackHandler`",
}
LIBRARIES = (
    "langchain-core",
    "langchain-community",
    "langfuse",
    "langchain",
    "langgraph",
    "langchain-openai",
    "langchain-anthropic",
    "openai",
    "anthropic",
    "genai-prices",
)
Scores = dict[tuple[str, str], list[Score]]
"""What each handler made of each case, by (case, handler): a score for each mode."""


def main() -> None:
    """Score, print, and compare with the page."""
    warnings.simplefilter("ignore")  # what peers and clients warn of is not ours to print
    logging.disable(logging.ERROR)
    scores = all_scores()
    tables = printed(scores)
    print(tables)
    print_claims(claims(scores))
    written = PAGE.read_text("utf-8")
    before, _, rest = written.partition(BEGIN)
    page = f"{before}{BEGIN}\n{tables}\n{END}{rest.partition(END)[2]}"
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page, "utf-8")
    elif "--check" in sys.argv[1:] and page != written:
        sys.exit(f"{PAGE.name} is not what runs: `benchmarks/usage_truth.py --write`")


def all_scores() -> Scores:
    """Every case, by every handler, in every mode; each run has servers' accounts of its own."""
    with Loopback() as server:
        scores = {
            (case.id, handler): [scored(case, server, mode, handler) for mode in case.modes]
            for case in CASES
            for handler in NAMES
        }
    langfuse_observations().close()
    return scores


def printed(scores: Scores) -> str:
    """The tables, as Markdown."""
    text = StringIO()
    with redirect_stdout(text):
        print(f"With {', '.join(f'{name} {version(name)}' for name in LIBRARIES)}.")
        print_table("Right, of all cases", ("cases", *NAMES.values()), totals(scores))
        header = ("case", "modes", "in", "out", "nano-dollars", *NAMES.values())
        for group in dict.fromkeys(case.group for case in CASES):
            rows = (row(case, scores) for case in CASES if case.group == group)
            print_table(group, header, rows)
        print_table("What was wrong", ("case", "handler", "it said"), wrongs(scores))
    return text.getvalue()


def totals(scores: Scores) -> list[tuple[str, ...]]:
    """How many cases each handler has right: of all, and of those that ask OpenAI alone."""
    openai = [case for case in CASES if not asks_others(case, scores)]
    return [
        ("all", *(share(scores, CASES, handler) for handler in NAMES)),
        ("OpenAI alone", *(share(scores, openai, handler) for handler in NAMES)),
    ]


def share(scores: Scores, cases: Sequence[Case], handler: str) -> str:
    """`right of all`."""
    return f"{sum(is_right(scores[case.id, handler]) for case in cases)} of {len(cases)}"


def row(case: Case, scores: Scores) -> tuple[object, ...]:
    """The truth about a case, and who has it right."""
    bills = scores[case.id, "ours"][0].bills
    amount = "unknown" if any(bill.cost is None for bill in bills) else costs(bills)
    return (
        case.name,
        " and ".join(case.modes),
        sum(bill.input for bill in bills),
        sum(bill.output for bill in bills),
        amount,
        *("right" if is_right(scores[case.id, handler]) else "wrong" for handler in NAMES),
    )


def wrongs(scores: Scores) -> list[tuple[str, str, str]]:
    """Every wrong reading, in words; both modes where they differ."""
    return [
        (case.name, NAMES[handler], said)
        for case in CASES
        for handler in NAMES
        if (said := faults(scores[case.id, handler]))
    ]


def faults(of_modes: Sequence[Score]) -> str:
    """What is wrong; with the mode, if the other mode says something else."""
    said = {score.mode: "; ".join(score.faults) for score in of_modes}
    if len(set(said.values())) == 1:
        return said[of_modes[0].mode]
    return " · ".join(f"{mode}: {each}" for mode, each in said.items() if each)


def is_right(of_modes: Iterable[Score]) -> bool:
    """Right in every mode."""
    return all(score.right for score in of_modes)


def asks_others(case: Case, scores: Scores) -> bool:
    """Whether a provider other than OpenAI was paid."""
    return any(bill.provider != "openai" for bill in scores[case.id, "ours"][0].bills)


def claims(scores: Scores) -> list[Claim]:
    """Every case right, and enough of them."""
    right = sum(is_right(scores[case.id, "ours"]) for case in CASES)
    peers = [f"{name} {share(scores, CASES, handler)}" for handler, name in NAMES.items()][1:]
    return [
        Claim(what="cases of usage", against="none", result=len(CASES), goal=25, unit="cases"),
        Claim(
            what="cases whose tokens and cost are what was billed",
            against=", ".join(peers),
            result=100 * right / len(CASES),
            goal=100,
            unit="%",
        ),
    ]


if __name__ == "__main__":
    main()

"""Cost of a turn while a chat grows, against cutting the whole history each time.

One turn is a question and the prompt that is sent for it. Ours is given the cut of the turn before,
as an agent's state keeps it; `trim_messages` is given everything. Both prompts must be accepted by
a provider and fit before they are timed; counts are warm, but those of the new messages.

    python benchmarks/growing_chat.py
"""

from functools import partial
from pathlib import Path
from runpy import run_path

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    trim_messages,
)
from measuring import Claim, microseconds, print_claims, print_table, sized, timing

from llmops_langchain.memory import ContextWindow
from llmops_langchain.tokens import count_tokens

SIZES = sized((500, 1_000, 5_000), quick=(40, 80))
AROUND = sized(100, quick=4)
MODEL, BUDGET = "gpt-4o", 4_000
OURS, RELEVANT, PEER = (
    "`trim_sticky`",
    "`trim_sticky`, `relevant`",
    "`trim_messages`, with our counter",
)

refusals = run_path(str(Path(__file__).parents[1] / "tests" / "history_judge.py"))["refusals"]


def main() -> None:
    """Let a chat grow, and time the turns around each size."""
    spent: dict[tuple[str, int], list[float]] = {}
    for name, strategy in ((OURS, "sliding_window"), (RELEVANT, "relevant")):
        window, history, cut = ContextWindow(MODEL, BUDGET, strategy), opening(), {}
        while len(history) < SIZES[-1]:
            history += turn(len(history))
            trims = []
            took = microseconds(
                lambda h, w=window, c=cut, t=trims: t.append(w.trim_sticky(h, previous=c)), history
            )
            [trim] = trims
            cut = trim.cut
            noted(spent, name, len(history), took)
            check(trim.messages)
            history.append(answer(len(history)))
    counting = partial(count_tokens, model=MODEL)
    for size in SIZES:
        history = opening()
        while len(history) < size - 1:
            history += [*turn(len(history)), answer(len(history) + 1)]
        history += turn(len(history))
        cut_all = partial(
            trim_messages,
            max_tokens=BUDGET,
            token_counter=counting,
            include_system=True,
            start_on="human",
        )
        check(cut_all(history))
        for _ in range(max(2, AROUND // 20)):
            noted(spent, PEER, size, microseconds(cut_all, history))
    rows = [
        (name, *(timing(spent[name, size]).p50 for size in SIZES))
        for name in (OURS, RELEVANT, PEER)
    ]
    print_table(
        "The prompt of one turn, p50 in µs", ("", *(f"{size:,} messages" for size in SIZES)), rows
    )
    first, last = (timing(spent[OURS, size]).p50 for size in (SIZES[0], SIZES[-1]))
    claim = Claim(
        what=f"turn at {SIZES[-1]:,} messages over one at {SIZES[0]:,}",
        against="ours",
        result=last / first,
        goal=1.5,
        at_most=True,
    )
    print_claims([claim])


def opening() -> list[BaseMessage]:
    """How a chat begins."""
    return [SystemMessage("You sell plants. Be brief.", id="system")]


def turn(number: int) -> list[BaseMessage]:
    """What a user says."""
    said = f"Question {number}: how often do I water plant {number}, and does it like the sun?"
    return [HumanMessage(said, id=str(number))]


def answer(number: int) -> BaseMessage:
    """What a model says."""
    return AIMessage(f"Plant {number} wants water once a week and little sun. " * 2, id=str(number))


def noted(spent: dict[tuple[str, int], list[float]], name: str, length: int, took: float) -> None:
    """Keep a time that belongs to one of the sizes: of the turns before it is reached."""
    for size in SIZES:
        if size - AROUND < length <= size:
            spent.setdefault((name, size), []).append(took)


def check(sent: list[BaseMessage]) -> None:
    """A provider accepts it, and it fits."""
    assert refusals(sent) == []
    assert count_tokens(sent, MODEL) <= BUDGET


if __name__ == "__main__":
    main()

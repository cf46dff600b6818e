"""Histories of agents that are still valid after a cut, ours and by others, judged by neither.

Every way is given the same random histories (parallel tool calls, loops, long outputs) and the same
budgets, 5 to 90 % of each. `tests/history_judge.py`, which imports nothing of this package, says
whether a provider would accept what comes out, whether it fits, and whether the current question is
in it. A budget in which system messages and question have no room is left out.

    python benchmarks/validity.py
"""

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import BaseMessage, trim_messages
from measuring import Claim, print_claims, print_table, sized

from llmops_langchain.memory import STRATEGIES, ContextWindow, Summarize
from llmops_langchain.tokens import count_tokens

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from histories import agent_history, seeded
from history_judge import faults

NUMBER = sized(2_500, quick=20)
MODEL = "gpt-4o"
SUMMARY = "They talked about orders, prices and refunds."

Cut = Callable[[list[BaseMessage], int], Sequence[BaseMessage]]


def main() -> None:
    """Judge every way on every history; ours on as many for each strategy."""
    cases = list(given())
    rows, invalid = [], 0
    for name, cut in ways():
        found = Counter(kind for case in cases for kind in judged(cut, *case))
        shares = [found[kind] / len(cases) for kind in ("any", "refused", "too long", "question")]
        rows.append((name, *(f"{share:.1%}" for share in shares)))
        invalid += found["any"] if name.startswith("`ContextWindow`") else 0
    header = ("way", "not valid", "a provider refuses it", "over the budget", "question lost")
    print_table(f"{len(cases):,} histories of agents, cut to 5 to 90 %", header, rows)
    print_claims(
        [
            Claim(
                what=f"not valid of {len(STRATEGIES) * len(cases):,} cuts, all strategies",
                against="the judge",
                result=float(invalid),
                goal=1e-9,
                unit="cuts",
                at_most=True,
            )
        ]
    )


def given() -> Iterator[tuple[list[BaseMessage], int]]:
    """Histories with ids, as LangGraph's states have them, and their budgets."""
    for number in range(NUMBER):
        rng = seeded(f"benchmark {number}")
        made = agent_history(rng, rng.randint(1, 20))
        history = [m.model_copy(update={"id": str(at)}) for at, m in enumerate(made)]
        budget = int(rng.uniform(0.05, 0.9) * tokens(history))
        question = [m for m in history if m.type == "human"][-1:]
        if budget >= tokens([*(m for m in history if m.type == "system"), *question]):
            yield history, budget


def tokens(messages: Sequence[BaseMessage]) -> int:
    """By the model's own vocabulary; what every way counts with."""
    return count_tokens(messages, MODEL)


def judged(cut: Cut, history: list[BaseMessage], budget: int) -> set[str]:
    """What is wrong with what a way makes of a history."""
    try:
        sent = cut(list(history), budget)
    except Exception:  # noqa: BLE001 - an app would stop there
        return {"any", "refused"}
    kinds = {
        "too long" if "allowed" in fault else "question" if "question" in fault else "refused"
        for fault in faults(sent, history, tokens=tokens, max_tokens=budget)
    }
    return {"any", *kinds} if kinds else set()


def ways() -> Iterator[tuple[str, Cut]]:
    """Ours, then those of others that are installed."""
    for name in sorted(STRATEGIES):
        yield f"`ContextWindow`, `{name}`", partial(ours, name)
    yield "`trim_messages`, its defaults", partial(trimmed)
    yield (
        "`trim_messages`, as its documentation recommends",
        partial(
            trimmed,
            start_on="human",
            end_on=("human", "tool"),
            include_system=True,
            strategy="last",
        ),
    )
    with suppress(ImportError):
        yield "`SummarizationMiddleware`", summarizing()
    with suppress(ImportError):
        yield "langmem `summarize_messages`", langmem()


def ours(strategy: str, history: list[BaseMessage], budget: int) -> Sequence[BaseMessage]:
    """One strategy; a fake model sums up."""
    chosen = Summarize(writer()) if strategy == "summarize" else strategy
    return ContextWindow(MODEL, budget, chosen).invoke(history)


def trimmed(history: list[BaseMessage], budget: int, **options: object) -> Sequence[BaseMessage]:
    """LangChain's own."""
    return trim_messages(history, max_tokens=budget, token_counter=tokens, **options)


def summarizing() -> Cut:
    """LangChain's agent middleware, told to keep 60 % from 85 % on, as ours does."""
    from langchain.agents.middleware import SummarizationMiddleware

    def cut(history: list[BaseMessage], budget: int) -> Sequence[BaseMessage]:
        made = SummarizationMiddleware(
            writer(),
            trigger=("tokens", max(1, int(0.85 * budget))),
            keep=("tokens", max(1, int(0.6 * budget))),
            token_counter=tokens,
        )
        # An agent keeps its system prompt apart.
        systems = [m for m in history if m.type == "system"]
        talk = [m for m in history if m.type != "system"]
        update = made.before_model({"messages": talk}, None)
        return [*systems, *(update["messages"][1:] if update else talk)]

    return cut


def langmem() -> Cut:
    """Langmem's running summary, where it is installed."""
    from langmem.short_term import summarize_messages

    def cut(history: list[BaseMessage], budget: int) -> Sequence[BaseMessage]:
        result = summarize_messages(
            history,
            running_summary=None,
            token_counter=tokens,
            model=writer(),
            max_tokens=budget,
            max_summary_tokens=min(64, budget // 4),
        )
        return result.messages

    return cut


def writer() -> FakeListChatModel:
    """A model that writes a short summary."""
    return FakeListChatModel(responses=[SUMMARY])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()

"""One cut of a long chat to 8,000 tokens against LangChain's `trim_messages`.

`trim_messages` runs in the form its documentation recommends, once with a counter that asks
tiktoken and once with `approximate`; our counts are warm, as after the first turn of a chat.
Every result is judged before it is timed: would a provider accept it, does it fit? `check`, which
has to count everything, and the report of a cut stand apart.

    python benchmarks/trim.py
"""

import gzip
import os
import random
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory

import tiktoken
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)
from measuring import Claim, Timing, in_turn, print_claims, print_table, sized

from llmops_langchain.memory import ContextWindow, Trim
from llmops_langchain.tokens import count_tokens
from llmops_langchain.tokens.vocabularies import _TIKTOKEN_FILES

SHORT, LONG = sized((1_000, 10_000), quick=(600, 800))
ROUNDS = sized(11, quick=1)
MODEL, BUDGET = "gpt-4o", 8_000
OURS, INVOKE, TURN = "`ContextWindow.trim`", "`ContextWindow.invoke`", "`trim_sticky`, next turn"
REPORT, CHECK = "`trim` and its whole report", "`ContextWindow.check`"
TIKTOKEN, APPROXIMATE = "`trim_messages`, tiktoken", "`trim_messages`, 'approximate'"
WORDS = ["order", "refund", "price", "ship", "track", "cancel", "error", "please", "courier", "why"]

refusals = run_path(str(Path(__file__).parents[1] / "tests" / "history_judge.py"))["refusals"]


def main() -> None:
    """Time each kind of history, then print the table and the claims."""
    timings = {name: measured(history) for name, history in histories().items()}
    rows = [
        (way, *(each[way].p50 for each in timings.values()))
        for way in (OURS, INVOKE, TURN, TIKTOKEN, APPROXIMATE, REPORT, CHECK)
    ]
    print_table(f"One cut to {BUDGET:,} tokens, p50 in µs", ("", *timings), rows)
    print_claims(claims(timings))


def histories() -> dict[str, list[BaseMessage]]:
    """Return what is cut, by name; the messages of a chat count 110 tokens or 40 on average."""
    return {
        f"chat, {SHORT:,} messages": chat(SHORT, answer=300),
        f"chat, {LONG:,}": chat(LONG, answer=300),
        f"an agent's history, {LONG:,}": agent(LONG),
        f"chat of one-liners, {LONG:,}": chat(LONG, answer=80),
    }


def claims(timings: dict[str, dict[str, Timing]]) -> list[Claim]:
    """Return what was promised for 10,000 messages, and that a longer chat costs no more."""
    (_, short), *longest = timings.items()
    speed = [
        Claim(what=f"{name}, warm", against=peer, result=ratio(each, peer), goal=goal)
        for name, each in longest
        for peer, goal in ((TIKTOKEN, 1_000), (APPROXIMATE, 100))
    ]
    growth = longest[0][1][OURS].p50 / short[OURS].p50
    what = f"cut at {LONG:,} messages over one at {SHORT:,}"
    return [*speed, Claim(what=what, against="ours", result=growth, goal=1.5, at_most=True)]


def measured(history: list[BaseMessage]) -> dict[str, Timing]:
    """Return how long each way takes on one history, after its result was found right."""
    window = ContextWindow(MODEL, BUDGET)
    previous = window.trim_sticky(history[:-2]).messages
    trimmed = partial(
        trim_messages, max_tokens=BUDGET, include_system=True, start_on="human", strategy="last"
    )
    cuts: dict[str, Callable[[list[BaseMessage]], Sequence[BaseMessage]]] = {
        OURS: lambda messages: window.trim(messages).messages,
        INVOKE: window.invoke,
        TURN: lambda messages: window.trim_sticky(messages, previous=previous).messages,
        TIKTOKEN: partial(trimmed, token_counter=tiktoken_counter()),
        APPROXIMATE: partial(trimmed, token_counter="approximate"),  # noqa: S106 - no password
    }
    for name, cut in cuts.items():
        judge(name, cut(history), history)
    assert report(window.trim(history))[1] > 0
    assert window.check(history).current_tokens == count_tokens(history, MODEL)
    whole = {REPORT: lambda m: report(window.trim(m)), CHECK: window.check}
    return in_turn({**cuts, **whole}, [history] * ROUNDS)


def judge(name: str, kept: Sequence[BaseMessage], history: Sequence[BaseMessage]) -> None:
    """Stop at a result that is refused, lost the question, or is not about as long as allowed."""
    tokens = count_tokens(kept, MODEL)
    # The peers count by rules of their own: tool calls otherwise, or nothing but characters.
    most = BUDGET * 4 / 3 if name in (TIKTOKEN, APPROXIMATE) else BUDGET
    assert refusals(kept) == [], (name, refusals(kept))
    assert kept[-1] == history[-1], (name, kept[-1])
    assert BUDGET / 2 < tokens <= most, (name, tokens)


def report(trim: Trim) -> tuple[int, int]:
    """Read all of a report that is worked out on demand."""
    return len(trim.reasons), trim.freed_tokens


def ratio(timings: dict[str, Timing], name: str) -> float:
    """Return how many times longer than our cut something takes."""
    return timings[name].p50 / timings[OURS].p50


def chat(size: int, *, answer: int) -> list[BaseMessage]:
    """Return short questions with answers of up to so many words, and a last question."""
    rng = random.Random(size)  # noqa: S311 - the same chat in every run
    history: list[BaseMessage] = [SystemMessage(words(rng, 40))]
    while len(history) < size - 1:
        history += [HumanMessage(words(rng, 60)), AIMessage(words(rng, answer))]
    return [*history, HumanMessage(words(rng, 60))]


def agent(size: int) -> list[BaseMessage]:
    """Return questions with up to four steps of one to three tools each, and a last question."""
    rng = random.Random(size)  # noqa: S311 - the same history in every run
    history: list[BaseMessage] = [SystemMessage(words(rng, 40))]
    while len(history) < size - 1:
        history.append(HumanMessage(words(rng, 60)))
        for _ in range(rng.choice([0, 0, 1, 2, 4])):
            ids = [f"{len(history)}-{i}" for i in range(rng.randint(1, 3))]
            calls = [{"name": "search", "args": {"query": words(rng, 8)}, "id": i} for i in ids]
            history.append(AIMessage(words(rng, 8), tool_calls=calls))
            history += [ToolMessage(words(rng, 400), tool_call_id=i) for i in ids]
        history.append(AIMessage(words(rng, 80)))
    return [*history, HumanMessage(words(rng, 60))]


def words(rng: random.Random, most: int) -> str:
    """Return up to so many words."""
    return " ".join(rng.choices(WORDS, k=rng.randint(most // 10, most)))


def tiktoken_counter() -> Callable[[BaseMessage], int]:
    """Return a counter of one message, as OpenAI counts, by tiktoken and the official ranks."""
    encoding = official_encoding()

    def count(message: BaseMessage) -> int:
        return 4 + len(encoding.encode_ordinary(str(message.content)))

    return count


@cache
def official_encoding() -> tiktoken.Encoding:
    """Return tiktoken's own o200k, offline: with the ranks in the wheel of `bpe-openai`."""
    wheel = find_spec("bpe_openai")
    assert wheel is not None
    assert wheel.origin is not None
    packed = Path(wheel.origin).parent / "data" / "o200k_base.tiktoken.gz"
    with TemporaryDirectory() as folder:
        (Path(folder) / _TIKTOKEN_FILES["o200k_base"][0]).write_bytes(
            gzip.decompress(packed.read_bytes())
        )
        os.environ["TIKTOKEN_CACHE_DIR"] = folder
        return tiktoken.get_encoding("o200k_base")


if __name__ == "__main__":
    main()

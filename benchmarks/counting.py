"""How near are counts to the models' own, what do they cost, and how fast are they corrected?

OpenAI's models: tiktoken itself, on every text. Others: offline proxies, whose counts of these
texts `train_token_fit.py` keeps in `data/token_proxies.json`; none of the texts was learnt from.
The correction is simulated: replies to random histories, whose true counts are the proxies'.

    python benchmarks/counting.py
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from measuring import Claim, Timing, in_turn, print_claims, print_table, sized
from numpy.typing import NDArray
from token_texts import digest, reported
from trim import official_encoding

from llmops_langchain.tokens import counter_for
from llmops_langchain.tokens.calibration import Calibration

PROXIES = Path(__file__).parent / "data" / "token_proxies.json"
MODELS = {
    "claude": "claude-opus-4-7",
    "claude-3": "claude-sonnet-4-5",
    "gemma": "gemini-2.5-pro",
    "llama-3": "llama-3.3-70b",
    "mistral": "mistral-large-latest",
    "qwen": "qwen3-32b",
    "deepseek": "deepseek-chat",
    "glm": "glm-4.6",
    "kimi": "kimi-k2",
}
"""A model for each fit."""
GOALS = {"claude": 0.12, "claude-3": 0.12, "gemma": 0.07}
REPLIES = (0, 1, 2, 3, 5, 10)
CHATS = sized(200, quick=5)
ROUNDS = sized(400, quick=3)

Floats = NDArray[np.float64]
Proxies = Mapping[str, Mapping[str, int]]


def main() -> None:
    """Print how near, how fast corrected and how quick, then the claims."""
    texts, proxies = reported(), kept_proxies()
    exact = equal_to_tiktoken(texts)
    found = {
        name: {kind: errors(name, each, proxies) for kind, each in texts.items()} for name in MODELS
    }
    print_errors(found)
    left = {name: corrected(name, texts, proxies) for name in MODELS}
    rows = [(name, *(f"{share:.1%}" for share in each)) for name, each in left.items()]
    print_table("Error left after so many replies, mean", ("", *map(str, REPLIES)), rows)
    timings = speeds(texts)
    rows = [(what, timing.p50) for what, timing in timings.items()]
    print_table("One call, p50 in µs", ("", "µs"), rows)
    print_claims([exact, *near(found), *soon(left)])


def kept_proxies() -> Proxies:
    """Return what the proxies count, by fit and by digest of the text."""
    kept = json.loads(PROXIES.read_text(encoding="utf-8"))
    return {
        name: {key: row[at] for key, row in kept["counts"].items()}
        for at, name in enumerate(kept["fits"])
    }


def errors(name: str, texts: Sequence[str], proxies: Proxies) -> Floats:
    """Return the relative error of each text that the proxy has counted."""
    count, truth = counter_for(MODELS[name]).text, proxies[name]
    known = [text for text in texts if truth.get(digest(text))]
    return np.array([count(text) / truth[digest(text)] - 1 for text in known])


def equal_to_tiktoken(texts: Mapping[str, list[str]]) -> Claim:
    """Return whether counts for OpenAI's models equal tiktoken's."""
    encoding, count = official_encoding(), counter_for("gpt-4o").text
    every = [text for each in texts.values() for text in each]
    equal = fmean(count(text) == len(encoding.encode_ordinary(text)) for text in every)
    return Claim(what=f"{len(every):,} texts, equal", against="tiktoken", result=equal, goal=1.0)


def print_errors(found: Mapping[str, Mapping[str, Floats]]) -> None:
    """Print mean absolute error and bias by kind of text."""
    kinds = next(iter(found.values()))
    rows = [
        (kind, *(shown(each[kind]) for each in found.values()))
        for kind in kinds
        if all(len(each[kind]) for each in found.values())
    ]
    title = "Error against offline proxies, mean absolute (bias)"
    print_table(title, ("texts", *found), rows)
    means = [fmean(np.abs(e).mean() for e in each.values() if len(e)) for each in found.values()]
    print_table("Mean over the kinds", ("", *found), [("mean", *(f"{m:.1%}" for m in means))])


def shown(found: Floats) -> str:
    """Return an error as it is printed."""
    return f"{np.abs(found).mean():.1%} ({found.mean():+.1%})"


def near(found: Mapping[str, Mapping[str, Floats]]) -> list[Claim]:
    """Return what was promised for Claude and Gemini."""
    return [
        Claim(
            what=f"`{MODELS[name]}`, mean error of a message",
            against="an offline proxy",
            result=100 * fmean(np.abs(e).mean() for e in found[name].values() if len(e)),
            goal=100 * goal,
            unit="%",
            at_most=True,
        )
        for name, goal in GOALS.items()
    ]


def corrected(name: str, texts: Mapping[str, list[str]], proxies: Proxies) -> list[float]:
    """Return the mean absolute error of a next prompt after so many replies.

    A chat is of one kind of text, its prompts of 10 to 40 of these texts, and one in ten has an
    image of unknown size in it: up to 1,000 tokens that nobody predicted.
    """
    rng = random.Random(3)  # noqa: S311 - the same chats in every run
    kinds = [each for each in texts.values() if all(digest(text) in proxies[name] for text in each)]
    left: dict[int, list[float]] = {replies: [] for replies in REPLIES}
    for _ in range(CHATS):
        calibration, kind = Calibration(), rng.choice(kinds)
        for replies in range(max(REPLIES) + 1):
            predicted, actual = prompt(name, rng, kind, proxies[name])
            if replies in left:
                left[replies].append(abs(calibration.factor(name) * predicted / actual - 1))
            surprise = rng.choice([0] * 9 + [rng.randint(1, 1_000)])
            calibration.observe(name, predicted, actual + surprise)
    return [fmean(each) for each in left.values()]


def prompt(
    name: str, rng: random.Random, kind: list[str], truth: Mapping[str, int]
) -> tuple[int, int]:
    """Return what is predicted for a prompt of some texts, and what the proxy counts."""
    count = counter_for(MODELS[name]).text
    drawn = rng.choices(kind, k=rng.randint(10, 40))
    return sum(map(count, drawn)), sum(truth[digest(text)] for text in drawn)


def soon(left: Mapping[str, list[float]]) -> list[Claim]:
    """Return that three replies are enough."""
    return [
        Claim(
            what=f"`{MODELS[name]}`, error left after three replies",
            against="an offline proxy",
            result=100 * left[name][REPLIES.index(3)],
            goal=5.0,
            unit="%",
            at_most=True,
        )
        for name in GOALS
    ]


def speeds(texts: Mapping[str, list[str]]) -> dict[str, Timing]:
    """Return what one call costs, cold and warm."""
    # What was never seen before: each text once, with a mark of its own.
    chat = texts.get("chat") or texts["JSON"]
    fresh = [f"{at} {chat[at % len(chat)]}" for at in range(ROUNDS)]
    encoding = official_encoding()
    timings = in_turn({"tiktoken": lambda text: len(encoding.encode_ordinary(text))}, fresh)
    for name in ("gpt-4o", "claude-opus-4-7"):
        # Each way meets each text once: cold.
        timings |= in_turn({f"a new text, `{name}`": counter_for(name).text}, fresh)
    count = counter_for("gpt-4o").message
    for what, message in messages().items():
        count(message)
        timings |= in_turn({f"{what}, warm": partial(repeated, count)}, [message] * ROUNDS)
    return {
        what: timing.per(100) if what.endswith("warm") else timing
        for what, timing in timings.items()
    }


def repeated(count: Callable[[BaseMessage], int], message: BaseMessage) -> None:
    """Count a hundred times: once would be the clock's own time."""
    for _ in range(100):
        count(message)


def messages() -> dict[str, BaseMessage]:
    """Return one message of each kind."""
    call = {"name": "search", "args": {"query": "red chair", "limit": 5}, "id": "1"}
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    return {
        "a question": HumanMessage("Where is my order? " * 10),
        "an answer": AIMessage("It was shipped on Monday. " * 20),
        "two tool calls": AIMessage("I look.", tool_calls=[call, {**call, "id": "2"}]),
        "a tool's result": ToolMessage("shipped " * 200, tool_call_id="1"),
        "text and an image": HumanMessage([{"type": "text", "text": "What is it?"}, image]),
    }


if __name__ == "__main__":
    main()

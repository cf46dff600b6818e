"""What a running summary costs, and what it misses, against LangChain's SummarizationMiddleware.

The same growing conversations of 100 turns, a chat and an agent's with tools, each with a window of
4,000 tokens that is cut at 85 % down to 60 %. The same fake model writes the summaries, always 150
tokens long. Counted is what it was asked (in tokens of gpt-4o, its instructions included), what of
the messages that left the prompt it was shown (every message begins with its number), and which
prompts a provider would refuse, or are larger than the window (`tests/history_judge.py`).

What makes the difference: the instructions of the peer have 500 tokens, ours 100; of a tool's
output ours shows 600 characters, the peer all; and ours counts the summary into the 60 %, so that
its prompts have fewer of the newest messages, and a cut comes later.

    python benchmarks/summaries.py
"""

import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatResult
from measuring import Claim, print_claims, print_table, sized
from pydantic import Field, PrivateAttr

from llmops_langchain.memory import ContextWindow, Summarize
from llmops_langchain.tokens import count_tokens

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from history_judge import faults

TURNS = sized(100, quick=30)
MODEL, BUDGET = "gpt-4o", 4_000
OURS, PEER = "`Summarize`, `trim_sticky`", "`SummarizationMiddleware`, the same marks"
ALONE = "`Summarize`, the Runnable"
DEFAULTS = "`SummarizationMiddleware`, keeps 20 messages"
WORDS = ["order", "refund", "price", "ship", "track", "cancel", "error", "please", "courier", "why"]
SUMMARY = "They talked about orders, prices and refunds. " * 17
SYSTEM = SystemMessage("You are the desk of a shop.")

Prompts = Callable[[Sequence[BaseMessage]], list[BaseMessage]]
"""Takes what a conversation has become, and returns what the model is sent."""


class Writer(FakeListChatModel):
    """Writes one summary, and keeps what it was shown."""

    responses: list[str] = Field(default=[SUMMARY])
    _asked: list[list[BaseMessage]] = PrivateAttr(default_factory=list)

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self._asked.append(messages)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(SUMMARY))])

    def read(self) -> Counter[str]:
        """How often it was shown each message, by its number."""
        shown = (message.text for asked in self._asked for message in asked)
        return Counter(number for text in shown for number in re.findall(r"#(\d+): ", text))


class Spent(NamedTuple):
    """What one way spent on one conversation, and what it missed."""

    calls: int
    read_tokens: int
    written_tokens: int
    unread: int
    """Messages that are in no prompt any more and were never shown to the model."""
    twice: int
    """Messages that it was shown more than once."""
    kept: float
    """Tokens of a prompt, on average."""
    wrong: int
    """Prompts that a provider would refuse, or that are too long."""


def main() -> None:
    """Drive every way through every conversation, then print the table and the claims."""
    spent = {
        (kind, name): driven(way, history)
        for kind, history in {"chat": chat(), "agent": agent()}.items()
        for name, way in ways()
    }
    header = ("conversation", "way", "calls", "tokens read", "tokens written", "never read")
    rows = [(*key, *each) for key, each in spent.items()]
    title = f"{TURNS} turns in a window of {BUDGET:,} tokens, cut from 85 to 60 %"
    print_table(title, (*header, "read twice", "a prompt has", "wrong"), rows)
    print_claims(claims(spent))


def claims(spent: dict[tuple[str, str], Spent]) -> Iterator[Claim]:
    """What it costs against the peer, and that nothing is missed."""
    for kind in ("chat", "agent"):
        ours, peer = spent[kind, OURS], spent[kind, PEER]
        yield Claim(
            what=f"tokens read and written, {kind}",
            against=PEER,
            result=(peer.read_tokens + peer.written_tokens)
            / (ours.read_tokens + ours.written_tokens),
            goal=1.0,
        )
    for name in (OURS, ALONE):
        missed = sum(spent[kind, name].unread for kind in ("chat", "agent"))
        wrong = sum(spent[kind, name].wrong for kind in ("chat", "agent"))
        for what, result in (("never read", missed), ("wrong prompts", wrong)):
            yield Claim(
                what=f"{name}: {what}",
                against="the judge",
                result=float(result),
                goal=1e-9,
                unit="",
                at_most=True,
            )


def driven(way: Callable[[Writer], Prompts], history: list[BaseMessage]) -> Spent:
    """Ask for a prompt wherever the conversation asks a model."""
    writer = Writer()
    prompts, wrong = way(writer), 0
    gone, kept = set[str](), list[int]()
    for at in range(2, len(history) + 1):
        if at < len(history) and history[at].type != "ai":
            continue
        sent = prompts(history[:at])
        kept.append(tokens(sent))
        wrong += bool(faults(sent, history[:at], tokens=tokens, max_tokens=BUDGET))
        gone |= {str(m.id) for m in history[1:at]} - {str(m.id) for m in sent}
    read = writer.read()
    return Spent(
        calls=len(writer._asked),
        read_tokens=sum(tokens(asked) for asked in writer._asked),
        written_tokens=len(writer._asked) * tokens([AIMessage(SUMMARY)]),
        unread=len(gone - set(read)),
        twice=sum(times > 1 for times in read.values()),
        kept=fmean(kept),
        wrong=wrong,
    )


def ways() -> Iterator[tuple[str, Callable[[Writer], Prompts]]]:
    """Ours as an agent and a chain use it, and the peer in two ways."""
    yield OURS, sticky
    yield ALONE, alone
    same = ("tokens", int(0.6 * BUDGET))
    yield PEER, partial(peer, keep=same)
    yield DEFAULTS, peer


def sticky(writer: Writer) -> Prompts:
    """What the middleware and the node do."""
    window, kept = ContextWindow(MODEL, BUDGET, Summarize(writer)), dict[str, Any]()

    def prompts(history: Sequence[BaseMessage]) -> list[BaseMessage]:
        trim = window.trim_sticky(list(history), previous=kept.get("cut", ()))
        kept["cut"] = trim.cut
        return trim.messages

    return prompts


def alone(writer: Writer) -> Prompts:
    """What a chain does: nothing is kept but what the strategy remembers."""
    return ContextWindow(MODEL, BUDGET, Summarize(writer)).invoke


def peer(writer: Writer, **options: Any) -> Prompts:
    """The middleware's hook, with the state that it leaves; the system prompt stands apart."""
    trigger = ("tokens", int(0.85 * BUDGET))
    made = SummarizationMiddleware(writer, trigger=trigger, token_counter=tokens, **options)
    state, seen = list[BaseMessage](), [1]

    def prompts(history: Sequence[BaseMessage]) -> list[BaseMessage]:
        state.extend(history[seen[0] :])
        seen[0] = len(history)
        if update := made.before_model({"messages": state}, None):
            state[:] = update["messages"][1:]
        return [history[0], *state]

    return prompts


def chat() -> list[BaseMessage]:
    """Questions of up to 60 words and answers of up to 300."""
    rng = random.Random(TURNS)  # noqa: S311 - the same chat in every run
    history: list[BaseMessage] = [SYSTEM]
    for _ in range(TURNS):
        history += [HumanMessage(words(rng, 60)), AIMessage(words(rng, 300))]
    return numbered([*history, HumanMessage(words(rng, 60))])


def agent() -> list[BaseMessage]:
    """Questions with up to twelve steps of a tool each, which says up to 250 words."""
    rng = random.Random(TURNS)  # noqa: S311 - the same history in every run
    history: list[BaseMessage] = [SYSTEM]
    for turn in range(TURNS):
        history.append(HumanMessage(words(rng, 60)))
        for step in range(rng.choice([0, 1, 2, 4, 12])):
            call = {"name": "search", "args": {"query": words(rng, 8)}, "id": f"{turn}-{step}"}
            history.append(AIMessage(words(rng, 8), tool_calls=[call]))
            history.append(ToolMessage(words(rng, 250), tool_call_id=f"{turn}-{step}"))
        history.append(AIMessage(words(rng, 80)))
    return numbered([*history, HumanMessage(words(rng, 60))])


def numbered(history: list[BaseMessage]) -> list[BaseMessage]:
    """With ids, and each message begins with its own."""
    return [
        m.model_copy(update={"id": str(at), "content": f"#{at}: {m.content}"})
        for at, m in enumerate(history)
    ]


def words(rng: random.Random, most: int) -> str:
    """Return up to so many words."""
    return " ".join(rng.choices(WORDS, k=rng.randint(max(1, most // 10), most)))


def tokens(messages: Sequence[BaseMessage]) -> int:
    """By the model's own vocabulary; what every way counts with."""
    return count_tokens(list(messages), MODEL)


if __name__ == "__main__":
    main()

"""Histories as agents have them, made at random."""

import random

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

__all__ = ["agent_history", "seeded", "spoilt", "tool_step", "words"]

WORDS = ["alpha", "order", "refund", "price", "ship", "track", "cancel", "error", "retry"]

_EMPTY: list[str | list[str | dict[str, str]]] = ["", [], [{"type": "text", "text": ""}]]


def seeded(name: str) -> random.Random:
    """The same random numbers for the same name, in every run."""
    return random.Random(name)  # noqa: S311 - to be repeated, not to be kept secret


def words(rng: random.Random, most: int) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))


def tool_step(rng: random.Random, longest: int) -> list[BaseMessage]:
    """An AI message with parallel calls and all their results."""
    # Some models number their calls anew in each message.
    ids = [rng.choice([f"call_{i}", f"call_{rng.random()}"]) for i in range(rng.randint(1, 3))]
    calls = [{"name": "f", "args": {"q": words(rng, 8)}, "id": i} for i in ids]
    results = [ToolMessage(words(rng, longest), tool_call_id=i) for i in ids]
    rng.shuffle(results)
    return [AIMessage(words(rng, 8), tool_calls=calls), *results]


def agent_history(rng: random.Random, turns: int) -> list[BaseMessage]:
    """An agent's history: ends with a question or in the middle of a tool loop."""
    history: list[BaseMessage] = [SystemMessage(words(rng, 30))] * rng.choice([0, 1, 1, 2])
    for turn in range(turns):
        history.append(HumanMessage(words(rng, 60)))
        for _ in range(rng.choice([0, 0, 1, 2, 6])):
            history += tool_step(rng, rng.choice([5, 100, 800]))
        if turn < turns - 1:
            history.append(AIMessage(words(rng, 80)))
    return history


def spoilt(rng: random.Random, history: list[BaseMessage]) -> list[BaseMessage]:
    """The history with some messages lost, doubled or moved, and some answers without a word."""
    history = list(history)
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(history))
        message = history.pop(at)
        fate = rng.choice(["lost", "doubled", "moved", "emptied"])
        if fate == "doubled":
            history[at:at] = [message, message.model_copy()]
        elif fate == "emptied" and message.type == "ai":
            history.insert(at, message.model_copy(update={"content": rng.choice(_EMPTY)}))
        elif fate == "moved" or len(history) < 2:
            history.insert(rng.randrange(len(history) + 1), message)
    return history

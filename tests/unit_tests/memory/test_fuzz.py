"""No strategy sends what a provider would refuse: very many histories, judged by someone else."""

import random
from typing import Any

import pytest
from histories import agent_history, seeded, spoilt
from history_judge import faults
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import BaseMessage

from llmops_langchain.errors import ContextWindowError
from llmops_langchain.memory import STRATEGIES, ContextWindow, Summarize, is_pinned, pin
from llmops_langchain.tokens import count_tokens


def tokens(messages: list[BaseMessage]) -> int:
    return count_tokens(messages, "gpt-4o")


def numbered(history: list[BaseMessage]) -> list[BaseMessage]:
    """With ids, as a LangGraph state has them; one object said twice is two messages."""
    return [m.model_copy(update={"id": str(at)}) for at, m in enumerate(history)]


def window_of(strategy: str, budget: int, **options: Any) -> ContextWindow:
    if strategy != "summarize":
        return ContextWindow("gpt-4o", budget, strategy, **options)
    model = FakeListChatModel(responses=["They talked about orders and refunds, and of prices."])
    return ContextWindow("gpt-4o", budget, Summarize(model), **options)


def needed(history: list[BaseMessage]) -> int:
    """What no cut can take: system messages and any question that was the current one."""
    systems = [m for m in history if m.type == "system"]
    return max(tokens([*systems, m]) for m in history if m.type == "human")


@pytest.mark.parametrize("number", [150, pytest.param(2_500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_what_is_sent_is_valid_fits_and_has_the_question(strategy: str, number: int) -> None:
    found: list[tuple[int, list[str]]] = []
    for seed in range(number):
        rng = seeded(f"{strategy} {seed}")
        history = numbered(agent_history(rng, rng.randint(1, 20)))
        if seed % 5 == 0:
            history = spoilt(rng, history)
        if not any(m.type == "human" for m in history):
            continue
        budget = max(needed(history), int(rng.uniform(0.05, 0.9) * tokens(history)))
        if budget >= tokens(history):
            continue  # what fits is not touched, whatever it is
        sent = window_of(strategy, budget).invoke(history)
        if wrong := faults(sent, history, tokens=tokens, max_tokens=budget):
            found.append((seed, wrong))
    assert found == []


@pytest.mark.parametrize("number", [15, pytest.param(250, marks=pytest.mark.slow)])
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_a_prompt_that_is_kept_between_turns_is_valid_at_every_call(
    strategy: str, number: int
) -> None:
    for seed in range(number):
        rng = seeded(f"{strategy} {seed}")
        history = numbered(agent_history(rng, rng.randint(2, 15)))
        budget = max(2 * needed(history), int(rng.uniform(0.05, 0.9) * tokens(history)))
        window, cut = window_of(strategy, budget), {}
        for at in range(2, len(history) + 1):
            is_call = at == len(history) or history[at].type == "ai"
            if not is_call or history[at - 1].type == "system":
                continue
            trim = window.trim_sticky(history[:at], previous=cut)
            cut = trim.cut
            wrong = faults(trim.messages, history[:at], tokens=tokens, max_tokens=budget)
            assert wrong == [], (seed, at)


@pytest.mark.parametrize("number", [60, pytest.param(1_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_what_is_pinned_stays(strategy: str, number: int) -> None:
    kept_some = 0
    for seed in range(number):
        rng = seeded(f"pins {strategy} {seed}")
        history = numbered(agent_history(rng, rng.randint(2, 20)))
        held = {m.id for m in history if m.type != "system" and rng.random() < 0.05}
        history = [pin(m) if m.id in held else m for m in history]
        budget = max(needed(history), int(rng.uniform(0.2, 0.9) * tokens(history)))
        try:
            sent = window_of(strategy, budget, pin=is_pinned).invoke(history)
        except ContextWindowError:
            continue
        kept_some += bool(held)
        assert held <= {m.id for m in sent}, seed
        assert faults(sent, history, tokens=tokens, max_tokens=budget) == [], seed
    assert kept_some > number / 4


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_a_question_larger_than_the_window_is_cut_in_the_middle(strategy: str) -> None:
    for seed in range(30):
        rng = seeded(f"oversize {strategy} {seed}")
        history = [*numbered(agent_history(rng, rng.randint(1, 8))), *_question(rng)]
        window = window_of(strategy, 400, on_oversize="cut")
        systems = tokens([m for m in history if m.type == "system"])
        if systems > 300:
            continue
        trim = window.trim(history)
        last = trim.messages[-1]
        assert "tokens removed" in last.text
        assert last.id == history[-1].id
        assert "cut" in {each.why for each in trim.reasons}
        assert tokens(trim.messages) <= 400
        with pytest.raises(ContextWindowError):
            window_of(strategy, 400).trim(history)


def _question(rng: random.Random) -> list[BaseMessage]:
    [question] = [m for m in agent_history(rng, 1) if m.type == "human"]
    return [question.model_copy(update={"content": "why 猫 now? " * 500, "id": "q"})]

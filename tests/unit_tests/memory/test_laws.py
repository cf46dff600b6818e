"""What holds for every history and every budget."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from histories import agent_history, spoilt
from history_judge import faults, refusals
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from llmops_langchain.errors import ContextWindowError
from llmops_langchain.memory import ContextWindow
from llmops_langchain.memory.validity import CLEARED_NOTE
from llmops_langchain.tokens import count_tokens

LOCOMO = Path(__file__).parents[4] / "shared/data/context/locomo.json"


def tokens(messages: Sequence[BaseMessage]) -> int:
    return count_tokens(messages, "gpt-4o")


seeds = st.integers(0, 2**32).map(random.Random)
agent_histories = st.builds(agent_history, seeds, st.integers(1, 15))
shares = st.floats(0.05, 0.9)


def cut(history: list[BaseMessage], share: float) -> tuple[list[BaseMessage], int]:
    """The history cut to a share of its tokens, and what that share is."""
    budget = max(1, int(share * tokens(history)))
    before = [m.model_copy(deep=True) for m in history]
    try:
        kept = ContextWindow("gpt-4o", budget).invoke(history)
    except ContextWindowError as refused:
        kept = []
        assert refused.needed_tokens > budget == refused.max_tokens  # noqa: PT017 - where it is
    assert history == before, "the messages given were changed"
    return kept, budget


@given(history=agent_histories, share=shares)
@settings(max_examples=300, deadline=None)
def test_an_agents_history_stays_valid_and_within_its_budget(history, share) -> None:
    kept, budget = cut(history, share)
    if kept:
        assert faults(kept, history, tokens=tokens, max_tokens=budget) == []
    else:
        assert smallest(history) > budget


@given(seeds, st.integers(1, 10), shares)
@settings(max_examples=300, deadline=None)
def test_a_spoilt_history_becomes_valid_where_there_is_a_question(rng, turns, share) -> None:
    history = spoilt(rng, agent_history(rng, turns))
    kept, budget = cut(history, share)
    if kept and any(m.type == "human" for m in history):
        assert faults(kept, history, tokens=tokens, max_tokens=budget) == []
    elif kept:
        assert set(refusals(kept)) <= {"the first message is not the user's"}
        assert tokens(kept) <= budget


@given(history=agent_histories, share=shares)
@settings(max_examples=100, deadline=None)
def test_what_is_sent_was_in_the_history_in_this_order(history, share) -> None:
    kept, _ = cut(history, share)
    rest = iter(history)
    for message in kept:
        assert any(same_or_cleared(message, m) for m in rest)


@given(history=agent_histories, share=shares)
@settings(max_examples=100, deadline=None)
def test_a_second_cut_changes_nothing(history, share) -> None:
    kept, budget = cut(history, share)
    if kept:
        assert ContextWindow("gpt-4o", budget).invoke(kept) == kept


@given(history=agent_histories, more=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_what_fits_is_not_touched(history, more) -> None:
    kept = ContextWindow("gpt-4o", tokens(history) + more).invoke(history)
    assert all(a is b for a, b in zip(kept, history, strict=True))


@given(history=agent_histories, share=shares)
@settings(max_examples=100, deadline=None)
def test_a_sticky_prompt_is_valid_at_every_call(history, share) -> None:
    window = ContextWindow("gpt-4o", max(int(share * tokens(history)), 2 * smallest(history)))
    prompt: list[BaseMessage] = []
    for at in range(2, len(history) + 1):
        if (at < len(history) and history[at].type != "ai") or history[at - 1].type == "system":
            continue
        prompt = window.trim_sticky(history[:at], previous=prompt).messages
        found = faults(prompt, history[:at], tokens=tokens, max_tokens=window.max_tokens)
        assert found == []


def smallest(history: list[BaseMessage]) -> int:
    """The tokens of the largest question beside the system messages."""
    systems = [m for m in history if m.type == "system"]
    return max(tokens([*systems, m]) for m in history if m.type == "human")


def same_or_cleared(message: BaseMessage, given: BaseMessage) -> bool:
    if message is given:
        return True
    cleared = message.content == CLEARED_NOTE and isinstance(given, ToolMessage)
    return cleared and message.model_copy(update={"content": given.content}) == given


def conversations() -> list[list[BaseMessage]]:
    """Real conversations of two people over months; the one who begins is the user."""
    found = []
    for entry in json.loads(LOCOMO.read_text()):
        talk, number = entry["conversation"], 1
        history: list[BaseMessage] = [SystemMessage("Be brief.")]
        while session := talk.get(f"session_{number}"):
            for said in session:
                asks = said["speaker"] == talk["session_1"][0]["speaker"]
                kind = HumanMessage if asks else AIMessage
                history.append(kind(said["text"]))
            number += 1
        found.append([*history, HumanMessage("What did we say about this?")])
    return found


@pytest.mark.skipif(not LOCOMO.exists(), reason="needs ../shared/data/context/locomo.json")
@pytest.mark.parametrize("budget", [1000, 2000, 4000, 8000, 16_000])
def test_real_conversations_fill_97_percent_of_the_window(budget) -> None:
    for history in conversations():
        kept = ContextWindow("gpt-4o", budget).invoke(history)
        assert faults(kept, history, tokens=tokens, max_tokens=budget) == []
        assert tokens(kept) >= min(0.97 * budget, tokens(history))

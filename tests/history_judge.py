"""Would a provider accept this request? Written from what OpenAI, Anthropic and Gemini refuse.

It imports nothing of the package, so that it cannot share its mistakes.
"""

from collections.abc import Callable, Sequence

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

__all__ = ["faults", "refusals"]


def refusals(messages: Sequence[BaseMessage]) -> list[str]:
    """Return why a provider would refuse these messages; empty if none would."""
    if not messages:
        return ["no messages"]
    talk = _after_systems(messages)
    found = ["system message in the middle"] if any(_is(m, SystemMessage) for m in talk) else []
    if not talk or not _is(talk[0], HumanMessage):
        found.append("the first message is not the user's")
    if any(
        _is_ai(m) and not m.text and not m.tool_calls and not m.invalid_tool_calls for m in talk
    ):
        found.append("an answer without content")
    return found + _tool_refusals(talk)


def faults(
    sent: Sequence[BaseMessage],
    history: Sequence[BaseMessage],
    *,
    tokens: Callable[[Sequence[BaseMessage]], int],
    max_tokens: int,
) -> list[str]:
    """Return what is wrong with a history cut to `max_tokens`; empty if nothing is."""
    found = refusals(sent)
    if tokens(sent) > max_tokens:
        found.append(f"{tokens(sent)} tokens, {max_tokens} allowed")
    questions = [m for m in history if _is(m, HumanMessage)]
    if questions and not any(m is questions[-1] for m in sent):
        found.append("current question lost")
    systems = history[: len(history) - len(_after_systems(history))]
    if list(sent[: len(systems)]) != list(systems):
        found.append("system message lost")
    return found


def _after_systems(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    first = next((i for i, m in enumerate(messages) if not _is(m, SystemMessage)), len(messages))
    return messages[first:]


def _tool_refusals(talk: Sequence[BaseMessage]) -> list[str]:
    found: list[str] = []
    waiting: list[str | None] = []
    for message in talk:
        if isinstance(message, ToolMessage):
            if message.tool_call_id in waiting:
                waiting.remove(message.tool_call_id)
            else:
                found.append("tool result without its call")
            continue
        if waiting:
            found.append("tool call without its result")
        calls = message.tool_calls + message.invalid_tool_calls if _is_ai(message) else []
        waiting = [call["id"] for call in calls]
        if len(set(waiting)) < len(waiting) or None in waiting:
            found.append("tool call ids are not distinct")
    # What is still waiting here is open at the very end: its tools are running.
    return found


def _is(message: BaseMessage, kind: type[BaseMessage]) -> bool:
    return isinstance(message, kind)


def _is_ai(message: BaseMessage) -> bool:
    return isinstance(message, AIMessage)

"""What every chat provider accepts, as pure functions over messages.

A history is its leading system messages, then turns. A turn is a question (a human message) and
the steps that follow it. A step is what stays or goes together: an AI message with tool calls and
all their results, or one plain message. What no provider accepts is in no step: a tool result
whose call is gone, a call that was never answered, an answer that says nothing, a system message in
the middle. Only the calls of the very last AI message may still be open.

Providers differ: OpenAI takes empty answers, Anthropic a history that ends with one, Gemini none.
One set of rules that all of them accept leaves a thread free to change its model.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import TypeVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

__all__ = [
    "CLEARED_NOTE",
    "SUMMARY",
    "Step",
    "Turn",
    "asks",
    "cleared",
    "current_question",
    "flat",
    "is_pinned",
    "is_summary",
    "leading_systems",
    "must_stay",
    "pin",
    "pinned",
    "role",
    "steps",
    "turns",
    "valid",
]

Step = list[BaseMessage]
"""Messages that stay or go together."""

Turn = Sequence[BaseMessage]
"""A question and the steps that follow it; before the first question, steps alone."""

CLEARED_NOTE = "[tool output removed: it did not fit into the context window]"
"""What stands in place of a tool output that had to go."""

_ROLES = {
    "human": "human",
    "HumanMessageChunk": "human",
    "user": "human",
    "ai": "ai",
    "AIMessageChunk": "ai",
    "assistant": "ai",
    "system": "system",
    "SystemMessageChunk": "system",
    "developer": "system",
    "tool": "tool",
    "ToolMessageChunk": "tool",
    "remove": "remove",
}


PIN, SUMMARY = "llmops_pin", "llmops_summary"
"""Keys of `additional_kwargs`: this message stays; this message stands for earlier ones."""

M = TypeVar("M", bound=BaseMessage)


def pin(message: M) -> M:
    """Return a copy of a message that no cut takes away.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> is_pinned(pin(HumanMessage("My order is 4711.")))
        True
    """
    return message.model_copy(
        update={"additional_kwargs": {**message.additional_kwargs, PIN: True}}
    )


def is_pinned(message: BaseMessage) -> bool:
    """Whether `pin` was asked for this message."""
    return bool(message.additional_kwargs.get(PIN))


def is_summary(message: BaseMessage) -> bool:
    """Whether a message stands for earlier ones, which it sums up."""
    return SUMMARY in message.additional_kwargs


def role(message: BaseMessage) -> str:
    """Return `human`, `ai`, `system`, `tool`, `remove` or `other`.

    A `ChatMessage` is what its own `role` says.
    """
    return _ROLES.get(message.type) or _ROLES.get(getattr(message, "role", ""), "other")


def asks(turn: Turn) -> bool:
    """Whether a turn opens with a question."""
    return bool(turn) and role(turn[0]) == "human"


def leading_systems(history: Sequence[BaseMessage]) -> int:
    """Return how many system messages a history opens with."""
    for at, message in enumerate(history):
        if role(message) != "system":
            return at
    return len(history)


def current_question(history: Sequence[BaseMessage]) -> int | None:
    """Return the index of the last human message; `None` where nobody asked."""
    for at in range(len(history) - 1, -1, -1):
        if role(history[at]) == "human":
            return at
    return None


def turns(history: Sequence[BaseMessage], start: int) -> Iterator[Turn]:
    """Yield the turns of `history[start:]`, newest first, reading no further than asked for.

    What stands before the first question comes last, as a turn without a question.
    """
    stop = end = len(history)
    # Most turns of a chat are a question and answers: there is nothing to sort out.
    is_plain = True
    for at in range(end - 1, start - 1, -1):
        message = history[at]
        # By its class where that is enough: it costs a tenth of asking for its role.
        if message.__class__ is HumanMessage or role(message) == "human":
            turn = history[at:stop]
            yield turn if is_plain else [turn[0], *flat(_valid_steps(turn[1:], at_end=stop == end))]
            stop, is_plain = at, True
        elif is_plain:
            is_plain = _is_answer(message)
    if stop > start:
        yield flat(_valid_steps(history[start:stop], at_end=stop == end))


def steps(messages: Sequence[BaseMessage]) -> list[Step]:
    """Return the valid steps of some messages; calls at their end may be open."""
    return _valid_steps(messages, at_end=True)


def flat(parts: Iterable[Sequence[BaseMessage]]) -> list[BaseMessage]:
    """Return the messages of steps or turns in one list."""
    return list(chain.from_iterable(parts))


def cleared(message: ToolMessage) -> ToolMessage:
    """Return a copy that keeps the ids and the artifact, with a short note as its content."""
    return message.model_copy(update={"content": CLEARED_NOTE})


def valid(history: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return a history without what a provider would refuse.

    Without any human message there is no valid first one; the steps are kept as they are.
    """
    head = leading_systems(history)
    found = list(turns(history, head))
    if found and asks(found[0]):
        found = list(filter(asks, found))
    return flat([history[:head], *reversed(found)])


def pinned(
    picked: Sequence[BaseMessage],
    history: Sequence[BaseMessage],
    stays: Callable[[BaseMessage], bool] = is_pinned,
) -> list[BaseMessage]:
    """Return `picked` with what may not be missing, in the order of the history.

    That is system messages, the current question, and pinned messages: each of those with its
    step, and the question of its turn.
    """
    needed = must_stay(history, stays)
    known = set(map(id, picked))
    if all(id(m) in known for m in needed):
        return list(picked)
    place = {id(m): at for at, m in enumerate(history)}
    # What is not of the history, such as a copy or a summary, stands behind what came before it.
    merged, last = list[tuple[int, bool, BaseMessage]](), leading_systems(history) - 1
    for message in picked:
        last = place.get(id(message), last)
        merged.append((last, id(message) not in place, message))
    merged += [(place[id(m)], False, m) for m in needed if id(m) not in known]
    return [message for _, _, message in sorted(merged, key=itemgetter(0, 1))]


def must_stay(
    history: Sequence[BaseMessage], stays: Callable[[BaseMessage], bool] = is_pinned
) -> list[BaseMessage]:
    """Return what of a history no cut may take: systems, current question, pinned messages.

    A pinned message comes with its step, and the question of its turn.
    """
    head = leading_systems(history)
    asked = current_question(history)
    needed = list(history[:head])
    for turn in reversed(list(turns(history, head))):
        if not asks(turn):
            continue  # what stands before the first question cannot open a prompt
        held = [step for step in steps(turn[1:]) if any(map(stays, step))]
        if held or turn[0] is history[asked or 0] or stays(turn[0]):
            needed += [turn[0], *flat(held)]
    return needed


def _valid_steps(messages: Sequence[BaseMessage], *, at_end: bool) -> list[Step]:
    """Return the valid steps of some messages; `at_end`: nothing follows in the history."""
    found: list[Step] = []
    at = 0
    while at < len(messages):
        message, kind = messages[at], role(messages[at])
        at += 1
        if kind == "ai" and (calls := _call_ids(message)):
            first = at
            while at < len(messages) and role(messages[at]) == "tool":
                at += 1
            may_be_open = at_end and at == len(messages)
            found += _tool_step(message, calls, messages[first:at], may_be_open=may_be_open)
        elif kind in ("human", "other") or (kind == "ai" and not _is_empty(message)):
            found.append([message])
    return found


def _is_answer(message: BaseMessage) -> bool:
    """Whether a message is an answer and no more, as most of a chat are."""
    if not isinstance(message, AIMessage) or message.tool_calls or message.invalid_tool_calls:
        return False
    content = message.content
    return content.__class__ is str and bool(content)


def _is_empty(message: BaseMessage) -> bool:
    """Whether an answer says nothing: no text, no media, no legacy call of a function."""
    content = message.content
    parts = [content] if isinstance(content, str) else content
    return not (any(map(_says, parts)) or any(message.additional_kwargs.values()))


def _says(part: str | dict[str, object]) -> bool:
    if isinstance(part, str):
        return bool(part)
    return part.get("type") != "text" or bool(part.get("text"))


def _call_ids(message: BaseMessage) -> list[str | None]:
    if not isinstance(message, AIMessage):
        return []
    # Providers are also sent the calls whose arguments could not be parsed.
    return [call["id"] for call in (*message.tool_calls, *message.invalid_tool_calls)]


def _tool_step(
    message: BaseMessage,
    calls: list[str | None],
    results: Sequence[BaseMessage],
    *,
    may_be_open: bool,
) -> list[Step]:
    """Return an AI message with one result per call as one step; no step if that is not so."""
    waiting = set(calls)
    if len(waiting) < len(calls) or None in waiting:
        return []
    step: Step = [message]
    for result in results:
        if isinstance(result, ToolMessage) and result.tool_call_id in waiting:
            waiting.discard(result.tool_call_id)
            step.append(result)
    return [step] if may_be_open or not waiting else []

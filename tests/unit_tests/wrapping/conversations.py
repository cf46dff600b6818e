"""Conversations and calls for hypothesis, and what of them decides the answer."""

from typing import Any

from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

words = st.text("ab", max_size=2)
arguments = st.dictionaries(st.sampled_from("xy"), st.integers(0, 2) | st.none(), max_size=2)
tool_calls = st.lists(st.tuples(st.sampled_from("fg"), arguments), max_size=2)
broken_calls = st.lists(st.tuples(st.sampled_from("fg"), words), max_size=1)
turns = st.one_of(
    st.tuples(st.sampled_from([HumanMessage, SystemMessage]), words | st.lists(words, max_size=2)),
    st.tuples(st.just(AIMessage), words, tool_calls, broken_calls),
    st.tuples(
        st.just(ToolMessage), words, st.integers(0, 3), st.sampled_from(["success", "error"])
    ),
    st.tuples(st.just(ChatMessage), words, words),
)
conversations = st.lists(turns, min_size=1, max_size=4)
tools = st.fixed_dictionaries({"type": st.just("function"), "function": arguments})
parameters = st.fixed_dictionaries(
    {},
    optional={
        "stop": st.lists(words, max_size=2),
        "temperature": st.sampled_from([0.0, 0.5]),
        "n": st.integers(1, 2),
        "tools": st.lists(tools, max_size=2),
        "tool_choice": words,
        "response_format": arguments,
    },
)
asked = st.tuples(conversations, parameters, words)


def spoken(conversation: list[Any], run: int = 0) -> list[BaseMessage]:
    """The turns as messages; `run` changes ids, counts and metadata, and nothing that was said."""
    made: list[BaseMessage] = []
    ids: list[str] = []
    for kind, content, *rest in conversation:
        given: dict[str, Any] = {
            "id": f"message-{run}-{len(made)}",
            "response_metadata": {"request": run},
        }
        if kind is AIMessage:
            given["usage_metadata"] = {
                "input_tokens": run,
                "output_tokens": 1,
                "total_tokens": run + 1,
            }
            for field, calls in zip(("tool_calls", "invalid_tool_calls"), rest, strict=True):
                given[field] = [
                    {"name": name, "args": args, "id": f"call-{run}-{len(ids) + at}"}
                    for at, (name, args) in enumerate(calls)
                ]
                ids += [call["id"] for call in given[field]]
            for call in given["invalid_tool_calls"]:
                call["error"] = f"not read in run {run}"
        if kind is ToolMessage:
            given["tool_call_id"] = ids[rest[0]] if rest[0] < len(ids) else f"unknown-{run}"
            given["status"], given["artifact"] = rest[1], object()
        if kind is ChatMessage:
            given["role"] = rest[0]
        made.append(kind(content, **given))
    return made


def sense(call: tuple[Any, ...]) -> object:
    """What decides the answer, written down in another way than the key does."""
    conversation, given, scope = call
    seen, said = 0, []
    for kind, content, *rest in conversation:
        if kind is AIMessage:
            seen += sum(map(len, rest))
        if kind is ToolMessage:
            said.append((kind.__name__, content, min(seen, rest[0]), rest[1]))
        else:
            said.append((kind.__name__, content, rest))
    return said, given, scope

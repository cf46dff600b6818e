"""Nodes to add to a `StateGraph`."""

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from llmops_langchain.memory import ContextWindow

__all__ = ["trim_node"]


def trim_node(
    window: ContextWindow,
    *,
    messages_key: str = "messages",
    output_key: str = "llm_input_messages",
) -> Callable[[Any], dict[str, list[BaseMessage]]]:
    """Return a node that writes the messages to send to the model, and nothing else.

    The conversation stays whole in the state; the model's node reads `output_key`, a plain list
    without a reducer. The cut comes at 85 % of the window, goes down to 60 % and stays there
    until 85 % are reached again, so that the provider's prompt cache keeps working. The last
    prompt is read back from `output_key`, which saves time and changes nothing.

    Args:
        window: What the messages must fit in.
        messages_key: Where the state, a mapping or an object, keeps the conversation.
        output_key: Where the state keeps the messages to send.

    Example:
        ```python
        from langchain_core.messages import AnyMessage
        from langgraph.graph import MessagesState, StateGraph


        class State(MessagesState):
            llm_input_messages: list[AnyMessage]


        graph = StateGraph(State)
        graph.add_node("trim", trim_node(ContextWindow(model="gpt-4o", max_tokens=8000)))
        ```
    """

    def trim(state: Any) -> dict[str, list[BaseMessage]]:
        previous = _read(state, output_key) or ()
        return {
            output_key: window.trim_sticky(_read(state, messages_key), previous=previous).messages
        }

    return trim


def _read(state: Any, key: str) -> Any:
    return state.get(key) if isinstance(state, Mapping) else getattr(state, key, None)

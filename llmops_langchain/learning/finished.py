"""A run that has ended, as a judge sees it, and what it is that was asked and answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from langchain_core.messages import BaseMessage, convert_to_messages

from llmops_langchain.ledger import Scope

__all__ = ["FinishedRun", "asked_in", "said_in"]

_TASKS = ("task", "task_description", "input", "question", "query", "prompt", "messages")
"""Where an input that is a mapping has its task, the first that is there."""

_ANSWERS = ("output", "answer", "result", "messages")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """What is known of a run that has ended; its texts stay in this process."""

    run_id: UUID
    task: str
    output: Any = None
    """What it returned; `None` if it failed."""
    error: BaseException | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    """`completion_time` in seconds, `cost` in US dollars, `input_tokens`, `output_tokens`,
    `iterations` (calls of a model), `tool_errors`."""
    model: str | None = None
    """The one that was asked last."""
    tools: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    """Graph nodes and tools, in the order in which they began."""
    scope: Scope = field(default_factory=Scope)
    """Whose it was."""

    @property
    def text(self) -> str:
        """What it said at its end."""
        return said_in(self.output)


def asked_in(given: Any) -> str:
    """The task that an input holds: a text, the last human message, or a field that says so."""
    return _text(given, _TASKS, human=True)


def said_in(output: Any) -> str:
    """The text of an output: of its last message, or the field that says so."""
    return _text(output, _ANSWERS, human=False)


def _text(given: Any, names: tuple[str, ...], *, human: bool) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, BaseMessage):
        return given.text
    if hasattr(given, "to_messages"):  # a prompt value
        return _of_messages(given.to_messages(), human=human)
    if isinstance(given, Sequence):
        return "" if isinstance(given, bytes) else _of_messages(given, human=human)
    # The state of a graph may be an object.
    read = given.get if isinstance(given, Mapping) else partial(getattr, given)
    found = next((value for name in names if (value := read(name, None))), None)
    return "" if found is None or isinstance(found, Mapping) else _text(found, (), human=human)


def _of_messages(messages: Sequence[Any], *, human: bool) -> str:
    for each in reversed(messages):
        if isinstance(each, str):
            return each
        message = _message(each)
        if message is not None and (not human or message.type == "human"):
            return message.text
    return ""


def _message(given: Any) -> BaseMessage | None:
    """What is written as LangChain allows it: a pair, a mapping; its text is without its images."""
    try:
        return convert_to_messages([given])[0]
    except (KeyError, NotImplementedError, TypeError, ValueError):
        return None

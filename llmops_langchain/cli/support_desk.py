"""The support desk of a made-up web shop: what is asked there, and the graph that answers."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph

from llmops_langchain.errors import ConfigurationError

__all__ = [
    "CustomerThread",
    "DeskState",
    "LongThread",
    "Turn",
    "briefing",
    "first_turns",
    "long_thread",
    "shop_threads",
    "support_graph",
    "take_turn",
    "threads_of_file",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerThread:
    """One conversation from the customer's side."""

    name: str
    """What it is about; unique among the threads of a run."""
    customer: str
    """Who asks."""
    questions: tuple[str, ...]
    """What the customer writes, in order; each is one turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One question and how it was answered."""

    answer: str
    """The model's words, new or remembered."""
    cached: bool
    """The answer came from the cache: the model was not called."""
    messages_cut: int
    """Messages of the thread that the model was not sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LongThread:
    """A conversation whose last question is about something said in it long before."""

    customer: str
    """Who asks."""
    exchanges: tuple[tuple[str, str], ...]
    """What was asked and answered, in order."""
    question: str
    """What is asked now."""
    fact: str
    """What its answer must have in it."""
    max_tokens: int
    """What may be sent: far less than the whole."""

    @property
    def messages(self) -> list[BaseMessage]:
        """The thread as the model would be sent it, the last question last."""
        told: list[BaseMessage] = [SystemMessage(_shop()["instructions"])]
        for asked, answered in self.exchanges:
            told += [HumanMessage(asked), AIMessage(answered)]
        return [*told, HumanMessage(self.question)]


class DeskState(MessagesState):
    """The whole thread, and the part of it that goes to the model."""

    llm_input_messages: list[AnyMessage]


def shop_threads() -> tuple[CustomerThread, ...]:
    """The threads that come with the package: openings and follow-ups repeat, one is long."""
    return tuple(
        CustomerThread(
            name=each["name"], customer=each["customer"], questions=tuple(each["questions"])
        )
        for each in _shop()["threads"]
    )


def long_thread() -> LongThread:
    """The thread that comes with the package to try windows on."""
    told = _shop()["long_thread"]
    exchanges = tuple((asked, answered) for asked, answered in told["exchanges"])
    return LongThread(**{**told, "exchanges": exchanges})


def briefing() -> list[BaseMessage]:
    """What the model is told before every thread: its instructions and how the desk talks."""
    shop = _shop()
    told: list[BaseMessage] = [SystemMessage(shop["instructions"])]
    for example in shop["examples"]:
        told += [HumanMessage(example["customer"]), AIMessage(example["desk"])]
    return told


def threads_of_file(path: Path) -> tuple[CustomerThread, ...]:
    """Threads of a text file: one question a line, and a blank line starts a new thread.

    Raises:
        ConfigurationError: If the file cannot be read as UTF-8 text, or asks nothing.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        msg = f"`questions` cannot be read from {str(path)!r}: {error}"
        raise ConfigurationError(msg) from error
    blocks = [tuple(block) for asked, block in groupby(lines, key=bool) if asked]
    if not blocks:
        msg = f"`questions`: there is no question in {str(path)!r}"
        raise ConfigurationError(msg)
    return tuple(
        CustomerThread(name=f"thread {number}", customer=f"customer {number}", questions=block)
        for number, block in enumerate(blocks, start=1)
    )


def first_turns(threads: Iterable[CustomerThread], turns: int) -> Iterator[CustomerThread]:
    """The threads cut down to their first `turns` questions in all."""
    for thread in threads:
        if turns <= 0:
            return
        kept = replace(thread, questions=thread.questions[:turns])
        turns -= len(kept.questions)
        yield kept


def support_graph(
    model: BaseChatModel, trim: Callable[..., Any]
) -> CompiledStateGraph[DeskState, None, DeskState, DeskState]:
    """The desk as a LangGraph graph: `trim` decides what is sent, `answer` asks the model.

    Args:
        model: Answers; any chat model.
        trim: A node that writes `llm_input_messages`, such as `ops.trim_node(window)`.
    """
    told = briefing()

    def answer(state: DeskState) -> dict[str, list[BaseMessage]]:
        return {"messages": [model.invoke([*told, *state["llm_input_messages"]])]}

    graph = StateGraph(DeskState)
    graph.add_node("trim", trim)
    graph.add_node("answer", answer)
    graph.add_edge(START, "trim")
    graph.add_edge("trim", "answer")
    return graph.compile(checkpointer=InMemorySaver())


def take_turn(
    graph: CompiledStateGraph[DeskState, None, DeskState, DeskState], thread: str, question: str
) -> Turn:
    """Put a customer's question into the graph and tell how it was answered.

    Args:
        graph: Made by `support_graph`.
        thread: The `thread_id`; the graph remembers what was said in it.
        question: What the customer writes.
    """
    asked: Any = {"messages": [HumanMessage(question)]}
    state = graph.invoke(asked, {"configurable": {"thread_id": thread}})
    *history, answer = state["messages"]
    return Turn(
        answer=answer.text,
        cached="llmops_cache" in answer.response_metadata,
        messages_cut=len(history) - len(state["llm_input_messages"]),
    )


def _shop() -> dict[str, Any]:
    text = files("llmops_langchain.cli").joinpath("support_desk.yaml").read_text("utf-8")
    shop: dict[str, Any] = yaml.safe_load(text)
    return shop

"""Nodes to add to a `StateGraph`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal, TypedDict, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.types import Command

from llmops_langchain.callbacks import scope_of
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.graph.reading import of_caller, read
from llmops_langchain.ledger import BudgetStatus, Scope, track
from llmops_langchain.memory import ContextWindow
from llmops_langchain.models import dollars, nano_dollars

__all__ = ["BudgetLeft", "budget_node", "trim_node"]


class BudgetLeft(TypedDict):
    """What `budget_node` writes: plain values, so that any checkpointer keeps them."""

    scope: str
    """Whose budget, such as `"project 'p'"`."""
    remaining: float
    """US dollars that new calls may use: what is neither spent nor set aside."""
    share: float
    """The part of the limit that is spent, 0 to 1 and above."""
    resets_at: float | None
    """When the next period begins, UTC seconds since the Unix epoch; `None`: never."""
    exceeded: bool
    """Whether so much is spent, or so little left, as the node was told to look for."""


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
        history, previous = read(state, messages_key), read(state, output_key) or ()
        scope = _scope(ensure_config(), None)
        with track(agent=scope.agent, thread=scope.thread):  # whose cut it is, for its event
            return {output_key: window.trim_sticky(history, previous=previous).messages}

    return trim


def budget_node(
    status: Callable[[Scope], Sequence[BudgetStatus]],
    *,
    then: str | None = None,
    exceeded: str | None = None,
    at: float = 1.0,
    needs: Decimal | float | str = 0,
    agent: str | None = None,
    output_key: str = "budget",
) -> Callable[[Any, RunnableConfig], Any]:
    """Return a node that writes what is left of the caller's budgets, and may choose the way on.

    It looks at the hard and soft budgets that count the scope of `track` and of the run's
    metadata, and writes the tightest as a `BudgetLeft`: one that is exceeded, else the one with the
    fewest dollars left; `None` if there is no budget. It reserves nothing: a guarded model may
    still be refused, by what others spend meanwhile.

    Args:
        status: Gives the budgets that count a scope: `ops.budgets.counting`.
        then: The node to go on with. No edge may leave this node beside `then` and `exceeded`.
        exceeded: The node to go to where a budget is exceeded.
        at: The share of a limit that must be spent for that. A hard budget refuses calls before all
            of it is spent: say what a call `needs`, or look at a smaller share.
        needs: US dollars that must be left; a budget with no more than this is exceeded too.
        agent: Whose agents' budgets to look at too. The node that asks the model has another name
            than this one, so it must be said, unless `track` or the metadata says it.
        output_key: Where the state keeps the result.

    Raises:
        ConfigurationError: If only one of `then` and `exceeded` is given, or a figure makes no
            sense.

    Example:
        ```python
        from langgraph.graph import END, START, MessagesState, StateGraph
        from llmops_langchain import LLMOps


        class State(MessagesState):
            budget: BudgetLeft | None


        ops = LLMOps("sqlite://")
        look = budget_node(ops.budgets.counting, then="answer", exceeded=END, needs="0.05")
        graph = StateGraph(State)
        graph.add_node("budget", look)
        graph.add_node("answer", lambda state: {"messages": ["an answer"]})
        graph.add_edge(START, "budget")
        with ops.track(project="shop"):
            assert graph.compile().invoke({"messages": []})["budget"] is None
        ```
    """
    least = dollars(_checked(then, exceeded, at, needs))

    def look(state: Any, config: RunnableConfig) -> Any:  # noqa: ARG001 - as LangGraph calls it
        found = [_left(each, at, least) for each in status(_scope(config, agent))]
        tightest = min(found, key=lambda it: (not it["exceeded"], it["remaining"]), default=None)
        update = {output_key: tightest}
        if then is None or exceeded is None:
            return update
        return Command(goto=exceeded if tightest and tightest["exceeded"] else then, update=update)

    if exceeded is not None:
        # What LangGraph draws, and checks the names of, when the graph is compiled.
        command, literal = cast("Any", Command), cast("Any", Literal)
        look.__annotations__["return"] = command[literal[then, exceeded]]
    return look


def _checked(
    then: str | None, exceeded: str | None, at: float, needs: Decimal | float | str
) -> int:
    """What must be left, in nano-dollars."""
    if (then is None) != (exceeded is None):
        msg = "`then` and `exceeded` go together: where to go on, and where to go instead"
        raise ConfigurationError(msg)
    least = nano_dollars(needs)
    if not at > 0 or least < 0:
        msg = f"`at` is a share above 0 and `needs` is not negative, got {at!r} and {needs!r}"
        raise ConfigurationError(msg)
    return least


def _scope(config: RunnableConfig, agent: str | None) -> Scope:
    """Whose calls are asked about; the name of this node is not their agent."""
    scope = scope_of(of_caller(config))
    return scope if agent is None else replace(scope, agent=agent)


def _left(status: BudgetStatus, at: float, least: Decimal) -> BudgetLeft:
    return BudgetLeft(
        scope=status.budget.name,
        remaining=float(status.remaining),
        share=status.share,
        resets_at=status.resets_at,
        exceeded=status.share >= at or status.remaining <= least,
    )

"""A node that decides which model's node goes on."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict, cast

from langchain_core.messages import convert_to_messages
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.graph.reading import of_caller, read
from llmops_langchain.routing import ModelRouter
from llmops_langchain.routing.wishes import with_wishes
from llmops_langchain.wrapping import Run

__all__ = ["RouteTaken", "route_node"]


class RouteTaken(TypedDict):
    """What a `route_node` writes to the state: plain values, which every checkpointer takes."""

    run_id: str
    """By which `router.feedback` and `router.explain` know the decision."""
    choice: str
    ranked: list[str]
    """All that may be asked, in the order in which to try them."""
    reasons: list[str]
    complexity: float


def route_node(
    router: ModelRouter,
    *,
    goto: Mapping[str, str] | None = None,
    messages_key: str = "messages",
    output_key: str = "route",
) -> Callable[[Any, RunnableConfig], Any]:
    """Return a node that decides whom the conversation goes to, and may choose the way on.

    It asks no model. The decision counts as acted on: give `router.feedback` its `run_id`.

    Args:
        router: Decides.
        goto: The node of each choice, by the choice's name. No edge may leave this node beside.
        messages_key: Where the state keeps the conversation.
        output_key: Where it keeps the decision, a `RouteTaken`.

    Raises:
        ConfigurationError: If `goto` does not name a node for each choice.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel
        from langgraph.graph import START, MessagesState, StateGraph
        from llmops_langchain import ModelChoice, ModelRouter


        class State(MessagesState):
            route: RouteTaken


        small, large = (
            ModelChoice(
                FakeListChatModel(responses=[name]),
                name=name,
                input_per_million=price,
                output_per_million=price,
            )
            for name, price in (("small", 1), ("large", 9))
        )
        router = ModelRouter(small, large)
        graph = StateGraph(State)
        graph.add_node("route", route_node(router, goto={"small": "quick", "large": "careful"}))
        graph.add_node("quick", lambda state: {"messages": [small.model.invoke(state["messages"])]})
        graph.add_node(
            "careful", lambda state: {"messages": [large.model.invoke(state["messages"])]}
        )
        graph.add_edge(START, "route")
        state = graph.compile().invoke({"messages": ["2 + 2?"]})
        assert state["route"]["choice"] == state["messages"][-1].content == "small"
        ```
    """
    names = {choice.name for choice in router.choices}
    if goto is not None and set(goto) != names:
        msg = (
            f"`goto` names a node for each choice ({', '.join(sorted(names))}), got {sorted(goto)}"
        )
        raise ConfigurationError(msg)

    def route(state: Any, config: RunnableConfig) -> Any:
        messages = convert_to_messages(read(state, messages_key) or [])
        routed = router.routed(messages, {}, Run(of_caller(with_wishes(config))))
        decision = routed.taken()
        update = {
            output_key: RouteTaken(
                run_id=str(decision.id),
                choice=decision.choice.name,
                ranked=[each.name for each in decision.ranked],
                reasons=list(decision.reasons),
                complexity=decision.complexity,
            )
        }
        return update if goto is None else Command(goto=goto[decision.choice.name], update=update)

    if goto is not None:
        # What LangGraph draws, and checks the names of, when the graph is compiled.
        command, literal = cast("Any", Command), cast("Any", Literal)
        route.__annotations__["return"] = command[literal[tuple(dict.fromkeys(goto.values()))]]
    return route

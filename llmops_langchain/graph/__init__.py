"""Parts for LangGraph graphs: nodes to add, and the cache of what nodes returned."""

from llmops_langchain.graph.cache import SqlNodeCache
from llmops_langchain.graph.learning import learn_node, lessons_node
from llmops_langchain.graph.nodes import BudgetLeft, budget_node, trim_node
from llmops_langchain.graph.routing import RouteTaken, route_node

__all__ = [
    "BudgetLeft",
    "RouteTaken",
    "SqlNodeCache",
    "budget_node",
    "learn_node",
    "lessons_node",
    "route_node",
    "trim_node",
]

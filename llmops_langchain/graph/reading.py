"""What nodes read of a graph's state and of its config."""

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig

__all__ = ["of_caller", "read"]


def read(state: Any, key: str) -> Any:
    """A value of the state, whatever kind of state it is; `None` if there is none."""
    return state.get(key) if isinstance(state, Mapping) else getattr(state, key, None)


def of_caller(config: RunnableConfig) -> Mapping[str, Any]:
    """The metadata of who runs the graph: the name of this node is not his."""
    return {**config.get("metadata", {}), "langgraph_checkpoint_ns": None}

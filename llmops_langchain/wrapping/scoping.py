"""Whose a run is: `track` first, then LangChain's metadata, then what LangGraph calls its nodes."""

from collections.abc import Mapping
from typing import Any

from llmops_langchain.ledger import Scope, current_scope

__all__ = ["attributed", "scope_of"]


def scope_of(metadata: Mapping[str, Any]) -> Scope:
    """The scope of a run that core, or a gate, says this metadata of.

    Args:
        metadata: What `config["metadata"]` became: the caller's, the model's and LangGraph's.
    """
    scope = current_scope()
    if scope.agent is None and metadata.get("agent") is None and metadata.get("agent_id") is None:
        agent = _agent(metadata)
        if agent:
            return scope.filled_from({**metadata, "agent": agent})
    return scope.filled_from(metadata)


def attributed(scope: Scope) -> dict[str, Any]:
    """The fields of an event that say whose it is."""
    return {
        "workspace": scope.workspace,
        "project": scope.project,
        "task": scope.task,
        "user": scope.user,
        "agent": scope.agent,
        "thread": scope.thread,
        "tags": scope.tags or None,
    }


def _agent(metadata: Mapping[str, Any]) -> str | None:
    """LangGraph's own words for who is calling.

    `langgraph_checkpoint_ns` is `team:<uuid>|writer:<uuid>` in nested graphs: `team/writer`.
    """
    if named := metadata.get("lc_agent_name"):
        return str(named)
    path = metadata.get("langgraph_checkpoint_ns")
    if not path:
        return None
    return "/".join([each.partition(":")[0] for each in str(path).split("|")])

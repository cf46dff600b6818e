"""Nodes for LangGraph graphs."""

from llmops_langchain.graph.nodes import trim_node

__all__ = ["trim_node"]

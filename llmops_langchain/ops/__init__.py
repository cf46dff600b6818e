"""The only place where the parts meet."""

from llmops_langchain.ops.llmops import LLMOps

__all__ = ["LLMOps"]

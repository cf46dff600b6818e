"""How parts are laid over a chat model, and what a call is known by."""

from llmops_langchain.wrapping.keys import call_key, digest, private_settings, without_call_ids
from llmops_langchain.wrapping.swap import layered

__all__ = ["call_key", "digest", "layered", "private_settings", "without_call_ids"]

"""How parts are laid over a chat model, and what a call is known by."""

from llmops_langchain.wrapping.core_keys import core_messages, core_parts
from llmops_langchain.wrapping.keys import call_parts, private_settings
from llmops_langchain.wrapping.parts import PARTS, CallParts, digest
from llmops_langchain.wrapping.swap import layered

__all__ = [
    "PARTS",
    "CallParts",
    "call_parts",
    "core_messages",
    "core_parts",
    "digest",
    "layered",
    "private_settings",
]

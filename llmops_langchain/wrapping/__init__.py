"""How parts are laid over a chat model, and what a call is known by."""

from llmops_langchain.wrapping.asking import aguarded, arguments, close, guarded
from llmops_langchain.wrapping.core_keys import core_messages, core_parts
from llmops_langchain.wrapping.keys import call_parts, private_settings
from llmops_langchain.wrapping.parts import PARTS, CallParts, digest
from llmops_langchain.wrapping.runs import KnownRuns, Run, is_of_core, metadata_of, run_of
from llmops_langchain.wrapping.swap import below_layers, innermost, is_swapped, layered

__all__ = [
    "PARTS",
    "CallParts",
    "KnownRuns",
    "Run",
    "aguarded",
    "arguments",
    "below_layers",
    "call_parts",
    "close",
    "core_messages",
    "core_parts",
    "digest",
    "guarded",
    "innermost",
    "is_of_core",
    "is_swapped",
    "layered",
    "metadata_of",
    "private_settings",
    "run_of",
]

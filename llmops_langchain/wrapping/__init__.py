"""How parts are laid over a chat model, and what a call is known by."""

from llmops_langchain.wrapping.asking import aclose, aguarded, arguments, close, guarded
from llmops_langchain.wrapping.chunks import astreamed_by, streamed_by
from llmops_langchain.wrapping.core_keys import core_messages, core_parts
from llmops_langchain.wrapping.keys import call_parts, private_settings
from llmops_langchain.wrapping.parts import PARTS, CallParts, digest
from llmops_langchain.wrapping.runs import (
    KnownRuns,
    Run,
    as_attempt,
    is_of_core,
    metadata_of,
    run_of,
)
from llmops_langchain.wrapping.swap import (
    below_layers,
    innermost,
    is_swapped,
    layered,
    over_candidates,
)

__all__ = [
    "PARTS",
    "CallParts",
    "KnownRuns",
    "Run",
    "aclose",
    "aguarded",
    "arguments",
    "as_attempt",
    "astreamed_by",
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
    "over_candidates",
    "private_settings",
    "run_of",
    "streamed_by",
]

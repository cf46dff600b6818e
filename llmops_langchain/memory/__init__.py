"""The context window: what of a history is sent to the model."""

from llmops_langchain.memory.recorded import recorder
from llmops_langchain.memory.report import Reason, Trim
from llmops_langchain.memory.sticky import CRITICAL, TARGET
from llmops_langchain.memory.strategies import STRATEGIES, Room, Strategy, sliding_window
from llmops_langchain.memory.window import WARNING, ContextStatus, ContextWindow

__all__ = [
    "CRITICAL",
    "STRATEGIES",
    "TARGET",
    "WARNING",
    "ContextStatus",
    "ContextWindow",
    "Reason",
    "Room",
    "Strategy",
    "Trim",
    "recorder",
    "sliding_window",
]

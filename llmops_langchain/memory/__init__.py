"""The context window: what of a history is sent to the model."""

from llmops_langchain.memory.chats import Chat, Chats
from llmops_langchain.memory.history import WindowedChatMessageHistory
from llmops_langchain.memory.important import important_first
from llmops_langchain.memory.marks import CRITICAL, TARGET, WARNING, ContextSize
from llmops_langchain.memory.named import STRATEGIES
from llmops_langchain.memory.prompt_cache import EarlyCut
from llmops_langchain.memory.recorded import recorder, warning_recorder
from llmops_langchain.memory.relevant import Relevant
from llmops_langchain.memory.report import Reason, Trim
from llmops_langchain.memory.strategies import Room, Strategy, sliding_window
from llmops_langchain.memory.summaries import Summarize
from llmops_langchain.memory.validity import is_pinned, pin
from llmops_langchain.memory.window import ContextStatus, ContextWindow

__all__ = [
    "CRITICAL",
    "STRATEGIES",
    "TARGET",
    "WARNING",
    "Chat",
    "Chats",
    "ContextSize",
    "ContextStatus",
    "ContextWindow",
    "EarlyCut",
    "Reason",
    "Relevant",
    "Room",
    "Strategy",
    "Summarize",
    "Trim",
    "WindowedChatMessageHistory",
    "important_first",
    "is_pinned",
    "pin",
    "recorder",
    "sliding_window",
    "warning_recorder",
]

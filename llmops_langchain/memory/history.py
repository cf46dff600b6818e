"""A conversation of the database as LangChain's chat history, cut to a context window."""

from collections.abc import Sequence

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import run_in_executor
from typing_extensions import override

from llmops_langchain.errors import ContextWindowError
from llmops_langchain.memory.chats import Chats
from llmops_langchain.memory.validity import leading_systems
from llmops_langchain.memory.window import ContextWindow

__all__ = ["WindowedChatMessageHistory"]

_OVER = 1.1
"""Tokens that are read for each one there is room for: rows are counted by another vocabulary."""


class WindowedChatMessageHistory(BaseChatMessageHistory):
    """What was said in one conversation: all of it is kept, and `messages` is what fits.

    For code that expects a `BaseChatMessageHistory`, such as `RunnableWithMessageHistory`. Only
    the end of a long conversation is read, unless the window's strategy looks further back.

    Args:
        chats: Where conversations are kept.
        session_id: Which one.
        window: What `messages` must fit in, with room left for the question that follows;
            without one it is everything.
        workspace: Whose; by default the one that `track` names at the time.
        user: Who talks; likewise.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage
        >>> from llmops_langchain.storage import Database
        >>> with Database("sqlite://") as database:
        ...     window = ContextWindow("gpt-4o", max_tokens=30)
        ...     history = WindowedChatMessageHistory(Chats(database), "s1", window)
        ...     for n in range(100):
        ...         history.add_messages([HumanMessage(f"Question {n}"), AIMessage("Answer.")])
        ...     print([message.content for message in history.messages])
        ['Question 98', 'Answer.', 'Question 99', 'Answer.']
    """

    def __init__(
        self,
        chats: Chats,
        session_id: str,
        window: ContextWindow | None = None,
        *,
        workspace: str | None = None,
        user: str | None = None,
    ) -> None:
        self._chats, self.session_id, self._window = chats, session_id, window
        self._workspace, self._user = workspace, user

    @property
    @override
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # a property there too, in words
        """What of the conversation fits, valid for every provider.

        Raises:
            StorageError: If the database cannot say, or a row is damaged or under another key.
        """
        if self._window is None or self._window.strategy != "sliding_window":
            said = list(self._chats.read(self.session_id, workspace=self._workspace))
            return said if self._window is None else _cut(self._window, said)
        return _cut(self._window, self._newest(self._window))

    def _newest(self, window: ContextWindow) -> list[BaseMessage]:
        """The end of the conversation, and more than fits if there is more."""
        tokens = int(_OVER * window.max_tokens)
        while True:
            tail = self._chats.tail(self.session_id, tokens=tokens, workspace=self._workspace)
            if tail.whole or window.check(tail.messages).share > 1:
                return tail.messages
            tokens *= 2

    @override
    async def aget_messages(self) -> list[BaseMessage]:
        return await run_in_executor(None, lambda: self.messages)

    @override
    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages to the end; one whose `id` is there already is passed over.

        Raises:
            StorageError: If the database cannot take them; then none was added.
        """
        self._chats.add(self.session_id, messages, workspace=self._workspace, user=self._user)

    @override
    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        await run_in_executor(None, self.add_messages, messages)

    @override
    def clear(self) -> None:
        """Delete the conversation.

        Raises:
            StorageError: If the database cannot do it.
        """
        self._chats.delete(session=self.session_id, workspace=self._workspace)

    @override
    async def aclear(self) -> None:
        await run_in_executor(None, self.clear)


def _cut(window: ContextWindow, said: list[BaseMessage]) -> list[BaseMessage]:
    try:
        return window.trim(said).messages
    except ContextWindowError:
        # Not even the last turn fits. The question that follows may: it is not refused for that.
        return said[: leading_systems(said)]

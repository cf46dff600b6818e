"""A model that writes summaries and remembers what it was shown, and chats for it to sum up."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field, PrivateAttr
from typing_extensions import override

from llmops_langchain.memory import ContextWindow, Summarize
from llmops_langchain.tokens import count_tokens

__all__ = ["SYSTEM", "Writer", "asking", "chat", "marked", "tokens", "window_of"]

SYSTEM = SystemMessage("Be brief.", id="system")


class Writer(FakeListChatModel):
    """Writes a numbered summary, and remembers what it was shown."""

    responses: list[str] = Field(default=["unused"])
    says: str = "summary {}"
    fails: list[Exception | None] = Field(default_factory=list)
    before: Callable[[], object] | None = None
    answer: dict[str, Any] = Field(default_factory=dict)
    _shown: list[str] = PrivateAttr(default_factory=list)

    @override
    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        if self.before is not None:
            self.before()
        self._shown.append(messages[-1].text)
        if self.fails and (error := self.fails.pop(0)):
            raise error
        message = AIMessage(self.says.format(len(self._shown)), **self.answer)
        return ChatResult(generations=[ChatGeneration(message=message)])

    @property
    def calls(self) -> int:
        """How often it was asked."""
        return len(self._shown)

    @property
    def shown(self) -> str:
        """All transcripts."""
        return "\n".join(each.split("<transcript>")[1] for each in self._shown)

    @property
    def times_read(self) -> Counter[str]:
        """How often it was shown a message, by the number that `marked` gave it."""
        return Counter(re.findall(r"#(\d+): ", self.shown))


def tokens(messages: list[BaseMessage]) -> int:
    """By the vocabulary of the windows below."""
    return count_tokens(messages, "gpt-4o")


def window_of(writer: Writer, max_tokens: int = 400, **options: Any) -> ContextWindow:
    """A window that sums up, 60 tokens at most."""
    return ContextWindow(
        "gpt-4o", max_tokens, Summarize(writer, **{"max_summary_tokens": 60, **options})
    )


def chat(turns: int) -> list[BaseMessage]:
    """Questions and answers of 15 tokens each."""
    said: list[BaseMessage] = [SYSTEM]
    for n in range(turns):
        said += [HumanMessage(f"q{n}: how do I water plant {n}?", id=f"q{n}")]
        said += [AIMessage(f"a{n}: weekly, and less in winter.", id=f"a{n}")]
    return said


def asking(turns: int) -> list[list[BaseMessage]]:
    """The chat as it is at each call of the model."""
    whole = chat(turns)
    return [whole[:at] for at in range(2, len(whole), 2)]


def marked(history: list[BaseMessage]) -> list[BaseMessage]:
    """The same with ids, and each message begins with its number."""
    return [
        m.model_copy(update={"id": str(at), "content": f"#{at}: {m.content}"})
        for at, m in enumerate(history)
    ]

"""A running summary as one message, and which messages it stands for."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from llmops_langchain.memory.validity import SUMMARY

__all__ = ["INTRODUCED", "NOTHING", "Summary", "digests", "read", "told"]

INTRODUCED = "Summary of the conversation so far:\n\n"
"""What a summary's message begins with."""


class Summary(NamedTuple):
    """A summary, and what it stands for."""

    text: str
    digest: bytes
    """Of every message it stands for, in their order."""
    messages: int
    """How many those are."""


NOTHING = Summary("", b"", 0)
"""The summary of no message."""


def told(summary: Summary, held: int = 0) -> HumanMessage:
    """Return the message that tells a summary.

    It is the user's, as LangChain's own summaries are: langchain-anthropic refuses system messages
    in the middle, and what others wrote should not speak as the system. The next message may be
    the user's too: langchain-anthropic merges the two, OpenAI takes them as they are; of Gemini
    there are reports of both.

    Args:
        summary: What to tell.
        held: How many messages right behind it stay, though it stands for them.
    """
    about = {"digest": summary.digest.hex(), "messages": summary.messages, "held": held}
    return HumanMessage(INTRODUCED + summary.text, additional_kwargs={SUMMARY: about})


def read(message: BaseMessage) -> tuple[Summary, int]:
    """Return the summary that a message tells, and how many messages behind it are in it.

    One that somebody else made says only its text: nothing behind it is in it.
    """
    text = message.text.removeprefix(INTRODUCED)
    about: Any = message.additional_kwargs[SUMMARY]
    try:
        summary = Summary(text, bytes.fromhex(about["digest"]), int(about["messages"]))
        return summary, max(0, int(about["held"]))
    except (KeyError, TypeError, ValueError):
        return Summary(text, _hashed(b"", text), 0), 0


def digests(before: bytes, messages: Sequence[BaseMessage]) -> Iterator[bytes]:
    """Yield for each message a digest of it and of all before it.

    A history that was rewritten has others. Ids are not in it: an app that makes its messages anew
    for each request has new ones.

    Args:
        before: The digest of what stands before the messages, empty for a beginning.
        messages: Some messages.
    """
    for message in messages:
        content = message.content
        said = content if isinstance(content, str) else repr(content)
        before = _hashed(before, f"{message.type}\0{said}{_calls(message)}")
        yield before


def _calls(message: BaseMessage) -> str:
    calls = message.tool_calls if isinstance(message, AIMessage) else None
    return f"\0{calls!r}" if calls else ""


def _hashed(before: bytes, said: str) -> bytes:
    return blake2b(said.encode("utf-8", "replace"), key=before[:64], digest_size=32).digest()

"""What of a call is compared by meaning: the user's question, and everything else to the letter."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.wrapping import CallParts, digest

__all__ = ["Asked", "ExactOnly", "Sources", "Split", "asked_in", "listed", "marked"]

_FORM = b"asked/1"  # of the bytes below; another one makes every scope a new one

_TEXT = frozenset(("text",))
_TEXT_FIELDS = frozenset(("type", "text", "cache_control"))

QUESTION, SOURCES = "llmops_question", "llmops_sources"
"""Where a message says which part of it is asked, and which is given: in `additional_kwargs`."""


class Asked(NamedTuple):
    """A question, and what an answer to another one must share to be compared with it."""

    scope: bytes
    """32 bytes, equal exactly if everything but the questions is."""
    question: str
    """What the user asks, as written."""


class Split(NamedTuple):
    """Which part of the last turn is asked, and which texts it is asked about."""

    question: str | None = None
    sources: tuple[str, ...] = ()


class ExactOnly(Exception):  # noqa: N818 - no failure: it says why a call is not compared
    """A call that is answered by an equal one alone; the text says why, in fixed words."""


Sources = str | Sequence[str | Document]
"""What a question is asked about."""


def asked_in(parts: CallParts, split: Split, *, max_chars: int) -> Asked:
    """The question of a call, apart from everything that must be the same.

    Args:
        parts: The call.
        split: What of the last turn is the question; all of it unless it says so.
        max_chars: Longest question that is compared.

    Raises:
        ExactOnly: If there is no question to compare.
    """
    kind, content, frame = _turn(parts.question)
    if kind not in ("human", "text"):
        reason = "the last turn is not the user's"
        raise ExactOnly(reason)
    before, question, after = _taken_apart(_text(content), split)
    if not question:
        reason = "there is no question in the last turn"
        raise ExactOnly(reason)
    if len(question) > max_chars:
        reason = "the question is too long"
        raise ExactOnly(reason)
    around = (kind.encode(), frame, *(_bytes(text) for text in (before, after, *split.sources)))
    return Asked(digest((_FORM, *parts[:-1], *around)), question)


def marked(messages: Sequence[BaseMessage]) -> Split:
    """What the last message says of itself, in `additional_kwargs`."""
    told = messages[-1].additional_kwargs if messages else {}
    return Split(told.get(QUESTION), listed(told.get(SOURCES)))


def listed(sources: Sources | None) -> tuple[str, ...]:
    """The texts of sources; a text alone is one.

    Raises:
        ConfigurationError: If something else is among them.
    """
    given = () if sources is None else (sources,) if isinstance(sources, str) else sources
    texts = tuple(each.page_content if isinstance(each, Document) else each for each in given)
    if not all(isinstance(text, str) for text in texts):
        msg = "`sources` must be texts or documents"
        raise ConfigurationError(msg)
    return texts


def _turn(written: bytes) -> tuple[str, Any, bytes]:
    """Kind and content of the last turn, and the rest of it as bytes."""
    if written.startswith(b'"'):  # a text model's prompt, see `text_parts`
        return "text", written[1:].decode("utf-8", "surrogatepass"), b""
    (last, *_), *_ = (orjson.loads(written) or [["none", ""]], None)
    kind, content, *rest = last
    return kind, content, orjson.dumps(rest)


def _text(content: Any) -> str:
    """The text of a turn that is nothing but text.

    Raises:
        ExactOnly: If there is something else in it.
    """
    if isinstance(content, str):
        return content
    texts = []
    for block in content:
        if isinstance(block, str):
            texts.append(block)
        elif block.get("type") in _TEXT and block.keys() <= _TEXT_FIELDS:
            texts.append(block["text"])
        else:
            reason = "the last turn holds more than text"
            raise ExactOnly(reason)
    return "\n".join(texts)


def _taken_apart(text: str, split: Split) -> tuple[str, str, str]:
    """What stands before the question, the question, and what stands after it."""
    if split.question is not None:
        question = split.question.strip()
        before, found, after = text.rpartition(question or text)
        if question and not found:
            reason = "the question is not in the last turn"
            raise ExactOnly(reason)
        return before, question, after
    for source in split.sources:
        if source:
            text = text.replace(source, "", 1)
    return "", text.strip(), ""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")

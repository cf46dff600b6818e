"""Remember the counts of the texts seen lately, and of the messages that still live."""

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import ref

from langchain_core.messages import BaseMessage

__all__ = ["CountMemo", "MessageMemo", "copied"]


class CountMemo:
    """Counts texts, each once as long as it stays in use.

    Two generations of at most `max_texts` texts and `max_characters` characters: a full young
    generation becomes the old one, whose unused texts are dropped at the next change.
    Threads may share it: a race counts a text twice, or forgets it early, but is never wrong.
    """

    def __init__(
        self,
        count: Callable[[str], int],
        *,
        max_texts: int = 65_536,
        max_characters: int = 8_000_000,
    ) -> None:
        self._count, self._max_texts, self._max_characters = count, max_texts, max_characters
        self.young: dict[str, int] = {}
        """For reading in a hot path: `memo.young.get(text)` before calling the memo."""
        self._old: dict[str, int] = {}
        self._characters = 0

    def __call__(self, text: str) -> int:
        """Return the tokens of `text`."""
        counted = self.young.get(text)
        if counted is None:
            counted = self._old.get(text)
            if counted is None:
                counted = self._count(text)
            self._keep(text, counted)
        return counted

    def _keep(self, text: str, counted: int) -> None:
        if len(self.young) >= self._max_texts or self._characters >= self._max_characters:
            self._old, self.young, self._characters = self.young, {}, 0
        self.young[text] = counted
        self._characters += len(text)


class _Known(NamedTuple):
    alive: ref[BaseMessage]
    said: tuple[Any, ...]
    tokens: int


class MessageMemo:
    """Counts messages of more than a text, each once for as long as it lives and stays the same.

    To count tool calls means to write them as JSON, to count an image means to decode its
    header: a comparison with what was counted takes a fraction of that. Nothing of a message
    outlives it. Threads may share it: a race counts a message twice.
    """

    def __init__(self, count: Callable[[BaseMessage], int]) -> None:
        self._count = count
        self._known: dict[int, _Known] = {}

    def __call__(self, message: BaseMessage) -> int:
        """Return the tokens of `message`."""
        fields = message.__dict__
        said = (
            fields["content"],
            fields.get("tool_calls"),
            fields.get("invalid_tool_calls"),
            fields.get("name"),
        )
        known = self._known.get(id(message))
        # Texts in it are the same objects, so that this compares no characters.
        if known is not None and known.said == said:
            return known.tokens
        tokens = self._count(message)
        self._keep(message, copied(said), tokens)
        return tokens

    def _keep(self, message: BaseMessage, said: tuple[Any, ...], tokens: int) -> None:
        known, key = self._known, id(message)
        known[key] = _Known(ref(message, lambda _: known.pop(key, None)), said, tokens)


def copied(value: Any) -> Any:
    """Return a copy down to what cannot change, so that a later change can be noticed."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    if isinstance(value, tuple):
        return tuple(copied(item) for item in value)
    return value

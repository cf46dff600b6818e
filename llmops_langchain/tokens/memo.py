"""Remember the counts of the texts seen lately."""

from collections.abc import Callable

__all__ = ["CountMemo"]


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

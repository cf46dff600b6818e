"""Lists of words, written down as one reads them."""

from collections.abc import Mapping
from typing import TypeVar

__all__ = ["by_word", "listed"]

_Value = TypeVar("_Value")


def listed(words: str) -> tuple[str, ...]:
    """The words of a text, in order."""
    return tuple(words.split())


def by_word(table: Mapping[_Value, str]) -> dict[str, _Value]:
    """A table of values with their words, turned round.

    Example:
        >>> by_word({"gbp": "pound pounds", "eur": "euro"})
        {'pound': 'gbp', 'pounds': 'gbp', 'euro': 'eur'}
    """
    return {word: value for value, words in table.items() for word in listed(words)}

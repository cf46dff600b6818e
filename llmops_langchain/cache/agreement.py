"""Whether a kept answer says what a fresh one says: the judge that needs no model."""

import re
from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessage
from numpy.typing import NDArray

from llmops_langchain.cache.semantic_policy import Comparison
from llmops_langchain.wrapping.canonical import canonical

__all__ = ["answers_agree"]

_ALIKE = 0.9
"""Cosine from which two answers with the same figures and the same polarity say the same. It is a
strict choice, not a fitted one: an answer that is taken for wrong costs a hit, the other way round
it costs the bound."""

_WORD = re.compile(r"\w+")
_FIGURE = re.compile(r"\d+(?:[.,:]\d+)*")
_POLAR = frozenset(
    [
        "no",
        "not",
        "never",
        "none",
        "nobody",
        "nothing",
        "without",
        "cannot",
        "can't",
        "don't",
        "doesn't",
        "isn't",
        "aren't",
        "won't",
        "wasn't",
        "shouldn't",
        "unable",
        "yes",
        "false",
        "true",
    ]
)


def answers_agree(comparison: Comparison, embed: Callable[[list[str]], NDArray[Any]]) -> bool:
    """Whether the kept answer would have done, as far as the two answers tell.

    They agree if they call the same tools with the same arguments and say the same words; or have
    the same figures, the same polarity (`no`, `not`, `never`, …) and a cosine of at least 0.9. What
    is in doubt counts as wrong, so the error is rather over- than underestimated. For long answers
    that vary from call to call give `SemanticPolicy(judge=…)` a better one.

    Args:
        comparison: The two answers.
        embed: Makes unit vectors, one row a text.

    Example:
        >>> from llmops_langchain.cache import Comparison
        >>> same = Comparison("When?", "At what time?", "At 9:15.", "at 9:15")
        >>> answers_agree(same, embed=lambda texts: None)
        True
    """
    kept, fresh = _said(comparison.kept), _said(comparison.fresh)
    if _calls(comparison.kept) != _calls(comparison.fresh):
        return False
    if _words(kept) == _words(fresh):
        return True
    if not kept.strip() or not fresh.strip() or _telling(kept) != _telling(fresh):
        return False
    first, second = embed([kept, fresh])
    return float(first @ second) >= _ALIKE


def _said(answer: AIMessage | str) -> str:
    return answer if isinstance(answer, str) else str(answer.text)


def _calls(answer: AIMessage | str) -> list[bytes]:
    """The calls of tools, without their ids."""
    calls = [] if isinstance(answer, str) else answer.tool_calls
    return sorted(canonical([call["name"], call["args"]]) for call in calls)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _telling(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The figures of a text, and the words that turn its meaning round."""
    words = text.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split()
    polar = _POLAR.intersection(word.strip(".,;:!?()\"'") for word in words)
    return frozenset(_FIGURE.findall(text)), polar

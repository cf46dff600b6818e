"""Whether a kept answer says what a fresh one says: the judge that needs no model."""

import re
from collections.abc import Callable

from langchain_core.messages import AIMessage

from llmops_langchain.cache.semantic_policy import Comparison
from llmops_langchain.text import comparable, question_of
from llmops_langchain.wrapping.canonical import canonical

__all__ = ["answers_agree"]

# Signs count: `-20` is not `20`, `C++` is not `C#`.
_SAID = re.compile(r"\w+|[^\w\s.,;:!?\"'`*_]")


def answers_agree(
    comparison: Comparison, judged: Callable[[str, str], tuple[float, float]]
) -> bool | None:
    """Whether the kept answer would have done, as far as the two answers tell.

    They must call the same tools with the same arguments, and say the same words; or else the
    verifier of the questions must be as sure of the two answers as it has to be of questions at 5 %
    wrong. Answers that it cannot read (longer than 64 words, not English) are left undecided. An
    answer that is right in other words often counts as wrong: give `SemanticPolicy(judge=…)` a
    better judge where that is so.

    Args:
        comparison: The two answers.
        judged: Returns the verifier's score of two texts, 0 to 1, and the score that is enough.

    Returns:
        Whether they agree; `None` if that cannot be told.

    Example:
        >>> from llmops_langchain.cache import Comparison
        >>> same = Comparison("When?", "At what time?", "At 9:15.", "at 9:15")
        >>> answers_agree(same, judged=lambda one, other: (0.0, 1.0))
        True
    """
    kept, fresh = _text(comparison.kept), _text(comparison.fresh)
    if _calls(comparison.kept) != _calls(comparison.fresh):
        return False
    if _SAID.findall(kept.casefold()) == _SAID.findall(fresh.casefold()):
        return True
    if not kept.strip() or not fresh.strip():
        return False
    if not comparable(question_of(kept), question_of(fresh)):
        return None
    score, enough = judged(kept, fresh)
    return score >= enough


def _text(answer: AIMessage | str) -> str:
    return answer if isinstance(answer, str) else str(answer.text)


def _calls(answer: AIMessage | str) -> list[bytes]:
    """The calls of tools, without their ids."""
    calls = [] if isinstance(answer, str) else answer.tool_calls
    return sorted(canonical([call["name"], call["args"]]) for call in calls)

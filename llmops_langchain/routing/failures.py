"""What to do when a model failed: a decision by the class of its error."""

from typing import Literal

from llmops_langchain.errors import BudgetExceededError, LLMOpsError
from llmops_langchain.wrapping.overflow import overflow

__all__ = ["Way", "is_overload", "retry_after", "way_on"]

Way = Literal["next", "larger", "raise"]
"""Ask the next model, one that takes more, or tell the user."""

_REFUSED_ALL = frozenset((400, 401, 403, 422))
"""HTTP statuses that are about the request or the account: another model would not help, or hide
what has to be mended."""

_OVERLOADED = frozenset((429, 503, 529))

_BY_NAME = frozenset(("AuthenticationError", "PermissionDeniedError", "PermissionDenied"))
_LONGEST = 3_600.0


def way_on(error: BaseException) -> Way:
    """What to do after this error, before the first chunk of an answer.

    Overloaded, slow, broken or missing models are passed over, and so is one for which a budget
    has no room. A prompt that is too long goes to a larger window. A request or a key that is
    refused is for the user to mend.
    """
    if not isinstance(error, Exception):
        return "raise"
    if isinstance(error, LLMOpsError):
        return "next" if isinstance(error, BudgetExceededError) else "raise"
    if overflow(error) is not None:
        return "larger"
    named = any(kind.__name__ in _BY_NAME for kind in type(error).__mro__)
    return "raise" if named or _status(error) in _REFUSED_ALL else "next"


def is_overload(error: BaseException) -> bool:
    """Whether the model said that it is asked too often, or cannot keep up."""
    return _status(error) in _OVERLOADED


def retry_after(error: BaseException) -> float | None:
    """Seconds that the provider asked to wait, at most an hour; `None` if it did not say."""
    response = getattr(error, "response", None)
    headers = getattr(response, "headers", None) or {}
    try:
        told = float(headers["retry-after"])
    except (KeyError, TypeError, ValueError):
        return None
    return min(told, _LONGEST) if told >= 0 else None


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    for place in (error, response):
        for name in ("status_code", "code"):
            status = getattr(place, name, None)
            if isinstance(status, int) and not isinstance(status, bool):
                return status
    return None

"""What a run failed of, in a few words that can be counted: `"timeout"`, `"wrong_solution"`, …."""

from collections import Counter
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import yaml

from llmops_langchain.learning.phrases import Phrases, longest, tokens_of

__all__ = ["CATEGORIES", "category_of"]

CATEGORIES = (
    "context_overflow",
    "rate_limit",
    "timeout",
    "step_limit",
    "budget",
    "refused",
    "permission",
    "connection",
    "output_format",
    "syntax_error",
    "tool_error",
    "bad_input",
    "misunderstood",
    "incomplete",
    "wrong_solution",
)
"""What `category_of` can say."""

_READ = 20_000
"""Characters of a reason that are read."""

_CAUSES = 8
"""Exceptions behind an exception that are looked at."""

_VAGUE = frozenset({"bad_input", "connection", "tool_error"})
"""Said by classes that wrap many kinds of errors: what their message says is better."""


def category_of(reason: str | BaseException | None) -> str | None:
    """The category of a failure, by the class of an exception or by words that name it.

    An exception counts by the name of its class and of those it derives from, so the package that
    raised it need not be installed. Where that says little, as of a `BadRequestError`, its message
    is read, and then what caused it.

    Args:
        reason: What was raised, or what somebody says went wrong.

    Returns:
        One of `CATEGORIES`, or `None` if nothing is known.

    Example:
        >>> category_of(TimeoutError()), category_of("The tests failed."), category_of("Hm.")
        ('timeout', 'wrong_solution', None)
        >>> category_of(ValueError("This model's maximum context length is 8192 tokens"))
        'context_overflow'
    """
    if reason is None or isinstance(reason, str):
        return _of_text(reason or "")
    seen: BaseException | None = reason
    vague = None
    for _ in range(_CAUSES):
        if seen is None:
            break
        named = _of_class(type(seen))
        if named is not None and named not in _VAGUE:
            return named
        vague = _of_text(_message(seen)) or vague or named
        if vague is not None and vague not in _VAGUE:
            return vague
        seen = seen.__cause__ or seen.__context__
    return vague


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a broken `__str__` of somebody else must not hide an error
        return ""


def _of_class(kind: type[BaseException]) -> str | None:
    classes = _lexicon().classes
    return next((classes[each.__name__] for each in kind.__mro__ if each.__name__ in classes), None)


def _of_text(text: str) -> str | None:
    """The category that has most to say; a phrase counts once."""
    tokens, lexicon = tokens_of(text[:_READ]), _lexicon()
    said = {
        (hit.value, *(token.stem for token in tokens[hit.first : hit.last]))
        for hit in longest(lexicon.phrases.hits(tokens))
    }
    counts = Counter(category for category, *_ in said)
    # Of a tie the one that is further up.
    return max(
        (each for each in CATEGORIES if each in counts),
        key=lambda each: counts[each] * lexicon.weights[each],
        default=None,
    )


class _Lexicon(NamedTuple):
    phrases: Phrases[str]
    classes: dict[str, str]
    weights: dict[str, float]


@cache
def _lexicon() -> _Lexicon:
    text = files("llmops_langchain.learning").joinpath("failures.yaml").read_text("utf-8")
    known = yaml.safe_load(text)["categories"]
    return _Lexicon(
        Phrases((phrase, name) for name, each in known.items() for phrase in each["phrases"]),
        {kind: name for name, each in known.items() for kind in each.get("classes", ())},
        {name: each.get("weight", 1.0) for name, each in known.items()},
    )

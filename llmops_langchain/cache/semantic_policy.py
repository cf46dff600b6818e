"""What the semantic tier is to do: whose vectors, which error, and how it may begin."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, Literal, NamedTuple, get_args

from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage

from llmops_langchain.cache.asked import Sources
from llmops_langchain.errors import ConfigurationError

__all__ = ["Comparison", "SemanticPolicy", "Start", "check_policy", "check_verdict"]

Start = Literal["shadow", "shipped"]
"""`shadow` measures and serves nothing until the bound is shown to hold; `shipped` serves from the
beginning by the calibration that comes with the package, which is no guarantee for other data."""


class Comparison(NamedTuple):
    """A kept answer beside a fresh one, for a judge to say whether the kept one would have done."""

    question: str
    """What was asked."""
    matched: str
    """What the kept answer was given to."""
    kept: AIMessage | str
    """The kept answer; text of a text model."""
    fresh: AIMessage | str
    """What the model just said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticPolicy:
    """How answers are found by meaning: `LLMOps(semantic=SemanticPolicy(max_error=0.02))`.

    Of the answers that are served by meaning at most `max_error` are wrong, at the stated
    `confidence`, as far as feedback and the judge can tell wrong from right. Until there is
    evidence for that nothing is served (`start="shadow"`); `cache.calibration()` shows how far off
    it is.

    Raises:
        ConfigurationError: If a value makes no sense.

    Example:
        >>> SemanticPolicy(max_error=0.05).start
        'shadow'
    """

    embeddings: Embeddings | None = None
    """Makes the vectors; by default the best that is on this machine, see `default_embeddings`."""
    max_error: float = 0.02
    """Share of wrong answers among those served by meaning, 0 to 1, that is not exceeded."""
    confidence: float = 0.95
    """Probability, 0 to 1, with which that is shown before anything is served."""
    start: Start = "shadow"
    """What is done before there is evidence."""
    sampling: float = 0.1
    """Share of would-be hits that are asked again, 0 to 1, to see whether the bound still holds."""
    judge: Callable[[Comparison], bool | None] | None = None
    """Says whether the kept answer would have done; `None` for one it cannot tell. By default two
    answers must agree, see `answers_agree`. It runs in a worker thread, after the call."""
    question: Callable[[Sequence[BaseMessage]], str | None] | None = None
    """Which part of the last turn is the user's question, for prompts that hold more."""
    sources: Callable[[Sequence[BaseMessage]], Sources | None] | None = None
    """Which texts of the last turn it is asked about: they must be the same to the letter."""
    max_chars: int = 2_000
    """Longest question that is compared; longer ones are answered by equal calls alone."""
    max_items: int = 10_000
    """Questions kept for each scope, least recently used out."""

    def __post_init__(self) -> None:
        for names, wanted, holds in _RULES:
            for name in names:
                value = getattr(self, name)
                if not holds(value):
                    msg = f"`{name}` must be {wanted}, got {value!r}"
                    raise ConfigurationError(msg)


_RULES: tuple[tuple[tuple[str, ...], str, Callable[[Any], bool]], ...] = (
    (
        ("max_error", "confidence"),
        "between 0 and 1",
        lambda value: isinstance(value, int | float) and 0.0 < value < 1.0,
    ),
    (
        ("sampling",),
        "a share from 0 to 1",
        lambda value: isinstance(value, int | float) and 0.0 <= value <= 1.0,
    ),
    (("start",), "`shadow` or `shipped`", lambda value: value in get_args(Start)),
    (
        ("max_chars", "max_items"),
        "a positive number",
        lambda value: isinstance(value, int) and value > 0,
    ),
    (
        ("embeddings",),
        "a LangChain `Embeddings`",
        lambda value: value is None or isinstance(value, Embeddings),
    ),
    (
        ("judge", "question", "sources"),
        "a function, not a coroutine function",
        lambda value: value is None or (callable(value) and not iscoroutinefunction(value)),
    ),
)


def check_policy(given: object) -> None:
    """Refuse what is no policy.

    Raises:
        ConfigurationError: If it is none.
    """
    if not isinstance(given, SemanticPolicy | None):
        msg = f"`semantic` must be a `SemanticPolicy(…)`, got {given!r}"
        raise ConfigurationError(msg)


def check_verdict(given: object) -> None:
    """Refuse what is neither right nor wrong.

    Raises:
        ConfigurationError: If it is something else.
    """
    if not isinstance(given, bool):
        msg = f"`correct` must be True or False, got {given!r}"
        raise ConfigurationError(msg)

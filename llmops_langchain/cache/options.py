"""How the calls inside a block use the cache: `with ops.cache_options(ttl=60, tags=["prices"])`."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import get_args

from llmops_langchain.cache.asked import Sources, listed
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger import Share, holding

__all__ = [
    "CacheOptions",
    "cache_options",
    "check_share",
    "check_tags",
    "checked_ttl",
    "current_options",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """What a block says about its calls; `None` leaves it to the cache."""

    ttl: float | None = None
    """Seconds an answer kept inside lives; an older one is not served inside either."""
    bypass: bool = False
    """Neither look for an answer nor keep one."""
    refresh: bool = False
    """Ask the model, and keep its answer in place of the one that is there."""
    tags: frozenset[str] = frozenset()
    """What the answers may be invalidated by."""
    share: Share | None = None
    """Who may be given the answers."""
    question: str | None = None
    """Which part of the last turn is the user's question."""
    sources: tuple[str, ...] = ()
    """Texts of the last turn that the question is about."""


_PLAIN = CacheOptions()
_options: ContextVar[CacheOptions] = ContextVar("llmops_cache_options", default=_PLAIN)


def current_options() -> CacheOptions:
    """The options in force; they follow asyncio tasks and LangChain's executors."""
    return _options.get()


@contextmanager
def cache_options(
    *,
    ttl: float | None = None,
    bypass: bool | None = None,
    refresh: bool | None = None,
    tags: Collection[str] = (),
    share: Share | None = None,
    question: str | None = None,
    sources: Sources | None = None,
) -> Iterator[CacheOptions]:
    """Let every call inside use the cache like this.

    What is not given is inherited from the block around it; tags are added to those of it.

    Args:
        ttl: Seconds an answer kept inside lives; one that is older is not served inside either.
            `float("inf")` keeps it until it is cleared.
        bypass: Neither look for an answer nor keep one.
        refresh: Ask the model, and keep its answer in place of the one that is there.
        tags: What the answers may be invalidated by, e.g. the documents they rest on.
        share: Who may be given the answers: the `workspace`, one `project` or one `user`. A call
            whose scope does not name its project or user is then not cached.
        question: Which part of the prompt the user asks: the semantic tier compares it by meaning,
            and all around it to the letter.
        sources: Which texts of the prompt are given, e.g. the documents that were retrieved: they
            are compared to the letter. Texts, or LangChain's `Document`s.

    Yields:
        The options in force inside.

    Raises:
        ConfigurationError: If a value makes no sense.

    Example:
        >>> with cache_options(ttl=60, tags=["prices"]), cache_options(tags=["shop"]) as options:
        ...     print(options.ttl, sorted(options.tags))
        60 ['prices', 'shop']
    """
    outer = _options.get()
    _check(ttl, tags, share, question)
    inner = CacheOptions(
        ttl=outer.ttl if ttl is None else ttl,
        bypass=outer.bypass if bypass is None else bypass,
        refresh=outer.refresh if refresh is None else refresh,
        tags=outer.tags | frozenset(tags),
        share=outer.share if share is None else share,
        question=outer.question if question is None else question,
        sources=outer.sources if sources is None else listed(sources),
    )
    with holding(_options, inner):
        yield inner


def checked_ttl(ttl: float | None) -> float | None:
    """`ttl` itself, `None` for one without an end.

    Raises:
        ConfigurationError: If it is not positive.
    """
    if ttl is not None and not (isinstance(ttl, int | float) and ttl > 0):
        msg = f"`ttl` is in seconds and must be positive, got {ttl!r}"
        raise ConfigurationError(msg)
    return None if ttl == float("inf") else ttl


def _check(ttl: float | None, tags: Collection[str], share: str | None, question: object) -> None:
    checked_ttl(ttl)
    check_tags(tags)
    if share is not None:
        check_share(share)
    if not (question is None or isinstance(question, str)):
        msg = f"`question` must be text, got {type(question).__name__!r}"
        raise ConfigurationError(msg)


def check_tags(tags: Collection[str]) -> None:
    """Refuse what is no list of tags.

    Raises:
        ConfigurationError: If it is none.
    """
    is_listed = isinstance(tags, Collection) and not isinstance(tags, str)
    if not is_listed or not all(isinstance(tag, str) and tag for tag in tags):
        msg = f"tags are a list of texts, got {tags!r}"
        raise ConfigurationError(msg)


def check_share(share: str) -> None:
    """Refuse what is no `Share`.

    Raises:
        ConfigurationError: If it is none.
    """
    if share not in get_args(Share):
        msg = f"`share` is one of {', '.join(get_args(Share))}, got {share!r}"
        raise ConfigurationError(msg)


def check_not_negative(**values: float) -> None:
    """Refuse negative numbers, by name.

    Raises:
        ConfigurationError: If one is negative.
    """
    for name, value in values.items():
        if not value >= 0:
            msg = f"`{name}` must not be negative, got {value!r}"
            raise ConfigurationError(msg)

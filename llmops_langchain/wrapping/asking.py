"""How a layer asks the model below it."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import Context
from functools import lru_cache
from inspect import signature
from typing import Any, TypeVar

from langchain_core.callbacks.manager import BaseRunManager

from llmops_langchain.ledger import holding

__all__ = [
    "aclose",
    "aguarded",
    "arguments",
    "close",
    "guarded",
    "restored",
]

T = TypeVar("T")

_MISSING = object()


@contextmanager
def restored(context: Context) -> Iterator[None]:
    """Inside, the context variables are as they were in `context`.

    A stream begins when its first chunk is asked for, which may be after the block it was made in.
    """
    with ExitStack() as stack:
        for variable, value in context.items():
            if variable.get(_MISSING) is not value:
                stack.enter_context(holding(variable, value))
        yield


def arguments(
    method: Callable[..., Any],
    stop: list[str] | None,
    run_manager: BaseRunManager | None,
    kwargs: Mapping[str, Any],
) -> dict[str, Any]:
    """The arguments as core gives them: by name, and `run_manager` only to who takes it."""
    takes_manager = "run_manager" in _parameters(getattr(method, "__func__", method))
    manager = {"run_manager": run_manager} if takes_manager else {}
    return {"stop": stop, **manager, **kwargs}


@lru_cache(maxsize=256)
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(signature(function).parameters)


def guarded(
    inside: Callable[[], AbstractContextManager[object]], ask: Callable[[], Iterator[T]]
) -> Iterator[T]:
    """The chunks, each fetched `inside` the model, which is not seen between them."""
    with inside():
        arriving = iter(ask())
    try:
        while True:
            with inside():
                chunk = next(arriving, None)
            if chunk is None:
                return
            yield chunk
    finally:
        close(arriving)


async def aguarded(
    inside: Callable[[], AbstractContextManager[object]], ask: Callable[[], AsyncIterator[T]]
) -> AsyncGenerator[T, None]:
    """`guarded` for asyncio."""
    with inside():
        arriving = aiter(ask())
    try:
        while True:
            with inside():
                chunk = await anext(arriving, None)
            if chunk is None:
                return
            yield chunk
    finally:
        await aclose(arriving)


def close(arriving: object) -> None:
    """End a generator at once: its `finally` may end a request. Other iterators have no end."""
    if end := getattr(arriving, "close", None):
        end()


async def aclose(arriving: object) -> None:
    """`close` for asyncio."""
    # A loop that shuts down closes all generators at once: this one may be on its way.
    if not getattr(arriving, "ag_running", False) and (end := getattr(arriving, "aclose", None)):
        await end()

"""How a layer asks the model below it, once."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import lru_cache
from inspect import signature
from typing import Any, TypeVar

from langchain_core.callbacks.manager import BaseRunManager

from llmops_langchain.ledger import holding

__all__ = ["aclose", "aguarded", "arguments", "close", "guarded", "inside", "is_inside"]

T = TypeVar("T")

# A model without an async method of its own enters `_agenerate` and then `_generate`; others make
# an answer of their own stream. The outermost of them looks into the cache.
_inside: ContextVar[object] = ContextVar("llmops_inside_cached", default=None)


def inside(model: object) -> AbstractContextManager[None]:
    """While `model` is asked: what it calls of itself passes the cache by."""
    return holding(_inside, model)


def is_inside(model: object) -> bool:
    """Whether this is a call of `model` by itself."""
    return _inside.get() is model


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


def guarded(model: object, ask: Callable[[], Iterator[T]]) -> Iterator[T]:
    """The chunks, each fetched `inside` the model, which is not seen between them."""
    with inside(model):
        arriving = iter(ask())
    try:
        while True:
            with inside(model):
                chunk = next(arriving, None)
            if chunk is None:
                return
            yield chunk
    finally:
        close(arriving)


async def aguarded(model: object, ask: Callable[[], AsyncIterator[T]]) -> AsyncGenerator[T, None]:
    """`guarded` for asyncio."""
    with inside(model):
        arriving = aiter(ask())
    try:
        while True:
            with inside(model):
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
    if end := getattr(arriving, "aclose", None):
        await end()

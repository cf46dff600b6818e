"""How a layer asks the model below it, once."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import Context, ContextVar
from functools import lru_cache
from inspect import signature
from typing import Any, TypeVar

from langchain_core.callbacks.manager import BaseRunManager

from llmops_langchain.cache.call import Call
from llmops_langchain.ledger import holding

__all__ = [
    "aclose",
    "aguarded",
    "arguments",
    "close",
    "guarded",
    "inside",
    "is_inside",
    "is_led",
    "restored",
]

T = TypeVar("T")

_MISSING = object()

# A model without an async method of its own enters `_agenerate` and then `_generate`; others make
# an answer of their own stream. The outermost of them looks into the cache.
_inside: ContextVar[object] = ContextVar("llmops_inside_cached", default=None)

# A call that is made again inside itself, by a copy of the model, must not wait for itself.
_NONE: frozenset[bytes] = frozenset()
_led: ContextVar[frozenset[bytes]] = ContextVar("llmops_led_calls", default=_NONE)


@contextmanager
def inside(model: object, call: Call | None) -> Iterator[None]:
    """While `model` is asked: what it calls of itself passes the cache by."""
    keys = _led.get() if call is None else _led.get() | {call.key}
    with holding(_inside, model), holding(_led, keys):
        yield


def is_led(key: bytes) -> bool:
    """Whether this is made inside a call of the same key."""
    return key in _led.get()


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


def guarded(model: object, call: Call | None, ask: Callable[[], Iterator[T]]) -> Iterator[T]:
    """The chunks, each fetched `inside` the model, which is not seen between them."""
    with inside(model, call):
        arriving = iter(ask())
    try:
        while True:
            with inside(model, call):
                chunk = next(arriving, None)
            if chunk is None:
                return
            yield chunk
    finally:
        close(arriving)


async def aguarded(
    model: object, call: Call | None, ask: Callable[[], AsyncIterator[T]]
) -> AsyncGenerator[T, None]:
    """`guarded` for asyncio."""
    with inside(model, call):
        arriving = aiter(ask())
    try:
        while True:
            with inside(model, call):
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

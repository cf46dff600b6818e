"""Wait for a model only so long."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

__all__ = ["await_within", "within"]

T = TypeVar("T")


def within(seconds: float | None, ask: Callable[[], T]) -> T:
    """What `ask` returns; it goes on in its own thread, heard by nobody, when the time is up.

    Args:
        seconds: How long to wait; `None` waits for ever, in this thread.
        ask: Is called once, in a copy of this context.

    Raises:
        TimeoutError: If it takes longer.
    """
    if seconds is None:
        return ask()
    done: Future[T] = Future()
    context = copy_context()
    thread = threading.Thread(
        target=context.run, args=(_into, done, ask), name="llmops-attempt", daemon=True
    )
    thread.start()
    try:
        return done.result(seconds)
    except TimeoutError:
        if done.done():  # the model's own
            raise
        msg = f"no answer came within {seconds:g} s"
        raise TimeoutError(msg) from None


async def await_within(seconds: float | None, ask: Callable[[], Awaitable[T]]) -> T:
    """`within` for asyncio: what was asked is cancelled when the time is up.

    Raises:
        TimeoutError: If it takes longer.
    """
    async with asyncio.timeout(seconds):
        return await ask()


def _into(done: "Future[T]", ask: Callable[[], T]) -> None:
    try:
        done.set_result(ask())
    except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
        done.set_exception(error)

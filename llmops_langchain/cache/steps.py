"""Waiting, written once for threads and for asyncio.

A procedure that has to wait is a generator of steps. `run` takes them in the calling thread,
`arun` on the event loop, where nothing blocks it.
"""

import asyncio
import time
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, wait
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

__all__ = ["Blocking", "Pause", "Step", "Steps", "Waiting", "arun", "run"]

T = TypeVar("T")


class Step(Protocol):
    """Something to wait for."""

    def run(self) -> Any:
        """Wait in this thread, and return what came of it."""

    async def arun(self, executor: Executor) -> Any:
        """Wait on the event loop, and return what came of it."""


Steps = Generator[Step, Any, T]
"""A procedure that is sent what came of each step, and returns a `T`."""


@dataclass(frozen=True, slots=True)
class Blocking:
    """A call that waits for a disk or a server: asyncio makes it in a thread, in this context."""

    call: Callable[[], Any]

    def run(self) -> Any:
        """Make it here."""
        return self.call()

    async def arun(self, executor: Executor) -> Any:
        """Make it in a worker thread."""
        try:
            call = partial(copy_context().run, self.call)
            made = asyncio.get_running_loop().run_in_executor(executor, call)
        except RuntimeError:  # no thread can be started: at exit, or at the system's limit
            return self.call()
        return await made


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing, for some seconds."""

    seconds: float

    def run(self) -> None:
        """Sleep."""
        time.sleep(self.seconds)

    async def arun(self, _executor: Executor) -> None:
        """Let other tasks run."""
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody else's result, for at most some seconds.

    What comes of it: whether the result is there; `None` if a thread must not wait for it.
    """

    future: Future[Any]
    seconds: float
    needs_this_thread: Callable[[], bool]

    def run(self) -> bool | None:
        """Wait in this thread, if it may."""
        if self.needs_this_thread():
            return None
        wait((self.future,), self.seconds)
        return self.future.done()

    async def arun(self, _executor: Executor) -> bool:
        """Wait while other tasks run."""
        waiter = asyncio.wrap_future(self.future)
        try:
            await asyncio.wait((waiter,), timeout=self.seconds)
        finally:
            waiter.cancel()  # or it would call a loop that may be closed by then
        return self.future.done()


def run(steps: Steps[T]) -> T:
    """Take the steps in this thread."""
    with closing(steps):
        try:
            step = next(steps)
            while True:
                step = steps.send(step.run())
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # of the type that `Steps` names


async def arun(steps: Steps[T], executor: Executor) -> T:
    """Take the steps on the running event loop; blocking ones in a thread of `executor`."""
    with closing(steps):
        try:
            step = next(steps)
            while True:
                step = steps.send(await step.arun(executor))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # of the type that `Steps` names

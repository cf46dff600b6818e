"""Load once what is large, and only what is installed."""

import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Generic, TypeVar

from llmops_langchain.errors import MissingExtraError
from llmops_langchain.storage.fork import on_fork

__all__ = ["Once", "installed", "needed"]

T = TypeVar("T")


class Once(Generic[T]):
    """What `make` returns, made by the thread that first asks, and anew in a forked child.

    What is made may own threads and locks, and those do not survive a fork.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Forget what the parent made."""
        self._lock = threading.Lock()
        self._made: list[T] = []

    def get(self) -> T:
        """The one thing; others wait while it is made."""
        if not self._made:
            with self._lock:
                if not self._made:
                    self._made.append(self._make())
        return self._made[0]

    def peek(self) -> T | None:
        """The one thing if it was made; nobody waits."""
        return self._made[0] if self._made else None


def installed(*packages: str) -> bool:
    """Whether all of them can be imported; none is."""
    return all(find_spec(package) is not None for package in packages)


def needed(*packages: str) -> None:
    """Raise `MissingExtraError` for the first package that is not installed."""
    for package in packages:
        if not installed(package):
            raise MissingExtraError(package, extra="semantic")

"""Who may be inside a transaction: one thread at a time, or any number until a fork."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from llmops_langchain.errors import DatabaseLockedError

__all__ = ["Gate", "OneByOne"]


class OneByOne:
    """Threads share one connection in turn; a thread cannot take a second turn inside its own.

    That would end the first one's transaction, which is on the same connection.
    """

    def __init__(self) -> None:
        self._free = threading.Lock()
        self._owner: int | None = None

    def __enter__(self) -> None:
        if self._owner == threading.get_ident():
            msg = "this thread is inside `begin()` already, and transactions do not nest"
            raise DatabaseLockedError(msg)
        self._free.acquire()
        self._owner = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._owner = None
        self._free.release()

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Wait for the thread whose turn it is, unless that is this one."""
        if self._owner == threading.get_ident():
            yield
        else:
            with self._free:
                yield


class Gate:
    """Any number of threads may be inside; who shuts the gate waits until they have left."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0

    def __enter__(self) -> None:
        with self._changed:
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify()

    def shut(self, timeout: float) -> bool:
        """Let nobody in until `open`; whether everybody has left within `timeout` seconds."""
        self._changed.acquire()
        return self._changed.wait_for(lambda: self._inside == 0, timeout)

    def open(self) -> None:
        """Let the threads in again; called by the thread that shut the gate."""
        self._changed.release()

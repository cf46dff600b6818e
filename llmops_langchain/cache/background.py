"""Work that nobody waits for, in threads that hold up neither a lookup nor the program's end."""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from llmops_langchain.storage.fork import on_fork

__all__ = ["Background"]


class Background:
    """Does one thing after another in a few daemon threads, which start when they are needed.

    What is still to be done when the interpreter ends is left undone.

    Args:
        threads: How many things are done at a time.
        most: How many may wait; what comes beyond that is refused.
    """

    def __init__(self, threads: int, most: int) -> None:
        self._threads, self._most = threads, most
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Start anew: the parent's threads do not run here."""
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._changed = threading.Condition()
        self._pending = self._started = 0
        self._is_closed = False

    def submit(self, do: Callable[[], None]) -> bool:
        """Have it done, whatever it raises; whether there was room for it."""
        with self._changed:
            if self._is_closed or self._pending >= self._most:
                return False
            self._pending += 1
            if self._started < min(self._threads, self._pending):
                self._started += 1
                threading.Thread(target=self._work, name="llmops-cache-judge", daemon=True).start()
        self._queue.put(do)
        return True

    def wait(self, seconds: float) -> None:
        """Wait until nothing is left to do, for so long at most."""
        until = time.monotonic() + seconds
        with self._changed:
            while self._pending and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)

    def close(self, patience: float) -> None:
        """Wait so long for what is left to do; then leave it undone."""
        self.wait(patience)
        self._is_closed = True

    def _work(self) -> None:
        while True:
            do = self._queue.get()
            try:
                if not self._is_closed:
                    do()
            finally:
                with self._changed:
                    self._pending -= 1
                    self._changed.notify_all()

"""Do something again and again in a thread, for as long as its object is there."""

import threading
import weakref
from collections.abc import Callable
from typing import Protocol

__all__ = ["Ticking", "ticking"]


class Ticking(Protocol):
    """Something that wants to flush now and then."""

    def flush(self) -> None:
        """Do what is due; it never raises."""


def ticking(
    what: Ticking, interval: float, *, name: str
) -> tuple[threading.Event, threading.Thread]:
    """Flush it at once and once an interval in a daemon thread that does not keep it alive.

    Args:
        what: Is flushed.
        interval: Seconds in between.
        name: Of the thread.

    Returns:
        What ends the thread when it is set, and the thread.
    """
    over, there = threading.Event(), weakref.ref(what)
    weakref.finalize(what, over.set).atexit = False
    thread = threading.Thread(target=_again, args=(there, over, interval), name=name, daemon=True)
    thread.start()
    return over, thread


def _again(there: Callable[[], Ticking | None], over: threading.Event, interval: float) -> None:
    while (what := there()) is not None:
        what.flush()
        del what
        if over.wait(interval):
            return

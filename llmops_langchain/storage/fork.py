"""Let an object start anew in a forked child, without being kept alive for it.

A forked child (gunicorn's `preload_app`, `multiprocessing`) inherits open connections, locks that
another thread may hold, and threads that no longer run. Whoever owns such things registers here.
"""

import os
import weakref
from typing import Protocol

__all__ = ["Forked", "on_fork"]


class Forked(Protocol):
    """Something that can forget what belongs to its parent process."""

    def after_fork(self) -> None:
        """Run in the child, before any other code of it."""


# A bound method given to `register_at_fork` would keep its object alive for ever.
_registered: weakref.WeakSet[Forked] = weakref.WeakSet()


def on_fork(thing: Forked) -> None:
    """Call `thing.after_fork()` in every forked child for as long as `thing` lives."""
    _registered.add(thing)


def _after_fork_in_child() -> None:
    for thing in list(_registered):
        thing.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_after_fork_in_child)

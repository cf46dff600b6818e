"""Let an object start anew in a forked child, without being kept alive for it.

A forked child (gunicorn's `preload_app`, `multiprocessing`) inherits open connections, locks that
another thread may hold, and threads that no longer run. Whoever owns such things registers here.
"""

import os
import threading
import weakref
from typing import Protocol

__all__ = ["Forked", "Forking", "around_fork", "on_fork"]


class Forked(Protocol):
    """Something that can forget what belongs to its parent process."""

    def after_fork(self) -> None:
        """Run in the child, before any other code of it."""


class Forking(Protocol):
    """Something that must be at rest while its process forks."""

    def before_fork(self) -> None:
        """Come to rest, and stay so until `after_fork_in_parent`."""

    def after_fork_in_parent(self) -> None:
        """Go on."""


# A bound method given to `register_at_fork` would keep its object alive for ever.
_registered: weakref.WeakSet[Forked] = weakref.WeakSet()
_resting: weakref.WeakSet[Forking] = weakref.WeakSet()
_forking = threading.local()  # by thread: what came to rest for the fork that it is in


def on_fork(thing: Forked) -> None:
    """Call `thing.after_fork()` in every forked child for as long as `thing` lives."""
    _registered.add(thing)


def around_fork(thing: Forking) -> None:
    """Call `thing.before_fork()` and, in the parent, `thing.after_fork_in_parent()`."""
    _resting.add(thing)


def _before_fork() -> None:
    _forking.things = list(_resting)
    for thing in _forking.things:
        thing.before_fork()


def _after_fork_in_parent() -> None:
    for thing in _forking.things:
        thing.after_fork_in_parent()
    _forking.things = []


def _after_fork_in_child() -> None:
    for thing in list(_registered):
        thing.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )

"""Lookups that core made and whose answers it has not sent yet: it tells them apart by nothing."""

import threading
from collections import OrderedDict, deque
from typing import Generic, TypeVar

__all__ = ["Lookups"]

T = TypeVar("T")

_MOST_AT_ONCE = 100
"""Equal lookups that wait for their update."""

_MOST = 1_000
"""Lookups that wait for their update; a call that fails never sends one."""


class Lookups(Generic[T]):
    """What is known of each lookup until its update comes; the first comes first."""

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        """Forget them: another thread of the parent may have held the lock."""
        self._waiting: OrderedDict[bytes, deque[T]] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, key: bytes, known: T) -> None:
        """Remember what is known of a lookup that found nothing."""
        with self._lock:
            self._waiting.setdefault(key, deque(maxlen=_MOST_AT_ONCE)).append(known)
            while len(self._waiting) > _MOST:
                self._waiting.popitem(last=False)

    def take(self, key: bytes) -> T | None:
        """What is known of the first lookup of this key that waits; `None` if none does."""
        with self._lock:
            if not (waiting := self._waiting.get(key)):
                return None
            known = waiting.popleft()
            if not waiting:
                del self._waiting[key]
            return known
